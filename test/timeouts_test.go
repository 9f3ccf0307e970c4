package test

import (
	"strings"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/proxy"
)

// Each timeout on real sockets: what the client is told, that nothing is left behind, and that nobody else is hit.

const (
	toldIdle   = "FATAL 57P05 terminating connection due to idle-session timeout"
	toldInside = "FATAL 25P03 terminating connection due to idle-in-transaction timeout"
	toldAtAll  = "FATAL 25P04 terminating connection due to transaction timeout"
)

// bounded sets timeouts for a user that is not the one that looks on.
func bounded(t proxy.Timeouts) func(*proxy.Config) {
	return func(c *proxy.Config) { c.Users = map[string]proxy.User{"one": {Timeouts: t}} }
}

// wantEnd waits for the end of the connection, which is to come in time, and not too early.
func (s *socket) wantEnd(what string, began time.Time, timeout time.Duration, told string) {
	s.t.Helper()
	got := s.verdict()
	if took := time.Since(began); got != told || took < timeout || took > timeout+5*time.Second {
		s.t.Errorf("%s: the client is told %q after %v, want %q after %v", what, got, took, told, timeout)
	}
}

// awaitIdle waits until no backend of the rig's database does anything, nor is in a transaction.
func (r *rig) awaitIdle(t testing.TB) {
	t.Helper()
	r.awaitRow(t, "all backends are idle", `count(*) = 0 FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND state <> 'idle'`)
	r.awaitNoLocks(t)
}

func TestTimeoutsEndWhatTakesTooLong(t *testing.T) {
	const timeout = 500 * time.Millisecond
	for _, c := range []struct {
		name     string
		timeouts proxy.Timeouts
		do       func(s *socket)
		told     string
	}{
		{"idle", proxy.Timeouts{ClientIdle: timeout}, func(s *socket) { s.asks("Z", text("SELECT 1")) }, toldIdle},
		{"idle with a lock", proxy.Timeouts{ClientIdle: timeout}, func(s *socket) { s.asks("Z", text("SELECT pg_advisory_lock(1)")) }, toldIdle},
		{"idle and listening", proxy.Timeouts{ClientIdle: timeout}, func(s *socket) { s.asks("Z", text("LISTEN news")) }, toldIdle},
		{"idle behind BEGIN", proxy.Timeouts{IdleInTransaction: timeout}, func(s *socket) { s.asks("Z", text("BEGIN")) }, toldInside},
		{"idle in a transaction", proxy.Timeouts{IdleInTransaction: timeout},
			func(s *socket) { s.asks("ZZ", text("BEGIN"), text("CREATE TABLE left_behind (a int)")) }, toldInside},
		{"idle in a transaction with a lock", proxy.Timeouts{IdleInTransaction: timeout},
			func(s *socket) { s.asks("ZZ", text("BEGIN"), text("SELECT pg_advisory_xact_lock(2)")) }, toldInside},
		{"idle in a failed transaction", proxy.Timeouts{IdleInTransaction: timeout},
			func(s *socket) { s.asks("ZZ", text("BEGIN"), text("SELECT 1/0")) }, toldInside},
		{"a transaction's statement", proxy.Timeouts{Transaction: timeout},
			func(s *socket) {
				s.asks("Z", text("BEGIN"))
				s.send(packed(s.t, text("SELECT pg_advisory_xact_lock(3), pg_sleep(65)")))
			}, toldAtAll},
		{"a transaction of one statement", proxy.Timeouts{Transaction: timeout},
			func(s *socket) { s.send(packed(s.t, text("SELECT pg_sleep(66)"))) }, toldAtAll},
		{"a transaction that is idle", proxy.Timeouts{Transaction: timeout},
			func(s *socket) { s.asks("ZZ", text("BEGIN"), text("SELECT 1")) }, toldAtAll},
		{"a COPY whose lines do not come", proxy.Timeouts{Transaction: timeout},
			func(s *socket) { s.asks("G", text("CREATE TABLE u (a int); COPY u FROM STDIN")) }, toldAtAll},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := startProxy(t, bounded(c.timeouts))
			noise(t, r.url, 2)
			other := logIn(t, r.url)
			s := logIn(t, byUser("one", r.url))
			began := time.Now()
			c.do(s)
			s.wantEnd(c.name, began, timeout, c.told)
			other.wants("who has no timeout goes on", one, "Z", text("SELECT 1"))
			r.awaitRow(t, "nothing is left", `count(*) = 0 FROM pg_stat_activity WHERE datname = current_database()
				AND pid <> pg_backend_pid() AND (xact_start < now() - interval '1 second' OR query LIKE '%pg_sleep(6%' AND state = 'active')`)
			r.awaitNoLocks(t)
			if got := r.value(t, "SELECT to_regclass('left_behind') IS NULL"); got != "t" {
				t.Error("the transaction was not rolled back")
			}
		})
	}
}

func TestQueryTimeoutCancelsTheStatementAndTheSessionGoesOn(t *testing.T) {
	const timeout = 400 * time.Millisecond
	r := startProxy(t, func(c *proxy.Config) { c.Timeouts.Query = timeout })
	noise(t, r.url, 2)
	s := logIn(t, r.url)
	s.wants("begin", "C(BEGIN) Z(T) C(CREATE TABLE) Z(T)", "ZZ", text("BEGIN"), text("CREATE TABLE t (a int)"))
	began := time.Now()
	s.send(packed(t, text("SELECT pg_sleep(67)")))
	got := s.verdictOf('E')
	if took := time.Since(began); got != "ERROR 57014 canceling statement due to query_timeout" || took < timeout || took > timeout+5*time.Second {
		t.Errorf("the client is told %q after %v", got, took)
	}
	s.wants("the transaction has failed", "Z(E) C(ROLLBACK) Z(I)", "ZZ", text("ROLLBACK"))
	s.wants("and a batch is no other matter", "1 2 E(57014) Z(I)", "Z",
		prepare("", "SELECT pg_sleep(68)"), bindTo("", ""), executing(""), syncNow)
	s.wants("the session goes on", one, "Z", text("SELECT 1"))
	s.asks("Z", text("SELECT pg_advisory_lock(5)"))
	s.wants("also one that keeps its server", "T E(57014) Z(I)", "Z", text("SELECT pg_sleep(69)"))
	s.wants("which keeps its lock", "T D(t) C(SELECT 1) Z(I)", "Z", text("SELECT pg_advisory_unlock(5)"))
	r.awaitIdle(t)
}

// What bounds how long a session may idle counts for one that has no server connection, too.
func TestSessionsIdleNoLongerThanTheyWantTo(t *testing.T) {
	r := startProxy(t, sized(2, 1))
	noise(t, r.url, 1)
	for _, c := range []struct {
		do   func(s *socket)
		told string
	}{
		{func(s *socket) { s.asks("Z", text("SET idle_session_timeout = '0.4s'")) }, toldIdle},
		{func(s *socket) { s.asks("ZZ", text("SET idle_in_transaction_session_timeout = 400"), text("BEGIN")) }, toldInside},
		{func(s *socket) {
			s.asks("ZZZ", text("SET idle_session_timeout = '400ms'"), text("LISTEN x"), text("SELECT 1"))
		}, toldIdle},
	} {
		s := logIn(t, r.url)
		began := time.Now()
		c.do(s)
		s.wantEnd(c.told, began, 400*time.Millisecond, c.told)
	}
	s := logIn(t, r.url)
	s.asks("ZZ", text("SET idle_session_timeout = '300ms'"), text("SELECT pg_sleep(0.5)"))
	s.asks("ZZZ", text("SET idle_session_timeout = 0"), text("BEGIN"), text("SELECT 1"))
	s.asks("Z", text("COMMIT"))
	for _, one := range []string{"SET idle_session_timeout = '1min'", "RESET idle_session_timeout"} {
		s.wants("it lives on", "C("+strings.Fields(one)[0]+") Z(I)", "Z", text(one))
	}
	byOptions := logIn(t, r.url, "options", "-c idle_session_timeout=300ms")
	began := time.Now()
	byOptions.wantEnd("set by the startup message", began, 250*time.Millisecond, toldIdle)
}

// So does what bounds its transaction, whose BEGIN the server has not heard yet.
func TestATransactionIdlesNoLongerThanItsOwnTimeout(t *testing.T) {
	r := startProxy(t, sized(1, 1))
	if r.value(t, "SHOW server_version_num") < "170000" {
		t.Skip("there is no transaction_timeout before PostgreSQL 17")
	}
	s := logIn(t, r.url)
	began := time.Now()
	s.asks("ZZZ", text("SET idle_in_transaction_session_timeout = '1min'"), text("SET transaction_timeout = '300ms'"), text("BEGIN"))
	s.wantEnd("a transaction without a server", began, 250*time.Millisecond, "FATAL 25P04 terminating connection due to transaction timeout")
}

// A connection that goes back to its pool does not end there for what its last client wanted for itself.
func TestConnectionsOutliveTheBoundOfAClientThatIdles(t *testing.T) {
	r := startProxy(t, sized(1, 1))
	a, b := logIn(t, r.url), logIn(t, r.url)
	began := time.Now()
	a.asks("ZZ", text("SET idle_session_timeout = '300ms'"), text("BEGIN"))
	its := a.value("SELECT pg_backend_pid()")
	if got := a.value("SHOW idle_session_timeout"); got != "300ms" {
		t.Errorf("it is %s for the client", got)
	}
	a.asks("Z", text("COMMIT"))
	a.wantEnd("its own bound", began, 250*time.Millisecond, toldIdle)
	welcomed := logIn(t, r.url, "options", "-c idle_session_timeout=300ms") // by the same connection, which is asked what it reports for that
	began = time.Now()
	welcomed.wantEnd("that of its startup message", began, 250*time.Millisecond, toldIdle)
	r.query(t, "SELECT pg_sleep(0.2)") // the server would have ended it by now
	if now := b.value("SELECT pg_backend_pid()"); now != its {
		t.Errorf("the server process was %s, and is %s", its, now)
	}
}

// B#22: a statement that has to be prepared on another connection begins when it is sent there, and not when that was used last.
func TestStatementsThatArePreparedAgainHaveTheirWholeTime(t *testing.T) {
	for _, sql := range []string{"SELECT pg_sleep(1.5) IS NULL", "SELECT pg_sleep(1.5) IS NULL FROM pg_advisory_xact_lock(5)"} {
		r := startProxy(t, sized(2, 2), func(p *proxy.Config) { p.Timeouts = proxy.Timeouts{Query: time.Hour, Transaction: time.Hour} })
		a, b := logIn(t, r.url), logIn(t, r.url)
		a.asks("Z", prepare("s", sql), describing('S', "s"), syncNow)
		for range 2 {
			a.wants("it runs to its end: "+sql, "2 D(f) C(SELECT 1) Z(I)", "Z", bindTo("", "s"), executing(""), syncNow)
			b.asks("ZZ", text("BEGIN"), text("SELECT 1")) // it has the connection from now on
		}
	}
}

// The wait for a backend is checkout_timeout's: a client that waits neither idles nor runs.
func TestWaitingForABackendIsNeitherIdleNorRunning(t *testing.T) {
	const timeout = 300 * time.Millisecond
	r := startProxy(t, sized(1, 1), checkouts(time.Minute), bounded(proxy.Timeouts{
		ClientIdle: timeout, Query: timeout, Transaction: timeout, IdleInTransaction: timeout,
	}))
	holder := logIn(t, r.url)
	holder.asks("ZZ", text("BEGIN"), text("SELECT 1"))
	for _, inside := range []bool{false, true} {
		s := logIn(t, byUser("one", r.url))
		want := one
		if inside {
			s.asks("Z", text("BEGIN"))
			want = strings.Replace(one, "Z(I)", "Z(T)", 1)
		}
		s.send(packed(t, text("SELECT 1")))
		await(t, "it waits", func() bool {
			for _, i := range r.server.Sessions() {
				if i.User == "one" && i.WaitsFor != "" && time.Since(i.WaitingSince) > 3*timeout {
					return true
				}
			}
			return false
		})
		holder.asks("Z", text("COMMIT"))
		if got := s.until("Z"); got != want {
			t.Errorf("after the wait: %s, want %s", got, want)
		}
		s.conn.Close()
		holder.asks("ZZ", text("BEGIN"), text("SELECT 1"))
	}
}

func TestWhoeverIsInTimeIsLeftAlone(t *testing.T) {
	const timeout = 400 * time.Millisecond
	r := startProxy(t, func(c *proxy.Config) {
		c.Timeouts = proxy.Timeouts{ClientIdle: timeout, Query: timeout, Transaction: time.Minute, IdleInTransaction: timeout}
	})
	s := logIn(t, r.url)
	for end := time.Now().Add(4 * timeout); time.Now().Before(end); {
		s.wants("in time", "C(BEGIN) Z(T) T D() C(SELECT 1) Z(T) C(COMMIT) Z(I)", "ZZZ",
			text("BEGIN"), text("SELECT pg_sleep(0.1)"), text("COMMIT"))
	}
}
