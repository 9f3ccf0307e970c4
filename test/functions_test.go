package test

import (
	"strings"
	"testing"
	"time"
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
	{"what a text sets that it hands on", `CREATE FUNCTION f(q text) RETURNS bool LANGUAGE sql AS $$ SELECT query_to_xml(q, true, false, '') IS NULL $$`,
		"SELECT f('select set_config(''app.handed'', ''a'', false)')", "coalesce(current_setting('app.handed', true), '')", "a", "", true},
	{"what a text of its own sets", `CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM ts_stat('select to_tsvector(set_config(''app.own'', ''a'', false))') $$`,
		"SELECT f()", "coalesce(current_setting('app.own', true), '')", "a", "", false},
	{"a text of a view's, run by an extension", `CREATE EXTENSION tablefunc;
		CREATE VIEW v AS SELECT * FROM crosstab('select 1, 2, set_config(''app.crossed'', ''a'', false)') AS c (a int, b text)`,
		"SELECT * FROM v", "coalesce(current_setting('app.crossed', true), '')", "a", "", false},
	{"a text that an extension's function runs", `CREATE EXTENSION tablefunc`, "SELECT * FROM crosstab('select 1, 2, set_config(''app.y'', ' || '''a'', false)') AS c (a int, b text)",
		"coalesce(current_setting('app.y', true), '')", "a", "", true},
	{"a count of every table's rows", `CREATE VIEW v AS SELECT query_to_xml(format('select count(*) from %I.%I', schemaname, tablename), false, true, '') FROM pg_tables WHERE tablename = 'pg_class'`,
		"SELECT count(*) FROM v", "1", "1", "1", false},
	{"a table in the temporary schema by a search_path of its own", `CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql SET search_path = pg_temp AS $$ BEGIN CREATE TABLE scratch (a int); END $$`,
		"SELECT f()", "coalesce(to_regclass('pg_temp.scratch')::text, '')", "scratch", "", true},
	{"by its caller's", `CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ CREATE TABLE scratch (a int) $$`,
		"SET search_path = public, pg_temp; SET search_path = pg_temp, public; SELECT f()", "coalesce(to_regclass('scratch')::text, '')", "scratch", "", true},
	{"none by another search_path", `CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ CREATE TABLE scratch (a int) $$`,
		"SELECT f()", "coalesce(to_regclass('scratch')::text, '')", "scratch", "scratch", false},
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

// A database or a role may have a search_path by which every table is temporary.
func TestATableThatADefaultMakesTemporaryIsItsClientsAlone(t *testing.T) {
	r := startProxy(t, sized(2, 1))
	r.query(t, "ALTER DATABASE "+r.database+" SET search_path = pg_temp, public")
	a, b, c := logIn(t, r.url), logIn(t, r.url), logIn(t, r.url)
	a.asks("Z", text("CREATE TABLE scratch AS SELECT 'mine' AS a"))
	for range 3 {
		if got := b.value("SELECT coalesce(to_regclass('scratch')::text, 'none')"); got != "none" {
			t.Errorf("another client sees %q", got)
		}
		if got := a.value("SELECT a FROM scratch"); got != "mine" {
			t.Errorf("its client sees %q", got)
		}
	}
	a.asks("Z", text("DROP TABLE scratch"))
	for _, other := range []*socket{b, c} { // a keeps neither of the two backends
		if got := other.asks("Z", text("BEGIN; TABLE scratch")); !strings.Contains(got, "42P01") {
			t.Errorf("when it is dropped, another client is told %s", got)
		}
	}
}

// What a function ends keeps no connection any more, any more than what a statement ends.
func TestWhatAFunctionEndsKeepsNoConnection(t *testing.T) {
	r := startProxy(t, sized(1, 1), checkouts(time.Second))
	r.query(t, "CREATE FUNCTION finish() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE format('DROP TABLE %I', 'scratch'); END $$")
	a, b := logIn(t, r.url), logIn(t, r.url)
	a.asks("Z", text("CREATE TEMP TABLE scratch (a int)"))
	a.asks("Z", text("SELECT finish()"))
	if got := b.value("SELECT 'served'"); got != "served" {
		t.Errorf("another client gets %q", got)
	}
}
