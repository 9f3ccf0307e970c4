package test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/proxy"
)

// info gives what the proxy says of a client.
func (r *rig) info(t testing.TB, s *socket) proxy.SessionInfo {
	t.Helper()
	all := r.server.Sessions()
	i := slices.IndexFunc(all, func(one proxy.SessionInfo) bool { return one.Pid == s.pid })
	if i < 0 {
		t.Fatalf("process id %d is not among %d sessions", s.pid, len(all))
	}
	return all[i]
}

// Many applications say who they are once they have logged in.
func TestApplicationsGoByTheNameThatTheyHaveNow(t *testing.T) {
	r := startProxy(t, sized(1, 1), checkouts(500*time.Millisecond))
	s := logIn(t, r.url, "application_name", "first")
	for _, c := range []struct{ text, name string }{
		{"SET application_name = 'billing'", "billing"}, {"BEGIN; SET application_name = 'undone'; ROLLBACK", "billing"},
		{"SELECT set_config('application_name', 'a function', false)", "a function"}, {"RESET application_name", "first"},
	} {
		s.asks("Z", text(c.text))
		if got := r.info(t, s).ApplicationName; got != c.name {
			t.Errorf("after %s it is %q", c.text, got)
		}
	}
	s.asks("ZZ", text("SET application_name = 'billing'"), text("SELECT pg_advisory_lock(77)"))
	locks, err := r.server.Locks(t.Context())
	if err != nil || len(locks) != 1 || locks[0].ApplicationName != "billing" {
		t.Errorf("locks: %+v %v", locks, err)
	}
	e := fails(t, connect(t, r.url), "53300", "SELECT pg_advisory_lock(1)")
	if !strings.Contains(e.Detail, "by application billing at") {
		t.Errorf("who waits for its slot is told: %s", e.Detail)
	}
}

func TestSessionsAreShownAsTheyAre(t *testing.T) {
	r := startProxyBefore(t, publisher(t), sized(1, 1))
	start := time.Now()
	s := logIn(t, r.url, "application_name", "me")
	got := r.info(t, s)
	if got.Database != r.database || got.User != "postgres" || got.ApplicationName != "me" || got.Address != s.conn.LocalAddr().String() ||
		got.Since.Before(start) || got.State != "idle" || got.BackendPid != 0 || got.Pinned != nil || got.WaitsFor != "" {
		t.Errorf("a client that has just come: %+v", got)
	}
	pid := s.asks("ZZ", text("BEGIN"), text("SELECT pg_backend_pid()"))
	if got = r.info(t, s); got.State != "idle in transaction" || got.BackendPid == 0 || got.Pinned != nil {
		t.Errorf("in a transaction (%s): %+v", pid, got)
	}
	waiter := logIn(t, r.url)
	waiter.send(packed(t, text("SELECT 1")))
	await(t, "it waits for the one slot", func() bool {
		got := r.info(t, waiter)
		return got.State == "active" && got.WaitsFor == "admin" && got.WaitingSince.After(start) && got.BackendPid == 0
	})
	s.asks("ZZ", text("x"), text("ROLLBACK"))
	waiter.until("Z")
	before := time.Now()
	s.asks("Z", text("CREATE TEMP TABLE x ()"))
	await(t, "it is idle", func() bool { got = r.info(t, s); return got.State == "idle" })
	if got.BackendPid == 0 || !slices.Equal(got.Pinned, []string{"temporary table"}) || got.PinnedBy != "CREATE TEMP TABLE x ()" ||
		got.PinnedSince.Before(before) || got.PinnedSince.After(time.Now()) {
		t.Errorf("with a temporary table: %+v", got)
	}
	s.asks("Z", text("DISCARD ALL"))
	await(t, "it gives its server back", func() bool { got = r.info(t, s); return got.BackendPid == 0 })
	if got.Pinned != nil || !got.PinnedSince.IsZero() {
		t.Errorf("without it: %+v", got)
	}
	s.asks("ZZ", text("BEGIN"), text("x"))
	if got = r.info(t, s); got.State != "idle in transaction (aborted)" {
		t.Errorf("in a failed transaction: %+v", got)
	}
	copier := logIn(t, r.url, "replication", "database")
	if got = r.info(t, copier); got.State != "replication" || got.BackendPid == 0 {
		t.Errorf("a replication connection: %+v", got)
	}
	s.conn.Close()
	await(t, "it is gone", func() bool { return len(r.server.Sessions()) == 2 })
}
