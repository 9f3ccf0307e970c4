package test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// TestMain runs the tests before one PostgreSQL server, which starts when the first test needs it. The binary is also
// the Go program that the contract tests run as an application: see app_test.go.
func TestMain(m *testing.M) {
	if os.Getenv(appVariable) != "" {
		serveApp(os.Stdin, os.Stdout)
		return
	}
	code := m.Run()
	if theServer.server != nil {
		if err := theServer.server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "stop PostgreSQL:", err)
			code = 1
		}
	}
	os.Exit(code)
}

var theServer struct {
	once   sync.Once
	server *postgres.Server
	err    error
}

// upstream gives the PostgreSQL server that all tests share. A test that stops or breaks a server starts its own.
func upstream(t testing.TB) *postgres.Server {
	t.Helper()
	theServer.once.Do(func() {
		theServer.server, theServer.err = postgres.Run(context.Background(), postgres.Config{MaxConnections: 300})
	})
	if theServer.err != nil {
		t.Fatalf("start PostgreSQL: %v", theServer.err)
	}
	return theServer.server
}
