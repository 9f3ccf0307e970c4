package differential

import (
	"fmt"
	"math/rand"
	"strings"
)

// writer makes up what one client says. All clients of a conversation use the same few tables, keys and channels.
type writer struct {
	*rand.Rand
	key     int // the first of the conversation's advisory locks: no other conversation has them
	clients int
}

func (w *writer) pick(of ...string) string { return of[w.Intn(len(of))] }

// one tells that something happens, once in n times.
func (w *writer) one(n int) bool { return w.Intn(n) == 0 }

// texts is the text of a simple query, now and then of several statements.
func (w *writer) texts() string {
	if !w.one(5) {
		return w.text()
	}
	var all []string
	for range 1 + w.Intn(4) {
		all = append(all, w.text())
	}
	return strings.Join(all, w.pick(";", "; ", " ;\n", ";;", "; -- and\n")) + w.pick("", ";", " ; ")
}

// text is one statement.
func (w *writer) text() string {
	switch w.Intn(22) {
	case 0, 1:
		return w.transaction()
	case 2, 3, 4:
		return w.setting()
	case 5:
		return w.lock()
	case 6:
		return w.prepared()
	case 7:
		return w.state()
	case 8:
		return w.temporary()
	case 9:
		return w.broken()
	case 10:
		return w.role()
	case 11:
		return w.object()
	case 12:
		return w.definition()
	case 13:
		return w.routine()
	case 14:
		return w.cursor()
	case 15:
		return w.literal()
	case 16, 17:
		return w.form()
	case 18:
		return w.spelt()
	}
	return w.ordinary()
}

func (w *writer) transaction() string {
	return w.pick("BEGIN", "begin", "START TRANSACTION", "BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN READ ONLY", "BEGIN READ WRITE", "BEGIN; SELECT 1",
		"COMMIT", "COMMIT", "COMMIT", "END", "commit work", "ROLLBACK", "ROLLBACK", "ABORT", "SAVEPOINT a", "SAVEPOINT b", "RELEASE a", "RELEASE SAVEPOINT b",
		"ROLLBACK TO a", "ROLLBACK TO SAVEPOINT b", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
		"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SET TRANSACTION READ ONLY", "/* a */ BEGIN -- b", "COMMIT AND NO CHAIN",
		"SELECT txid_current_if_assigned() IS NULL", "SHOW transaction_isolation", "SHOW transaction_read_only",
		fmt.Sprintf("PREPARE TRANSACTION 'g%d'", w.key), fmt.Sprintf("COMMIT PREPARED 'g%d'", w.key), fmt.Sprintf("ROLLBACK PREPARED 'g%d'", w.key))
}

func (w *writer) ordinary() string {
	id := w.Intn(22)
	return w.pick("SELECT 1", "SELECT count(*) FROM t", "SELECT * FROM t ORDER BY id LIMIT 3", "SELECT * FROM t WHERE id = 1", "", ";", "-- nothing", "/* /* nested */ */",
		fmt.Sprintf("INSERT INTO t VALUES (%d, 'x') ON CONFLICT (id) DO UPDATE SET v = excluded.v || 'y'", id), fmt.Sprintf("SELECT v FROM t WHERE id = %d FOR UPDATE", id),
		fmt.Sprintf("UPDATE t SET v = 'u' WHERE id = %d RETURNING id, v", id%4), fmt.Sprintf("DELETE FROM t WHERE id = %d", id), fmt.Sprintf("SELECT v FROM t WHERE id = %d FOR SHARE NOWAIT", id%4),
		"INSERT INTO u DEFAULT VALUES RETURNING id, at", "INSERT INTO u DEFAULT VALUES; SELECT lastval()", "SELECT nextval('sq')", "SELECT setval('sq', 7), currval('sq')", "INSERT INTO u DEFAULT VALUES RETURNING currval('u_id_seq')",
		"SELECT generate_series(1, 5)", "TABLE t LIMIT 1", "VALUES (1, 'a'), (2, NULL)", "SELECT NULL", "SELECT repeat('z', 20000)", "EXPLAIN (COSTS off) SELECT 1",
		"DO $$ BEGIN RAISE NOTICE 'said'; END $$", "DO $$ BEGIN RAISE WARNING 'warned' USING DETAIL = 'd'; END $$", "SELECT current_setting('application_name')",
		"COPY (SELECT 1, 'a') TO STDOUT", "COPY t TO STDOUT", "COPY (SELECT generate_series(1, 3)) TO STDOUT WITH (FORMAT binary)", "WITH a AS (INSERT INTO t VALUES (40, 'w') ON CONFLICT DO NOTHING RETURNING *) SELECT count(*) FROM a",
		"SELECT now() = statement_timestamp()", "SELECT count(*) FROM pg_stat_activity WHERE pid = pg_backend_pid()", "TRUNCATE u", "LOCK TABLE u IN EXCLUSIVE MODE NOWAIT", "ANALYZE t",
		"MERGE INTO t USING (VALUES (50)) s(i) ON id = i WHEN NOT MATCHED THEN INSERT VALUES (i, 'm')", "SELECT 1 AS \"select\", 'it''s', E'\\n', $$d$$, $x$y$x$", "CALL nosuch()")
}

func (w *writer) setting() string {
	if w.one(3) {
		return w.settingElsewhere()
	}
	return w.pick("SET application_name = 'one'", "SET application_name TO DEFAULT", "SHOW application_name", "SET DateStyle = 'SQL, DMY'", "SET datestyle TO German", "SET DateStyle = YMD",
		"SHOW DateStyle", "SELECT '2024-02-03'::date", "RESET DateStyle", "SET work_mem = '5MB'", "SET SESSION work_mem = '4MB'", "SHOW work_mem", "SET LOCAL work_mem = '6MB'", "RESET work_mem", "RESET ALL", "DISCARD ALL",
		"SET search_path = other, public", "SET search_path = pg_catalog", "SHOW search_path", "SET search_path TO DEFAULT", "SET LOCAL search_path = other", "SET SCHEMA 'other'", "SET app.user_id = '42'",
		"RESET app.user_id", "SET LOCAL app.user_id = '45'", "SET app.\"Mixed Name\" = 1", "SHOW app.tenant", "SET TIME ZONE 'Asia/Tokyo'", "SHOW timezone", "SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE",
		"SET TIME ZONE DEFAULT", "SET TIME ZONE LOCAL", "SET TIME ZONE 3", "SET timezone = 'UTC'", "SET work_mem = 'nonsense'", "SET nosuch = 1", "SET app.1 = 2", "SET standard_conforming_strings = on", "SET standard_conforming_strings = off",
		"SELECT 'a\\\\b'", "SET statement_timeout = '20s'", "SHOW statement_timeout", "SET lock_timeout = '7s'", "SET LOCAL statement_timeout = '8s'", "RESET statement_timeout", "SET client_min_messages = warning",
		"SHOW client_min_messages", "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SHOW default_transaction_isolation", "SET default_transaction_read_only = on", "SET default_transaction_read_only = off",
		"SET extra_float_digits = 0", "SELECT 1.0::float8 / 3", "SET bytea_output = 'escape'", "SELECT '\\x01ff'::bytea", "SET client_encoding = 'LATIN1'", "SELECT 'é'", "SET NAMES 'UTF8'", "RESET client_encoding",
		"SET IntervalStyle = 'iso_8601'", "SELECT interval '1 day 2 hours'", "SET enable_seqscan = off", "SHOW enable_seqscan", "SET plan_cache_mode = force_generic_plan", "SHOW server_version", "SHOW is_superuser", "SHOW ALL LIMIT 1",
		"SET server_version = 1", "SET wal_level = 1", "SET session_replication_role = replica", "SET transaction_timeout = 0", "SET CONSTRAINTS ALL DEFERRED")
}

// settingElsewhere changes settings without SET, or reads them.
func (w *writer) settingElsewhere() string {
	return w.pick("SELECT set_config('app.user_id', '43', false)", "SELECT set_config('app.user_id', '44', true)", "SELECT set_config('work_mem', '3MB', false) FROM generate_series(1, 2)",
		"SELECT 1 WHERE set_config('app.user_id', '46', false) = '46'", "WITH s AS (SELECT set_config('datestyle', 'German', false)) SELECT * FROM s", "SELECT set_config(n, '2MB', false) FROM (VALUES ('work_mem')) v(n)",
		"SELECT pg_catalog.set_config('search_path', 'other', false)", "SELECT set_config('search_path', '', false)", "SELECT set_config('nosuch', '1', false)",
		"UPDATE pg_settings SET setting = '12MB' WHERE name = 'work_mem'", "UPDATE pg_settings SET setting = 'Postgres, MDY' WHERE name = 'DateStyle'", "SELECT nullif(current_setting('app.user_id', true), '')",
		"SELECT current_setting('work_mem'), nullif(current_setting('app.user_id', true), '')", "SELECT setting FROM pg_settings WHERE name = 'work_mem'", "SELECT has_setting()", "SELECT sets()", "SELECT sets_local()",
		"SELECT sets_and_catches()", "DO $$ BEGIN PERFORM set_config('app.user_id', 'do', false); END $$", "DO $$ BEGIN SET work_mem = '13MB'; END $$", "DO $$ BEGIN SET LOCAL work_mem = '14MB'; END $$",
		"DO $$ BEGIN EXECUTE 'SET work_mem = ''15MB'''; END $$", "DO $$ BEGIN EXECUTE 'SET ' || 'datestyle = SQL'; RAISE EXCEPTION 'undone'; EXCEPTION WHEN OTHERS THEN NULL; END $$", "DO $$ BEGIN COMMIT; SET work_mem = '16MB'; ROLLBACK; END $$",
		"SELECT setseed(0.5)", "SELECT set_config('TimeZone', 'Asia/Tokyo', false), set_config('DateStyle', 'German', true)",
		"EXPLAIN (COSTS off) SELECT set_config('work_mem', '17MB', false)", "EXPLAIN (COSTS off, ANALYZE, TIMING off, SUMMARY off) SELECT set_config('work_mem', '18MB', false)", "RESET SESSION AUTHORIZATION", "DISCARD PLANS", "DISCARD SEQUENCES", "DISCARD TEMP")
}

func (w *writer) lock() string {
	k := w.key + w.Intn(3)
	text := w.pick("pg_advisory_lock(%d)", "pg_try_advisory_lock(%d)", "pg_advisory_unlock(%d)", "pg_advisory_unlock(%d)", "pg_advisory_xact_lock(%d)", "pg_try_advisory_xact_lock(%d)", "pg_advisory_lock_shared(%d)",
		"pg_advisory_unlock_shared(%d)", "pg_advisory_xact_lock_shared(%d)", "pg_try_advisory_lock_shared(%d)", "pg_try_advisory_lock(1, %d)", "pg_advisory_unlock(1, %d)", "locks(%d)")
	call := fmt.Sprintf(text, k)
	return w.pick("SELECT "+call, "SELECT "+call, "SELECT "+call, "SELECT "+call+" AS a, 1", "SELECT 1 WHERE "+strings.Replace(call, "pg_advisory_lock(", "pg_try_advisory_lock(", 1)+" IS NOT NULL", "SELECT pg_advisory_unlock_all()",
		"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()", "DO $$ BEGIN PERFORM "+call+"; END $$", "WITH l AS MATERIALIZED (SELECT "+call+" AS l) SELECT count(*) FROM l",
		"SELECT "+call+" FROM generate_series(1, 2)", "SELECT mode, granted FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND objid BETWEEN "+fmt.Sprint(w.key, " AND ", w.key+2)+" ORDER BY 1, 2",
		"SELECT CASE WHEN false THEN "+call+" END IS NULL", "PREPARE lk AS SELECT "+call, "EXECUTE lk", "SELECT pg_try_advisory_lock(id + "+fmt.Sprint(w.key)+") FROM t WHERE id < 3 ORDER BY id", "BEGIN; SELECT "+call, "SELECT "+call+"; COMMIT")
}

// prepared is about SQL's prepared statements, which have the protocol's names.
// Only ex is explained: PostgreSQL itself would crash of a statement that executes itself (prepare.c, ExplainExecuteQuery).
func (w *writer) prepared() string {
	name := w.pick("q", "s1", "s1", "s2", "s3", `"S1"`)
	return strings.ReplaceAll(w.pick("PREPARE %s AS SELECT 5", "PREPARE %s(int) AS SELECT $1", "PREPARE %s AS SELECT * FROM t WHERE id = 1", "PREPARE %s(text) AS SELECT set_config('app.user_id', $1, false)", "PREPARE %s AS INSERT INTO u DEFAULT VALUES", "PREPARE %s AS SELECT '2024-02-03'::date",
		"PREPARE %s AS SELEC", "EXECUTE %s", "EXECUTE %s", "EXECUTE %s(7)", "EXECUTE %s('p')", "DEALLOCATE %s", "DEALLOCATE PREPARE %s", "PREPARE ex AS SELECT 9; EXPLAIN (COSTS off) EXECUTE ex", "DEALLOCATE ALL", "DISCARD PLANS",
		"SELECT name, rtrim(substring(statement FROM 'PREPARE [^;]*')) AS statement, parameter_types FROM pg_prepared_statements WHERE from_sql ORDER BY 1", "CREATE TEMP TABLE tmp AS EXECUTE %s", "PREPARE %s AS SELECT 1; EXECUTE %s; DEALLOCATE %s",
		"DECLARE c CURSOR FOR SELECT 1; PREPARE %s AS SELECT 6", "DO $$ BEGIN EXECUTE 'PREPARE dyn AS SELECT 8'; END $$", "DO $$ BEGIN EXECUTE 'DEALLOCATE dyn'; END $$", "EXECUTE dyn"), "%s", name)
}

func (w *writer) state() string {
	return w.pick("DECLARE c CURSOR FOR SELECT generate_series(1, 10)", "DECLARE c SCROLL CURSOR FOR SELECT id, v FROM t ORDER BY id", "DECLARE h CURSOR WITH HOLD FOR SELECT generate_series(1, 10)", "DECLARE h SCROLL CURSOR WITH HOLD FOR SELECT id FROM t ORDER BY id",
		"FETCH 2 FROM c", "FETCH BACKWARD 1 FROM c", "FETCH ALL IN c", "FETCH ABSOLUTE 3 FROM h", "FETCH 3 FROM h", "MOVE 1 IN h", "MOVE 2 c", "CLOSE c", "CLOSE h", "CLOSE ALL", "SELECT name, is_holdable, is_scrollable FROM pg_cursors ORDER BY 1", "FETCH 1 FROM p1", "CLOSE p1", "UPDATE t SET v = 'c' WHERE CURRENT OF c",
		"LISTEN ch", "LISTEN ch", "NOTIFY ch, 'payload'", "NOTIFY ch", "SELECT pg_notify('ch', 'called')", "NOTIFY other, 'not for ch'", "UNLISTEN ch", "UNLISTEN *", "LISTEN other", "SELECT * FROM pg_listening_channels() ORDER BY 1", "SELECT notifies()", "SELECT count(*) FROM pg_cursors", "LOAD 'plpgsql'")
}

func (w *writer) temporary() string {
	return w.pick("CREATE TEMP TABLE tmp (a int)", "CREATE TEMPORARY TABLE tmp (a int) ON COMMIT DELETE ROWS", "CREATE TEMP TABLE tmp ON COMMIT DROP AS SELECT 1 AS a", "INSERT INTO tmp VALUES (1)", "SELECT * FROM tmp", "DROP TABLE tmp", "DROP TABLE IF EXISTS tmp", "CREATE TEMP TABLE t (id int, temp bool)",
		"SELECT 1 AS a INTO TEMP tmp", "CREATE TEMP VIEW tv AS SELECT 1 AS one", "SELECT * FROM tv", "DROP VIEW tv", "CREATE TABLE pg_temp.tmp (a int)", "CREATE TEMP SEQUENCE ts", "SELECT nextval('ts')", "DROP SEQUENCE ts", "SELECT makes_temp()", "DISCARD TEMP",
		"CREATE TEMP TABLE IF NOT EXISTS tmp (a int)", "DO $$ BEGIN CREATE TEMP TABLE tmp (a int); END $$", "DO $$ BEGIN EXECUTE 'DROP TABLE tmp'; END $$", "COPY tmp TO STDOUT", "SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema() AND relkind = 'r' ORDER BY 1")
}

func (w *writer) role() string {
	return w.pick("SET ROLE writer", "SET ROLE app", "SET LOCAL ROLE writer", "RESET ROLE", "SET ROLE NONE", "SET SESSION AUTHORIZATION app", "SET LOCAL SESSION AUTHORIZATION app", "RESET SESSION AUTHORIZATION", "SET SESSION AUTHORIZATION DEFAULT", "SET ROLE nosuch", "SET role = 'writer'", "SET SESSION ROLE writer",
		"SELECT current_user, session_user", "SHOW role", "SHOW session_authorization", "SELECT set_config('role', 'writer', false)", "SELECT set_config('role', 'writer', true)", "SELECT current_user", "SELECT current_setting('is_superuser')", "DO $$ BEGIN SET ROLE writer; END $$")
}

// object is about large objects, which have numbers of the conversation's own.
func (w *writer) object() string {
	return strings.ReplaceAll(w.pick("SELECT lo_create(OID)", "SELECT lo_open(OID, 393216)", "SELECT lowrite(0, 'written')", "SELECT loread(0, 4)", "SELECT lo_lseek(0, 0, 0)", "SELECT lo_tell(0)", "SELECT lo_close(0)", "SELECT lo_unlink(OID)", "SELECT lo_put(OID, 2, 'put')", "SELECT lo_get(OID)",
		"SELECT lo_from_bytea(OID, 'bytes')", "BEGIN; SELECT lo_create(OID); SELECT lo_open(OID, 393216); SELECT lowrite(0, 'abc')"), "OID", fmt.Sprint(w.key+1000))
}

func (w *writer) definition() string {
	return w.pick("ALTER TABLE t ADD COLUMN c int DEFAULT 3", "ALTER TABLE t DROP COLUMN c", "ALTER TABLE t ALTER COLUMN v TYPE varchar(30)", "ALTER TABLE t RENAME COLUMN v TO w", "ALTER TABLE t RENAME COLUMN w TO v", "CREATE TABLE x AS SELECT 1 AS a", "DROP TABLE x", "DROP TABLE IF EXISTS x", "CREATE INDEX ON t (v)",
		"CREATE FUNCTION made() RETURNS text LANGUAGE sql AS $$ SELECT set_config('work_mem', '19MB', false) $$", "SELECT made()", "DROP FUNCTION made()", "CREATE OR REPLACE FUNCTION made() RETURNS text LANGUAGE plpgsql SET datestyle FROM CURRENT AS $$ BEGIN RETURN '2024-02-03'::date; END $$",
		"COMMENT ON TABLE t IS 'BEGIN'", "VACUUM u", "CREATE SCHEMA AUTHORIZATION app CREATE TABLE x (a int)", "GRANT SELECT ON t TO app", "ALTER SEQUENCE sq RESTART", "CREATE UNLOGGED TABLE x (a int)")
}

func (w *writer) broken() string {
	return w.pick("SELECT 1/0", "SELEC 1", "SELECT * FROM nosuch", "SELECT $1", "SELECT 'open", "INSERT INTO t VALUES (1, 'dup')", "SELECT nosuch(1)", "FETCH 1 FROM nosuch", "EXECUTE nosuch", "SELECT 1; SELECT 1/0; SELECT 2", "SELECT fails()", "SELECT 'x'::int",
		"ROLLBACK TO nosuch", "RELEASE nosuch", "VACUUM t", "CREATE TABLE t (a int)", "SET work_mem = '1MB'; SELECT 1/0", "BEGIN; SET work_mem = '1MB'; SELECT 1/0", "SELECT 1 /* open", "COMMIT; SELECT 1/0", "SELECT E'\\xff'", "CLOSE nosuch", "DEALLOCATE nosuch", "SAVEPOINT a; SET work_mem = '1MB'; ROLLBACK TO a",
		"SET LOCAL nosuch.x = 1; SELECT 1/0", "SELECT set_config('work_mem', '1MB', false), 1/0", "BEGIN; COMMIT; SELECT 1/0; BEGIN", "CREATE DATABASE nosuch", "SELECT pg_advisory_lock('x')", "DISCARD ALL; SELECT 1", "SELECT 1; DISCARD ALL")
}
