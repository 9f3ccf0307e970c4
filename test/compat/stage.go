package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/authority"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// stage is what a suite runs on: a PostgreSQL server and a lockproxy of its own, with noise clients on it.
type stage struct {
	server   *postgres.Server
	database string // an empty one, of the superuser's
	port     int    // lockproxy's on 127.0.0.1; server.Port is PostgreSQL's
	dir      string // an empty folder, removed with the stage
	cache    string // a folder of this suite's that stays: what was fetched and built
	log      *os.File
	kills    bool   // as in suite
	ca       string // the path of who has signed lockproxy's certificate; empty: there is no TLS

	proxy *proxy.Server
	stop  []func() error // in reverse order
}

func newStage(ctx context.Context, one *suite, cache string) (s *stage, err error) {
	s = &stage{kills: one.kills, cache: filepath.Join(cache, strings.ReplaceAll(one.name, " ", "-"))}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := os.MkdirAll(s.cache, 0o755); err != nil {
		return s, err
	}
	if s.log, err = os.Create(filepath.Join(s.cache, "log.txt")); err != nil {
		return s, err
	}
	s.stop = append(s.stop, s.log.Close)
	if s.dir, err = os.MkdirTemp("", "lockproxy-compat-"); err != nil {
		return s, err
	}
	s.stop = append(s.stop, func() error { return os.RemoveAll(s.dir) })
	if err := os.Chmod(s.dir, 0o755); err != nil {
		return s, err
	}
	if s.server, err = postgres.Run(ctx, postgres.Config{MaxConnections: 100, Settings: one.settings}); err != nil {
		return s, err
	}
	s.stop = append(s.stop, s.server.Close)
	if s.database, err = createDatabase(s.server, one.database); err != nil {
		return s, err
	}
	if err := s.startProxy(one); err != nil {
		return s, err
	}
	if one.direct {
		s.port = s.server.Port
	}
	return s, s.makeNoise(ctx)
}

// createDatabase creates an empty database, of any name if none is given.
func createDatabase(server *postgres.Server, name string) (string, error) {
	if name == "" {
		return server.CreateDatabase()
	}
	_, err := server.Query("postgres", "CREATE DATABASE "+name)
	return name, err
}

// close ends everything, the last first. What a suite left behind is an error: it would hold locks.
func (s *stage) close() error {
	var all []error
	for _, stop := range slices.Backward(s.stop) {
		all = append(all, stop())
	}
	return errors.Join(all...)
}

func (s *stage) startProxy(one *suite) error {
	limits := func(max, otherwise int) pools.Config {
		if max == 0 {
			max = otherwise
		}
		return pools.Config{Max: max, CheckoutTimeout: 10 * time.Second, IdleTimeout: 30 * time.Second, MaxLifetime: time.Hour}
	}
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	secured, err := s.certify(one)
	if err != nil {
		return err
	}
	p, err := proxy.New(proxy.Config{
		Listen: []string{"127.0.0.1:0", s.dir}, UnixSocketMode: 0o777, TLS: secured, MaxClients: 500, LoginTimeout: 15 * time.Second, ShutdownTimeout: time.Second,
		MaxBuffer: 256 << 10, MaxStatement: 64 << 20, MaxPrepared: 200, Instances: 1, Auth: proxy.Auth{Type: proxy.Trust},
		Databases: map[string]proxy.Database{proxy.AnyDatabase: {
			URL: "postgres://127.0.0.1:" + strconv.Itoa(s.server.Port) + "/?sslmode=disable", SessionMode: one.session,
			Admin: limits(one.admin, 4), Lock: limits(one.lock, 2), LockTimeout: 30 * time.Second, IdleTransactionTimeout: 30 * time.Second,
		}},
	}, log)
	if err != nil {
		return err
	}
	if err := p.Listen(); err != nil {
		return err
	}
	s.proxy, s.port = p, p.Addrs()[0].(*net.TCPAddr).Port
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Serve(ctx) }()
	s.stop = append(s.stop, func() error {
		cancel()
		return <-done
	})
	return nil
}

// certify makes a certificate for lockproxy, where the suite's programs speak TLS.
func (s *stage) certify(one *suite) (c proxy.TLS, err error) {
	if !one.tls || one.direct {
		return c, nil
	}
	c.Mode = proxy.RequireTLS
	a := authority.New()
	if c.Certificate, c.Key, err = authority.Files(s.dir, a.Issue("lockproxy")); err != nil {
		return c, err
	}
	s.ca, err = a.File(s.dir)
	return c, err
}

// makeNoise has four clients run transactions on the suite's database all the while, each with settings of its own, so
// that the backends change hands. A result that is not its own is an error.
func (s *stage) makeNoise(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error)
	const clients = 4
	for i := range clients {
		go func() { done <- s.noise(ctx, i) }()
	}
	s.stop = append(s.stop, func() error {
		cancel()
		var all []error
		for range clients {
			all = append(all, <-done)
		}
		return errors.Join(all...)
	})
	return nil
}

// noise is one of the noise clients.
func (s *stage) noise(ctx context.Context, i int) error {
	name := "noise " + strconv.Itoa(i)
	c, err := pgconn.Connect(ctx, s.url()+"&application_name="+strings.ReplaceAll(name, " ", "%20"))
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer c.Close(context.Background())
	for ctx.Err() == nil {
		results, err := c.Exec(ctx, "BEGIN; SELECT pg_sleep(0.001), current_setting('application_name'); COMMIT").ReadAll()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if !s.disturbs(err) {
				return fmt.Errorf("%s: %w", name, err)
			}
			_, _ = c.Exec(ctx, "ROLLBACK").ReadAll() // the next turn tells
		case string(results[1].Rows[0][1]) != name:
			return fmt.Errorf("%s: another client's setting: %s", name, results[1].Rows[0][1])
		}
	}
	return nil
}

// disturbs tells whether the suite does to others what the error is about: it has every backend, or ends server processes.
func (s *stage) disturbs(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "53300" || s.kills && slices.Contains([]string{"57P01", "08006", "08007"}, e.Code))
}

// url is the suite's database through lockproxy, as the superuser, ready for more parameters.
func (s *stage) url() string {
	text := fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=", postgres.Superuser, s.port, s.database)
	if s.ca == "" {
		return text + "disable"
	}
	return text + "verify-full&sslrootcert=" + s.ca
}

// direct is the same without lockproxy.
func (s *stage) direct() string { return s.server.URL(s.database) }

// environment is libpq's, and DATABASE_URL.
func (s *stage) environment() []string {
	all := []string{
		"PGHOST=127.0.0.1", "PGPORT=" + strconv.Itoa(s.port), "PGUSER=" + postgres.Superuser, "PGDATABASE=" + s.database,
		"PGSSLMODE=disable", "DATABASE_URL=" + s.url(),
	}
	if s.ca != "" {
		all = append(all, "PGSSLMODE=verify-full", "PGSSLROOTCERT="+s.ca)
	}
	return all
}

// pins tells how many transactions ran, and which share of them on a pinned backend, by reason.
func (s *stage) pins() string {
	stats := s.proxy.Stats()
	text := strconv.FormatUint(stats.Transactions, 10)
	var reasons []string
	for reason, n := range stats.Pinned {
		reasons = append(reasons, fmt.Sprintf("%s %.1f %%", reason, 100*float64(n)/float64(max(stats.Transactions, 1))))
	}
	slices.Sort(reasons)
	return strings.Join(append([]string{text}, reasons...), ", ")
}
