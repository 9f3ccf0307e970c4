package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// queries are about single statements and transactions.
var queries = []check{
	{"values of many types come back as they went", func(ctx context.Context) {
		c := connect(ctx)
		moment := time.Date(2020, 2, 29, 12, 30, 0, 123000, time.UTC)
		for range 8 {
			equal(one[int64](ctx, c, "SELECT $1::bigint + 1", int64(41)), 42)
			equal(one[string](ctx, c, "SELECT $1::text || 'ä'", "é'\\"), "é'\\ä")
			equal(one[[]int32](ctx, c, "SELECT $1::int[]", []int32{1, 2, 3}), []int32{1, 2, 3})
			equal(one[time.Time](ctx, c, "SELECT $1::timestamptz", moment).UTC(), moment)
			equal(one[[]byte](ctx, c, "SELECT $1::bytea", []byte{0, 1, 255}), []byte{0, 1, 255})
			equal(one[map[string]any](ctx, c, "SELECT $1::jsonb", `{"a": "b"}`), map[string]any{"a": "b"})
			equal(one[*string](ctx, c, "SELECT $1::text", nil), (*string)(nil))
		}
	}},
	{"an enum and a composite are loaded from the catalog", func(ctx context.Context) {
		c := connect(ctx)
		do(ctx, c, "CREATE TYPE mood AS ENUM ('sad', 'glad')")
		do(ctx, c, "CREATE TYPE pair AS (a int, b mood)")
		for _, name := range []string{"mood", "pair"} {
			c.TypeMap().RegisterType(must(c.LoadType(ctx, name)))
		}
		var pair struct {
			A int32
			B string
		}
		fine(c.QueryRow(ctx, "SELECT (1, 'glad')::pair").Scan(&pair))
		equal(pair, "{1 glad}")
		do(ctx, c, "DROP TYPE pair, mood")
	}},
	{"an error leaves the connection usable", func(ctx context.Context) {
		c := connect(ctx)
		for range 5 {
			failing(ctx, c, "22012", "SELECT 1 / $1::int", 0)
			e := failing(ctx, c, "42P01", "SELECT * FROM nowhere WHERE a = $1", 1)
			equal(e.Position, 15)
			equal(one[int](ctx, c, "SELECT $1::int", 7), 7)
		}
	}},
	{"an error after rows comes after the rows", func(ctx context.Context) {
		c := connect(ctx)
		for range 5 {
			rows := must(c.Query(ctx, "SELECT 10 / (3 - n) FROM generate_series(1, 5) n WHERE n > $1::int", 0))
			n := 0
			for rows.Next() {
				n++
			}
			fails(rows.Err(), "22012")
			equal(n, 2)
		}
	}},
	{"rows that are not read to the end", func(ctx context.Context) {
		c := connect(ctx)
		for range 5 {
			rows := must(c.Query(ctx, "SELECT n, repeat('x', 100) FROM generate_series(1, $1::int) n", 5000))
			rows.Next()
			rows.Close()
			equal(rows.CommandTag(), "SELECT 5000")
		}
	}},
	{"a transaction is one backend and one snapshot", func(ctx context.Context) {
		c, other := connect(ctx), connect(ctx)
		do(ctx, other, "CREATE TABLE snapshots (n int)")
		tx := must(c.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}))
		pid := one[int](ctx, tx, "SELECT pg_backend_pid() FROM snapshots RIGHT JOIN (SELECT) s ON true")
		for i := range 5 {
			do(ctx, other, "INSERT INTO snapshots VALUES ($1)", i)
			equal(one[int](ctx, tx, "SELECT count(*) FROM snapshots"), 0)
			equal(one[int](ctx, tx, "SELECT pg_backend_pid()"), pid)
		}
		fine(tx.Commit(ctx))
		equal(one[int](ctx, c, "SELECT count(*) FROM snapshots"), 5)
	}},
	{"every option of a transaction", func(ctx context.Context) {
		c := connect(ctx)
		tx := must(c.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable, AccessMode: pgx.ReadOnly, DeferrableMode: pgx.Deferrable}))
		for name, wanted := range map[string]string{"isolation": "serializable", "read_only": "on", "deferrable": "on"} {
			equal(one[string](ctx, tx, "SELECT current_setting('transaction_' || $1)", name), wanted)
		}
		_, err := tx.Exec(ctx, "CREATE TABLE never ()")
		fails(err, "25006")
		_, err = tx.Exec(ctx, "SELECT 1")
		fails(err, "25P02")
		if err := tx.Commit(ctx); !errors.Is(err, pgx.ErrTxCommitRollback) {
			panic(err)
		}
		equal(string(c.PgConn().TxStatus()), "I")
	}},
	{"nested transactions are savepoints", func(ctx context.Context) {
		c := connect(ctx)
		tx := must(c.Begin(ctx))
		must(tx.Exec(ctx, "CREATE TABLE nested (n int)"))
		for n := range 4 {
			inner := must(tx.Begin(ctx))
			must(inner.Exec(ctx, "INSERT INTO nested VALUES ($1)", n))
			if n%2 == 0 {
				_, err := inner.Exec(ctx, "SELECT 1/0")
				fails(err, "22012")
				fine(inner.Rollback(ctx))
			} else {
				fine(inner.Commit(ctx))
			}
		}
		equal(one[[]int](ctx, tx, "SELECT array_agg(n) FROM nested"), []int{1, 3})
		fine(tx.Rollback(ctx))
		equal(one[*string](ctx, c, "SELECT to_regclass('nested')::text"), (*string)(nil))
	}},
	{"several statements in a simple query", func(ctx context.Context) {
		c := connect(ctx)
		results := must(c.PgConn().Exec(ctx, "SELECT 1; BEGIN; SELECT 2, 3; COMMIT;; SELECT 4 WHERE false").ReadAll())
		equal(len(results), 5)
		equal(string(results[2].Rows[0][1]), "3")
		equal(results[4].CommandTag, "SELECT 0")
		partial, err := c.PgConn().Exec(ctx, "SELECT 1; SELECT 1/0; SELECT 2").ReadAll()
		fails(err, "22012")
		equal(string(partial[0].Rows[0][0]), "1")
	}},
	{"large values both ways", func(ctx context.Context) {
		c := connect(ctx)
		big := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
		equal(one[int](ctx, c, "SELECT length($1::bytea)", big), len(big))
		equal(bytes.Equal(one[[]byte](ctx, c, "SELECT $1::bytea", big), big), true)
	}},
	{"a query of many parameters", func(ctx context.Context) {
		c := connect(ctx)
		var args []any
		for n := range 2000 {
			args = append(args, n)
		}
		text := "SELECT " + strings.TrimSuffix(strings.Repeat("$?::int+", 2000), "+")
		for n := range args {
			text = strings.Replace(text, "$?", "$"+itoa(n+1), 1)
		}
		equal(one[int](ctx, c, text, args...), 1999*1000)
	}},
	{"notices come in order before the end of their statement", func(ctx context.Context) {
		conf, notices := config(), []string{}
		conf.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { notices = append(notices, n.Severity+" "+n.Message) }
		c := open(ctx, conf)
		do(ctx, c, "DO $$ BEGIN FOR i IN 1..3 LOOP RAISE NOTICE 'n%', i; END LOOP; RAISE WARNING 'w'; END $$")
		equal(notices, "[NOTICE n1 NOTICE n2 NOTICE n3 WARNING w]")
		notices = nil
		do(ctx, c, "COMMIT")
		do(ctx, c, "CREATE TABLE IF NOT EXISTS noticed ()")
		do(ctx, c, "CREATE TABLE IF NOT EXISTS noticed ()")
		equal(notices, `[WARNING there is no transaction in progress NOTICE relation "noticed" already exists, skipping]`)
	}},
	{"empty statements and comments", func(ctx context.Context) {
		c := connect(ctx)
		for _, text := range []string{"", " ", ";", "-- nothing", "/* BEGIN; */"} {
			equal(do(ctx, c, text).String(), "")
		}
		fine(c.Ping(ctx))
	}},
}
