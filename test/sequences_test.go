package test

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// The first client of a database that asks for what nextval left gets the connection back that has it, though that went to
// others meanwhile.
func TestWhoAsksForCurrvalGetsTheConnectionBackThatHasIt(t *testing.T) {
	r := startProxy(t, sized(2, 2))
	r.query(t, "CREATE TABLE counted (id serial, who text)")
	ctx := context.Background()
	ask := func(c *pgx.Conn, text string) (n int) {
		t.Helper()
		if err := c.QueryRow(ctx, text).Scan(&n); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return n
	}
	run := func(c *pgx.Conn, text string) {
		t.Helper()
		if _, err := c.Exec(ctx, text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	a, b, c := connect(t, r.url), connect(t, r.url), connect(t, r.url)
	run(a, "INSERT INTO counted (who) VALUES ('a')")
	its := r.value(t, "SELECT pid FROM pg_stat_activity WHERE query LIKE 'INSERT INTO counted%'")
	for _, one := range []*pgx.Conn{b, c} { // the connection waits a moment for A, then for nobody
		run(one, "BEGIN")
	}
	first, last := b, c
	if ask(c, "SELECT pg_backend_pid()"); strconv.Itoa(ask(b, "SELECT pg_backend_pid()")) != its {
		first, last = c, b
	}
	run(first, "COMMIT")
	run(last, "COMMIT") // whose connection is the next to be given out
	if id := ask(a, "SELECT currval('counted_id_seq')::int"); id != 1 {
		t.Errorf("currval is %d", id)
	}
}

// Whatever moved a sequence, its number is asked for in the same transaction.
func TestCurrvalIsThereWhateverMovedTheSequence(t *testing.T) {
	r := startProxy(t, sized(1, 1))
	r.query(t, "CREATE TABLE counted (id serial, who text); CREATE TABLE others (a int)")
	r.query(t, "INSERT INTO counted (who) VALUES ('before'); INSERT INTO others VALUES (1), (2)")
	s := logIn(t, r.url)
	s.wants("it is prepared", "C(PREPARE) C(PREPARE) Z(I)", "Z", text("PREPARE p AS INSERT INTO counted (who) VALUES ($1); PREPARE w AS WITH a AS (INSERT INTO counted (who) VALUES ('w')) SELECT"))
	for _, by := range []string{
		"EXECUTE p('a')", "EXECUTE w", "EXPLAIN ANALYZE EXECUTE p('b')", "EXPLAIN (ANALYZE) INSERT INTO counted (who) VALUES ('c')", "UPDATE counted SET id = DEFAULT WHERE who = 'before'",
		"DO $$ BEGIN INSERT INTO counted (who) VALUES ('d'); END $$", "MERGE INTO counted USING others ON false WHEN NOT MATCHED THEN INSERT (who) VALUES ('e')",
		"ALTER TABLE others ADD b serial",
	} {
		if strings.HasPrefix(by, "MERGE") && r.value(t, "SHOW server_version_num") < "150000" {
			continue // it does not know MERGE yet
		}
		for _, extended := range []bool{false, true} {
			if s.asks("Z", text("BEGIN")); extended {
				s.asks("Z", prepare("", by), bindTo("", ""), executing(""), syncNow)
			} else {
				s.asks("Z", text(by))
			}
			if got := s.asks("Z", text("SELECT lastval() > 0")); got != "T D(t) C(SELECT 1) Z(T)" {
				t.Errorf("after %s (extended: %t): %s", by, extended, got)
			}
			s.asks("Z", text("ROLLBACK"))
			r.query(t, "DISCARD SEQUENCES")
		}
	}
}
