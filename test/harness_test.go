package test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// rig is a lockproxy in this process, before a fresh database of a PostgreSQL server.
type rig struct {
	url      string // through the proxy, as the superuser
	direct   string // straight to the server
	database string
	upstream *postgres.Server
	server   *proxy.Server
	config   proxy.Config // of it
	log      *journal
	stop     func() // ends the proxy and waits for it
}

// startProxy starts a lockproxy before a fresh database of the shared server. It ends at the test's cleanup, and the
// test fails if it leaves a goroutine.
func startProxy(t testing.TB, edits ...func(*proxy.Config)) *rig {
	t.Helper()
	return startProxyBefore(t, upstream(t), edits...)
}

// startProxyBefore does the same before a server of the test's own.
func startProxyBefore(t testing.TB, server *postgres.Server, edits ...func(*proxy.Config)) *rig {
	t.Helper()
	r := &rig{database: server.NewDatabase(t), upstream: server, log: new(journal)}
	before := goleak.IgnoreCurrent()
	config := defaults(server)
	config.Links = proxy.Links(started.Add(1) % uint32(proxy.WaysToLink))
	for _, edit := range edits {
		edit(&config)
	}
	r.config = config
	var err error
	log := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if r.server, err = proxy.New(config, log); err != nil {
		t.Fatalf("make a proxy: %v", err)
	}
	if err := r.server.Listen(); err != nil {
		t.Fatalf("listen: %v", err)
	}
	r.url = fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", postgres.Superuser, r.server.Addrs()[0], r.database)
	r.direct = server.URL(r.database)
	r.stop = sync.OnceFunc(r.serve(t))
	t.Cleanup(func() {
		r.stop()
		var left error // a connection that was told goodbye ends when its server has ended it, for a second at most
		for until := time.Now().Add(patience); ; {
			if left = goleak.Find(before, goleak.IgnoreAnyFunction(awaitsServer)); left == nil || time.Now().After(until) {
				break
			}
		}
		if left != nil {
			t.Errorf("the proxy left goroutines: %v", left)
		}
		if t.Failed() {
			t.Logf("its links are of kind %d; the proxy's log:\n%s", config.Links, r.log.tail())
		}
	})
	return r
}

// started counts proxies, so that each test meets another kind of link than the one before.
var started atomic.Uint32

// awaitsServer is the goroutine of a PostgreSQL server that a test has started again.
const awaitsServer = "github.com/lockproxy/lockproxy/test/postgres.StartChild.func1"

func (r *rig) serve(t testing.TB) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.server.Serve(ctx) }()
	return func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("the proxy ended with an error: %v", err)
			}
		case <-time.After(patience):
			t.Errorf("the proxy does not end")
		}
	}
}

// defaults is a configuration with small pools and short timeouts, that believes every client.
func defaults(server *postgres.Server) proxy.Config {
	pool := pools.Config{Max: 4, CheckoutTimeout: 5 * time.Second, IdleTimeout: 30 * time.Second, MaxLifetime: time.Hour}
	return proxy.Config{
		Listen:          []string{"127.0.0.1:0"},
		UnixSocketMode:  0o777,
		MaxClients:      5000,
		LoginTimeout:    10 * time.Second,
		ShutdownTimeout: time.Second,
		PoolIdleTimeout: time.Hour,
		MaxBuffer:       256 << 10,
		MaxStatement:    64 << 20,
		MaxPrepared:     200,
		Instances:       1,
		Auth:            proxy.Auth{Type: proxy.Trust},
		Databases: map[string]proxy.Database{proxy.AnyDatabase: {
			URL:   fmt.Sprintf("postgres://%s@127.0.0.1:%d?sslmode=disable", postgres.Superuser, server.Port),
			Admin: pool, Lock: pool, LockTimeout: 30 * time.Second, IdleTransactionTimeout: 30 * time.Second,
		}},
	}
}

// withDatabase changes the settings of the one database entry that tests have.
func withDatabase(edit func(*proxy.Database)) func(*proxy.Config) {
	return func(c *proxy.Config) {
		d := c.Databases[proxy.AnyDatabase]
		edit(&d)
		c.Databases[proxy.AnyDatabase] = d
	}
}

// sized sets how many backends the two pools may have.
func sized(admin, lock int) func(*proxy.Config) {
	return withDatabase(func(d *proxy.Database) { d.Admin.Max, d.Lock.Max = admin, lock })
}

// checkouts sets how long a checkout from either pool may take.
func checkouts(timeout time.Duration) func(*proxy.Config) {
	return withDatabase(func(d *proxy.Database) { d.Admin.CheckoutTimeout, d.Lock.CheckoutTimeout = timeout, timeout })
}

// query runs SQL text straight on the server, as the superuser.
func (r *rig) query(t testing.TB, sql string) [][]string {
	t.Helper()
	rows, err := r.upstream.Query(r.database, sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return rows
}

// value gives the one value of a query on the server.
func (r *rig) value(t testing.TB, sql string) string {
	t.Helper()
	rows := r.query(t, sql)
	if len(rows) != 1 || len(rows[0]) != 1 {
		t.Fatalf("%s: one value was expected, not %v", sql, rows)
	}
	return rows[0][0]
}

// locks counts the advisory locks that are held or waited for in the rig's database.
func (r *rig) locks(t testing.TB) string {
	t.Helper()
	return r.value(t, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND
		database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
}

// awaitNoLocks waits until nobody holds an advisory lock in the rig's database.
func (r *rig) awaitNoLocks(t testing.TB) {
	t.Helper()
	await(t, "no advisory lock is held", func() bool { return r.locks(t) == "0" })
}

// awaitRow waits until a query on the server gives true.
func (r *rig) awaitRow(t testing.TB, what, condition string) {
	t.Helper()
	await(t, what, func() bool { return r.value(t, "SELECT "+condition) == "t" })
}

// withParameter adds a parameter to a connection URL.
func withParameter(t testing.TB, text, name, value string) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}

// patience is how long anything may take that must happen at all; only a failing test waits so long.
const patience = 20 * time.Second

// await waits until a condition holds, which it must within patience.
func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	awaitWithin(t, patience, what, condition)
}

// awaitWithin waits until a condition holds, which it must within the time given.
func awaitWithin(t testing.TB, within time.Duration, what string, condition func() bool) {
	t.Helper()
	if !awaits(within, condition) {
		t.Fatalf("not within %v: %s", within, what)
	}
}

// awaits tells whether a condition comes to hold within the time given.
func awaits(within time.Duration, condition func() bool) bool {
	for end := time.Now().Add(within); !condition(); time.Sleep(3 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// journal keeps what a proxy logs.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write adds a line.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// has tells whether a line that holds all of the texts was logged.
func (j *journal) has(texts ...string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
next:
	for line := range strings.Lines(j.text.String()) {
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue next
			}
		}
		return true
	}
	return false
}

// forget drops what was logged so far.
func (j *journal) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text = bytes.Buffer{}
}

// tail gives the end of the log.
func (j *journal) tail() string {
	const enough = 32 << 10
	j.mu.Lock()
	defer j.mu.Unlock()
	text := j.text.String()
	return text[max(0, len(text)-enough):]
}
