package backend

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"go.uber.org/goleak"

	"github.com/lockproxy/lockproxy/test/postgres"
)

var shared struct {
	once   sync.Once
	server *postgres.Server
	err    error
}

// TestMain ends the server that the tests share, and fails when goroutines are left over.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(closing{m})
}

type closing struct{ m *testing.M }

func (c closing) Run() int {
	code := c.m.Run()
	if shared.server != nil {
		_ = shared.server.Close()
	}
	return code
}

// server is a PostgreSQL that all tests share.
func server(t *testing.T) *postgres.Server {
	t.Helper()
	shared.once.Do(func() { shared.server, shared.err = postgres.Run(context.Background(), postgres.Config{}) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

func target(t *testing.T, text string) *Target {
	t.Helper()
	parsed, err := ParseTarget(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func dial(t *testing.T, text string) *Conn {
	t.Helper()
	c, err := Dial(context.Background(), target(t, text))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// dialFails returns the error, which must be an *Error and must not have the password.
func dialFails(t *testing.T, text string) *Error {
	t.Helper()
	return dialTargetFails(t, target(t, text))
}

func dialTargetFails(t *testing.T, to *Target) *Error {
	t.Helper()
	c, err := Dial(context.Background(), to)
	if err == nil {
		c.Close()
		t.Fatal("Dial succeeds")
	}
	e, ok := err.(*Error)
	if !ok {
		t.Fatalf("the error is a %T: %v", err, err)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error tells the password: %v", err)
	}
	return e
}

// query runs text on the raw socket and returns the rows' first columns and the error's SQLSTATE.
func query(t *testing.T, c *Conn, text string) (rows []string, code string) {
	t.Helper()
	f := pgproto3.NewFrontend(c.Net, c.Net)
	f.Send(&pgproto3.Query{String: text})
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := f.Receive()
		if err != nil {
			t.Fatal(err)
		}
		switch m := m.(type) {
		case *pgproto3.DataRow:
			rows = append(rows, string(m.Values[0]))
		case *pgproto3.ErrorResponse:
			code = m.Code
		case *pgproto3.ReadyForQuery:
			return rows, code
		}
	}
}

// listen serves each connection in a goroutine of its own and waits for all of them at the test's end.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return l.Addr().String()
}

const soon = 10 * time.Second
