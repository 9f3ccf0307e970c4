package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

const tenantFunction = `CREATE OR REPLACE FUNCTION %s() RETURNS text LANGUAGE sql AS $$ SELECT set_config('app.%s', 'mine', false) $$`

// A function is known before anybody hears that it is there: to its maker, to others, in a transaction, and where it
// replaces one that left nothing and that statements were prepared with.
func TestAFunctionIsKnownFromItsFirstCallOn(t *testing.T) {
	r := startProxy(t, sized(3, 1))
	a, b, others := logIn(t, r.url), logIn(t, r.url), []*socket{logIn(t, r.url), logIn(t, r.url), logIn(t, r.url)}
	b.asks("Z", text(`CREATE FUNCTION f3() RETURNS text LANGUAGE sql AS $$ SELECT 'nothing'::text $$`))
	b.asks("Z", prepare("s", "SELECT f3()"), bindTo("", "s"), executing(""), syncNow)
	b.asks("Z", text("PREPARE p AS SELECT f3()"))
	for i := range 4 {
		name := fmt.Sprint("f", i)
		make, caller := text(fmt.Sprintf(tenantFunction, name, name)), a
		switch i {
		case 0: // by its maker
			a.asks("Z", make)
			a.asks("Z", text("SELECT f0()"))
		case 1: // in the transaction that makes it
			a.asks("ZZZZ", text("BEGIN"), make, text("SELECT f1()"), text("COMMIT"))
		case 2: // by another, which hears of it at once
			a.asks("ZZZ", text("BEGIN"), make, text("COMMIT AND CHAIN"))
			caller = b
			b.asks("Z", text("SELECT f2()"))
			a.asks("Z", text("COMMIT"))
		case 3: // by statements that were prepared before
			a.asks("Z", make)
			caller = b
			b.asks("Z", bindTo("", "s"), executing(""), syncNow)
		}
		for range 5 {
			if got := caller.value(shown(name)); got != "mine" {
				t.Errorf("%s: its caller has %q", name, got)
			}
			for _, other := range others {
				if got := other.value(shown(name)); got != "" {
					t.Errorf("%s: another client has %q", name, got)
				}
			}
		}
	}
	b.asks("Z", text("SELECT set_config('app.f3', 'b', false)"))
	b.asks("Z", text("EXECUTE p"))
	if got := b.value(shown("f3")); got != "mine" {
		t.Errorf("EXECUTE of what was prepared before: %q", got)
	}
	if r.log.has("pinned") {
		t.Error("nobody need be pinned")
	}
}

func shown(name string) string {
	return "SELECT coalesce(current_setting('app." + name + "', true), '')"
}

// Whoever defines something keeps its backend until it is known what that is, and no longer.
func TestADefinersBackendIsFreeOnceItIsKnownWhatItDefined(t *testing.T) {
	r := startProxy(t, sized(1, 1))
	a, b := logIn(t, r.url), logIn(t, r.url)
	for i := range 3 {
		a.asks("Z", text(fmt.Sprintf(tenantFunction, "f", fmt.Sprint("f", i))))
		if got := b.value("SELECT 1"); got != "1" {
			t.Errorf("another client: %s", got)
		}
	}
}

// Whoever has defined something takes a lock as anybody does, from the lock pool's queue: migrations create an extension or a function,
// and lock in the next statement (TypeORM). A promotion would fail where others wait for the admin pool.
func TestADefinerWaitsForALockAsAnybodyDoes(t *testing.T) {
	for name, units := range map[string][]string{
		"session":     {"SELECT pg_advisory_lock(2)", "SELECT pg_advisory_unlock(2)"},
		"transaction": {"BEGIN", "SELECT pg_advisory_xact_lock(2)", "COMMIT"},
	} {
		t.Run(name, func(t *testing.T) {
			r := startProxy(t, sized(1, 1))
			holder, definer, waiter, direct := logIn(t, r.url), logIn(t, r.url), logIn(t, r.url), logIn(t, r.direct)
			holder.asks("Z", text("SELECT pg_advisory_lock(1)"))
			direct.asks("ZZ", text("BEGIN"), text("LOCK TABLE pg_catalog.pg_attrdef IN ACCESS EXCLUSIVE MODE"))
			definer.asks("Z", text("CREATE SCHEMA other"))
			r.awaitRow(t, "the reading waits", "EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'pg_attrdef'::regclass)")
			waiter.send(packed(t, text("SELECT 1")))
			for _, unit := range units {
				definer.send(packed(t, text(unit)))
			}
			direct.asks("Z", text("ROLLBACK"))
			if got := waiter.until("Z"); !strings.Contains(got, "D(1)") {
				t.Errorf("who waits for the admin pool: %s", got)
			}
			holder.asks("Z", text("SELECT pg_advisory_unlock(1)"))
			for _, unit := range units {
				if got := definer.until("Z"); strings.Contains(got, "E(") {
					t.Errorf("%s: %s", unit, got)
				}
			}
		})
	}
}

// Every user's pool of a database knows what any of them defines.
func TestAFunctionIsKnownToOtherUsersPools(t *testing.T) {
	r := startProxy(t, sized(2, 1), withDatabase(func(d *proxy.Database) {
		d.URL = strings.Replace(d.URL, postgres.Superuser+"@", "", 1) // who it is, the client says
	}))
	role := r.database + "_role"
	r.query(t, "CREATE ROLE "+role+" LOGIN")
	t.Cleanup(func() {
		r.stop()
		r.query(t, "DROP ROLE "+role)
	})
	url := strings.Replace(r.url, "postgres@", role+"@", 1)
	maker, a, b := logIn(t, r.url), logIn(t, url), logIn(t, url)
	for i := range 5 {
		name := fmt.Sprint("f", i)
		a.value("SELECT 1")
		maker.asks("Z", text(fmt.Sprintf(tenantFunction, name, name)))
		a.asks("Z", text("SELECT "+name+"()"))
		if a, b := a.value(shown(name)), b.value(shown(name)); a != "mine" || b != "" {
			t.Errorf("its caller has %q, and another client %q", a, b)
		}
	}
}

// What a migration does on another connection is seen within a second; what ran meanwhile is nobody's.
func TestAFunctionMadeElsewhereLeaksNothing(t *testing.T) {
	r := startProxy(t, sized(2, 1))
	a, b, c := logIn(t, r.url), logIn(t, r.url), logIn(t, r.url)
	for _, s := range []*socket{a, b, c} {
		s.value("SELECT 1")
	}
	r.query(t, fmt.Sprintf(tenantFunction, "f", "f"))
	a.asks("Z", text("SELECT f()"))
	seen := func() bool {
		c.value("SELECT 1") // on the backend that was used last, which is not its doing
		return r.log.has("functions changed elsewhere")
	}
	awaitWithin(t, 5*time.Second, "the change is seen", seen)
	for range 5 {
		for _, s := range []*socket{b, c} {
			if got := s.value(shown("f")); got != "" {
				t.Errorf("another client has %q", got)
			}
		}
	}
	a.asks("Z", text("SELECT f()"))
	for range 3 {
		if a, b := a.value(shown("f")), b.value(shown("f")); a != "mine" || b != "" {
			t.Errorf("once it is known its caller has %q, and another %q", a, b)
		}
	}
}

// blockReading has a reading of the functions wait, and begins one, through which nobody else is blocked.
func blockReading(t *testing.T, r *rig, definition string) (unblock func()) {
	t.Helper()
	direct := logIn(t, r.direct)
	direct.asks("ZZ", text("BEGIN"), text("LOCK TABLE pg_catalog.pg_attrdef IN ACCESS EXCLUSIVE MODE"))
	definer := logIn(t, r.url)
	if got := definer.asks("Z", text(definition)); strings.Contains(got, "E(") {
		t.Fatal(got)
	}
	return func() { direct.asks("Z", text("ROLLBACK")) }
}

func TestNobodyIsGrantedABackendUntilFunctionsHaveBeenReadAgain(t *testing.T) {
	r := startProxy(t, sized(3, 1))
	a, b := logIn(t, r.url), logIn(t, r.url)
	a.value("SELECT 1")
	b.asks("ZZ", text("BEGIN"), text("SELECT 1"))
	unblock := blockReading(t, r, "CREATE SCHEMA other")
	a.send(packed(t, text("SELECT 2")))
	if got := b.value("SELECT 3"); got != "3" {
		t.Errorf("a transaction under way goes on: %s", got)
	}
	r.awaitRow(t, "the reading waits", "EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'pg_attrdef'::regclass)")
	if r.value(t, "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT 2'") != "0" {
		t.Error("a client was granted a backend")
	}
	began := time.Now()
	unblock()
	if got := a.until("Z"); !strings.Contains(got, "D(2)") || time.Since(began) > time.Second {
		t.Errorf("then it goes on: %s after %v", got, time.Since(began))
	}
	b.asks("Z", text("COMMIT"))
}

func TestAReadingThatTakesTooLongHoldsNobodyUp(t *testing.T) {
	for _, definition := range []string{"CREATE SCHEMA other", "ALTER ROLE CURRENT_USER SET app.nothing = 1"} { // which replaces all backends
		t.Run(definition, func(t *testing.T) {
			r := startProxy(t, sized(3, 1))
			a, b := logIn(t, r.url), logIn(t, r.url)
			a.value("SELECT 1")
			unblock := blockReading(t, r, definition)
			began := time.Now()
			if got := a.value("SELECT 2"); got != "2" || time.Since(began) > 5*time.Second {
				t.Errorf("got %s after %v", got, time.Since(began))
			}
			a.asks("Z", text("SELECT set_config('work_mem', '7MB', false)"))
			if a, b := a.value("SHOW work_mem"), b.value("SHOW work_mem"); a != "7MB" || b != "4MB" {
				t.Errorf("meanwhile a client has %s and another %s", a, b)
			}
			unblock()
		})
	}
}

func TestAWaitForFunctionsEndsAsAnyWaitForABackend(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, a *socket) string{
		"timeout": func(t *testing.T, a *socket) string { return a.until("Z") },
		"cancel": func(t *testing.T, a *socket) string {
			if err := a.cancel(); err != nil {
				t.Error(err)
			}
			return a.until("Z")
		},
		"leave": func(t *testing.T, a *socket) string { a.conn.Close(); return "" },
	} {
		t.Run(name, func(t *testing.T) {
			timeout, want := 30*time.Second, ""
			switch name {
			case "timeout":
				timeout, want = time.Second, "E(53300) Z(E)"
			case "cancel":
				want = "E(57014) Z(E)"
			}
			r := startProxy(t, func(c *proxy.Config) { checkouts(timeout)(c); sized(2, 1)(c) })
			a, b := logIn(t, r.url), logIn(t, r.url)
			a.value("SELECT 1")
			unblock := blockReading(t, r, "CREATE SCHEMA other")
			began := time.Now()
			a.wants("a BEGIN alone is answered, and what is sent with it waits", "C(BEGIN) Z(T)", "Z", text("BEGIN"), text("SELECT 2"))
			if got := end(t, a); got != want || time.Since(began) > 1900*time.Millisecond {
				t.Errorf("got %q after %v, want %q", got, time.Since(began), want)
			}
			unblock()
			if got := b.value("SELECT 3"); got != "3" {
				t.Error(got)
			}
			if name != "leave" {
				a.wants("its session lives on", "C(ROLLBACK) Z(I)", "Z", text("ROLLBACK"))
			}
		})
	}
}
