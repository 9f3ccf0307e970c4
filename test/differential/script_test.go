//go:build differential

package differential

import (
	"fmt"
	"math/rand"
	"strings"
)

// step is what a client sends at once, and how many ReadyForQuery it waits for.
type step struct {
	sent  []byte
	ready int
}

// writer makes up a conversation. It follows roughly what the session is in, so that most of what it says makes sense.
type writer struct {
	*rand.Rand
	table string
	key   int // of advisory locks: no other conversation's
}

func newWriter(seed int64) *writer {
	return &writer{Rand: rand.New(rand.NewSource(seed)), table: "t", key: int(seed) * 100}
}

// setup is the conversation's first step, which makes its table.
func (w *writer) setup() step {
	return step{query("DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 20) i"), 1}
}

func (w *writer) step() step {
	switch n := w.Intn(20); {
	case n < 9:
		return step{query(w.texts()), 1}
	case n < 17:
		return w.batches()
	case n < 18:
		return w.copyIn()
	default:
		return step{query(w.text() + "; " + w.text()), 1}
	}
}

func (w *writer) pick(of ...string) string { return of[w.Intn(len(of))] }

// texts is the text of a simple query, now and then of several statements.
func (w *writer) texts() string {
	if w.Intn(6) > 0 {
		return w.text()
	}
	var all []string
	for range 1 + w.Intn(4) {
		all = append(all, w.text())
	}
	return strings.Join(all, ";") + w.pick("", ";", " ; ")
}

func (w *writer) text() string {
	switch w.Intn(10) {
	case 0, 1:
		return w.transaction()
	case 2, 3:
		return w.setting()
	case 4:
		return w.lock()
	case 5:
		return w.state()
	case 6:
		return w.broken()
	}
	return w.ordinary()
}

func (w *writer) transaction() string {
	return w.pick("BEGIN", "begin", "START TRANSACTION", "BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN READ ONLY", "COMMIT", "END", "ROLLBACK",
		"ABORT", "commit", "SAVEPOINT a", "SAVEPOINT b", "RELEASE a", "ROLLBACK TO a", "ROLLBACK TO SAVEPOINT b", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN",
		"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "BEGIN READ WRITE")
}

func (w *writer) ordinary() string {
	id := w.Intn(30)
	return w.pick("SELECT 1", "SELECT count(*) FROM t", "SELECT * FROM t ORDER BY id LIMIT 3",
		fmt.Sprintf("INSERT INTO t VALUES (%d, 'x') ON CONFLICT (id) DO UPDATE SET v = t.v || 'y'", id),
		fmt.Sprintf("UPDATE t SET v = 'u' WHERE id = %d RETURNING id, v", id), fmt.Sprintf("DELETE FROM t WHERE id = %d", id), "", ";", "-- nothing",
		"SELECT generate_series(1, 5)", "TABLE t LIMIT 1", "VALUES (1, 'a'), (2, NULL)", "SELECT NULL", "SELECT repeat('z', 20000)", "EXPLAIN (COSTS off) SELECT 1",
		"DO $$ BEGIN RAISE NOTICE 'said'; END $$", "SELECT current_setting('application_name')", "COPY (SELECT 1, 'a') TO STDOUT", "COPY t TO STDOUT")
}

func (w *writer) setting() string {
	return w.pick("SET application_name = 'one'", "SET application_name TO DEFAULT", "SHOW application_name", "SET DateStyle = 'SQL, DMY'", "SET datestyle TO German",
		"SHOW DateStyle", "SELECT '2024-02-03'::date", "RESET DateStyle", "SET work_mem = '5MB'", "SHOW work_mem", "SET LOCAL work_mem = '6MB'", "RESET ALL",
		"SET search_path = pg_catalog", "SHOW search_path", "SET search_path TO DEFAULT", "SET app.user_id = '42'", "SELECT nullif(current_setting('app.user_id', true), '')",
		"SELECT set_config('app.user_id', '43', false)", "SELECT set_config('app.user_id', '44', true)", "RESET app.user_id", "SET TIME ZONE 'Asia/Tokyo'", "SHOW timezone",
		"SET TIME ZONE DEFAULT", "SET timezone = 'UTC'", "SET work_mem = 'nonsense'", "SET nosuch = 1", "SET standard_conforming_strings = on", "SET statement_timeout = '20s'",
		"SHOW statement_timeout", "SHOW lock_timeout", "SET lock_timeout = '7s'", "SET LOCAL lock_timeout = '8s'", "RESET lock_timeout", "SET client_min_messages = warning",
		"SHOW client_min_messages", "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SHOW transaction_isolation", "SHOW default_transaction_isolation",
		"SET extra_float_digits = 0", "SELECT 1.0::float8 / 3", "SET bytea_output = 'escape'", "SELECT '\\x01ff'::bytea", "SET client_encoding = 'LATIN1'", "SELECT 'é'", "SET NAMES 'UTF8'", "SET IntervalStyle = 'iso_8601'", "SELECT interval '1 day'")
}

func (w *writer) lock() string {
	k := w.key + w.Intn(3)
	return w.pick(fmt.Sprintf("SELECT pg_advisory_lock(%d)", k), fmt.Sprintf("SELECT pg_try_advisory_lock(%d)", k), fmt.Sprintf("SELECT pg_advisory_unlock(%d)", k),
		fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", k), fmt.Sprintf("SELECT pg_advisory_lock_shared(%d)", k), fmt.Sprintf("SELECT pg_advisory_unlock_shared(%d)", k),
		"SELECT pg_advisory_unlock_all()", fmt.Sprintf("SELECT pg_try_advisory_lock(id + %d) FROM t WHERE id < 3", w.key), fmt.Sprintf("SELECT 1 WHERE pg_try_advisory_lock(%d)", k),
		"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()", fmt.Sprintf("DO $$ BEGIN PERFORM pg_advisory_lock(%d); END $$", k))
}

func (w *writer) state() string {
	return w.pick("PREPARE q AS SELECT 5", "PREPARE q(int) AS SELECT $1", "EXECUTE q", "EXECUTE q(7)", "DEALLOCATE q", "DEALLOCATE ALL", "DISCARD ALL", "DISCARD PLANS", "EXECUTE s1", "DEALLOCATE s1",
		"DECLARE c CURSOR FOR SELECT generate_series(1, 10)", "DECLARE h CURSOR WITH HOLD FOR SELECT generate_series(1, 10)", "FETCH 2 FROM c", "FETCH 3 FROM h", "MOVE 1 IN h", "CLOSE c", "CLOSE h", "CLOSE ALL",
		"CREATE TEMP TABLE tmp (a int)", "INSERT INTO tmp VALUES (1)", "SELECT * FROM tmp", "DROP TABLE tmp", "LISTEN ch", "NOTIFY ch, 'payload'", "UNLISTEN ch", "UNLISTEN *",
		"SELECT name, statement FROM pg_prepared_statements WHERE NOT from_sql IS NULL AND from_sql", "SELECT count(*) FROM pg_cursors", "SET ROLE pg_monitor", "RESET ROLE", "SELECT current_user", "DISCARD TEMP")
}

func (w *writer) broken() string {
	return w.pick("SELECT 1/0", "SELEC 1", "SELECT * FROM nosuch", "SELECT $1", "SELECT 'open", "INSERT INTO t VALUES (1, 'dup')", "SELECT nosuch(1)", "FETCH 1 FROM nosuch", "EXECUTE nosuch", "SELECT 1; SELECT 1/0; SELECT 2",
		"ROLLBACK TO nosuch", "VACUUM t", "CREATE TABLE t (a int)")
}

// batches are one or several batches of the extended protocol, sent in one piece.
func (w *writer) batches() step {
	var s step
	for range 1 + w.Intn(3)/2 {
		for range 1 + w.Intn(3) {
			s.sent = append(s.sent, w.messages()...)
		}
		s.sent = append(s.sent, sync...)
		s.ready++
	}
	return s
}

func (w *writer) messages() (b []byte) {
	name := w.pick("", "", "s1", "s2", "s3")
	portal := w.pick("", "", "", "p1")
	text, values := w.parameterized()
	if w.Intn(3) > 0 {
		b = append(b, parse(name, text)...)
		if w.Intn(2) == 0 {
			b = append(b, describe("S", name)...)
		}
	}
	if w.Intn(12) == 0 {
		return append(b, w.oddity()...)
	}
	if w.Intn(8) == 0 {
		return b
	}
	b = append(b, bind(portal, name, values...)...)
	if w.Intn(2) == 0 {
		b = append(b, describe("P", portal)...)
	}
	b = append(b, execute(portal, []int{0, 0, 2}[w.Intn(3)])...)
	if w.Intn(6) == 0 {
		b = append(b, execute(portal, 0)...)
	}
	if w.Intn(8) == 0 {
		b = append(b, flush...)
	}
	if w.Intn(8) == 0 {
		b = append(b, closing("S", name)...)
	}
	if w.Intn(8) == 0 {
		b = append(b, closing("P", portal)...)
	}
	return b
}

func (w *writer) oddity() []byte {
	switch w.Intn(5) {
	case 0:
		return closing("S", w.pick("s1", "s2", "nosuch"))
	case 1:
		return describe("S", w.pick("s1", "nosuch", ""))
	case 2:
		return describe("P", w.pick("p1", "nosuch", ""))
	case 3:
		return execute(w.pick("p1", "nosuch"), 1)
	}
	return bind("", w.pick("s3", "nosuch", ""))
}

func (w *writer) parameterized() (text string, values []string) {
	if w.Intn(2) == 0 {
		return w.text(), nil
	}
	switch w.Intn(4) {
	case 0:
		return "SELECT v FROM t WHERE id = $1", []string{fmt.Sprint(w.Intn(30))}
	case 1:
		return "SELECT pg_try_advisory_lock($1::bigint)", []string{fmt.Sprint(w.key)}
	case 2:
		return "SELECT $1::text, $2::int + 1", []string{"é'\\", "41"}
	}
	return "SELECT set_config('app.user_id', $1, false)", []string{fmt.Sprint(w.Intn(9))}
}

// copyIn is a COPY FROM STDIN with its data, its end or its failure.
func (w *writer) copyIn() step {
	text := w.pick("COPY t FROM STDIN", "COPY nosuch FROM STDIN", "COPY t (id) FROM STDIN")
	data := w.pick(fmt.Sprintf("%d\tc\n", 100+w.Intn(1000)), "bad line\n", "1\tdup\n", "")
	end := [][]byte{message('c'), message('f', "no more\x00")}[w.Intn(2)]
	b := append(message('d', data), end...)
	if w.Intn(2) == 0 {
		return step{append(query(text), b...), 1}
	}
	b = append(append(append(parse("", text), bind("", "")...), execute("", 0)...), b...)
	return step{append(b, sync...), 1}
}
