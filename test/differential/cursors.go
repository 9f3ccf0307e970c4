package differential

import "fmt"

// cursor is about cursors of all kinds, and portals that were fetched from in part.
func (w *writer) cursor() string {
	return w.pick("DECLARE c SCROLL CURSOR FOR SELECT id, v FROM t WHERE id < 9 ORDER BY id", "DECLARE c NO SCROLL CURSOR WITHOUT HOLD FOR SELECT id FROM t ORDER BY id", "DECLARE c BINARY CURSOR FOR SELECT id FROM t ORDER BY id", "DECLARE \"C\" INSENSITIVE CURSOR FOR SELECT 1", "DECLARE c CURSOR FOR SELECT id FROM t FOR UPDATE",
		"DECLARE h CURSOR WITH HOLD FOR SELECT id, 1 / (id - 3) FROM t ORDER BY id", "DECLARE h2 CURSOR WITH HOLD FOR TABLE t", fmt.Sprintf("DECLARE c CURSOR FOR SELECT pg_try_advisory_lock(%d) FROM generate_series(1, 3)", w.key), "DECLARE c CURSOR FOR SELECT set_config('app.user_id', i::text, false) FROM generate_series(1, 3) i",
		"DECLARE c CURSOR FOR SELECT currval('sq')", "DECLARE c CURSOR FOR SELECT nosuch", "DECLARE c CURSOR FOR VALUES (1), (2)", "FETCH c", "FETCH NEXT FROM c", "FETCH PRIOR FROM c", "FETCH LAST FROM c", "FETCH FIRST FROM c", "FETCH RELATIVE 2 FROM c", "FETCH RELATIVE -1 IN c", "FETCH ABSOLUTE -2 FROM c", "FETCH 0 FROM c",
		"FETCH FORWARD 2 FROM c", "FETCH FORWARD ALL FROM c", "FETCH BACKWARD ALL FROM c", "FETCH -1 FROM c", "MOVE FORWARD 3 FROM c", "MOVE BACKWARD ALL IN c", "MOVE LAST c", "MOVE ABSOLUTE 0 c", "DELETE FROM t WHERE CURRENT OF c", "UPDATE t SET v = 'current' WHERE CURRENT OF c RETURNING id", "FETCH ALL FROM \"C\"", "CLOSE \"C\"",
		"FETCH 2 FROM h; FETCH 2 FROM h", "FETCH ALL FROM h2", "CLOSE h2", "CLOSE c", "CLOSE ALL", "FETCH 1 FROM \"<unnamed portal 99>\"", "SELECT name, statement, is_holdable, is_binary, is_scrollable FROM pg_cursors WHERE name <> '' ORDER BY 1")
}

// cursorsLife has cursors in a transaction with savepoints, and those that outlive it.
func (w *writer) cursorsLife() [][]message {
	return w.say(w.pick("BEGIN", "BEGIN", "BEGIN READ ONLY", "SELECT 1"), w.cursor(), w.pick("SAVEPOINT a", "SELECT 1"), w.cursor(), w.cursor(), w.pick("ROLLBACK TO a", "RELEASE a", "SELECT 1/0", w.cursor()), w.cursor(), w.pick("COMMIT", "COMMIT", "ROLLBACK", "COMMIT AND CHAIN", fmt.Sprintf("PREPARE TRANSACTION 'g%d'", w.key)), w.cursor(), w.cursor(),
		w.pick("CLOSE ALL", "DISCARD ALL", w.cursor()), w.pick("SELECT 1", fmt.Sprintf("ROLLBACK PREPARED 'g%d'", w.key)))
}

// portalsOfSQL fetches from portals by SQL, and from cursors by portals: to PostgreSQL they are one set.
func (w *writer) portalsOfSQL() [][]message {
	use := [][]message{{query("FETCH 1 FROM p1")}, {query("MOVE 1 IN p1")}, {query("CLOSE p1")}, {execute("p1", 1), sync}, {execute("c", 2), sync}, {describe("P", "c"), sync}, {describe("P", "p1"), execute("p1", 0), sync}, {closing("P", "c"), sync}, {query("FETCH 1 FROM c")}, {query("CLOSE ALL")},
		{parse("", "FETCH 2 FROM c"), bind("p2", ""), describe("P", "p2"), execute("p2", 1), execute("p2", 1), sync}, {execute("p2", 0), sync}, {bind("p1", "s1"), sync}, {bind("c", "s1"), execute("c", 1), sync}, {query("SAVEPOINT a")}, {query("ROLLBACK TO a")}, {query(w.text())}, {bind("", "s1"), execute("", 1), sync}, {bind("", "s1"), execute("", 1), flush},
		{query("SELECT name, statement FROM pg_cursors WHERE name <> '' ORDER BY 1")}}
	steps := [][]message{{query(w.pick("BEGIN", "BEGIN", "SELECT 1"))}, {parse("s1", "SELECT id, v FROM t WHERE id < 8 ORDER BY id"), bind("p1", "s1"), execute("p1", 2), w.pickMessage(sync, flush)}, {query("DECLARE c SCROLL CURSOR FOR SELECT generate_series(1, 4)")}}
	for range 3 + w.Intn(6) {
		steps = append(steps, use[w.Intn(len(use))])
	}
	return append(steps, []message{sync}, []message{query(w.pick("COMMIT", "ROLLBACK"))}, []message{execute("p1", 1), sync}, []message{query("CLOSE ALL")}, []message{closing("S", "s1"), sync})
}
