package test

import (
	"context"
	"strconv"
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
