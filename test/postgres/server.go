// Package postgres starts throw-away PostgreSQL servers: for tests, for `make run` and for `lockproxy demo`.
//
// A server has a folder of its own under the system's temporary folder, a free port on 127.0.0.1 and a unix socket. It
// trusts everybody except the users that [Server.CreateUser] makes. It ends with the process that started it, even if
// that process is killed, and leaves no folder: what a killed process could not remove, the next [Run] does.
package postgres

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// Superuser is the name of the superuser of every server, who logs in without a password.
const Superuser = "postgres"

// Config says what kind of server to start. Its zero value is a good one for tests.
type Config struct {
	// Programs is the folder of initdb and postgres; empty: the one that Programs finds.
	Programs string
	// MaxConnections is max_connections of postgresql.conf; 0 means 100.
	MaxConnections int
	// Settings are more lines of postgresql.conf; they win over the package's own.
	Settings map[string]string
	// HBA are lines that come before all others of pg_hba.conf, so they decide where they match.
	HBA []string
	// StopTimeout bounds how long Stop waits before it kills the server; 0 means 30 s.
	StopTimeout time.Duration
}

// Server is one running (or stopped) PostgreSQL server. Its methods may be called from any goroutine.
type Server struct {
	// Port is where it listens on 127.0.0.1; it names the unix socket as well. It survives Restart.
	Port int
	// SocketDir is the absolute path of the folder that holds its unix socket.
	SocketDir string

	config   Config
	programs string // The folder of initdb and postgres.
	user     *account
	folder   *folder
	data     string

	mu        sync.Mutex // Guards what follows: starting, stopping and closing exclude each other.
	process   *Child     // nil while the server is stopped.
	finalLog  string     // The whole log once the folder is gone.
	databases int        // How many names NewDatabase has given out.
}

// TB is the part of testing.TB that this package needs, so that programs which use it do not link package testing.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// An Option changes the Config of a server for a test.
type Option func(*Config)

// MaxConnections sets max_connections.
func MaxConnections(n int) Option {
	return func(c *Config) { c.MaxConnections = n }
}

// Setting adds a line to postgresql.conf.
func Setting(name, value string) Option {
	return func(c *Config) {
		if c.Settings == nil {
			c.Settings = map[string]string{}
		}
		c.Settings[name] = value
	}
}

// HBA adds lines to the beginning of pg_hba.conf.
func HBA(lines ...string) Option {
	return func(c *Config) { c.HBA = append(c.HBA, lines...) }
}

// Start starts a server for a test and ends it at the test's cleanup. It fails the test if there is no PostgreSQL.
func Start(t TB, options ...Option) *Server {
	t.Helper()
	var config Config
	for _, option := range options {
		option(&config)
	}
	s, err := Run(context.Background(), config)
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Fatalf("stop PostgreSQL: %v", err)
		}
	})
	return s
}

// startTimeout bounds one attempt to start a server, creating its cluster included: long, for machines that are busy.
const startTimeout = 3 * time.Minute

// Run starts a server and returns when it accepts connections. The context bounds the start only; the caller ends the
// server with Close.
func Run(ctx context.Context, config Config) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return run(ctx, config, (*Server).createCluster)
}

// run starts a server whose data folder is filled by a function.
func run(ctx context.Context, config Config, fill func(*Server, context.Context) error) (*Server, error) {
	programs, err := config.programs()
	if err != nil {
		return nil, err
	}
	user, err := unprivileged()
	if err != nil {
		return nil, err
	}
	folder, err := newFolder(user)
	if err != nil {
		return nil, err
	}
	s := &Server{
		SocketDir: folder.path, config: config, programs: programs, user: user, folder: folder,
		data: filepath.Join(folder.path, "data"),
	}
	if err := fill(s, ctx); err != nil {
		return nil, closeAfter(s, err)
	}
	if err := s.firstStart(ctx); err != nil {
		return nil, closeAfter(s, err)
	}
	return s, nil
}

func closeAfter(s *Server, err error) error {
	if closeErr := s.Close(); closeErr != nil {
		return fmt.Errorf("%w; and closing it: %w", err, closeErr)
	}
	return err
}

// firstStart starts the new cluster on a free port. Another program may take the port between the choice and
// postgres' own bind; then another one is tried.
func (s *Server) firstStart(ctx context.Context) error {
	const attempts = 10
	var err error
	for range attempts {
		if s.Port, err = FreePort(); err != nil {
			return err
		}
		if err = s.configure(); err != nil {
			return err
		}
		if err = s.StartAgain(ctx); err == nil || !portTaken(s.Log()) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// URL is the address of a database, over TCP as the superuser: a libpq connection URL.
func (s *Server) URL(database string) string {
	return s.UserURL(Superuser, "", database)
}

// UserURL is the address of a database, over TCP as the given user; an empty password is left out.
func (s *Server) UserURL(user, password, database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(user), Host: "127.0.0.1:" + strconv.Itoa(s.Port),
		Path: "/" + database, RawQuery: "sslmode=disable"}
	if password != "" {
		u.User = url.UserPassword(user, password)
	}
	return u.String()
}

// Log is everything that the server has written to its log so far, over all its starts.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.folder.removed() {
		return s.finalLog
	}
	return s.readLog()
}

func (s *Server) readLog() string {
	text, err := os.ReadFile(s.logPath())
	if err != nil {
		return ""
	}
	return string(text)
}

func (s *Server) logPath() string {
	return filepath.Join(s.folder.path, "log")
}
