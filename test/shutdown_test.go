package test

import (
	"crypto/tls"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/proxy"
)

const (
	told57P01 = "E(FATAL 57P01) (end)"
	one       = "T D(1) C(SELECT 1) Z(I)"
)

func ending(timeout time.Duration) func(*proxy.Config) {
	return func(c *proxy.Config) { c.ShutdownTimeout = timeout }
}

// ends begins the end of the proxy and gives a channel that says how long it took.
func (r *rig) ends(t testing.TB) <-chan time.Duration {
	t.Helper()
	took, start := make(chan time.Duration, 1), time.Now()
	go func() {
		r.stop()
		took <- time.Since(start)
	}()
	await(t, "the proxy says that it ends", func() bool { return r.log.has("shutting down") })
	return took
}

// awaitGone waits until the server has no connection of the proxy's any more.
func (r *rig) awaitGone(t testing.TB) {
	t.Helper()
	r.awaitRow(t, "the proxy's connections are closed", `count(*) = 0 FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`)
}

func TestShutdownTellsIdleClientsAtOnceAndLetsTransactionsEnd(t *testing.T) {
	r := startProxy(t, ending(patience))
	r.query(t, "CREATE TABLE t (a int)")
	fresh, used, listener, pinned := logIn(t, r.url), logIn(t, r.url), logIn(t, r.url), logIn(t, r.url)
	used.wants("used", one, "Z", text("SELECT 1"))
	listener.asks("Z", text("LISTEN news"))
	pinned.asks("Z", text("CREATE TEMP TABLE x ()"))
	inside, begun, running, batch := logIn(t, r.url), logIn(t, r.url), logIn(t, r.url), logIn(t, r.url)
	inside.asks("ZZ", text("BEGIN"), text("INSERT INTO t VALUES (1)"))
	begun.asks("Z", text("BEGIN")) // It has no backend yet.
	running.runs(r, "SELECT 1 FROM pg_sleep(0.7)")
	batch.asks("1", prepare("", "SELECT 1"), flushNow)
	took := r.ends(t)
	for name, s := range map[string]*socket{"fresh": fresh, "used": used, "listening": listener, "pinned": pinned} {
		if got := s.until("~"); got != told57P01 {
			t.Errorf("an idle client (%s) is told %s", name, got)
		}
	}
	u, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", u.Host); err == nil {
		conn.Close()
		t.Error("a new client is let in")
	}
	inside.wants("a transaction goes on", "C(INSERT 0 1) Z(T) C(COMMIT) Z(I) "+told57P01, "ZZ~", text("INSERT INTO t VALUES (2)"), text("COMMIT"))
	begun.wants("so does one that has only begun", "C(INSERT 0 1) Z(T) C(COMMIT) Z(I) "+told57P01, "ZZ~", text("INSERT INTO t VALUES (3)"), text("COMMIT"))
	batch.wants("and a batch", "2 D(1) C(SELECT 1) Z(I) "+told57P01, "Z~", bindTo("", ""), executing(""), syncNow)
	if got := running.until("Z~"); got != one+" "+told57P01 {
		t.Errorf("a statement comes to its end: %s", got)
	}
	if d := <-took; d > patience/2 {
		t.Errorf("with nobody left there is nothing to wait for, but it took %v", d)
	}
	if got := r.value(t, "SELECT count(*) FROM t"); got != "3" {
		t.Errorf("%s rows of three were committed", got)
	}
	r.awaitGone(t)
}

func TestShutdownWaitsNoLongerThanItsTimeout(t *testing.T) {
	const timeout = 500 * time.Millisecond
	r := startProxy(t, ending(timeout), sized(2, 2))
	r.query(t, "CREATE TABLE t (a int)")
	inside, locker, running, waiter := logIn(t, r.url), logIn(t, r.url), logIn(t, r.url), logIn(t, r.url)
	inside.asks("ZZ", text("BEGIN"), text("INSERT INTO t VALUES (1)"))
	locker.asks("Z", text("SELECT pg_advisory_lock(1)"))
	running.runs(r, "SELECT pg_sleep(65)")
	waiter.send(packed(t, text("SELECT pg_advisory_lock(1)")))
	r.awaitWaiter(t)
	queued := logIn(t, r.url)
	queued.send(packed(t, text("SELECT 1")))
	took := r.ends(t)
	for name, s := range map[string]*socket{"in a transaction": inside, "with a lock": locker, "with a statement": running,
		"waiting for a lock": waiter, "waiting for a backend": queued} {
		got := s.until("~")
		answered := strings.Contains(got, "Z(") && s != waiter // who may get the lock when its holder's end comes first
		if !strings.HasSuffix(got, told57P01) || answered {
			t.Errorf("a client %s is told %s", name, got)
		}
	}
	if d := <-took; d < timeout || d > timeout+3*time.Second {
		t.Errorf("it took %v", d)
	}
	r.awaitGone(t)
	r.awaitNoLocks(t)
	if got := r.value(t, "SELECT count(*) FROM t"); got != "0" {
		t.Errorf("%s rows of a transaction that was ended", got)
	}
}

// Where a process is exchanged for another, a login of several steps must not end in a reset connection.
func TestLoginsUnderWayAreToldOfTheShutdown(t *testing.T) {
	const told = "E(FATAL 57P03) (end)"
	everyLink(t, func(t *testing.T, links func(*proxy.Config)) {
		users := written(t, "userlist.txt", `"postgres" "secret"`)
		s := startSecured(t, proxy.AllowTLS, links, ending(patience), func(c *proxy.Config) { c.Auth = proxy.Auth{Type: proxy.SCRAM, File: users} })
		silent, half, asked, encrypting, both := openSocket(t, s.url), openSocket(t, s.url), openSocket(t, s.url), openSocket(t, s.url), openSocket(t, s.url)
		packet := startup(s.url)
		half.send(packet[:9])
		asked.send(packet)
		asked.until("R")
		for _, one := range []*socket{encrypting, both} {
			one.send([]byte("\x00\x00\x00\x08\x04\xd2\x16\x2f"))
			answer := make([]byte, 1)
			if _, err := io.ReadFull(one.conn, answer); err != nil || answer[0] != 'S' {
				t.Fatalf("got %q, %v", answer, err)
			}
		}
		encrypt := func(one *socket) {
			secure := tls.Client(one.conn, &tls.Config{InsecureSkipVerify: true})
			if err := secure.Handshake(); err != nil {
				t.Fatal(err)
			}
			one.conn = secure
		}
		encrypt(both)
		both.send(packet)
		both.until("R")
		await(t, "all have come", func() bool { return s.server.Snapshot().LoggingIn == 5 })
		took := s.ends(t)
		for name, one := range map[string]*socket{"a login that waits for a proof": asked, "one over TLS": both} {
			if got := one.until("~"); got != told {
				t.Errorf("%s is told %s", name, got)
			}
		}
		if got := silent.until("~"); got != "(end)" {
			t.Errorf("who has said nothing is told %s", got)
		}
		half.send(packet[9:])
		encrypt(encrypting)
		encrypting.send(packet)
		for name, one := range map[string]*socket{"half a startup packet": half, "TLS that begins": encrypting} {
			if got := one.until("~"); got != told {
				t.Errorf("%s is told %s", name, got)
			}
		}
		if d := <-took; d > patience/2 {
			t.Errorf("with nobody left there is nothing to wait for, but it took %v", d)
		}
	})
}

func TestShutdownEndsLoginsAndClientsThatDoNotRead(t *testing.T) {
	r := startProxy(t, ending(300*time.Millisecond))
	half := openSocket(t, r.url)
	half.send(startup(r.url)[:9])
	deaf := logIn(t, r.url)
	deaf.asks("D", text("SELECT repeat('x', 1000000) FROM generate_series(1, 100)"))
	select {
	case <-r.ends(t):
	case <-time.After(patience / 2):
		t.Fatal("the proxy does not end")
	}
	if got := half.until("~"); !strings.HasSuffix(got, "(end)") {
		t.Errorf("a login under way ends with %s", got)
	}
	r.awaitGone(t)
}
