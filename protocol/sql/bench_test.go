package sql

import (
	"strings"
	"testing"
)

var sink Unit

// ordinary are statements as applications send them, none of which takes a lock.
var ordinary = []struct{ name, text string }{
	{"select", "SELECT id, name, price FROM products WHERE id = 4711 LIMIT 1"},
	{"orm", `SELECT "p"."id", "p"."name", "p"."price" FROM "products" "p" WHERE "p"."id" = $1 LIMIT $2`},
	{"insert", "INSERT INTO orders (customer_id, total, placed_at) VALUES ($1, $2, now()) RETURNING id"},
	{"update", "UPDATE products SET price = price * 1.1, updated_at = now() WHERE category = 'books' AND price < 100"},
	{"begin", "BEGIN"},
	{"commit", "COMMIT"},
	{"comment", "/* app:shop,controller:orders */ SELECT * FROM orders WHERE id IN (1, 2, 3)"},
	{"join", "SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.placed_at > now() - interval '1 day' ORDER BY o.id DESC"},
	{"savepoint", "SAVEPOINT a1"},
}

func BenchmarkRead(b *testing.B) {
	r := mustReader(b)
	lock := struct{ name, text string }{"lock", "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"}
	long := struct{ name, text string }{"64KiB", "SELECT 1 WHERE x IN (" + strings.Repeat("'it''s a value', ", 4096) + "'')"}
	for _, c := range append([]struct{ name, text string }{lock, long}, ordinary...) {
		b.Run(c.name, func(b *testing.B) {
			text := []byte(c.text)
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				sink = r.Read(text, Dialect{})
			}
		})
	}
}

func TestOrdinaryStatementsAllocateNothing(t *testing.T) {
	r := mustReader(t, "app.acquire")
	texts := []string{"SELECT pg_advisory_lock(1), pg_catalog.\"pg_advisory_unlock\"(2)", "LISTEN a", "DISCARD ALL",
		"EXPLAIN SELECT 1", "SELECT nextval('a'), currval('b')", "CREATE TEMP TABLE a (b int)", "ROLLBACK TO a"}
	for _, c := range ordinary {
		texts = append(texts, c.text)
	}
	for _, text := range texts {
		bytes := []byte(text)
		if n := testing.AllocsPerRun(10, func() { sink = r.Read(bytes, Dialect{}) }); n != 0 {
			t.Errorf("%v allocations for %s", n, text)
		}
	}
}
