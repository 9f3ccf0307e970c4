package test

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// keyState is who holds a key: the number of shared holders, or -1 for an exclusive one.
type keyState struct {
	mu      sync.Mutex
	holders int
}

func (k *keyState) enter(shared bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.holders < 0 || k.holders > 0 && !shared {
		return fmt.Errorf("a key was given out (shared: %v) that others hold: %d", shared, k.holders)
	}
	if k.holders--; shared {
		k.holders += 2
	}
	return nil
}

func (k *keyState) leave(shared bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.holders++; shared {
		k.holders -= 2
	}
}

// contender is a client that competes for keys.
type contender struct {
	*session
	keys []keyState
	wins *atomic.Int32
}

// round tries for a key and, if it gets it, holds it for a statement. Some rounds are shared, some re-entrant, some use
// the simple protocol.
func (c *contender) round(number int) error {
	key := number * 7 % len(c.keys)
	shared, twice := number%3 == 0, number%4 == 0
	suffix := ""
	if shared {
		suffix = "_shared"
	}
	got, err := c.call(number, "pg_try_advisory_lock"+suffix, key)
	if err != nil || !got {
		return err
	}
	c.wins.Add(1)
	if err := c.keys[key].enter(shared); err != nil {
		return err
	}
	if twice {
		if err := c.twice(number, suffix, key); err != nil {
			return err
		}
	}
	if _, err := c.query("SELECT 1"); err != nil {
		return err
	}
	c.keys[key].leave(shared)
	return c.unlock(number, suffix, key)
}

// twice takes the key a second time and gives it back once: it is still held.
func (c *contender) twice(number int, suffix string, key int) error {
	if got, err := c.call(number, "pg_try_advisory_lock"+suffix, key); err != nil || !got {
		return fmt.Errorf("a lock that is held was not given again to who holds it: %v", err)
	}
	return c.unlock(number, suffix, key)
}

func (c *contender) unlock(number int, suffix string, key int) error {
	if released, err := c.call(number, "pg_advisory_unlock"+suffix, key); err != nil || !released {
		return fmt.Errorf("unlock of a lock that is held gives false: %v", err)
	}
	return nil
}

func (c *contender) call(number int, function string, key int) (bool, error) {
	rows, err := [][]string(nil), error(nil)
	if number%2 == 0 {
		rows, err = c.query(fmt.Sprintf("SELECT %s(%d)", function, key))
	} else {
		rows, err = c.query("SELECT "+function+"($1)", strconv.Itoa(key))
	}
	if err != nil {
		return false, err
	}
	return rows[0][0] == "true", nil
}

func TestSessionLocksHaveOneHolderThroughFewSlots(t *testing.T) {
	const clients, keys, rounds = 20, 5, 2000
	run(t, func(t *testing.T, start starter) {
		r := startProxy(t, sized(4, 4))
		noise(t, r.url, 2)
		a := start(t)
		states := make([]keyState, keys)
		var wins, next atomic.Int32
		var all sync.WaitGroup
		for range clients {
			c := &contender{a.connect(t, r.url), states, &wins}
			all.Go(func() {
				for n := int(next.Add(1)); n <= rounds; n = int(next.Add(1)) {
					if err := c.round(n); err != nil {
						t.Errorf("round %d: %v", n, err)
						return
					}
				}
			})
		}
		all.Wait()
		t.Logf("%d of %d tries took the lock", wins.Load(), rounds)
		if wins.Load() == 0 {
			t.Error("nobody ever got a lock")
		}
		r.awaitNoLocks(t)
	})
}

// What two connections see of session locks, step by step, is the same directly and through the proxy.
func TestSessionLocksBehaveAsDirectly(t *testing.T) {
	steps := []struct {
		who int
		sql string
	}{
		{0, "SELECT pg_try_advisory_lock(1)"},
		{1, "SELECT pg_try_advisory_lock(1)"},
		{1, "SELECT pg_try_advisory_lock_shared(1)"},
		{0, "SELECT pg_try_advisory_lock(1)"},
		{0, "SELECT pg_advisory_unlock(1)"},
		{1, "SELECT pg_try_advisory_lock(1)"},
		{0, "SELECT pg_advisory_unlock(1)"},
		{0, "SELECT pg_advisory_unlock(1)"}, // false: it is held no more
		{1, "SELECT pg_try_advisory_lock_shared(1)"},
		{0, "SELECT pg_try_advisory_lock_shared(1)"},
		{0, "SELECT pg_try_advisory_lock(1)"}, // false: the other holds it shared
		{1, "SELECT pg_advisory_unlock(1)"},   // false: not exclusive
		{1, "SELECT pg_advisory_unlock_shared(1)"},
		{0, "SELECT pg_try_advisory_lock(1)"}, // both modes at once
		{1, "SELECT pg_try_advisory_lock_shared(1)"},
		{0, "SELECT pg_advisory_unlock(1)"},
		{1, "SELECT pg_try_advisory_lock_shared(1)"},
		{1, "SELECT pg_advisory_unlock_all()"},
		{0, "SELECT pg_try_advisory_lock(1, 1)"}, // another key space
		{1, "SELECT pg_try_advisory_lock(4294967297)"},
		{1, "SELECT pg_try_advisory_lock(1, 1)"},
		{0, "BEGIN"},
		{0, "SELECT pg_try_advisory_lock(2)"},
		{0, "ROLLBACK"}, // a session lock survives
		{1, "SELECT pg_try_advisory_lock(2)"},
		{0, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"},
		{0, "BEGIN"},
		{0, "SELECT pg_try_advisory_xact_lock(2)"}, // on top of the session lock
		{0, "SELECT pg_advisory_unlock(2)"},
		{1, "SELECT pg_try_advisory_lock(2)"}, // the transaction still has it
		{0, "COMMIT"},
		{1, "SELECT pg_try_advisory_lock(2)"},
		{1, "DISCARD ALL"},
		{0, "SELECT pg_try_advisory_lock(2)"},
		{0, "SELECT pg_advisory_unlock_all()"},
		{1, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"},
	}
	play := func(t *testing.T, a *app, url string) (seen []string) {
		sessions := []*session{a.connect(t, url), a.connect(t, url)}
		for _, step := range steps {
			rows, err := sessions[step.who].query(step.sql)
			seen = append(seen, fmt.Sprint(step.who, " ", step.sql, " ", rows, " ", err))
		}
		for _, s := range sessions {
			if err := s.end(); err != nil {
				t.Error(err)
			}
		}
		return seen
	}
	run(t, func(t *testing.T, start starter) {
		r := startProxy(t)
		noise(t, r.url, 2)
		a := start(t)
		want := play(t, a, r.direct)
		r.awaitNoLocks(t)
		got := play(t, a, r.url)
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("step %d\ndirectly: %s\nthrough the proxy: %s", i, want[i], got[i])
			}
		}
		r.awaitNoLocks(t)
	})
}

// A lock has a slot of the lock pool as long as it is held, also where no text tells of it and something else keeps the
// session on its connection.
func TestALockThatNoTextTellsOfHasItsSlotAsLongAsItIsHeld(t *testing.T) {
	r := startProxy(t, watched)
	r.query(t, `CREATE TABLE pids (pid int);
		CREATE FUNCTION dispatch(what text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SELECT pg_advisory_' || what || '(1)'; END $$`)
	a, c := logIn(t, r.url), r.console(t, postgres.Superuser)
	holding := func(what, want string) {
		await(t, what, func() bool {
			p := find(t, rows(t, c, "SHOW POOLS", pgx.QueryExecModeExec), "database", r.database)
			return p.text("lock_active") == want && p.text("lock_holding") == want
		})
	}
	for _, form := range []string{"DO $$ BEGIN EXECUTE 'SELECT pg_advisory_' || '%s(1)'; END $$", "SELECT dispatch('%s')"} {
		for _, pin := range []string{"SELECT 1", "INSERT INTO pids VALUES (pg_backend_pid())"} {
			a.asks("Z", text(pin))
			a.asks("Z", text(fmt.Sprintf(form, "lock")))
			holding(pin+": the lock has a slot of the lock pool", "1")
			a.asks("Z", text(fmt.Sprintf(form, "unlock")))
			holding(pin+": the slot went back", "0")
			a.asks("Z", text("DISCARD ALL"))
		}
	}
}

// A function of the user's may have the name of one of PostgreSQL's own. The search path and the types of the arguments tell which is
// called (manual, "Function Type Resolution"), so that such a call's result counts for nothing.
func TestAFunctionNamedLikePostgreSQLsOwnReleasesNothing(t *testing.T) {
	r := startProxy(t, watched)
	w, err := openWire(t.Context(), r.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeConn(w.Close) })
	w.must(t, `CREATE FUNCTION pg_advisory_unlock(text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
		CREATE FUNCTION pg_advisory_lock(text) RETURNS boolean LANGUAGE sql AS 'SELECT true'`)
	c := r.console(t, postgres.Superuser)
	for _, step := range [][2]string{
		{"SELECT pg_advisory_lock(1)", ""}, {"SELECT pg_advisory_unlock('1')", "t"}, {"SELECT pg_advisory_unlock(text '1')", "t"},
		{"SELECT pg_advisory_unlock(1)", "t"}, {"SELECT pg_advisory_lock('1')", "t"}, {"SELECT pg_advisory_unlock(1)", "f"},
	} {
		if got := w.must(t, step[0])[0][0]; got != step[1] {
			t.Errorf("%s gives %q, not %q", step[0], got, step[1])
		}
		await(t, step[0]+": its server is kept as long as there is a lock", func() bool {
			held := r.locks(t) != "0"
			p := find(t, rows(t, c, "SHOW POOLS", pgx.QueryExecModeExec), "database", r.database)
			return held == (p.text("lock_active") == "1")
		})
	}
}
