package test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// connect opens a connection by pgx, in this process; it is closed at the test's cleanup.
func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { closeConn(conn.Close) })
	return conn
}

// dial opens a connection by pgconn, in this process; it is closed at the test's cleanup.
func dial(t testing.TB, url string) *pgconn.PgConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgconn.Connect(ctx, url)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { closeConn(conn.Close) })
	return conn
}

func closeConn(end func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = end(ctx) // The server may have been the first.
}

// sqlState gives the SQLSTATE of an error of the server's or the proxy's; "" is no error, another text no SQLSTATE.
func sqlState(err error) string {
	var theirs *pgconn.PgError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &theirs):
		return theirs.Code
	}
	return err.Error()
}

// noise starts clients of a proxy that run ordinary transactions until the test ends, so that backends change hands all
// the time. Each checks that the answers are its own. An error fails the test unless its SQLSTATE is expected.
func noise(t testing.TB, url string, clients int, expected ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var stop atomic.Bool
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for !stop.Load() {
				err := makeNoise(ctx, &stop, url, i)
				if err != nil && ctx.Err() == nil && !slices.Contains(expected, sqlState(err)) {
					t.Errorf("a client that runs ordinary transactions: %v", err)
					return
				}
			}
		})
	}
	t.Cleanup(func() {
		stop.Store(true)
		late := time.AfterFunc(patience, cancel)
		all.Wait()
		if !late.Stop() {
			t.Errorf("a client that runs ordinary transactions hangs")
		}
		cancel()
	})
}

// makeNoise is one connection of a client that runs ordinary transactions, until it is stopped or the first error.
func makeNoise(ctx context.Context, stop *atomic.Bool, url string, client int) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer closeConn(conn.Close)
	for round := 0; !stop.Load(); round++ {
		mark := client*1_000_000 + round
		switch round % 3 {
		case 0:
			_, err = conn.Exec(ctx, "BEGIN; SELECT pg_sleep(0.001); COMMIT", pgx.QueryExecModeSimpleProtocol)
		case 1:
			err = expectMark(conn.QueryRow(ctx, fmt.Sprint("SELECT ", mark), pgx.QueryExecModeSimpleProtocol), mark)
		case 2:
			err = expectMark(conn.QueryRow(ctx, "SELECT $1::int", mark), mark)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func expectMark(row pgx.Row, want int) error {
	var got int
	if err := row.Scan(&got); err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("the answer is %d, but %d was asked for: somebody else's", got, want)
	}
	return nil
}
