package main

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/lib/pq"
)

// statements are about statements, prepared ones, transactions and COPY.
var statements = []check{
	{"unnamed statements, with text and with binary parameters", func(ctx context.Context) {
		for _, more := range []string{"", "&binary_parameters=yes"} {
			c := session(ctx, more)
			for n := range 20 {
				equal(one[int](ctx, c, "SELECT $1::int + 1", n), n+1)
				equal(one[string](ctx, c, "SELECT $1::text || 'ä'", "x"), "xä")
				equal(one[[]byte](ctx, c, "SELECT $1::bytea", []byte{0, 255}), []byte{0, 255})
			}
		}
	}},
	{"prepared statements of many connections", func(ctx context.Context) {
		db := open(ctx, "")
		db.SetMaxOpenConns(12)
		statement := must(db.PrepareContext(ctx, "SELECT $1::int * 3, pg_sleep(0.001)"))
		fine(together(30, func(i int) error {
			for range 10 {
				var n int
				var nothing string
				if err := statement.QueryRowContext(ctx, i).Scan(&n, &nothing); err != nil || n != 3*i {
					return fmt.Errorf("%d: %d %w", i, n, err)
				}
			}
			return nil
		}))
		fine(statement.Close())
	}},
	{"a prepared statement in transactions and beyond", func(ctx context.Context) {
		db := open(ctx, "")
		do(ctx, db, "CREATE TABLE pq_tx (n int)")
		insert := must(db.PrepareContext(ctx, "INSERT INTO pq_tx VALUES ($1)"))
		for n := range 6 {
			tx := must(db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable}))
			must(tx.StmtContext(ctx, insert).ExecContext(ctx, n))
			equal(one[string](ctx, tx, "SHOW transaction_isolation"), "serializable")
			if n%2 == 0 {
				fine(tx.Commit())
			} else {
				fine(tx.Rollback())
			}
		}
		equal(one[string](ctx, db, "SELECT array_agg(n ORDER BY n)::text FROM pq_tx"), "{0,2,4}")
	}},
	{"a prepared statement whose columns changed is refused", func(ctx context.Context) {
		c, other := session(ctx, ""), session(ctx, "")
		do(ctx, c, "CREATE TABLE pq_changed (a int)")
		star := must(c.PrepareContext(ctx, "SELECT * FROM pq_changed"))
		for range 5 {
			fine(must(star.QueryContext(ctx)).Close())
		}
		do(ctx, other, "ALTER TABLE pq_changed ADD b int")
		for range 5 {
			_, err := star.QueryContext(ctx)
			fails(err, "0A000")
		}
		fine(must(other.QueryContext(ctx, "SELECT * FROM pq_changed")).Close())
	}},
	{"an error in a transaction fails it until rollback", func(ctx context.Context) {
		db := open(ctx, "")
		for range 5 {
			tx := must(db.BeginTx(ctx, nil))
			_, err := tx.ExecContext(ctx, "SELECT 1 / $1::int", 0)
			fails(err, "22012")
			_, err = tx.ExecContext(ctx, "SELECT 1")
			fails(err, "25P02")
			fine(tx.Rollback())
			equal(one[int](ctx, db, "SELECT 1"), 1)
		}
	}},
	{"read-only transactions", func(ctx context.Context) {
		tx := must(open(ctx, "").BeginTx(ctx, &sql.TxOptions{ReadOnly: true}))
		equal(one[string](ctx, tx, "SHOW transaction_read_only"), "on")
		_, err := tx.ExecContext(ctx, "CREATE TABLE pq_never ()")
		fails(err, "25006")
		fine(tx.Rollback())
	}},
	{"errors tell where and why", func(ctx context.Context) {
		db := open(ctx, "")
		do(ctx, db, "CREATE TABLE pq_err (n int CONSTRAINT pq_one UNIQUE)")
		do(ctx, db, "INSERT INTO pq_err VALUES ($1)", 1)
		_, err := db.ExecContext(ctx, "INSERT INTO pq_err VALUES ($1)", 1)
		e := fails(err, "23505")
		equal(e.Table+" "+e.Constraint+" "+e.Detail, "pq_err pq_one Key (n)=(1) already exists.")
		_, err = db.ExecContext(ctx, "SELECT nothing, $1::int", 1)
		equal(fails(err, "42703").Position, "8")
	}},
	{"several results of one string", func(ctx context.Context) {
		rows := must(open(ctx, "").QueryContext(ctx, "SELECT 1; SELECT 2, 'x'; SELECT 3"))
		var columns []int
		for more := true; more; more = rows.NextResultSet() {
			columns = append(columns, len(must(rows.Columns())))
			for rows.Next() {
				continue
			}
		}
		fine(rows.Err())
		equal(columns, "[1 2 1]")
	}},
	{"rows that are not read to their end", func(ctx context.Context) {
		c := session(ctx, "")
		for range 5 {
			rows := must(c.QueryContext(ctx, "SELECT n, repeat('x', 100) FROM generate_series(1, $1::int) n", 5000))
			rows.Next()
			fine(rows.Close())
		}
		equal(one[int](ctx, c, "SELECT 1"), 1)
	}},
	{"arrays and RETURNING", func(ctx context.Context) {
		db := open(ctx, "")
		do(ctx, db, "CREATE TABLE pq_array (id serial, a text[], n int[])")
		id := one[int](ctx, db, "INSERT INTO pq_array (a, n) VALUES ($1, $2) RETURNING id", pq.Array([]string{"a", `b"`}), pq.Array([]int64{1, 2}))
		var texts []string
		fine(db.QueryRowContext(ctx, "SELECT a FROM pq_array WHERE id = $1 AND n = $2", id, pq.Array([]int64{1, 2})).Scan(pq.Array(&texts)))
		equal(texts, []string{"a", `b"`})
	}},
	{"COPY in, row by row", func(ctx context.Context) {
		db := open(ctx, "")
		do(ctx, db, "CREATE TABLE pq_copy (n int, t text)")
		tx := must(db.BeginTx(ctx, nil))
		copying := must(tx.PrepareContext(ctx, "COPY pq_copy (n, t) FROM STDIN"))
		for n := range 20000 {
			must(copying.ExecContext(ctx, n, fmt.Sprint("row\t", n)))
		}
		must(copying.ExecContext(ctx))
		fine(copying.Close())
		equal(one[int](ctx, tx, "SELECT count(DISTINCT t) FROM pq_copy"), 20000)
		fine(tx.Commit())
	}},
	{"COPY in that fails, and one that is given up", func(ctx context.Context) {
		db := open(ctx, "")
		do(ctx, db, "CREATE TABLE pq_abort (n int)")
		tx := must(db.BeginTx(ctx, nil))
		copying := must(tx.PrepareContext(ctx, "COPY pq_abort (n) FROM STDIN"))
		var err error
		for n := 0; err == nil && n < 100000; n++ {
			_, err = copying.ExecContext(ctx, strings.Repeat("x", 20))
		}
		if err == nil {
			_, err = copying.ExecContext(ctx)
		}
		fails(err, "22P02")
		copying.Close()
		fine(tx.Rollback())
		tx = must(db.BeginTx(ctx, nil))
		copying = must(tx.PrepareContext(ctx, "COPY pq_abort (n) FROM STDIN"))
		must(copying.ExecContext(ctx, 1))
		copying.Close()
		fine(tx.Rollback())
		equal(one[int](ctx, db, "SELECT count(*) FROM pq_abort"), 0)
	}},
}
