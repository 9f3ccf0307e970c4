package test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// What goes wrong: ROUTING.md, "When things go wrong". Backends that die and clients that are killed while they hold locks
// are in backends_test.go and stalled_test.go.

// vanishing is what a client may be in the middle of when it vanishes. Table t (a int) is there and empty.
var vanishing = []struct {
	name string
	do   func(t testing.TB, r *rig, s *socket)
}{
	{"idle", func(testing.TB, *rig, *socket) {}},
	{"idle in a transaction", func(t testing.TB, r *rig, s *socket) {
		s.wants("write", "C(BEGIN) Z(T) C(INSERT 0 1) Z(T)", "ZZ", text("BEGIN"), text("INSERT INTO t VALUES (1)"))
	}},
	{"in a failed transaction", func(t testing.TB, r *rig, s *socket) {
		s.asks("ZZZ", text("BEGIN"), text("INSERT INTO t VALUES (1)"), text("SELECT 1/0"))
	}},
	{"in a statement", func(t testing.TB, r *rig, s *socket) { s.runs(r, "SELECT pg_sleep(61)") }},
	{"in a statement of a transaction", func(t testing.TB, r *rig, s *socket) {
		s.asks("ZZ", text("BEGIN"), text("INSERT INTO t VALUES (1)"))
		s.runs(r, "SELECT pg_sleep(62)")
	}},
	{"in a batch without its Sync", func(t testing.TB, r *rig, s *socket) {
		s.asks("C", prepare("", "INSERT INTO t VALUES (1)"), bindTo("", ""), executing(""), flushNow)
	}},
	{"holding locks of both levels", func(t testing.TB, r *rig, s *socket) {
		s.asks("ZZZ", text("SELECT pg_advisory_lock(1), pg_advisory_lock(1)"), text("BEGIN"), text("SELECT pg_advisory_xact_lock(2)"))
	}},
	{"waiting for a lock in the server", func(t testing.TB, r *rig, s *socket) {
		s.runs(r, "SELECT pg_advisory_lock(3)")
		r.awaitWaiter(t)
	}},
	{"waiting for a backend", func(t testing.TB, r *rig, s *socket) {
		other := logIn(t, r.url)
		other.runs(r, "SELECT pg_sleep(0.5)")
		s.send(packed(t, text("INSERT INTO t VALUES (1)")))
	}},
	{"waiting for its lock slot", func(t testing.TB, r *rig, s *socket) {
		holder := logIn(t, r.url)
		holder.asks("ZZ", text("BEGIN"), text("SELECT pg_advisory_xact_lock(4)"))
		s.asks("ZZ", text("BEGIN"), text("INSERT INTO t VALUES (1)"))
		s.send(packed(t, text("SELECT pg_advisory_xact_lock(5)")))
		time.AfterFunc(300*time.Millisecond, func() { holder.conn.Close() })
	}},
	{"in COPY FROM STDIN", func(t testing.TB, r *rig, s *socket) {
		s.asks("G", text("COPY t FROM STDIN"), copied("1\n"))
	}},
	{"in COPY TO STDOUT that it does not read", func(t testing.TB, r *rig, s *socket) {
		s.asks("H", text("BEGIN; SELECT pg_advisory_xact_lock(6); COPY (SELECT repeat('x', 1000) FROM generate_series(1, 200000)) TO STDOUT; COMMIT"))
		r.awaitBlocked(t)
	}},
	{"in a large result that it does not read", func(t testing.TB, r *rig, s *socket) {
		s.asks("D", text("SELECT pg_advisory_lock(7); SELECT repeat('x', 1000000) FROM generate_series(1, 200)"))
		r.awaitBlocked(t)
	}},
	{"in the middle of a row", func(t testing.TB, r *rig, s *socket) {
		s.asks("T", text("SELECT repeat('x', 100000000)"))
		r.awaitBlocked(t)
	}},
	{"in a large message of its own", func(t testing.TB, r *rig, s *socket) {
		s.asks("Z", text("SELECT pg_advisory_lock(8)"))
		whole := packed(t, prepare("", "SELECT length($1)"), bindTo("", "", strings.Repeat("x", 20<<20)))
		s.send(whole[:10<<20])
	}},
	{"in a large message behind a statement that runs", func(t testing.TB, r *rig, s *socket) {
		s.runs(r, "SELECT pg_sleep(63)")
		whole := packed(t, prepare("", "SELECT length($1)"), bindTo("", "", strings.Repeat("x", 900<<10)))
		s.send(whole[:800<<10])
	}},
}

// runs starts a statement and waits until the server runs it.
func (s *socket) runs(r *rig, sql string) {
	s.t.Helper()
	s.send(packed(s.t, text(sql)))
	r.awaitRow(s.t, sql+" runs", fmt.Sprintf(`count(*) = 1 FROM pg_stat_activity
		WHERE query = '%s' AND state = 'active' AND datname = current_database()`, sql))
}

// awaitBlocked waits until a backend cannot write because nobody reads.
func (r *rig) awaitBlocked(t testing.TB) {
	t.Helper()
	r.awaitRow(t, "the server waits for its client to read", `count(*) = 1 FROM pg_stat_activity
		WHERE datname = current_database() AND wait_event = 'ClientWrite'`)
}

func TestAClientThatVanishesLeavesNothing(t *testing.T) {
	for _, c := range vanishing {
		for _, how := range []string{"reset", "end", "half"} {
			t.Run(c.name+", "+how, func(t *testing.T) {
				r := startProxy(t, sized(1, 1))
				r.query(t, "CREATE TABLE t (a int)")
				before := dial(t, r.direct) // so that somebody holds the lock that is waited for
				if strings.HasSuffix(c.name, "lock in the server") {
					if err := before.Exec(context.Background(), "SELECT pg_advisory_lock(3)").Close(); err != nil {
						t.Fatal(err)
					}
				}
				s := logIn(t, r.url)
				c.do(t, r, s)
				switch how {
				case "reset":
					s.conn.(*net.TCPConn).SetLinger(0)
					s.conn.Close()
				case "end":
					s.conn.Close()
				case "half": // It will send nothing more, and goes on not to read.
					s.conn.(*net.TCPConn).CloseWrite()
				}
				awaitWithin(t, 3*time.Second, "the server has come to rest, and nobody but the other holds a lock", func() bool {
					return r.value(t, `SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
						AND pid <> pg_backend_pid() AND state <> 'idle') + (SELECT count(*) FROM pg_locks
						WHERE locktype = 'advisory' AND objid <> 3 AND
						database = (SELECT oid FROM pg_database WHERE datname = current_database()))`) == "0"
				})
				if err := before.Close(context.Background()); err != nil {
					t.Fatal(err)
				}
				r.awaitNoLocks(t)
				next := logIn(t, r.url)
				next.wants("both slots are free, and nothing was written", "T D(0) C(SELECT 1) Z(I) C(BEGIN) Z(T) T D() C(SELECT 1) Z(T) C(COMMIT) Z(I)",
					"ZZZZ", text("SELECT count(*) FROM t"), text("BEGIN"), text("SELECT pg_advisory_xact_lock(9)"), text("COMMIT"))
			})
		}
	}
}

// A lock that is taken where no text tells: the backend must not go to anybody with it.
func TestALockThatNoSessionHoldsIsFoundAndReported(t *testing.T) {
	r := startProxy(t, sized(1, 1))
	r.query(t, "CREATE TABLE t AS SELECT 1 AS a")
	s := logIn(t, r.url)
	n := 0
	// hides runs a function that has just been made, past the proxy, which learns of it within a second: most often not before.
	hides := func(found func() bool) {
		t.Helper()
		for range 5 {
			n++
			name := fmt.Sprintf("hidden%d()", n)
			r.query(t, "CREATE FUNCTION "+name+" RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_lock(4711); RETURN 1; END'")
			s.wants("the client sees nothing", "T D(1) C(SELECT 1) Z(I)", "Z", text("SELECT "+name))
			if awaits(5*time.Second, found) {
				return
			}
			s.asks("Z", text("SELECT pg_advisory_unlock_all()"))
		}
		t.Fatal("the lock is not reported")
	}
	hides(func() bool {
		return r.log.has("an advisory lock was found that no session holds", "level=WARN", "SELECT hidden")
	})
	r.awaitNoLocks(t)
	for range 20 { // Found while its backend is busy, too.
		s.wants("the client is unharmed", "T D(1) C(SELECT 1) Z(I)", "Z", text("SELECT count(*) FROM t"))
	}
	r.log.forget()
	noise(t, r.url, 2)
	hides(func() bool { return r.log.has("an advisory lock was found that no session holds") })
	r.awaitNoLocks(t)
}

func TestTheWaitForALockIsBoundedAndOtherWaitsAreNot(t *testing.T) {
	r := startProxy(t, withDatabase(func(d *proxy.Database) { d.LockTimeout = 300 * time.Millisecond }))
	r.query(t, "CREATE TABLE t (a int)")
	holder, waiter := logIn(t, r.url), logIn(t, r.url)
	inside := logIn(t, r.url)
	inside.asks("Z", text("SELECT pg_advisory_lock(3)"))
	holder.asks("ZZ", text("BEGIN; LOCK TABLE t"), text("SELECT pg_advisory_lock(1)"))
	waiter.wants("55P03 is PostgreSQL's own", "T E(55P03) Z(I)", "Z", text("SELECT pg_advisory_xact_lock(1)"))
	waiter.wants("the session lives on", "T D(1) C(SELECT 1) Z(I)", "Z", text("SELECT 1"))
	waiter.asks("ZZ", text("BEGIN"), text("SELECT pg_advisory_xact_lock(2)"))
	waiter.send(packed(t, text("SELECT count(*) FROM t")))
	trier := logIn(t, r.url)
	trier.send(packed(t, text("SELECT count(*) FROM t WHERE pg_try_advisory_xact_lock(4)")))
	inside.send(packed(t, text("SELECT pg_advisory_unlock(3); SELECT count(*) FROM t")))
	r.awaitRow(t, "they wait for the table", "count(*) = 3 FROM pg_locks WHERE NOT granted AND relation = 't'::regclass")
	time.Sleep(600 * time.Millisecond) // There is nothing to await: the timeout must not come.
	holder.asks("Z", text("ROLLBACK"))
	if got := waiter.until("Z"); got != "T D(0) C(SELECT 1) Z(T)" {
		t.Errorf("the timeout of the lock pool bounds advisory locks alone: %s", got)
	}
	if got := trier.until("Z"); got != "T D(0) C(SELECT 1) Z(I)" {
		t.Errorf("who only tries never waits for one: %s", got)
	}
	if got := inside.until("Z"); got != "T D(t) C(SELECT 1) T D(0) C(SELECT 1) Z(I)" {
		t.Errorf("nor does who gives one back: %s", got)
	}
}

func TestARestartOfTheServerUnderIdleClientsIsNotNoticed(t *testing.T) {
	server := postgres.Start(t)
	r := startProxyBefore(t, server)
	var clients []*socket
	for range 10 {
		clients = append(clients, logIn(t, r.url))
	}
	for _, s := range clients {
		s.wants("before", "T D(1) C(SELECT 1) Z(I)", "Z", text("SELECT 1"))
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	for _, s := range clients {
		s.wants("after", "T D(1) C(SELECT 1) Z(I)", "Z", text("SELECT 1"))
	}
}

// pg_ctl stop -m smart waits until everybody has gone: idle connections must not keep the server, nor those that go from client to client.
func TestAServerThatShutsDownOnceAllHaveGoneIsLetGoOf(t *testing.T) {
	server := postgres.Start(t)
	r := startProxyBefore(t, server, withDatabase(func(d *proxy.Database) { d.Admin.MinIdle = 2 }))
	r.query(t, "CREATE TABLE t (a int)")
	busy, s := logIn(t, r.url), logIn(t, r.url)
	s.asks("Z", text("SELECT 1"))
	busy.asks("ZZ", text("BEGIN"), text("INSERT INTO t VALUES (1)"))
	stopped := make(chan error, 1)
	go func() { stopped <- server.Stop(postgres.Smart) }()
	await(t, "nobody is let in any more", func() bool {
		conn, err := pgconn.Connect(context.Background(), r.direct)
		if err == nil {
			conn.Close(context.Background())
		}
		return err != nil && strings.Contains(err.Error(), "57P03")
	})
	s.asks("Z", text("SELECT pg_advisory_xact_lock(1)"))
	s.wants("in the server's words", "E(57P03) Z(I)", "Z", text("SELECT 1"))
	busy.wants("who is in a transaction ends it", "C(INSERT 0 1) Z(T) C(COMMIT) Z(I)", "ZZ", text("INSERT INTO t VALUES (2)"), text("COMMIT"))
	select {
	case err := <-stopped:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("it waits for somebody")
	}
	if err := server.StartAgain(context.Background()); err != nil {
		t.Fatal(err)
	}
	await(t, "the session works again", func() bool { return s.asks("Z", text("SELECT count(*) FROM t")) == "T D(2) C(SELECT 1) Z(I)" })
}

// B#998, S#964, B#946: while no server answers clients are told so fast, and when one does nobody must restart anything.
func TestAServerThatIsDownIsToldFastAndItsReturnIsNoticed(t *testing.T) {
	server := postgres.Start(t)
	r := startProxyBefore(t, server)
	s := logIn(t, r.url)
	s.asks("Z", text("SELECT 1"))
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	const fast = 2 * time.Second // The checkout timeout is 5 s.
	for range 3 {
		start := time.Now()
		if got := s.asks("Z", text("SELECT 1")); !strings.HasSuffix(got, " Z(I)") || !strings.HasPrefix(got, "E(08") {
			t.Errorf("a client of a dead server is told %s", got)
		}
		if took := time.Since(start); took > fast {
			t.Errorf("it took %v", took)
		}
	}
	start := time.Now()
	_, err := pgconn.Connect(context.Background(), withParameter(t, r.url, "search_path", "x"))
	if took := time.Since(start); err == nil || !strings.Contains(err.Error(), "refused") || took > fast {
		t.Errorf("a new client is told %v after %v; the dialler said that the connection was refused", err, took)
	}
	if err := server.StartAgain(context.Background()); err != nil {
		t.Fatal(err)
	}
	await(t, "the session works again", func() bool { return s.asks("Z", text("SELECT 1")) == "T D(1) C(SELECT 1) Z(I)" })
	logIn(t, withParameter(t, r.url, "search_path", "x"))
}

// B#46, B#919: clients of a dropped database waited for ever.
func TestClientsOfADroppedDatabaseAreToldSo(t *testing.T) {
	r := startProxy(t)
	noise(t, r.elsewhere(), 2)
	s := logIn(t, r.url)
	s.asks("Z", text("SELECT 1"))
	if _, err := r.upstream.Query("postgres", "DROP DATABASE "+r.database+" WITH (FORCE)"); err != nil {
		t.Fatal(err)
	}
	s.wants("in the server's words", "E(3D000) Z(I)", "Z", text("SELECT 1"))
	late := openSocket(t, r.url)
	late.send(startup(r.url, "work_mem", "1MB"))
	if got := late.until("Z"); !strings.HasPrefix(got, "E(FATAL 3D000)") {
		t.Errorf("a new client is told %s", got)
	}
}

// The server has fewer connections than the pools may have: whoever gets none is told so or waits, nobody hangs.
func TestAFullServerIsToldOrWaitedFor(t *testing.T) {
	server := postgres.Start(t, postgres.MaxConnections(10), postgres.Setting("superuser_reserved_connections", "4"))
	if _, err := server.Query("postgres", "CREATE ROLE app LOGIN"); err != nil {
		t.Fatal(err)
	}
	r := startProxyBefore(t, server, sized(20, 5))
	r.url = strings.Replace(r.url, "//postgres@", "//app@", 1)
	var all sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]int{}
	for range 15 {
		s := logIn(t, r.url)
		all.Go(func() {
			for range 10 {
				got := s.asks("Z", text("SELECT pg_sleep(0.05)"))
				mu.Lock()
				answers[got]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	const worked, full = "T D() C(SELECT 1) Z(I)", "E(53300) Z(I)"
	if answers[worked]+answers[full] != 150 || answers[worked] < 10 {
		t.Errorf("answers: %v", answers)
	}
	t.Logf("%v", answers)
	last := logIn(t, r.url)
	await(t, "afterwards all is well", func() bool { return last.asks("Z", text("SELECT 1")) == "T D(1) C(SELECT 1) Z(I)" })
}
