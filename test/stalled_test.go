package test

import (
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/proxy"
)

// lockLevels are the two kinds of advisory locks, taken in a transaction that stays open, or for the session.
var lockLevels = []struct{ name, begin, lock string }{
	{"transaction level", "BEGIN", "SELECT pg_advisory_xact_lock(1)"},
	{"session level", "", "SELECT pg_advisory_lock(1)"},
}

// holdLock takes a lock of either level.
func (s *session) holdLock(t testing.TB, begin, lock string) {
	t.Helper()
	if begin != "" {
		s.exec(t, begin)
	}
	s.exec(t, lock)
}

// awaitWaiter waits until somebody waits for an advisory lock in the server.
func (r *rig) awaitWaiter(t testing.TB) {
	t.Helper()
	r.awaitRow(t, "somebody waits for the lock", `count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
}

func TestStalledHolderIsReapedAndItsWaiterGoesOn(t *testing.T) {
	const timeout = 500 * time.Millisecond
	run(t, func(t *testing.T, start starter) {
		r := startProxy(t, withDatabase(func(d *proxy.Database) { d.IdleTransactionTimeout = timeout }))
		noise(t, r.url, 3)
		a := start(t)
		holder, waiter := a.connect(t, r.url), a.connect(t, r.url)
		holder.exec(t, "BEGIN")
		idle := time.Now() // No later than the server's own clock, which starts when it has answered.
		holder.exec(t, "SELECT pg_advisory_xact_lock($1)", "1")
		told := holder.hear()
		waits := waiter.start("SELECT pg_advisory_xact_lock($1)", "1")
		if _, err := waits.wait(t, timeout+2*time.Second); err != nil {
			t.Errorf("the waiter of a stalled holder goes on: %v", err)
		}
		_, err := told.wait(t, time.Second)
		if e := wantError(t, "25P03", "the stalled holder is told at once", err); e.Severity != "FATAL" {
			t.Errorf("the connection of a lost lock ends with FATAL, not %s", e.Severity)
		}
		if waited := time.Since(idle); waited < timeout {
			t.Errorf("the holder was reaped after %v, before its time of %v", waited, timeout)
		}
		if _, err := holder.query("SELECT 1"); err == nil {
			t.Error("the connection of a lost lock still answers")
		}
		waiter.exec(t, "SELECT 1")
		r.awaitNoLocks(t)
	})
}

// A transaction that holds a lock and works is not stalled.
func TestBusyHolderOutlivesTheIdleTimeout(t *testing.T) {
	run(t, func(t *testing.T, start starter) {
		r := startProxy(t, withDatabase(func(d *proxy.Database) { d.IdleTransactionTimeout = 300 * time.Millisecond }))
		s := start(t).connect(t, r.url)
		s.exec(t, "BEGIN")
		s.exec(t, "SELECT pg_advisory_xact_lock(1)")
		s.exec(t, "SELECT pg_sleep(0.8)")
		s.exec(t, "COMMIT")
		s.exec(t, "SET idle_in_transaction_session_timeout = 0") // The application's own wish comes first.
		s.exec(t, "BEGIN")
		s.exec(t, "SELECT pg_advisory_xact_lock(1)")
		if got := s.value(t, "SHOW idle_in_transaction_session_timeout"); got != "0" {
			t.Errorf("an application that set the timeout to 0 has %s", got)
		}
		s.exec(t, "COMMIT")
	})
}

func TestLocksOfAKilledProcessAreFreeWithinASecond(t *testing.T) {
	for _, level := range lockLevels {
		for _, running := range []string{"", "SELECT pg_sleep(60)"} {
			name := level.name + ", idle"
			if running != "" {
				name = level.name + ", in a statement"
			}
			t.Run(name, func(t *testing.T) {
				run(t, func(t *testing.T, start starter) {
					r := startProxy(t)
					noise(t, r.url, 3)
					victim := start(t)
					holder, waiter := victim.connect(t, r.url), start(t).connect(t, r.url)
					holder.holdLock(t, level.begin, level.lock)
					if running != "" {
						holder.start(running)
						r.awaitRow(t, "the holder's statement runs", `count(*) = 1 FROM pg_stat_activity
							WHERE query = 'SELECT pg_sleep(60)' AND state = 'active' AND datname = current_database()`)
					}
					waits := waiter.start("SELECT pg_advisory_lock(1)")
					r.awaitWaiter(t)
					victim.kill()
					if _, err := waits.wait(t, time.Second); err != nil {
						t.Errorf("the waiter goes on: %v", err)
					}
					waiter.exec(t, "SELECT pg_advisory_unlock(1)")
					r.awaitNoLocks(t)
				})
			})
		}
	}
}
