package test

import (
	"strings"
	"testing"
)

// bodies are functions that leave something in the server session: what a call leaves, as its caller sees it and as
// others do, and whether that keeps the caller on its backend.
var bodies = []struct {
	rule, make, call string
	shows            string
	mine, others     string
	pins             bool
}{
	{"a custom setting (PITFALLS, B#396: row-level security that reads another tenant's)",
		`CREATE FUNCTION f(x text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('app.tenant', x, false); END $$`,
		"SELECT f('a')", "coalesce(current_setting('app.tenant', true), '')", "a", "", false},
	{"one of PostgreSQL's own, in SQL", `CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT set_config('work_mem', '7MB', false) $$`,
		"SELECT f()", "current_setting('work_mem')", "7MB", "4MB", false},
	{"SET in a procedure", `CREATE PROCEDURE f() LANGUAGE plpgsql AS $$ BEGIN SET work_mem = '7MB'; END $$`,
		"CALL f()", "current_setting('work_mem')", "7MB", "4MB", false},
	{"SET that names a custom setting in a string", `CREATE FUNCTION f(x text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SET app.x = ' || quote_literal(x); END $$`,
		"SELECT f('a')", "coalesce(current_setting('app.x', true), '')", "a", "", false},
	{"a body of SQL's own", `CREATE FUNCTION f() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT set_config('work_mem', '7MB', false); END`,
		"SELECT f()", "current_setting('work_mem')", "7MB", "4MB", false},
	{"a text that nothing shows", `CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SE' || 'T work_mem = ''7MB'''; END $$`,
		"SELECT f()", "current_setting('work_mem')", "7MB", "4MB", false},
	{"a setting that nothing names", `CREATE FUNCTION f(x text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('app.' || x, 'a', false); END $$`,
		"SELECT f('y')", "coalesce(current_setting('app.y', true), '')", "a", "", true},
	{"by another function", `CREATE FUNCTION g() RETURNS text LANGUAGE sql AS $$ SELECT set_config('app.g', 'a', false) $$;
		CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM g(); END $$`,
		"SELECT f()", "coalesce(current_setting('app.g', true), '')", "a", "", false},
	{"by a trigger", `CREATE TABLE t (a int); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('app.by', 'a', false); RETURN NEW; END $$;
		CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()`,
		"INSERT INTO t VALUES (1)", "coalesce(current_setting('app.by', true), '')", "a", "", false},
	{"by a function that fires a trigger", `CREATE TABLE t (a int); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('app.by', 'a', false); RETURN NEW; END $$;
		CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();
		CREATE FUNCTION g() RETURNS void LANGUAGE sql AS $$ INSERT INTO t VALUES (1) $$`,
		"SELECT g()", "coalesce(current_setting('app.by', true), '')", "a", "", false},
	{"by a view", `CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT set_config('app.v', 'a', false) $$; CREATE VIEW v AS SELECT f()`,
		"SELECT * FROM v", "coalesce(current_setting('app.v', true), '')", "a", "", false},
	{"for the transaction alone", `CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT set_config('work_mem', '7MB', true) $$`,
		"SELECT f()", "current_setting('work_mem')", "4MB", "4MB", false},
	{"a temporary table", `CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CREATE TEMP TABLE scratch (a int); END $$`,
		"SELECT f()", "coalesce(to_regclass('pg_temp.scratch')::text, '')", "scratch", "", true},
	{"one that is gone with the transaction", `CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CREATE TEMP TABLE scratch (a int) ON COMMIT DROP; END $$`,
		"SELECT f()", "coalesce(to_regclass('pg_temp.scratch')::text, '')", "", "", true},
	{"one that nothing shows", `CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'CREATE TEM' || 'P TABLE scratch (a int)'; END $$`,
		"SELECT f()", "coalesce(to_regclass('pg_temp.scratch')::text, '')", "scratch", "", true},
	{"channels", `CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'LISTEN news'; END $$`,
		"SELECT f()", "(SELECT count(*) FROM pg_listening_channels())", "1", "0", true},
	{"prepared statements", `CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'PREPARE p AS SELECT 1'; END $$`,
		"SELECT f()", "(SELECT count(*) FROM pg_prepared_statements WHERE name = 'p')", "1", "0", false},
	{"the random seed", `CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ SELECT setseed(0.5) $$`, "SELECT f()", "1", "1", "1", true},
	{"whatever a C function keeps", `CREATE FUNCTION f(oid) RETURNS void STRICT LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_validator'`,
		"SELECT f(NULL)", "1", "1", "1", true},
	{"PostgreSQL's own by another name", `CREATE FUNCTION f(double precision) RETURNS void STRICT LANGUAGE internal AS 'setseed'`,
		"SELECT f(0.5)", "1", "1", "1", true},
	{"nothing", `CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$`, "SELECT f()", "1", "1", "1", false},
}

// What a function leaves in the server session is its caller's, and nobody else's, from its first call on.
func TestWhatAFunctionLeavesBehindIsItsCallersAlone(t *testing.T) {
	for _, c := range bodies {
		t.Run(c.rule, func(t *testing.T) {
			r := startProxy(t, sized(2, 1))
			if strings.Contains(c.make, "BEGIN ATOMIC") && r.value(t, "SHOW server_version_num") < "140000" {
				t.Skip("this PostgreSQL does not know the syntax yet")
			}
			a, b, maker := logIn(t, r.url), logIn(t, r.url), logIn(t, r.url)
			if got := maker.asks("Z", text(c.make)); strings.Contains(got, "E(") {
				t.Fatal(got)
			}
			r.log.forget()
			a.asks("Z", text(c.call))
			for range 3 {
				if got := a.value("SELECT " + c.shows); got != c.mine {
					t.Errorf("its caller sees %q, want %q", got, c.mine)
				}
				if got := b.value("SELECT " + c.shows); got != c.others {
					t.Errorf("another client sees %q, want %q", got, c.others)
				}
			}
			if got := r.log.has("pinned"); got != c.pins {
				t.Errorf("pinned: %t", got)
			}
		})
	}
}
