package main

import (
	"context"
	"strconv"

	"github.com/jackc/pgx/v5"
)

func itoa(n int) string { return strconv.Itoa(n) }

// statements are about prepared statements, batches and pipelines.
var statements = []check{
	{"a prepared statement is there in later transactions", func(ctx context.Context) {
		c, other := connect(ctx), connect(ctx)
		must(c.Prepare(ctx, "double", "SELECT $1::int * 2"))
		must(other.Prepare(ctx, "double", "SELECT $1::int * 200"))
		for n := range 20 {
			equal(one[int](ctx, c, "double", n), 2*n)
			equal(one[int](ctx, other, "double", n), 200*n)
		}
		fine(c.Deallocate(ctx, "double"))
		if _, err := c.Exec(ctx, "double", 1); err == nil {
			panic("the statement is still there")
		}
		equal(one[int](ctx, other, "double", 1), 200)
	}},
	{"SQL and the protocol share their prepared statements", func(ctx context.Context) {
		c := connect(ctx)
		must(c.Prepare(ctx, "shared", "SELECT $1::int + 1"))
		equal(one[int](ctx, c, "SELECT 1 FROM pg_prepared_statements WHERE name = 'shared' AND NOT from_sql"), 1)
		results := must(c.PgConn().Exec(ctx, "EXECUTE shared(41)").ReadAll())
		equal(string(results[0].Rows[0][0]), "42")
		must(c.PgConn().Exec(ctx, "DEALLOCATE shared").ReadAll())
		fails(c.PgConn().ExecPrepared(ctx, "shared", [][]byte{[]byte("1")}, nil, nil).Read().Err, "26000")
		must(c.PgConn().Exec(ctx, "PREPARE insql(int) AS SELECT $1 + 2").ReadAll())
		equal(string(c.PgConn().ExecPrepared(ctx, "insql", [][]byte{[]byte("40")}, nil, nil).Read().Rows[0][0]), "42")
		description := must(c.PgConn().Prepare(ctx, "described", "SELECT $1::int8 AS a, 'x'::text AS b", nil))
		equal(description.ParamOIDs, "[20]")
		equal(description.Fields[1].Name, "b")
	}},
	{"a statement that cannot be prepared is not there", func(ctx context.Context) {
		c := connect(ctx)
		for range 3 {
			_, err := c.PgConn().Prepare(ctx, "bad", "SELECT nothing FROM nowhere", nil)
			fails(err, "42P01")
			fails(c.PgConn().ExecPrepared(ctx, "bad", nil, nil, nil).Read().Err, "26000")
		}
		must(c.PgConn().Prepare(ctx, "bad", "SELECT 1", nil))
		_, err := c.PgConn().Prepare(ctx, "bad", "SELECT 2", nil)
		fails(err, "42P05")
	}},
	{"DISCARD ALL and DEALLOCATE ALL forget statements", func(ctx context.Context) {
		c := connect(ctx)
		for _, text := range []string{"DISCARD ALL", "DEALLOCATE ALL", "DEALLOCATE PREPARE ALL"} {
			must(c.PgConn().Prepare(ctx, "forgotten", "SELECT 1", nil))
			must(c.PgConn().Exec(ctx, text).ReadAll())
			fails(c.PgConn().ExecPrepared(ctx, "forgotten", nil, nil, nil).Read().Err, "26000")
		}
		fine(c.DeallocateAll(ctx))
		equal(one[int](ctx, c, "SELECT count(*) FROM pg_prepared_statements WHERE name = 'forgotten'"), 0)
	}},
	{"a changed table: the first error, then the new columns", func(ctx context.Context) {
		c, other := connect(ctx), connect(ctx)
		do(ctx, c, "CREATE TABLE changed (a int)")
		must(c.PgConn().Prepare(ctx, "star", "SELECT * FROM changed", nil))
		fine(c.PgConn().ExecPrepared(ctx, "star", nil, nil, nil).Read().Err)
		do(ctx, other, "ALTER TABLE changed ADD b int")
		e := fails(c.PgConn().ExecPrepared(ctx, "star", nil, nil, nil).Read().Err, "0A000")
		equal(e.Message, "cached plan must not change result type")
		fine(c.PgConn().Deallocate(ctx, "star"))
		equal(len(must(c.PgConn().Prepare(ctx, "star", "SELECT * FROM changed", nil)).Fields), 2)
	}},
	{"pgx's own statements over a changed table", func(ctx context.Context) {
		c, other := connect(ctx), connect(ctx)
		do(ctx, c, "CREATE TABLE altered (a int)")
		columns := func() (int, error) {
			rows, err := c.Query(ctx, "SELECT * FROM altered")
			if err != nil {
				return 0, err
			}
			rows.Close()
			return len(rows.FieldDescriptions()), rows.Err()
		}
		equal(must(columns()), 1)
		do(ctx, other, "ALTER TABLE altered ADD b int")
		_, err := columns()
		if mode == pgx.QueryExecModeCacheStatement {
			fails(err, "0A000")
		} else {
			fine(err)
		}
		equal(must(columns()), 2)
	}},
	{"more statements than pgx keeps", func(ctx context.Context) {
		conf := config()
		conf.StatementCacheCapacity, conf.DescriptionCacheCapacity = 5, 5
		c := open(ctx, conf)
		for i := range 60 {
			equal(one[int](ctx, c, "SELECT $1::int + "+itoa(i%13), i), i+i%13)
		}
	}},
	{"a batch is one round trip and stops at its error", func(ctx context.Context) {
		c := connect(ctx)
		do(ctx, c, "CREATE TABLE batched (n int UNIQUE)")
		batch := &pgx.Batch{}
		for n := range 50 {
			batch.Queue("INSERT INTO batched VALUES ($1)", n)
			batch.Queue("SELECT count(*) FROM batched")
		}
		results := c.SendBatch(ctx, batch)
		for n := range 50 {
			must(results.Exec())
			var count int
			fine(results.QueryRow().Scan(&count))
			equal(count, n+1)
		}
		fine(results.Close())
		bad := &pgx.Batch{}
		bad.Queue("INSERT INTO batched VALUES ($1)", 100)
		bad.Queue("INSERT INTO batched VALUES ($1)", 7)
		bad.Queue("INSERT INTO batched VALUES ($1)", 101)
		fails(c.SendBatch(ctx, bad).Close(), "23505")
		equal(one[int](ctx, c, "SELECT count(*) FROM batched"), 50)
	}},
	{"a batch in a transaction, with a lock in its middle", func(ctx context.Context) {
		c := connect(ctx)
		tx := must(c.Begin(ctx))
		batch := &pgx.Batch{}
		batch.Queue("SET LOCAL work_mem = '3MB'")
		batch.Queue("SELECT pg_advisory_xact_lock($1)", 3001)
		batch.Queue("SELECT current_setting('work_mem') || count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'").
			QueryRow(func(row pgx.Row) error {
				var text string
				fine(row.Scan(&text))
				equal(text, "3MB1")
				return nil
			})
		fine(tx.SendBatch(ctx, batch).Close())
		fine(tx.Commit(ctx))
		equal(one[int](ctx, c, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 3001"), 0)
	}},
	{"a batch that begins and ends transactions", func(ctx context.Context) {
		c := connect(ctx)
		do(ctx, c, "CREATE TABLE chained (n int)")
		batch := &pgx.Batch{}
		for n := range 6 {
			batch.Queue("BEGIN")
			batch.Queue("INSERT INTO chained VALUES ($1)", n)
			batch.Queue([]string{"COMMIT", "ROLLBACK"}[n%2])
		}
		fine(c.SendBatch(ctx, batch).Close())
		equal(one[[]int](ctx, c, "SELECT array_agg(n ORDER BY n) FROM chained"), []int{0, 2, 4})
		equal(string(c.PgConn().TxStatus()), "I")
	}},
	{"a pipeline with syncs, flushes and errors", func(ctx context.Context) {
		p := connect(ctx).PgConn().StartPipeline(ctx)
		p.SendPrepare("piped", "SELECT $1::int", nil)
		p.SendQueryPrepared("piped", [][]byte{[]byte("1")}, nil, nil)
		fine(p.Sync())
		p.SendQueryParams("SELECT 1/0", nil, nil, nil, nil)
		p.SendQueryPrepared("piped", [][]byte{[]byte("2")}, nil, nil)
		fine(p.Sync())
		p.SendQueryPrepared("piped", [][]byte{[]byte("3")}, nil, nil)
		p.SendDeallocate("piped")
		p.SendFlushRequest()
		fine(p.Flush())
		equal(pipelined(p, 3), "prepared 1 sync 22012 sync 3 closed")
		p.SendQueryPrepared("piped", [][]byte{[]byte("4")}, nil, nil)
		fine(p.Sync())
		equal(pipelined(p, 1), "26000 sync")
		fine(p.Close())
	}},
	{"a pipeline of transactions on a busy pool", func(ctx context.Context) {
		p := connect(ctx).PgConn().StartPipeline(ctx)
		for range 100 {
			for _, text := range []string{"BEGIN", "SELECT set_config('app.piped', 'x', true)", "SELECT pg_try_advisory_xact_lock_shared(3002)", "COMMIT"} {
				p.SendQueryParams(text, nil, nil, nil, nil)
				fine(p.Sync())
			}
		}
		fine(p.Flush())
		for range 400 {
			pipelined(p, 1)
		}
		fine(p.Close())
	}},
}
