package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// transfer moves bytes once and tells how many.
type transfer func(ctx context.Context, c *pgconn.PgConn) (int64, error)

// stream is a load of one client that repeats a transfer for as long as a round lasts.
func stream(once transfer) load {
	return func(ctx context.Context, s *side) (sample, error) {
		c, err := pgconn.Connect(ctx, s.url())
		if err != nil {
			return sample{}, err
		}
		defer c.Close(ctx)
		first, err := s.read()
		if err != nil {
			return sample{}, err
		}
		total := int64(0)
		for time.Since(first.at) < s.length {
			n, err := once(ctx, c)
			if err != nil {
				return sample{}, err
			}
			total += n
		}
		last, err := s.read()
		if err != nil {
			return sample{}, err
		}
		result := between(first, last)
		result.bytes = total
		return result, nil
	}
}

func readRows(ctx context.Context, c *pgconn.PgConn) (total int64, err error) {
	results := c.Exec(ctx, "SELECT repeat('x', 8192) FROM generate_series(1, 100)")
	for results.NextResult() {
		for reader := results.ResultReader(); reader.NextRow(); {
			total += int64(len(reader.Values()[0]))
		}
	}
	return total, results.Close()
}

// copied is how many bytes of lines are copied at a time.
const copied = 50_000_000

// copyOut reads lines of about a hundred bytes, a message each.
func copyOut(ctx context.Context, c *pgconn.PgConn) (int64, error) {
	var total counter
	_, err := c.CopyTo(ctx, &total, fmt.Sprintf("COPY (SELECT * FROM pgbench_accounts LIMIT %d) TO STDOUT", copied/len(line(0))))
	return int64(total), err
}

// copyIn writes as many bytes. The transaction is rolled back, so that each finds an empty table.
func copyIn(ctx context.Context, c *pgconn.PgConn) (int64, error) {
	if _, err := c.Exec(ctx, "BEGIN; TRUNCATE sink").ReadAll(); err != nil {
		return 0, err
	}
	source := &repeated{block: block(), left: copied}
	if _, err := c.CopyFrom(ctx, source, "COPY sink FROM STDIN"); err != nil {
		return 0, err
	}
	_, err := c.Exec(ctx, "ROLLBACK").ReadAll()
	return copied - int64(source.left), err
}

// line is one of pgbench_accounts, as COPY writes it.
func line(id int) []byte { return fmt.Appendf(nil, "%7d\t1\t0\t%84s\n", id, "") }

// block is a piece of the size that psql sends, whole lines.
func block() []byte {
	const size = 8192
	one := line(1)
	return bytes.Repeat(one, size/len(one))
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// repeated gives a block at each read until less than one is left.
type repeated struct {
	block []byte
	left  int
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.left < len(r.block) {
		return 0, io.EOF
	}
	n := copy(p, r.block)
	r.left -= n
	return n, nil
}
