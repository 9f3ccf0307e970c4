package test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// reload has the rig's server go by an edited configuration, which later reloads begin with.
func (r *rig) reload(t testing.TB, edits ...func(*proxy.Config)) (unchangeable []string) {
	t.Helper()
	config := r.config
	config.Databases = maps.Clone(config.Databases)
	for _, edit := range edits {
		edit(&config)
	}
	unchangeable, err := r.server.Reload(config)
	if err != nil {
		t.Fatalf("reload: %v", err)
	}
	r.config = config
	return unchangeable
}

// named adds a database of this name that leads to the database of a server.
func named(name string, to *postgres.Server, database string, edits ...func(*proxy.Database)) func(*proxy.Config) {
	return func(c *proxy.Config) {
		d := c.Databases[proxy.AnyDatabase]
		d.URL = fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", postgres.Superuser, to.Port, database)
		for _, edit := range edits {
			edit(&d)
		}
		c.Databases[name] = d
	}
}

func without(name string) func(*proxy.Config) {
	return func(c *proxy.Config) { delete(c.Databases, name) }
}

// named is the URL of a database of the rig's proxy.
func (r *rig) named(database string) string {
	return strings.Replace(r.url, "/"+r.database+"?", "/"+database+"?", 1)
}

// awaitQueued waits until a client waits for a server connection.
func (r *rig) awaitQueued(t testing.TB) {
	t.Helper()
	await(t, "somebody waits for a server connection", func() bool {
		return slices.ContainsFunc(r.server.Sessions(), func(s proxy.SessionInfo) bool { return !s.WaitingSince.IsZero() })
	})
}

// load is clients that run transactions until they are told to stop.
type load struct {
	t    testing.TB
	stop chan struct{}
	work sync.WaitGroup
	done atomic.Int64 // transactions that were committed
}

// begin starts clients whose transactions each add a row to a table, some with an advisory lock. Not one may fail.
func begin(t testing.TB, url string, clients int) *load {
	t.Helper()
	l := &load{t: t, stop: make(chan struct{})}
	for i := range clients {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		l.work.Go(func() {
			defer conn.Close(context.Background())
			for n := 0; ; n++ {
				select {
				case <-l.stop:
					return
				default:
				}
				if err := l.transact(conn, i, n); err != nil {
					t.Errorf("client %d, transaction %d: %v", i, n, err)
					return
				}
				l.done.Add(1)
			}
		})
	}
	return l
}

func (l *load) transact(conn *pgx.Conn, i, n int) error {
	return pgx.BeginFunc(context.Background(), conn, func(tx pgx.Tx) error {
		if i%4 == 0 {
			if _, err := tx.Exec(context.Background(), "SELECT pg_advisory_xact_lock($1)", n%3); err != nil {
				return err
			}
		}
		_, err := tx.Exec(context.Background(), "INSERT INTO done VALUES ($1, $2)", i, n)
		return err
	})
}

// more waits until the load has committed as many transactions more.
func (l *load) more(n int64) {
	l.t.Helper()
	from := l.done.Load()
	await(l.t, "the load goes on", func() bool { return l.done.Load() >= from+n || l.t.Failed() })
}

// end stops the load and gives how many transactions it committed.
func (l *load) end() int64 {
	close(l.stop)
	l.work.Wait()
	return l.done.Load()
}

func TestReloadGrowsAndShrinksPoolsUnderLoad(t *testing.T) {
	r := startProxy(t, sized(4, 4))
	r.query(t, "CREATE TABLE done (client int, n int)")
	l := begin(t, r.url, 12)
	for i := range 12 {
		l.more(30)
		size := 1 + i*5%8
		r.reload(t, sized(size, size), checkouts(time.Duration(5+i)*time.Second))
	}
	r.reload(t, sized(2, 1))
	l.more(30)
	await(t, "the pool has shrunk", func() bool {
		return r.value(t, "SELECT count(*) <= 3 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()") == "t"
	})
	total := l.end()
	if got := r.value(t, "SELECT count(*) FROM done"); got != fmt.Sprint(total) {
		t.Errorf("%d transactions were committed, but %s rows are there", total, got)
	}
}

func TestReloadMovesADatabaseUnderLoad(t *testing.T) {
	r := startProxy(t)
	second := upstream(t).NewDatabase(t)
	for _, database := range []string{r.database, second} {
		if _, err := r.upstream.Query(database, "CREATE TABLE done (client int, n int)"); err != nil {
			t.Fatal(err)
		}
	}
	r.reload(t, named("app", r.upstream, r.database))
	l := begin(t, r.named("app"), 12)
	for i := range 6 {
		l.more(30)
		r.reload(t, named("app", r.upstream, []string{second, r.database}[i%2]))
	}
	r.reload(t, named("app", r.upstream, second))
	l.more(30)
	r.awaitGone(t)
	l.more(30)
	total := l.end()
	rows := 0
	for _, database := range []string{r.database, second} {
		got, err := r.upstream.Query(database, "SELECT count(*) FROM done")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		fmt.Sscan(got[0][0], &n)
		if n == 0 {
			t.Errorf("no transaction ran on %s", database)
		}
		rows += n
	}
	if int64(rows) != total {
		t.Errorf("%d transactions were committed, but %d rows are there", total, rows)
	}
}

func TestReloadMovesIdleWaitingAndBusyClients(t *testing.T) {
	r := startProxy(t)
	second := upstream(t).NewDatabase(t)
	small := func(d *proxy.Database) { d.Admin.Max = 1 }
	r.reload(t, named("app", r.upstream, r.database, small))
	where := text("SELECT current_database()")
	answer := func(name string) string { return fmt.Sprintf("T D(%s) C(SELECT 1) Z(I)", name) }
	idle, begun, inside, waiter := logIn(t, r.named("app")), logIn(t, r.named("app")), logIn(t, r.named("app")), logIn(t, r.named("app"))
	idle.wants("before", answer(r.database), "Z", where)
	begun.asks("Z", text("BEGIN"))
	inside.asks("ZZ", text("BEGIN"), text("CREATE TABLE t ()"))
	waiter.send(packed(t, where))
	r.awaitQueued(t)
	r.reload(t, named("app", r.upstream, second, small))
	waiter.wants("who waits is served at once", answer(second), "Z")
	idle.wants("the next of an idle client", answer(second), "Z", where)
	begun.wants("a transaction that had only begun", strings.Replace(answer(second), "(I)", "(T)", 1)+" C(COMMIT) Z(I)", "ZZ", where, text("COMMIT"))
	inside.wants("a transaction ends where it began", strings.Replace(answer(r.database), "(I)", "(T)", 1)+" C(COMMIT) Z(I)", "ZZ", where, text("COMMIT"))
	inside.wants("and the next begins elsewhere", answer(second), "Z", where)
	if got := r.value(t, "SELECT count(*) FROM pg_class WHERE relname = 't'"); got != "1" {
		t.Error("the transaction was not committed")
	}
	r.awaitGone(t)
}

func TestReloadRemovesAndAddsDatabases(t *testing.T) {
	r := startProxy(t)
	only := func(c *proxy.Config) { delete(c.Databases, proxy.AnyDatabase) }
	keep := named("keep", r.upstream, r.database)
	r.reload(t, named("app", r.upstream, r.database, func(d *proxy.Database) { d.Admin.Max = 1 }), keep)
	idle, begun, inside, waiter := logIn(t, r.named("app")), logIn(t, r.named("app")), logIn(t, r.named("app")), logIn(t, r.named("app"))
	kept := logIn(t, r.named("keep"))
	begun.asks("Z", text("BEGIN"))
	inside.asks("ZZ", text("BEGIN"), text("CREATE TABLE t ()"))
	waiter.send(packed(t, text("SELECT 1")))
	r.awaitQueued(t)
	rest := r.config.Databases[proxy.AnyDatabase]
	r.reload(t, without("app"), only)
	if got := idle.until("~"); got != told57P01 {
		t.Errorf("an idle client is told %s", got)
	}
	if got := waiter.until("~"); !strings.Contains(got, "57P01") || !strings.HasSuffix(got, told57P01) {
		t.Errorf("one that waits is told %s", got)
	}
	begun.wants("a transaction that had only begun", "E(57P01) Z(E) C(ROLLBACK) Z(I) "+told57P01, "ZZ~", text("SELECT 1"), text("ROLLBACK"))
	inside.wants("a transaction comes to its end", "C(COMMIT) Z(I) "+told57P01, "Z~", text("COMMIT"))
	kept.wants("another database", one, "Z", text("SELECT 1"))
	if _, err := pgx.Connect(t.Context(), r.named("app")); err == nil || !strings.Contains(err.Error(), "3D000") {
		t.Errorf("a new client is told %v", err)
	}
	r.reload(t, func(c *proxy.Config) { c.Databases[proxy.AnyDatabase] = rest }, named("app", r.upstream, r.database))
	again := logIn(t, r.named("app"))
	again.wants("once it is there again", one, "Z", text("SELECT 1"))
}

func TestReloadChangesLockTimeoutForSessionsUnderWay(t *testing.T) {
	r := startProxy(t)
	lockTimeout := func(d time.Duration) func(*proxy.Config) {
		return withDatabase(func(db *proxy.Database) { db.LockTimeout = d })
	}
	holder, s := logIn(t, r.url), logIn(t, r.url)
	holder.asks("Z", text("SELECT pg_advisory_lock(1)"))
	r.reload(t, lockTimeout(50*time.Millisecond))
	s.wants("the new timeout", "T E(55P03) Z(I)", "Z", text("SELECT pg_advisory_lock(1)"))
	r.reload(t, lockTimeout(time.Hour))
	s.send(packed(t, text("SELECT pg_advisory_lock(1)")))
	r.awaitRow(t, "it waits", "count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
	holder.asks("Z", text("SELECT pg_advisory_unlock(1)"))
	if got := s.until("Z"); !strings.HasSuffix(got, "Z(I)") || strings.Contains(got, "E(") {
		t.Errorf("it gets the lock: %s", got)
	}
}

// A client that keeps its server connection asks the pools for none, so it hears of nothing there.
func TestReloadReachesClientsThatKeepTheirServer(t *testing.T) {
	r := startProxy(t, withDatabase(func(db *proxy.Database) { db.SessionMode = true }))
	lockTimeout := func(d time.Duration) func(*proxy.Config) {
		return withDatabase(func(db *proxy.Database) { db.SessionMode, db.LockTimeout = false, d })
	}
	pins := func() (all []string) {
		for _, s := range r.server.Sessions() {
			all = append(all, strings.Join(s.Pinned, ", "))
		}
		return all
	}
	s := logIn(t, r.url)
	s.wants("in session mode", one, "Z", text("SELECT 1"))
	r.reload(t, lockTimeout(time.Hour))
	s.wants("in transaction mode", one, "Z", text("SELECT 1"))
	await(t, "it keeps its server no longer", func() bool { return slices.Equal(pins(), []string{""}) })

	r.reload(t, func(c *proxy.Config) { c.MaxStatement = 1 << 10 })
	s.wants("a statement that has come to be too long", "E(54000) Z(I)", "Z", text("SELECT 1"+strings.Repeat(" ", 2<<10)))
	r.reload(t, func(c *proxy.Config) { c.MaxStatement = 1 << 20 })
	s.wants("and is no more", one, "Z", text("SELECT 1"+strings.Repeat(" ", 2<<10)))

	holder := logIn(t, r.url)
	holder.asks("Z", text("SELECT pg_advisory_lock(1)"))
	s.asks("ZZ", text("LISTEN x"), text("SELECT pg_advisory_lock(2)"))
	for range 2 {
		r.reload(t, lockTimeout(50*time.Millisecond))
		s.wants("the new lock_timeout", "T E(55P03) Z(I)", "Z", text("SELECT pg_advisory_lock(1)"))
		r.reload(t, lockTimeout(time.Hour))
		s.send(packed(t, text("SELECT pg_advisory_lock(1)")))
		r.awaitRow(t, "it waits", "count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
		holder.asks("ZZ", text("SELECT pg_advisory_unlock(1)"), text("SELECT pg_advisory_lock(3)"))
		if got := s.until("Z"); !strings.HasSuffix(got, "Z(I)") || strings.Contains(got, "E(") {
			t.Fatalf("it gets the lock: %s", got)
		}
		s.wants("the setting is not the client's", "T D(0) C(SHOW) Z(I)", "Z", text("SHOW lock_timeout"))
		s.asks("Z", text("SELECT pg_advisory_unlock(1)"))
		holder.asks("Z", text("SELECT pg_advisory_lock(1)"))
	}
}

func TestReloadThatFailsChangesNothing(t *testing.T) {
	r := startProxy(t, sized(1, 1))
	config := r.config
	config.Databases = map[string]proxy.Database{"app": {URL: "postgres://u@localhost:99999999/x", Admin: pools.Config{Max: 1}, Lock: pools.Config{Max: 1}}}
	if _, err := r.server.Reload(config); err == nil || !strings.Contains(err.Error(), "databases.app") {
		t.Errorf("the error is %v", err)
	}
	logIn(t, r.url).wants("the old configuration", one, "Z", text("SELECT 1"))
}

func TestReloadNamesWhatCannotChange(t *testing.T) {
	r := startProxy(t)
	listen := func(c *proxy.Config) { c.Listen = []string{"127.0.0.1:1"} }
	if got := r.reload(t, listen, sized(3, 3)); len(got) != 1 || got[0] != "server.listen" {
		t.Errorf("what cannot change is %v", got)
	}
	logIn(t, r.url).wants("it listens where it did", one, "Z", text("SELECT 1"))
	if got := r.reload(t, func(c *proxy.Config) { c.Listen = []string{"127.0.0.1:0"} }); len(got) != 0 {
		t.Errorf("nothing was changed, but %v is named", got)
	}
}

func TestReloadReplacesBackendsWhenSecretsChange(t *testing.T) {
	server := postgres.Start(t)
	for _, sql := range []string{"CREATE ROLE app LOGIN PASSWORD 'old'", "CREATE DATABASE app OWNER app"} {
		if _, err := server.Query("postgres", sql); err != nil {
			t.Fatal(err)
		}
	}
	r := startProxyBefore(t, server, func(c *proxy.Config) {
		d := c.Databases[proxy.AnyDatabase]
		d.URL = server.UserURL("app", "old", "app")
		c.Databases["app"] = d
	})
	if _, err := server.Query("app", "CREATE TABLE done (client int, n int); ALTER TABLE done OWNER TO app"); err != nil {
		t.Fatal(err)
	}
	l := begin(t, r.named("app"), 8)
	l.more(20)
	for i := range 4 {
		password := fmt.Sprint("new", i)
		if _, err := server.Query("postgres", "ALTER ROLE app PASSWORD '"+password+"'"); err != nil {
			t.Fatal(err)
		}
		r.reload(t, func(c *proxy.Config) {
			d := c.Databases["app"]
			d.URL = server.UserURL("app", password, "app")
			c.Databases["app"] = d
		})
		l.more(40)
	}
	l.end()
}
