package test

import (
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// What becomes of a backend when nobody knows what became of a cancel request for it.

// stopPostmaster has a server accept nobody until the function that it gives is called: connections wait in the kernel, and those that
// there are go on.
func (r *rig) stopPostmaster(t testing.TB) (goOn func()) {
	t.Helper()
	line, _, _ := strings.Cut(r.value(t, "SELECT pg_read_file('postmaster.pid')"), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	signal := func(s syscall.Signal) {
		if err := syscall.Kill(pid, s); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	t.Cleanup(func() { signal(syscall.SIGCONT) })
	return func() { signal(syscall.SIGCONT) }
}

// impatient bounds the wait for an answer to a cancel request.
var impatient = withDatabase(func(d *proxy.Database) { d.URL += "&connect_timeout=1" })

func TestACancelRequestThatComesLateHitsNobodyElse(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, s *socket)
	}{
		{"of a client's", func(t *testing.T, s *socket) {
			if err := s.cancel(); err != nil {
				t.Fatal(err)
			}
		}},
		{"for a client that has vanished", func(t *testing.T, s *socket) { s.conn.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := startProxyBefore(t, postgres.Start(t), sized(1, 1), impatient)
			r.query(t, "CREATE TABLE t ()")
			one, other, gate := logIn(t, r.url), logIn(t, r.url), logIn(t, r.direct)
			waits := func() bool { return gate.value("SELECT count(*) FROM pg_locks WHERE NOT granted") == "1" }
			gate.asks("ZZ", text("BEGIN"), text("LOCK TABLE t"))
			one.send(packed(t, text("SELECT count(*) FROM t")))
			await(t, "the first client's statement runs", waits)
			goOn := r.stopPostmaster(t)
			c.do(t, one)
			await(t, "the request is on its way", func() bool { return r.log.has("a cancel request failed", "may still get") })
			gate.asks("Z", text("COMMIT"))
			gate.asks("ZZ", text("BEGIN"), text("LOCK TABLE t"))
			other.send(packed(t, text("SELECT count(*) FROM t")))
			await(t, "it has a backend, or there is none any more", func() bool {
				return waits() || r.log.has("a backend is closed", "late cancel request")
			})
			goOn()
			await(t, "the other client's statement runs", waits)
			r.query(t, "SELECT 'whatever was accepted before is done'")
			gate.asks("Z", text("COMMIT"))
			if got := other.until("Z"); got != "T D(0) C(SELECT 1) Z(I)" {
				t.Errorf("the other client's statement is answered by %s", got)
			}
		})
	}
}

// A request that certainly never arrives costs nothing.
func TestACancelRequestThatNobodyTakesCostsNoBackend(t *testing.T) {
	cable := startRelay(t, upstream(t))
	r := startProxy(t, cable.behind(), sized(1, 1))
	r.query(t, "CREATE TABLE t ()")
	s, gate := logIn(t, r.url), logIn(t, r.direct)
	backend := s.value("SELECT pg_backend_pid()")
	gate.asks("ZZ", text("BEGIN"), text("LOCK TABLE t"))
	s.send(packed(t, text("SELECT count(*) FROM t")))
	await(t, "its statement runs", func() bool { return gate.value("SELECT count(*) FROM pg_locks WHERE NOT granted") == "1" })
	cable.listener.Close()
	if err := s.cancel(); err != nil {
		t.Fatal(err)
	}
	await(t, "the request is refused", func() bool { return r.log.has("a cancel request failed", "refused") })
	gate.asks("Z", text("COMMIT"))
	if got := s.until("Z"); got != "T D(0) C(SELECT 1) Z(I)" {
		t.Errorf("the statement is answered by %s", got)
	}
	if now := s.value("SELECT pg_backend_pid()"); now != backend {
		t.Errorf("backend %s has become %s", backend, now)
	}
}
