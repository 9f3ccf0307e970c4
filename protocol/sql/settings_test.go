package sql

import (
	"slices"
	"strings"
	"testing"
)

func read(t testing.TB, text string) Unit { return mustReader(t).Read([]byte(text), Dialect{}) }

func TestSettingsAreNamedAsTheServerNamesThem(t *testing.T) {
	set := func(name string) []Setting { return []Setting{{Name: name}} }
	null := func(name string) []Setting { return []Setting{{Name: name, Null: true}} }
	local := func(name string) []Setting { return []Setting{{Name: name, Local: true}} }
	reset := func(name string) []Setting { return []Setting{{Name: name, Op: OpReset}} }
	for _, c := range []struct {
		text string
		want []Setting
	}{
		{"SET search_path = a, b", set("search_path")},
		{"SET SEARCH_PATH TO a", set("search_path")},
		{`SET "Search_Path" TO a`, set("search_path")},
		{"SET SESSION search_path TO a", set("search_path")},
		{"SET LOCAL search_path TO a", local("search_path")},
		{"SET app.user_id = '7'", set("app.user_id")},
		{"SET app . user /* c */ . id = '7'", set("app.user.id")},
		{"SET a TO DEFAULT", reset("a")},
		{"SET LOCAL a TO DEFAULT", []Setting{{Name: "a", Local: true, Op: OpReset}}},
		{"SET TIME ZONE 'UTC'", set("timezone")},
		{"SET LOCAL TIME ZONE 'UTC'", local("timezone")},
		{"SET SESSION TIME ZONE INTERVAL '1' HOUR TO MINUTE", set("timezone")},
		{"SET TIME ZONE LOCAL", reset("timezone")},
		{"SET TIME ZONE DEFAULT", reset("timezone")},
		{"SET NAMES 'UTF8'", set("client_encoding")},
		{"SET NAMES", reset("client_encoding")},
		{"SET SCHEMA 'a'", set("search_path")},
		{"SET XML OPTION DOCUMENT", set("xmloption")},
		{"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, NOT DEFERRABLE", []Setting{
			{Name: "default_transaction_isolation"}, {Name: "default_transaction_read_only"},
			{Name: "default_transaction_deferrable"}}},
		{"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED", set("default_transaction_isolation")},
		{"SET TRANSACTION READ ONLY", nil},
		{"SET LOCAL TRANSACTION READ ONLY", nil},
		{"SET TRANSACTION SNAPSHOT '1'", nil},
		{"SET transaction_isolation = 'serializable'", nil},
		{"SET CONSTRAINTS ALL DEFERRED", nil},
		{"SET ROLE a", set("role")},
		{"SET SESSION AUTHORIZATION a", set("session_authorization")},
		{"SET seed = 0.5", nil},
		{"RESET search_path", reset("search_path")},
		{"RESET TIME ZONE", reset("timezone")},
		{"RESET ALL", []Setting{{Op: OpResetAll}}},
		{"RESET ROLE", []Setting{{Name: "role", Op: OpReset}}},
		{"RESET SESSION AUTHORIZATION", []Setting{{Name: "session_authorization", Op: OpReset}}},
		{"SHOW search_path", nil},
		{"SELECT set_config('Search_Path', 'a', false)", set("search_path")},
		{"SELECT pg_catalog.set_config('search_path', '', true)", local("search_path")},
		{"SELECT set_config('a', 'b', 't')", local("a")},
		{"SELECT set_config('a', 'b', $1)", set("a")},
		{"SELECT set_config('a', f(g('b', true)), false OR true)", null("a")},
		{"SELECT set_config('a'::text, 'b'::text, false)", null("a")},
		{"SELECT set_config('a', NULL, false)", null("a")},
		{"SELECT set_config('a'::name || 'b', 'c', false)", set("")},
		{"SELECT set_config($1, $2, false)", null("")},
		{"SELECT set_config($1, $2, true)", []Setting{{Local: true, Null: true}}},
		{"SELECT set_config(E'\\x61b', 'c', false)", set("ab")},
		{"SELECT set_config('a'\n'b', 'c', false)", set("ab")},
		{"SELECT set_config('a''b', $$c$$, false)", set("a'b")},
		{"SELECT set_config($x$a$x$, 'c', false)", set("a")},
		{"SELECT set_config('a', 'b', true), set_config('c', 'd', false)", []Setting{{Name: "a", Local: true}, {Name: "c"}}},
		{"SELECT set_config('a', set_config('b', 'c', true), false)", []Setting{{Name: "b", Local: true}, {Name: "a", Null: true}}},
		{"SELECT set_config", nil},
		{"SELECT app.set_config('a', 'b', false)", nil},
		{"EXPLAIN SELECT set_config('a', 'b', false)", nil},
		{"SET a = 1; SET LOCAL b = 2; RESET c; SELECT set_config('d', '', false)",
			[]Setting{{Name: "a"}, {Name: "b", Local: true}, {Name: "c", Op: OpReset}, {Name: "d"}}},
		{"/* a */ -- b\n SET a = 1", set("a")},
	} {
		got := read(t, c.text).Settings
		for i := range got {
			got[i].Index, got[i].End = 0, 0
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.text, got, c.want)
		}
	}
}

func TestAResetTellsWhereItsStatementEnds(t *testing.T) {
	for _, c := range []struct {
		text  string // a bar where a statement ends that resets a setting
		index []int
	}{
		{"RESET a|", []int{0}},
		{";RESET a| /* b */ ; SELECT 1", []int{0}},
		{"SELECT 1; ; RESET ALL| -- end", []int{1}},
		{"SET TIME ZONE LOCAL|;SET LOCAL a TO DEFAULT|;", []int{0, 1}},
		{"SET a = 'b;c'; RESET \"a\"|", []int{1}},
		{"DO $$ BEGIN RESET a; END $$; RESET b|", []int{1}},
		{"SET a TO DEFAULT|/* open", []int{0}},
	} {
		var want []Setting
		text := ""
		for i, part := range strings.Split(c.text, "|") {
			if text += part; i < len(c.index) {
				want = append(want, Setting{Index: c.index[i], End: len(text)})
			}
		}
		var got []Setting
		for _, one := range read(t, text).Settings {
			if one.Op != OpSet {
				got = append(got, Setting{Index: one.Index, End: one.End})
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

// TestDeepNestOfSettingsLosesNone is about calls in calls, of which only a few are followed to their last argument.
func TestDeepNestOfSettingsLosesNone(t *testing.T) {
	text := "SELECT "
	for range 40 {
		text += "set_config('a', "
	}
	text += "'b'"
	for range 40 {
		text += ", true)"
	}
	if got := read(t, text).Settings; len(got) != 40 {
		t.Errorf("%d settings, want 40", len(got))
	}
}

func TestTouchesAreThoseOfTheStatement(t *testing.T) {
	for _, c := range []struct {
		text string
		want Touch
	}{
		{"SELECT 1", 0},
		{"SET a = 1", TouchSettings},
		{"SET LOCAL a = 1", TouchLocalSettings},
		{"SET lock_timeout = 1", TouchSettings | TouchLockTimeout},
		{"SET LOCAL lock_timeout = 1", TouchLocalSettings | TouchLockTimeout},
		{"RESET Lock_Timeout", TouchSettings | TouchLockTimeout},
		{"SELECT set_config('lock_timeout', '1', true)", TouchLocalSettings | TouchLockTimeout},
		{"SET idle_in_transaction_session_timeout TO 0", TouchSettings | TouchIdleTimeout},
		{"RESET ALL", TouchSettings | TouchLockTimeout | TouchIdleTimeout},
		{"SET ROLE a", TouchSettings}, {"SET SESSION ROLE a", TouchSettings}, {"SET role = 'a'", TouchSettings},
		{"SET LOCAL ROLE a", TouchLocalSettings},
		{"SET SESSION AUTHORIZATION a", TouchSettings}, {"SET SESSION SESSION AUTHORIZATION a", TouchSettings},
		{"SET LOCAL SESSION AUTHORIZATION a", TouchLocalSettings},
		{"RESET ROLE", TouchSettings}, {"RESET SESSION AUTHORIZATION", TouchSettings},
		{"SELECT set_config('role', 'a', false)", TouchSettings}, {"SELECT set_config('role', 'a', true)", TouchLocalSettings},
		{"PREPARE a AS SELECT 1", TouchPrepare}, {"PREPARE TRANSACTION 'a'", 0}, {"EXECUTE a", 0},
		{"PREPARE a AS SELECT lastval()", TouchPrepare},
		{"DEALLOCATE a", TouchDeallocate}, {"DEALLOCATE ALL", TouchDeallocate},
		{"CREATE TEMP TABLE a (b int)", TouchTemp}, {"CREATE TEMPORARY SEQUENCE a", TouchTemp},
		{"CREATE LOCAL TEMP TABLE a AS SELECT 1", TouchTemp}, {"CREATE OR REPLACE TEMP VIEW a AS SELECT 1", TouchTemp},
		{"CREATE TABLE pg_temp.a (b int)", TouchTemp}, {`DROP TABLE "pg_temp" . a`, TouchTemp | TouchDrop},
		{"SELECT * FROM pg_temp_12.a", TouchTemp}, {"SELECT pg_temp.f()", TouchTemp}, {"SELECT pg_temporal.f(), pg_temp", 0},
		{"SELECT 1 INTO TEMP a", TouchTemp}, {"SELECT 1 INTO LOCAL TEMPORARY TABLE a", TouchTemp}, {"SELECT 1 INTO a", 0},
		{"INSERT INTO temp VALUES (1)", TouchAdvance}, {"CREATE TABLE temp (a int)", 0}, {"EXPLAIN CREATE TEMP TABLE a AS SELECT 1", 0},
		{"LISTEN a", TouchListen}, {"UNLISTEN *", TouchUnlisten}, {"NOTIFY a", TouchNotify}, {"SELECT pg_notify('a', 'b')", TouchNotify},
		{"SELECT pid FROM pg_stat_activity", TouchPids}, {"SELECT pg_catalog.pg_cancel_backend(1)", TouchPids}, {"SELECT 'pg_locks'", 0},
		{"SELECT pg_backend_pid()", 0}, {"DELETE FROM a WHERE pid = pg_backend_pid()", 0}, {"WITH a AS (SELECT pg_catalog.pg_backend_pid()) SELECT * FROM a", TouchAdvance},
		{"SELECT 1; WITH a AS (DELETE FROM b RETURNING c) INSERT INTO d SELECT pg_backend_pid()", TouchAdvance | TouchPid}, {"UPDATE a SET pid = pg_backend_pid()", TouchPid},
		{"WITH a AS (SELECT pg_backend_pid()) SELECT * FROM a FOR NO KEY UPDATE; INSERT INTO a VALUES (1)", TouchAdvance},
		{"DECLARE a CURSOR WITH HOLD FOR SELECT 1", TouchHold}, {"DECLARE a CURSOR WITHOUT HOLD FOR SELECT 1", 0},
		{"DECLARE a INSENSITIVE NO SCROLL CURSOR WITH HOLD FOR SELECT 1", TouchHold},
		{"CLOSE a", TouchClose}, {"LOAD 'a'", TouchLoad},
		{"SELECT currval('a')", TouchSequence}, {"SELECT lastval()", TouchSequence}, {"SELECT setval('a', 1)", TouchAdvance},
		{"EXPLAIN ANALYZE INSERT INTO a VALUES (1)", TouchAdvance}, {"EXPLAIN (ANALYZE) WITH a AS (INSERT INTO b VALUES (1)) SELECT 1", TouchAdvance}, {"EXPLAIN INSERT INTO a VALUES (1)", 0},
		{"UPDATE a SET b = DEFAULT", TouchAdvance}, {"UPDATE a SET b = 1, c = \"default\"", 0}, {"UPDATE a SET b = 1; SELECT 1 AS default", 0},
		{"ALTER TABLE a ADD b bigserial", TouchAdvance}, {"ALTER TABLE a ADD b SERIAL8", TouchAdvance}, {"ALTER TABLE a ADD b int", 0},
		{"SELECT nextval('a')", TouchAdvance}, {"INSERT INTO a VALUES (1)", TouchAdvance}, {"SELECT currval FROM a", 0}, {"SELECT a.lastval()", 0},
		{"SELECT pg_backup_start('a')", TouchFunction}, {"SELECT pg_create_logical_replication_slot('a', 'b', true)", TouchFunction}, {"SELECT pg_backup_start", 0},
		{"SELECT * FROM ext.dblink_connect('a')", TouchLinks}, {"SELECT set_limit(0.5), set_user('a')", 0},
		{"SELECT setseed(0)", TouchSeed}, {"SET seed TO 0", TouchSeed},
		{"DISCARD ALL", TouchDiscardAll}, {"DISCARD TEMP", TouchDiscardOther},
		{"DO LANGUAGE plperl '$_SHARED{a} = 1'", TouchDynamic | TouchAdvance | TouchFunction}, {"DO 'GD[1] = 2' LANGUAGE 'plpython3u'", TouchDynamic | TouchAdvance | TouchFunction},
		{"DO LANGUAGE plperl $$ $SHARED{a} = 1 $$", TouchDynamic | TouchAdvance}, {"DO 'BEGIN PERFORM GD; END' LANGUAGE plpgsql", TouchDynamic | TouchAdvance},
		{"DO LANGUAGE plperl", TouchDynamic | TouchAdvance}, {"DO $$ BEGIN END $$", TouchDynamic | TouchAdvance}, {"CALL a()", TouchDynamic | TouchAdvance},
		{"CREATE FUNCTION a() RETURNS int LANGUAGE sql AS ''", TouchDefinition},
		{"CREATE OR REPLACE PROCEDURE a() LANGUAGE sql AS ''", TouchDefinition},
		{"ALTER FUNCTION a() RENAME TO b", TouchDefinition}, {"DROP FUNCTION a", TouchDefinition | TouchDrop},
		{"ALTER ROLE a SET lock_timeout = 1", TouchDefinition}, {"ALTER DATABASE a RESET ALL", TouchDefinition},
		{"CREATE EXTENSION a", TouchDefinition}, {"DROP SCHEMA a CASCADE", TouchDefinition | TouchDrop}, {"DROP TABLE a", TouchDrop},
		{"CREATE VIEW a AS SELECT set_config('b', 'c', false)", TouchDefinition}, {"CREATE RULE a AS ON UPDATE TO b DO ALSO SELECT pg_catalog.pg_try_advisory_lock(1)", TouchDefinition},
		{"CREATE TABLE a (b text DEFAULT set_config('b', 'c', false), c float DEFAULT setseed(1))", TouchDefinition}, {"CREATE POLICY a ON b USING (pg_try_advisory_xact_lock(1))", 0},
		{"ALTER TABLE a ADD b text DEFAULT set_config('b', 'c', true)", TouchDefinition | TouchLocalSettings}, {"ALTER TABLE a ALTER b SET DEFAULT set_config('b', 'c', true)", TouchDefinition},
		{"CREATE MATERIALIZED VIEW a AS SELECT pg_try_advisory_lock(1)", TouchDefinition}, {"CREATE MATERIALIZED VIEW a AS SELECT 1", 0},
		{"CREATE TABLE a AS SELECT set_config('b', 'c', true)", TouchLocalSettings}, {"CREATE VIEW a AS SELECT 'set_config'; SELECT set_config('b', 'c', true)", TouchLocalSettings},
		{"UPDATE pg_settings SET setting = '1' WHERE name = 'work_mem'", TouchDynamic}, {"UPDATE pg_catalog.pg_settings SET setting = a", TouchDynamic},
		{"SELECT setting FROM pg_settings", 0},
		{"SELECT name FROM pg_prepared_statements", TouchNames}, {"SELECT * FROM pg_catalog.pg_prepared_statement()", TouchNames},
		{"SELECT dblink_connect('a', 'b')", TouchLinks}, {"SELECT public.dblink_connect_u('a')", TouchLinks},
		{"ROLLBACK TO a", TouchRollbackTo}, {"ROLLBACK WORK TO SAVEPOINT a", TouchRollbackTo}, {"ROLLBACK", 0},
		{"BEGIN; LISTEN a; CLOSE b; COMMIT", TouchListen | TouchClose},
	} {
		if got := read(t, c.text).Touches &^ TouchSchema; got != c.want {
			t.Errorf("%s: %b, want %b", c.text, got, c.want)
		}
	}
}

func TestSchemaIsTouchedByWhatDefinesOrDropsAnything(t *testing.T) {
	for text, want := range map[string]bool{
		"CREATE TABLE a ()": true, "create or replace view a as select 1": true, "ALTER TABLE a ADD b int": true, "DROP TABLE a": true,
		"SELECT 1; ALTER TYPE a ADD VALUE 'b'": true, "SELECT 1 INTO a": true, "CREATE TABLE a AS SELECT 1": true,
		"EXPLAIN ANALYZE CREATE TABLE a AS SELECT 1": true, "EXPLAIN CREATE TABLE a AS SELECT 1": false,
		"COMMIT PREPARED 'a'": true, "COMMIT": false, "INSERT INTO a VALUES (1)": false, "SELECT 'CREATE TABLE a ()'": false,
		"TRUNCATE a": false, "COMMENT ON TABLE a IS 'b'": false, "CREATE TEMP TABLE a ()": true,
	} {
		if got := read(t, text).Touches.Has(TouchSchema); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func TestOnlyWhatNeedsNoServerIsAPlainBegin(t *testing.T) {
	for _, c := range []struct {
		text  string
		begin BeginKind
		end   EndKind
	}{
		{"BEGIN", BeginPlain, EndNone}, {"begin work;", BeginPlain, EndNone}, {"/* a */ BEGIN TRANSACTION ; -- b", BeginPlain, EndNone},
		{"START TRANSACTION", BeginPlain, EndNone}, {"START", BeginOther, EndNone}, {"START WORK", BeginOther, EndNone},
		{"BEGIN ISOLATION LEVEL SERIALIZABLE", BeginPlain, EndNone},
		{"BEGIN ISOLATION LEVEL READ UNCOMMITTED READ ONLY, NOT DEFERRABLE", BeginPlain, EndNone},
		{"START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY, DEFERRABLE", BeginPlain, EndNone},
		{"BEGIN READ WRITE", BeginReadWrite, EndNone}, {"BEGIN READ WRITE, ISOLATION LEVEL SERIALIZABLE", BeginReadWrite, EndNone}, {"BEGIN READ WRITE x", BeginOther, EndNone}, {"BEGIN READ ONLY,", BeginOther, EndNone}, {"BEGIN , READ ONLY", BeginOther, EndNone},
		{"BEGIN ISOLATION LEVEL READ", BeginOther, EndNone}, {"BEGIN NOT", BeginOther, EndNone}, {"BEGIN 1", BeginOther, EndNone},
		{"BEGIN WORK WORK", BeginOther, EndNone}, {"BEGIN ISOLATION SERIALIZABLE", BeginOther, EndNone},
		{"BEGIN; BEGIN", BeginNone, EndNone}, {"SELECT 1", BeginNone, EndNone},
		{"COMMIT", BeginNone, EndCommit}, {"END WORK", BeginNone, EndCommit}, {";COMMIT TRANSACTION AND NO CHAIN;;", BeginNone, EndCommit},
		{"ROLLBACK", BeginNone, EndRollback}, {"abort transaction", BeginNone, EndRollback},
		{"COMMIT AND CHAIN", BeginNone, EndNone}, {"COMMIT AND NO", BeginNone, EndNone}, {"ROLLBACK PREPARED 'a'", BeginNone, EndNone},
		{"COMMIT PREPARED 'a'", BeginNone, EndNone}, {"ROLLBACK TO a", BeginNone, EndNone}, {"COMMIT a", BeginNone, EndNone},
		{"COMMIT; SELECT 1", BeginNone, EndNone}, {"PREPARE TRANSACTION 'a'", BeginNone, EndNone},
	} {
		if u := read(t, c.text); u.Begin != c.begin || u.End != c.end {
			t.Errorf("%s: begins %d, ends %d; want %d, %d", c.text, u.Begin, u.End, c.begin, c.end)
		}
	}
}

func TestTransactionControlAmongStatementsIsTold(t *testing.T) {
	for text, want := range map[string]bool{
		"BEGIN; SELECT 1; COMMIT": true, "SELECT 1; COMMIT": true, "SELECT 1; PREPARE TRANSACTION 'a'": true,
		"SELECT 1; ROLLBACK PREPARED 'a'": true, "BEGIN": false, "COMMIT;": false, "SELECT 1; SELECT 2": false,
		"SAVEPOINT a; SELECT 1; ROLLBACK TO a; RELEASE a": false, "PREPARE begin AS SELECT 1; SELECT 2": false,
	} {
		if got := read(t, text).TransactionInside; got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func TestVerbIsTheFirstStatements(t *testing.T) {
	for text, want := range map[string]Verb{
		"": NoVerb, ";": NoVerb, "-- SELECT": NoVerb, "SELECT 1": Select, "(SELECT 1)": Select, "VALUES (1)": Select,
		"TABLE a": Select, "WITH a AS (SELECT 1) SELECT 1": With, "start transaction": Begin, "END": Commit, "Abort": Rollback,
		"ROLLBACK TO a": RollbackTo, "PREPARE a AS SELECT 1": Prepare, "PREPARE TRANSACTION 'a'": Other, "selec 1": Other,
		"\"select\" 1": Other, "DISCARD ALL; SELECT 1": Discard, "LOCK a": Inert, "selects": Other, "lisTEN a": Listen,
	} {
		if got := read(t, text).Verb; got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
	for _, c := range commands {
		if got := verbAlone(t, c.keyword); got != c.verb {
			t.Errorf("%s: %d, want %d", c.keyword, got, c.verb)
		}
	}
}

func verbAlone(t *testing.T, keyword string) Verb { return read(t, keyword).Verb }
