package differential

import "fmt"

// application is what a framework, a driver or a pool says around an application's statements, in the words that it uses.
func (w *writer) application() [][]message {
	all := []func() [][]message{w.rails, w.django, w.jdbc, w.asyncpg, w.npgsql, w.postgrex, w.migration, w.jobs, w.resetQueries}
	return all[w.Intn(len(all))]()
}

func (w *writer) rails() [][]message {
	steps := w.say("SET client_min_messages TO 'warning'", "SET standard_conforming_strings = on", "SET SESSION timezone TO 'UTC'", "SET intervalstyle = iso_8601", "SHOW max_identifier_length", "SELECT t.oid, t.typname FROM pg_type as t WHERE t.typname IN ('int2', 'int4', 'bool', 'date') ORDER BY 1", "SHOW search_path")
	steps = append(steps, []message{parse("a1", "SELECT \"t\".* FROM \"t\" WHERE \"t\".\"id\" = $1 LIMIT $2"), describe("S", "a1"), sync}, []message{bindAs("", "a1", 0, 0, "1", "1"), execute("", 0), sync})
	steps = append(steps, w.say("BEGIN", "SAVEPOINT active_record_1", w.pick("INSERT INTO t VALUES (1, 'dup')", "SELECT 1"), w.pick("ROLLBACK TO SAVEPOINT active_record_1", "RELEASE SAVEPOINT active_record_1"), w.setting(), w.pick("COMMIT", "ROLLBACK"))...)
	return append(steps, []message{bindAs("", "a1", 0, 0, "2", "1"), execute("", 0), sync}, []message{query("DEALLOCATE a1")}, []message{parse("", ";"), bind("", ""), describe("P", ""), execute("", 0), sync})
}

// django fetches from cursors WITH HOLD, and names its savepoints.
func (w *writer) django() [][]message {
	return w.say("SELECT set_config('TimeZone', 'UTC', false)", "DECLARE \"_django_curs_1\" NO SCROLL CURSOR WITH HOLD FOR SELECT id FROM t ORDER BY id", "FETCH FORWARD 5 FROM \"_django_curs_1\"", w.text(), "FETCH FORWARD 100 FROM \"_django_curs_1\"", "CLOSE \"_django_curs_1\"",
		"BEGIN", "SAVEPOINT \"s1_x1\"", w.pick("INSERT INTO kid VALUES (999)", "UPDATE t SET v = 'd' WHERE id = 2"), "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED", w.pick("RELEASE SAVEPOINT \"s1_x1\"", "ROLLBACK TO SAVEPOINT \"s1_x1\""), w.pick("COMMIT", "ROLLBACK"), "SELECT 1")
}

// jdbc begins a transaction in the batch of its first statement, and fetches by portals.
func (w *writer) jdbc() [][]message {
	begin := []message{parse("", w.pick("BEGIN", "BEGIN", "BEGIN READ ONLY")), bind("", ""), execute("", 0)}
	p := w.parameterized()
	first := append(begin, parse("S_1", p.text, p.types...), w.binding("C_2", "S_1", p), describe("P", "C_2"), execute("C_2", 2), sync)
	steps := append(w.say("SET extra_float_digits = 3", "SET application_name = 'PostgreSQL JDBC Driver'", w.pick("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", "SHOW TRANSACTION ISOLATION LEVEL")), first)
	steps = append(steps, []message{execute("C_2", 2), sync}, []message{w.binding("", "S_1", p), describe("P", ""), execute("", 0), closing("P", "C_2"), sync})
	steps = append(steps, []message{query(w.text())}, []message{parse("S_3", w.pick("COMMIT", "ROLLBACK")), bind("", "S_3"), execute("", 1), sync}, []message{w.binding("", "S_1", p), execute("", 0), closing("S", "S_1"), sync})
	return append(steps, []message{parse("", ""), bind("", ""), execute("", 0), sync}, []message{closing("S", "S_3"), sync})
}

func (w *writer) asyncpg() [][]message {
	p := w.parameterized()
	steps := [][]message{{parse("__asyncpg_stmt_1__", p.text, p.types...), describe("S", "__asyncpg_stmt_1__"), flush}, {sync}, {w.binding("", "__asyncpg_stmt_1__", p), execute("", 0), sync}}
	steps = append(steps, []message{query("BEGIN;")}, []message{parse("__asyncpg_stmt_2__", "SELECT id FROM t ORDER BY id"), describe("S", "__asyncpg_stmt_2__"), sync}, []message{bindAs("__asyncpg_portal_1__", "__asyncpg_stmt_2__", 1, 1), execute("__asyncpg_portal_1__", 3), sync},
		[]message{execute("__asyncpg_portal_1__", 3), sync}, []message{query(w.text())}, []message{closing("P", "__asyncpg_portal_1__"), sync}, []message{query(w.pick("COMMIT;", "ROLLBACK;"))})
	return append(steps, []message{closing("S", "__asyncpg_stmt_1__"), sync}, []message{query("SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;")}, []message{closing("S", "__asyncpg_stmt_2__"), sync})
}

// npgsql has what resets its connection before the next statement, in one write.
func (w *writer) npgsql() [][]message {
	p := w.parameterized()
	reset := query(w.pick("DISCARD ALL", "CLOSE ALL;UNLISTEN *;SELECT pg_advisory_unlock_all();DISCARD SEQUENCES;DISCARD TEMP;SET SESSION AUTHORIZATION DEFAULT;RESET ALL", "SET SESSION AUTHORIZATION DEFAULT;RESET ALL;CLOSE ALL;UNLISTEN *"))
	use := []message{parse("_p1", p.text, p.types...), bind("", "_p1", p.values...), describe("P", ""), execute("", 0), sync}
	return [][]message{use, {query(w.text())}, append([]message{reset, query("BEGIN")}, use...), {query(w.pick("COMMIT", "ROLLBACK"))}, {reset, bind("", "_p1", p.values...), execute("", 0), sync}}
}

func (w *writer) postgrex() [][]message {
	p := w.parameterized()
	return [][]message{{query("begin")}, {parse("ecto_1", p.text, p.types...), describe("S", "ecto_1"), flush}, {w.binding("", "ecto_1", p), execute("", 0), closing("S", ""), sync}, {query("savepoint postgrex_query"), parse("ecto_2", w.text()), describe("S", "ecto_2"), flush},
		{sync}, {query(w.pick("rollback to savepoint postgrex_query", "release savepoint postgrex_query"))}, {query(w.pick("commit", "rollback"))}, {w.binding("", "ecto_1", p), execute("", 0), sync}, {closing("S", "ecto_1"), closing("S", "ecto_2"), sync}}
}

// migration runs under a lock, as golang-migrate, goose, Prisma, Flyway, Alembic and ActiveRecord do it.
func (w *writer) migration() [][]message {
	k := w.key + w.Intn(2)
	steps := w.say(fmt.Sprintf(w.pick("SELECT pg_advisory_lock(%d)", "SELECT pg_try_advisory_lock(%d)"), k), "CREATE TABLE IF NOT EXISTS x (a int)", "LOCK TABLE x IN SHARE ROW EXCLUSIVE MODE NOWAIT", "BEGIN; "+w.definition()+"; INSERT INTO x VALUES (1); COMMIT;",
		w.pick("CREATE INDEX CONCURRENTLY ON x (a)", "BEGIN", "SET search_path TO other, public", "SET lock_timeout = '5s'; "+w.definition()), w.definition(), w.pick("COMMIT", "ROLLBACK", "SELECT count(*) FROM x", "SET search_path TO DEFAULT"), fmt.Sprintf("SELECT pg_advisory_unlock(%d)", k))
	return append(steps, extended(fmt.Sprintf("SELECT pg_advisory_unlock(%d)", k)))
}

// jobs are taken from a table by workers: by locks of rows, or by advisory locks as que does it.
func (w *writer) jobs() [][]message {
	que := fmt.Sprintf("WITH RECURSIVE jobs AS (SELECT (j).*, pg_try_advisory_lock(%d + (j).id) AS locked FROM (SELECT j FROM t AS j WHERE id < 4 ORDER BY id LIMIT 1) AS t1 UNION ALL (SELECT (j).*, pg_try_advisory_lock(%d + (j).id) AS locked FROM (SELECT (SELECT j FROM t AS j WHERE id < 4 AND id > jobs.id ORDER BY id LIMIT 1) AS j FROM jobs WHERE jobs.id IS NOT NULL LIMIT 1) AS t1)) SELECT id, v FROM jobs WHERE locked LIMIT 1", w.key, w.key)
	if w.one(2) {
		return w.say(que, w.text(), "DELETE FROM t WHERE id = 3", w.pick("NOTIFY ch, 'done'", "SELECT 1"), fmt.Sprintf("SELECT pg_advisory_unlock(%d + 1), pg_advisory_unlock(%d + 2)", w.key, w.key), "SELECT pg_advisory_unlock_all()")
	}
	take := parse("job", "UPDATE t SET v = 'taken' WHERE id = (SELECT id FROM t WHERE id BETWEEN 2 AND 9 ORDER BY id FOR UPDATE SKIP LOCKED LIMIT $1) RETURNING id")
	return append([][]message{{query("LISTEN ch")}, {query("BEGIN")}, {take, describe("S", "job"), bind("", "job", "1"), execute("", 0), sync}, {query(w.ordinary())}, {query(w.pick("COMMIT", "ROLLBACK"))}, {bind("", "job", "1"), execute("", 0), sync}}, w.say("NOTIFY ch, 'job'", "UNLISTEN *", "DEALLOCATE job")...)
}

// resetQueries are what poolers and pools send when a connection comes back.
func (w *writer) resetQueries() [][]message {
	return w.say(w.text(), w.text(), w.pick("DISCARD ALL", "ROLLBACK; DISCARD ALL", "ABORT; RESET ALL; SET SESSION AUTHORIZATION DEFAULT", "ROLLBACK;SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;", "DEALLOCATE ALL; RESET ALL; UNLISTEN *; CLOSE ALL",
		"DO $$ BEGIN PERFORM * FROM pg_listening_channels() LIMIT 1; IF FOUND THEN UNLISTEN *; END IF; END; $$;", "RESET ROLE; RESET ALL", "SELECT pg_advisory_unlock_all()", "BEGIN; ROLLBACK", "SET SESSION AUTHORIZATION DEFAULT; DISCARD PLANS; DISCARD TEMP"), w.text())
}
