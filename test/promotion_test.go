package test

import (
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/lockproxy/lockproxy/proxy"
)

// writeThenLock is a transaction that begins in the admin pool and takes a lock later. It tells whether it committed:
// not where it was refused with 53300, which may happen at every statement that needs a slot.
func writeThenLock(s *session, number string, key string) (committed bool, err error) {
	for _, step := range []struct {
		sql  string
		args []string
	}{
		{"BEGIN", nil},
		{"INSERT INTO jobs (key) VALUES ($1)", []string{number}},
		{"SELECT pg_advisory_xact_lock($1)", []string{key}},
		{"COMMIT", nil},
	} {
		_, err := s.query(step.sql, step.args...)
		if e := (*appError)(nil); errors.As(err, &e) && e.Code == "53300" {
			_, err = s.query("ROLLBACK")
			return false, err
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// lockForAWhile holds locks in transactions of the lock pool until it is stopped, with work in between on another
// connection, as the other half of those who compete for slots.
func lockForAWhile(holder, worker *session, stop *atomic.Bool) error {
	for n := 0; !stop.Load(); n++ {
		for _, step := range []struct {
			on  *session
			sql string
		}{
			{holder, "BEGIN"},
			{holder, "SELECT pg_advisory_xact_lock(" + strconv.Itoa(n%3) + ")"},
			{worker, "SELECT pg_sleep(0.002)"},
			{holder, "COMMIT"},
		} {
			_, err := step.on.query(step.sql)
			if e := (*appError)(nil); errors.As(err, &e) && e.Code == "53300" {
				_, err = holder.query("ROLLBACK")
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// timedOut is what the proxy logs when a checkout comes to its timeout.
var timedOut = []string{"a checkout was refused", "cause=timeout"}

// More transactions than both pools together have slots write first and lock later, while others hold locks and ask for
// admin slots: the wait graph has no cycle, so the run ends, and no checkout ever comes to its timeout.
func TestPromotionsAlwaysEndInACommitOrARefusal(t *testing.T) {
	const clients, transactions = 16, 8
	run(t, func(t *testing.T, start starter) {
		r := startProxy(t, sized(3, 3), checkouts(patience))
		r.query(t, createJobs)
		noise(t, r.url, 3, "53300")
		a := start(t)
		var commits, refusals atomic.Int32
		var writers, holders sync.WaitGroup
		var stop atomic.Bool
		for range 2 {
			holder, worker := a.connect(t, r.url), a.connect(t, r.url)
			holders.Go(func() {
				if err := lockForAWhile(holder, worker, &stop); err != nil {
					t.Errorf("a holder of locks: %v", err)
				}
			})
		}
		for i := range clients {
			s := a.connect(t, r.url)
			writers.Go(func() {
				for n := range transactions {
					if r.log.has(timedOut...) {
						return
					}
					committed, err := writeThenLock(s, strconv.Itoa(i), strconv.Itoa(n%4))
					if err != nil {
						t.Errorf("client %d: neither committed nor refused: %v", i, err)
						return
					}
					if refusals.Add(1); committed {
						refusals.Add(-1)
						commits.Add(1)
					}
				}
			})
		}
		writers.Wait()
		stop.Store(true)
		holders.Wait()
		t.Logf("%d committed, %d refused", commits.Load(), refusals.Load())
		if commits.Load() == 0 || commits.Load()+refusals.Load() != clients*transactions {
			t.Errorf("of %d transactions %d committed and %d were refused", clients*transactions, commits.Load(), refusals.Load())
		}
		if r.log.has(timedOut...) {
			t.Fatal("somebody waited for a slot until the checkout timeout: there was a cycle, and only the timeout broke it")
		}
		if got := r.value(t, "SELECT count(*) FROM jobs"); got != strconv.Itoa(int(commits.Load())) {
			t.Errorf("%d transactions committed, but there are %s rows", commits.Load(), got)
		}
		r.awaitNoLocks(t)
		r.awaitRow(t, "no transaction is left open", `count(*) = 0 FROM pg_stat_activity
			WHERE datname = current_database() AND state LIKE 'idle in transaction%'`)
	})
}

// With room in the lock pool and nobody in the way, a promotion just happens, and its slot goes back afterwards.
func TestTransactionThatLocksLaterIsPromoted(t *testing.T) {
	run(t, func(t *testing.T, start starter) {
		r := startProxy(t, sized(1, 1))
		r.query(t, createJobs)
		a := start(t)
		writer, other := a.connect(t, r.url), a.connect(t, r.url)
		for range 3 {
			writer.exec(t, "BEGIN")
			writer.exec(t, "INSERT INTO jobs (key) VALUES ($1)", "a")
			waits := other.start("SELECT count(*) FROM jobs")
			r.mustWait(t, waits, "the one admin slot is the writer's")
			writer.exec(t, "SELECT pg_advisory_xact_lock($1)", "1")
			if _, err := waits.wait(t, patience); err != nil {
				t.Errorf("the admin slot is free once the writer was promoted: %v", err)
			}
			writer.exec(t, "COMMIT")
		}
		r.awaitNoLocks(t)
	})
}

// mustWait sees that a call has no answer for a moment.
func (r *rig) mustWait(t testing.TB, p *pending, why string) {
	t.Helper()
	select {
	case <-p.done:
		t.Fatalf("%s is answered (%v), but it has to wait: %s", p.what, p.err, why)
	case <-time.After(50 * time.Millisecond):
	}
}

// A session that keeps its connection for something else is in the lock pool only while it needs to be.
func TestALockSlotIsGivenBackWithTheLastLock(t *testing.T) {
	session := withDatabase(func(d *proxy.Database) { d.SessionMode = true })
	for _, c := range []struct {
		name    string
		tune    func(c *proxy.Config)
		before  string
		lock    []string
		release []string
	}{
		{"LISTEN", nil, "LISTEN x", []string{"SELECT pg_advisory_lock(1)"}, []string{"SELECT pg_advisory_unlock(1)"}},
		{"a temporary table", nil, "CREATE TEMP TABLE z (a int)", []string{"BEGIN", "SELECT pg_advisory_xact_lock(1)"}, []string{"COMMIT"}},
		{"behind a lock", nil, "SELECT 1", []string{"SELECT pg_advisory_lock(1)", "LISTEN x"}, []string{"SELECT pg_advisory_unlock_all()"}},
		{"session mode", session, "SELECT 1", []string{"SELECT pg_advisory_lock(1)"}, []string{"SELECT pg_advisory_unlock(1)"}},
		{"session mode, a transaction's lock", session, "SELECT 1", []string{"BEGIN", "SELECT pg_advisory_xact_lock(1)"}, []string{"COMMIT"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tune := []func(*proxy.Config){sized(2, 1), checkouts(time.Second)}
			if c.tune != nil {
				tune = append(tune, c.tune)
			}
			r := startProxy(t, tune...)
			s, other := logIn(t, r.url), logIn(t, r.url)
			s.asks("Z", text(c.before))
			for _, one := range c.lock {
				s.asks("Z", text(one))
			}
			other.wants("the slot is taken", "E(53300) Z(I)", "Z", text("SELECT pg_try_advisory_xact_lock(2)"))
			for _, one := range c.release {
				s.asks("Z", text(one))
			}
			other.wants("the slot is free", "T D(t) C(SELECT 1) Z(I)", "Z", text("SELECT pg_try_advisory_xact_lock(2)"))
			s.wants("what bounds the lock pool's transactions does not bound it", "T D(0) C(SHOW) Z(I)", "Z", text("SHOW idle_in_transaction_session_timeout"))
			s.wants("it locks again", "T D(t) C(SELECT 1) Z(I)", "Z", text("SELECT pg_try_advisory_lock(3)"))
		})
	}
}

// Where the admin pool is full the slot moves as soon as it is not.
func TestALockSlotIsGivenBackOnceTheAdminPoolHasRoom(t *testing.T) {
	r := startProxy(t, sized(1, 1), checkouts(time.Second))
	s, busy, other := logIn(t, r.url), logIn(t, r.url), logIn(t, r.url)
	s.asks("Z", text("SELECT pg_advisory_lock(1); LISTEN x"))
	busy.asks("ZZ", text("BEGIN"), text("SELECT 1"))
	s.asks("Z", text("SELECT pg_advisory_unlock(1)"))
	other.wants("there is no room for it", "E(53300) Z(I)", "Z", text("SELECT pg_try_advisory_xact_lock(2)"))
	other.send(packed(t, text("SELECT pg_try_advisory_xact_lock(2)")))
	await(t, "it waits", func() bool { return r.info(t, other).WaitsFor == "lock" })
	busy.asks("Z", text("COMMIT"))
	if got, want := other.until("Z"), "T D(t) C(SELECT 1) Z(I)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// waitsForTheLockPool has a transaction that has only set something, in one unit, get its lock from a full lock pool while another client waits
// for the full admin pool. It gives both.
func waitsForTheLockPool(t *testing.T, r *rig, sets ...pgproto3.FrontendMessage) (s, other *socket) {
	t.Helper()
	holder, s, other := logIn(t, r.url), logIn(t, r.url), logIn(t, r.url)
	holder.asks("Z", text("SELECT pg_advisory_lock(1)"))
	s.asks("ZZ", slices.Insert(sets, 0, pgproto3.FrontendMessage(text("BEGIN")))...)
	other.send(packed(t, text("SELECT 1")))
	await(t, "the admin pool is full", func() bool { return r.info(t, other).WaitsFor == "admin" })
	s.send(packed(t, text("SELECT pg_advisory_xact_lock(2)")))
	other.until("Z")
	holder.asks("Z", text("SELECT pg_advisory_unlock(1)"))
	if got, want := s.until("Z"), "T D() C(SELECT 1) Z(T)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	return s, other
}

// An application bounds its wait for the lock in the transaction that takes it: with nothing else done it does not fail because the lock pool
// is full, and keeps its bound.
func TestATransactionThatHasOnlyBoundItselfWaitsForTheLockPool(t *testing.T) {
	r := startProxy(t, sized(1, 1))
	s, _ := waitsForTheLockPool(t, r, text("SET LOCAL lock_timeout = '11s'"))
	s.wants("its bound is in place", "T D(11s) C(SHOW) Z(T)", "Z", text("SHOW lock_timeout"))
	s.wants("for the transaction", "C(COMMIT) Z(I)", "Z", text("COMMIT"))
	s.wants("alone", "T D(0) C(SHOW) Z(I)", "Z", text("SHOW lock_timeout"))
}

// An application says in which schema it acts, as django-tenants does before the first statement of a transaction. It acts there on whatever
// server the transaction is begun anew, and what it has set stays its own.
func TestATransactionThatHasOnlySaidWhereItActsWaitsForTheLockPool(t *testing.T) {
	r := startProxy(t, sized(1, 1))
	s, other := waitsForTheLockPool(t, r, text("SET search_path = 'theirs', 'public'"))
	s.wants("it acts there", "T D(theirs, public) C(SHOW) Z(T)", "Z", text("SHOW search_path"))
	s.wants("until its end", "C(COMMIT) Z(I)", "Z", text("COMMIT"))
	s.wants("and behind it", "T D(theirs, public) C(SHOW) Z(I)", "Z", text("SHOW search_path"))
	other.wants("but nobody else does", "T D(\"$user\", public) C(SHOW) Z(I)", "Z", text("SHOW search_path"))
}

// Django's atomic begins with a savepoint where it is within another.
func TestATransactionThatHasOnlyKeptASavepointWaitsForTheLockPool(t *testing.T) {
	s, _ := waitsForTheLockPool(t, startProxy(t, sized(1, 1)), text("SAVEPOINT nested"))
	s.wants("what is behind it can be undone", "C(ROLLBACK) T D(0) C(SELECT 1) Z(T)", "Z",
		text("ROLLBACK TO nested; SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"))
	s.wants("and the rest ends", "C(COMMIT) Z(I)", "Z", text("COMMIT"))
}

// PostgREST says for whom it acts, and what it was asked, by parameters.
func TestATransactionThatHasOnlySaidForWhomItActsWaitsForTheLockPool(t *testing.T) {
	r := startProxy(t, sized(1, 1))
	visitor := r.database + "_visitor"
	r.query(t, "CREATE ROLE "+visitor)
	defer r.query(t, "DROP ROLE "+visitor)
	s, other := waitsForTheLockPool(t, r, prepare("", "SELECT set_config('role', $1, true), set_config('request.jwt.claims', $2, true)"),
		bindTo("", "", visitor, `{"sub": "it's"}`), executing(""), &pgproto3.Sync{})
	s.wants("it acts for them there", "T D("+visitor+`,{"sub": "it's"}) C(SELECT 1) Z(T)`, "Z", text("SELECT current_user, current_setting('request.jwt.claims')"))
	s.wants("until its end", "C(COMMIT) Z(I)", "Z", text("COMMIT"))
	for _, each := range []*socket{s, other} {
		each.wants("and not behind it", "T D(postgres,) C(SELECT 1) Z(I)", "Z", text("SELECT current_user, current_setting('request.jwt.claims', true)"))
	}
}

// What it has said is undone where it did not get there.
func TestATransactionThatWaitedInVainForTheLockPoolHasSetNothing(t *testing.T) {
	r := startProxy(t, sized(1, 1), checkouts(time.Second))
	holder, s, other := logIn(t, r.url), logIn(t, r.url), logIn(t, r.url)
	holder.asks("Z", text("SELECT pg_advisory_lock(1)"))
	s.asks("ZZZ", text("SET work_mem = '7MB'"), text("BEGIN"), text("SET work_mem = '8MB'"))
	other.send(packed(t, text("SELECT 1")))
	await(t, "the admin pool is full", func() bool { return r.info(t, other).WaitsFor == "admin" })
	s.wants("nobody makes room", "E(53300) Z(E)", "Z", text("SELECT pg_advisory_xact_lock(2)"))
	other.until("Z")
	s.asks("Z", text("ROLLBACK"))
	for range 2 {
		s.wants("what was set before is there", "T D(7MB) C(SHOW) Z(I)", "Z", text("SHOW work_mem"))
	}
}
