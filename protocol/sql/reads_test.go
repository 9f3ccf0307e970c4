package sql

import "testing"

func TestAQueryThatCallsNothingUnknownOnlyReads(t *testing.T) {
	for text, want := range map[string]bool{
		"SELECT * FROM t WHERE a = $1 AND b IN (1, 2)": true, "select count(*), max(a) from t": true, "TABLE t": true, "VALUES (1)": true,
		"SELECT a FROM t FOR NO KEY UPDATE": true, "SELECT a FROM t FOR UPDATE OF t": true, "WITH x AS (UPDATE t SET a = 1) SELECT 1": false,
		"(SELECT 1) UNION (SELECT 2);": true, "WITH x AS (SELECT 1) SELECT * FROM x": true, "SELECT pg_catalog.lower(a) FROM s.t": true,
		"SELECT a::numeric(10, 2) FROM t JOIN u USING (id) ORDER BY a LIMIT 1": true, "SELECT 'f(1)', a FROM t -- f(1)": true,
		"SELECT f(a) FROM t": false, `SELECT "count"(a) FROM t`: false, "SELECT app.count(a) FROM t": false, "SELECT nextval('s')": false,
		"WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x": false, "SELECT 1 INTO t": false, "INSERT INTO t VALUES (1)": false,
		"SELECT 1; SELECT f(2)": false, "": false, ";": false, "SHOW a": false, "SELECT pg_advisory_lock(1)": false, "EXPLAIN ANALYZE SELECT f()": false,
	} {
		if got := ReadsOnly([]byte(text), Dialect{}); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}
