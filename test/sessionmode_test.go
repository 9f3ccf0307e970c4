package test

import (
	"fmt"
	"testing"

	"github.com/lockproxy/lockproxy/proxy"
)

// Pool mode "session": one backend for a client's life, and no longer.

// inSessionMode gives the clients of the one database entry a backend each.
var inSessionMode = withDatabase(func(d *proxy.Database) { d.SessionMode = true })

func TestSessionModeClientsLiveOnOneBackend(t *testing.T) {
	r := startProxy(t, inSessionMode, sized(2, 1))
	r.query(t, "CREATE SEQUENCE s")
	one, other := logIn(t, r.url), logIn(t, r.url)
	backend := one.value("SELECT pg_backend_pid()")
	if other.value("SELECT pg_backend_pid()") == backend {
		t.Error("two clients have one backend")
	}
	one.wants("its state is made", "C(SET) Z(I) C(PREPARE) Z(I) C(CREATE TABLE AS) Z(I) T D(1) C(SELECT 1) Z(I) 1 Z(I)", "ZZZZZ",
		text("SET work_mem = '7MB'"), text("PREPARE p AS SELECT 1"), text("CREATE TEMP TABLE t AS SELECT 2 AS a WITH NO DATA"),
		text("SELECT nextval('s')"), prepare("q", "SELECT 3"), syncNow)
	one.wants("a failed transaction changes nothing", "C(BEGIN) Z(T) E(22012) Z(E) C(ROLLBACK) Z(I)", "ZZZ",
		text("BEGIN"), text("SELECT 1/0"), text("ROLLBACK"))
	one.wants("it is there", "T D(7MB) C(SHOW) Z(I) T D(1) C(SELECT 1) Z(I) C(INSERT 0 1) Z(I) T D(1) C(SELECT 1) Z(I) 2 D(3) C(SELECT 1) Z(I)", "ZZZZZ",
		text("SHOW work_mem"), text("EXECUTE p"), text("INSERT INTO t VALUES (1)"), text("SELECT currval('s')"),
		bindTo("", "q"), executing(""), syncNow)
	if now := one.value("SELECT pg_backend_pid()"); now != backend {
		t.Errorf("backend %s has become %s", backend, now)
	}
}

func TestSessionModeClientsThatLeaveGiveTheirBackendBackClean(t *testing.T) {
	for _, how := range []string{"politely", "in a transaction", "without a word"} {
		t.Run(how, func(t *testing.T) {
			r := startProxy(t, inSessionMode, sized(1, 1))
			r.query(t, "CREATE SEQUENCE s")
			one := logIn(t, r.url)
			backend := one.value("SELECT pg_backend_pid()")
			one.asks("ZZZZZ", text("SET work_mem = '7MB'"), text("PREPARE p AS SELECT 1"), text("CREATE TEMP TABLE t ()"), text("LISTEN news"),
				text("SELECT nextval('s')"))
			if how == "in a transaction" {
				one.asks("ZZ", text("BEGIN"), text("CREATE TABLE left_behind ()"))
			}
			if how == "politely" {
				one.send(packed(t, leaving))
			}
			one.conn.Close()
			other := logIn(t, r.url)
			want := fmt.Sprintf("T D(%s,4MB,NULL,NULL,0,0) C(SELECT 1) Z(I)", backend)
			other.wants("the next client has it, and nothing else", want, "Z", text(`SELECT pg_backend_pid(), current_setting('work_mem'),
				to_regclass('t'), to_regclass('left_behind'), (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_listening_channels())`))
			other.wants("nor a sequence's value", "T E(55000) Z(I)", "Z", text("SELECT currval('s')"))
		})
	}
}

func TestSessionModeClientsEndWithTheirBackend(t *testing.T) {
	for _, c := range []struct {
		name    string
		begin   string
		running string
		die     func(t testing.TB, r *rig, cable *relay)
		told    string
	}{
		{"idle, ended by an administrator", "", "", terminateAll, "FATAL 57P01 terminating connection due to administrator command"},
		{"in a statement, ended by an administrator", "", "SELECT pg_sleep(60)", terminateAll, "FATAL 57P01 terminating connection due to administrator command"},
		{"in a transaction, ended by an administrator", "BEGIN", "", terminateAll, "FATAL 57P01 terminating connection due to administrator command"},
		{"idle, the network is cut", "", "", cutNetwork, "FATAL 57P01 the server closed the connection unexpectedly"},
		{"in a statement, the network is cut", "", "SELECT pg_sleep(60)", cutNetwork, "FATAL 57P01 the server closed the connection unexpectedly"},
		{"in a transaction, the network is cut", "BEGIN", "", cutNetwork, "FATAL 57P01 the server closed the connection unexpectedly"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cable := startRelay(t, upstream(t))
			r := startProxy(t, cable.behind(), inSessionMode)
			s := logIn(t, r.url)
			s.asks("Z", text("SELECT 1"))
			if c.begin != "" {
				s.asks("Z", text(c.begin))
				s.asks("Z", text("SELECT 1"))
			}
			if c.running != "" {
				s.runs(r, c.running)
			}
			c.die(t, r, cable)
			if got := s.verdict(); got != c.told {
				t.Errorf("it is told %q, not %q", got, c.told)
			}
			if kind, _ := s.next(); kind != 0 {
				t.Errorf("its connection goes on with %q", kind)
			}
			r.terminateLeft(t)
		})
	}
}

// A backend that nobody has used dies for nobody.
func TestSessionModeClientsThatHaveHadNoBackendLoseNothing(t *testing.T) {
	r := startProxy(t, inSessionMode, sized(1, 1))
	logIn(t, r.url) // which was welcomed with what a backend said
	s := logIn(t, r.url)
	terminateAll(t, r, nil)
	await(t, "the proxy knows", func() bool { return r.log.has("an idle backend is dropped") })
	s.wants("it is given another", "T D(1) C(SELECT 1) Z(I)", "Z", text("SELECT 1"))
}

func TestSessionModeStatementsAreCancelled(t *testing.T) {
	r := startProxy(t, inSessionMode, sized(1, 1))
	s := logIn(t, r.url)
	s.asks("Z", text("CREATE TEMP TABLE t ()"))
	for _, begin := range []string{"SELECT 1", "BEGIN"} {
		s.asks("Z", text(begin))
		s.runs(r, "SELECT pg_sleep(60)")
		if err := s.cancel(); err != nil {
			t.Fatal(err)
		}
		want := "T E(57014) Z(I)"
		if begin == "BEGIN" {
			want = "T E(57014) Z(E)"
		}
		if got := s.until("Z"); got != want {
			t.Errorf("behind %s it is answered by %s", begin, got)
		}
	}
	s.wants("its session lives on", "C(ROLLBACK) Z(I) T C(SELECT 0) Z(I)", "ZZ", text("ROLLBACK"), text("SELECT FROM t"))
}
