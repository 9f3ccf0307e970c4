package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// pipelined says what came of a pipeline up to its n-th sync, or to its last request that was flushed.
func pipelined(p *pgconn.Pipeline, n int) string {
	var said []string
	for n > 0 {
		results, err := p.GetResults()
		var e *pgconn.PgError
		switch r := results.(type) {
		case nil:
			if !errors.As(err, &e) {
				return strings.Join(said, " ")
			}
			said = append(said, e.Code)
		case *pgconn.PipelineSync:
			n--
			said = append(said, "sync")
		case *pgconn.StatementDescription:
			said = append(said, "prepared")
		case *pgconn.CloseComplete:
			said = append(said, "closed")
			if n == 1 {
				return strings.Join(said, " ")
			}
		case *pgconn.ResultReader:
			result := r.Read()
			if errors.As(result.Err, &e) {
				said = append(said, e.Code)
			} else if len(result.Rows) > 0 {
				said = append(said, string(result.Rows[0][0]))
			}
		}
	}
	return strings.Join(said, " ")
}

// broken is a source of rows that fails.
type broken struct{ after int }

func (b *broken) Next() bool             { b.after--; return b.after > 0 }
func (b *broken) Values() ([]any, error) { return []any{b.after}, nil }
func (b *broken) Err() error             { return errors.New("disk on fire") }

// streams are about COPY, cursors, large objects and notifications.
var streams = []check{
	{"COPY in the binary format", func(ctx context.Context) {
		c := connect(ctx)
		do(ctx, c, "CREATE TABLE copied (n int, t text)")
		n := must(c.CopyFrom(ctx, pgx.Identifier{"copied"}, []string{"n", "t"}, pgx.CopyFromSlice(20000, func(i int) ([]any, error) {
			return []any{i, fmt.Sprint("row ", i)}, nil
		})))
		equal(n, 20000)
		equal(one[int](ctx, c, "SELECT sum(n) FROM copied"), 19999*10000)
	}},
	{"COPY that the client aborts, and one with bad data", func(ctx context.Context) {
		c := connect(ctx)
		do(ctx, c, "CREATE TABLE aborted (n int PRIMARY KEY)")
		_, err := c.CopyFrom(ctx, pgx.Identifier{"aborted"}, []string{"n"}, &broken{after: 5000})
		equal(fails(err, "57014").Message, "COPY from stdin failed: disk on fire")
		_, err = c.PgConn().CopyFrom(ctx, strings.NewReader("1\n"+strings.Repeat("x\n", 200000)), "COPY aborted FROM STDIN")
		fails(err, "22P02")
		_, err = c.PgConn().CopyFrom(ctx, strings.NewReader("1\n"), "COPY nowhere FROM STDIN")
		fails(err, "42P01")
		equal(one[int](ctx, c, "SELECT count(*) FROM aborted"), 0)
	}},
	{"COPY out, also of what a query gives", func(ctx context.Context) {
		c := connect(ctx)
		var out bytes.Buffer
		must(c.PgConn().CopyTo(ctx, &out, "COPY (SELECT n FROM generate_series(1, 100000) n) TO STDOUT"))
		equal(strings.Count(out.String(), "\n"), 100000)
		_, err := c.PgConn().CopyTo(ctx, io.Discard, "COPY (SELECT 1 / (50000 - n) FROM generate_series(1, 100000) n) TO STDOUT")
		fails(err, "22012")
		equal(one[int](ctx, c, "SELECT 1"), 1)
	}},
	{"COPY in a transaction that also locks", func(ctx context.Context) {
		c := connect(ctx)
		tx := must(c.Begin(ctx))
		must(tx.Exec(ctx, "CREATE TEMP TABLE gated (n int) ON COMMIT DROP"))
		must(tx.Exec(ctx, "SELECT pg_advisory_xact_lock(3003)"))
		must(tx.CopyFrom(ctx, pgx.Identifier{"gated"}, []string{"n"}, pgx.CopyFromRows([][]any{{1}, {2}})))
		equal(one[int](ctx, tx, "SELECT count(*) FROM gated"), 2)
		fine(tx.Commit(ctx))
	}},
	{"a portal is read in parts between other statements", func(ctx context.Context) {
		c := connect(ctx)
		tx := must(c.Begin(ctx))
		must(tx.Exec(ctx, "DECLARE parts SCROLL CURSOR FOR SELECT n FROM generate_series(1, $1::int) n", 10))
		equal(one[int](ctx, tx, "FETCH ABSOLUTE 4 FROM parts"), 4)
		equal(one[int](ctx, tx, "SELECT $1::int", 1), 1)
		equal(one[int](ctx, tx, "FETCH PRIOR FROM parts"), 3)
		must(tx.Exec(ctx, "CLOSE parts"))
		_, err := tx.Exec(ctx, "FETCH parts")
		fails(err, "34000")
		fine(tx.Rollback(ctx))
	}},
	{"a cursor with hold is there until it is closed", func(ctx context.Context) {
		c, other := connect(ctx), connect(ctx)
		do(ctx, c, "DECLARE held CURSOR WITH HOLD FOR SELECT n FROM generate_series(1, 5) n")
		for n := 1; n <= 3; n++ {
			equal(one[int](ctx, c, "FETCH held"), n)
		}
		failing(ctx, other, "34000", "FETCH held")
		do(ctx, c, "CLOSE ALL")
		failing(ctx, c, "34000", "FETCH held")
	}},
	{"large objects", func(ctx context.Context) {
		c := connect(ctx)
		tx := must(c.Begin(ctx))
		objects := tx.LargeObjects()
		oid := must(objects.Create(ctx, 0))
		object := must(objects.Open(ctx, oid, pgx.LargeObjectModeRead|pgx.LargeObjectModeWrite))
		must(object.Write(bytes.Repeat([]byte("0123456789"), 30000)))
		equal(must(object.Seek(-5, io.SeekEnd)), 299995)
		equal(string(must(io.ReadAll(object))), "56789")
		fine(object.Truncate(3))
		fine(tx.Commit(ctx))
		equal(string(one[[]byte](ctx, c, "SELECT lo_get($1)", oid)), "012")
		do(ctx, c, "SELECT lo_unlink($1)", oid)
	}},
	{"a notification comes while the listener is idle", func(ctx context.Context) {
		c, second, sender := connect(ctx), connect(ctx), connect(ctx)
		for _, listener := range []*pgx.Conn{c, second} {
			do(ctx, listener, `LISTEN "News"`)
		}
		for n := range 3 {
			do(ctx, sender, "SELECT pg_notify('News', $1)", fmt.Sprint("n", n))
			for _, listener := range []*pgx.Conn{c, second} {
				notification := must(listener.WaitForNotification(ctx))
				equal(notification.Channel+" "+notification.Payload, fmt.Sprint("News n", n))
			}
		}
		do(ctx, c, "UNLISTEN *")
		do(ctx, sender, `NOTIFY "News", 'last'`)
		equal(must(second.WaitForNotification(ctx)).Payload, "last")
		equal(one[int](ctx, c, "SELECT count(*) FROM pg_listening_channels()"), 0)
	}},
	{"a notification within a transaction of the listener waits for its end", func(ctx context.Context) {
		var got []string
		conf := config()
		conf.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) { got = append(got, n.Payload) }
		c, sender := open(ctx, conf), connect(ctx)
		do(ctx, c, "LISTEN waiting")
		tx := must(c.Begin(ctx))
		one[int](ctx, tx, "SELECT 1")
		do(ctx, sender, "NOTIFY waiting, 'x'")
		one[int](ctx, tx, "SELECT 1")
		equal(len(got), 0)
		fine(tx.Commit(ctx))
		if len(got) == 0 {
			fine(c.PgConn().WaitForNotification(ctx))
		}
		equal(got, "[x]")
	}},
}
