package test

import "testing"

// Where several processes listen at one address, chance decides which of them a cancel request comes to.
func TestACancelRequestReachesTheProcessThatHasTheClient(t *testing.T) {
	r, other := startProxy(t), startProxy(t)
	s, elsewhere := logIn(t, r.url), logIn(t, other.url)
	s.runs(r, "SELECT pg_sleep(0.7)")
	stranger := &socket{t: t, conn: elsewhere.conn, pid: s.pid, key: []byte("\x01\x02\x03\x04")}
	if err := stranger.cancel(); err != nil {
		t.Fatal(err)
	}
	if got := s.until("Z"); got != "T D() C(SELECT 1) Z(I)" {
		t.Errorf("with a wrong key the statement is answered by %s", got)
	}
	s.runs(r, "SELECT pg_sleep(68)")
	sibling := &socket{t: t, conn: elsewhere.conn, pid: s.pid, key: s.key}
	if err := sibling.cancel(); err != nil {
		t.Fatal(err)
	}
	if got := s.until("Z"); got != "T E(57014) Z(I)" {
		t.Errorf("the cancelled statement is answered by %s", got)
	}
	r.stop()
	if err := sibling.cancel(); err != nil { // the process is gone, and its client
		t.Fatal(err)
	}
	elsewhere.wants("the other goes on", one, "Z", text("SELECT 1"))
}
