package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
)

// cancelling makes a context that ends send a cancel request, instead of closing the connection.
func cancelling(ctx context.Context) *pgx.Conn {
	conf := config()
	conf.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: 10 * time.Second}
	}
	return open(ctx, conf)
}

const held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1::int AND pid = pg_backend_pid()"

// states are about what lives in a session: settings, temporary tables, sequences, advisory locks; and cancelling.
var states = []check{
	{"settings are the connection's own and are reported", func(ctx context.Context) {
		c, other := connect(ctx, "application_name", "mine", "timezone", "Asia/Tokyo"), connect(ctx)
		do(ctx, c, "SET search_path = pg_catalog, public")
		do(ctx, c, "SELECT set_config('app.tenant', $1, false)", "t'1")
		for range 5 {
			equal(one[string](ctx, c, "SELECT current_setting('search_path') || current_setting('app.tenant')"), "pg_catalog, publict'1")
			equal(one[string](ctx, c, "SHOW application_name"), "mine")
			equal(one[string](ctx, c, "SELECT to_char(timestamptz '2020-01-01 00:00Z', 'HH24')"), "09")
			equal(one[*string](ctx, other, "SELECT nullif(current_setting('app.tenant', true), '')"), (*string)(nil))
		}
		do(ctx, c, "SET timezone = 'Europe/Oslo'")
		equal(c.PgConn().ParameterStatus("TimeZone"), "Europe/Oslo")
		do(ctx, c, "RESET ALL")
		equal(c.PgConn().ParameterStatus("TimeZone")+one[string](ctx, c, "SHOW search_path"), `Asia/Tokyo"$user", public`)
	}},
	{"a setting of a transaction that is rolled back is undone", func(ctx context.Context) {
		c := connect(ctx)
		do(ctx, c, "SET work_mem = '1MB'")
		tx := must(c.Begin(ctx))
		must(tx.Exec(ctx, "SET work_mem = '2MB'"))
		inner := must(tx.Begin(ctx))
		must(inner.Exec(ctx, "SET work_mem = '3MB'"))
		fine(inner.Rollback(ctx))
		equal(one[string](ctx, tx, "SHOW work_mem"), "2MB")
		fine(tx.Rollback(ctx))
		equal(one[string](ctx, c, "SHOW work_mem"), "1MB")
	}},
	{"a function with settings of its own leaves the session's", func(ctx context.Context) {
		c := connect(ctx)
		do(ctx, c, "CREATE FUNCTION own_setting() RETURNS text SET work_mem = '8MB' LANGUAGE sql AS $$ SELECT current_setting('work_mem') $$")
		do(ctx, c, "CREATE FUNCTION sets_it() RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('work_mem', '6MB', false); RETURN 'x'; END $$")
		do(ctx, c, "SET work_mem = '2MB'")
		equal(one[string](ctx, c, "SELECT own_setting()"), "8MB")
		equal(one[string](ctx, c, "SHOW work_mem"), "2MB")
		one[string](ctx, c, "SELECT sets_it()")
		equal(one[string](ctx, c, "SHOW work_mem"), "6MB")
		other := connect(ctx)
		equal(one[string](ctx, other, "SHOW work_mem"), "4MB")
	}},
	{"temporary tables and sequences", func(ctx context.Context) {
		c, other := connect(ctx), connect(ctx)
		do(ctx, c, "CREATE TEMP TABLE mine (id serial, n int)")
		do(ctx, c, "INSERT INTO mine (n) VALUES ($1)", 5)
		equal(one[int](ctx, c, "SELECT lastval()"), 1)
		equal(one[int](ctx, c, "SELECT n FROM mine"), 5)
		failing(ctx, other, "42P01", "SELECT n FROM mine")
		failing(ctx, other, "55000", "SELECT lastval()")
		do(ctx, c, "DROP TABLE mine")
		equal(one[*string](ctx, c, "SELECT to_regclass('mine')::text"), (*string)(nil))
	}},
	{"session locks, shared and exclusive, twice and tried", func(ctx context.Context) {
		c, other := connect(ctx), connect(ctx)
		for range 2 {
			do(ctx, c, "SELECT pg_advisory_lock($1)", 3010)
		}
		equal(one[int](ctx, c, held, 3010), 1)
		equal(one[bool](ctx, other, "SELECT pg_try_advisory_lock_shared($1)", 3010), false)
		equal(one[bool](ctx, c, "SELECT pg_advisory_unlock($1)", 3010), true)
		equal(one[bool](ctx, other, "SELECT pg_try_advisory_lock($1)", 3010), false)
		equal(one[bool](ctx, c, "SELECT pg_advisory_unlock($1)", 3010), true)
		equal(one[bool](ctx, c, "SELECT pg_advisory_unlock($1)", 3010), false)
		equal(one[bool](ctx, other, "SELECT pg_try_advisory_lock_shared($1)", 3010), true)
		equal(one[bool](ctx, c, "SELECT pg_try_advisory_lock_shared($1)", 3010), true)
		do(ctx, c, "SELECT pg_advisory_unlock_all()")
		equal(one[int](ctx, c, held, 3010), 0)
		equal(one[int](ctx, other, held, 3010), 1)
	}},
	{"a session lock outlives the rollback of its transaction", func(ctx context.Context) {
		c := connect(ctx)
		tx := must(c.Begin(ctx))
		must(tx.Exec(ctx, "SELECT pg_advisory_lock($1), pg_advisory_xact_lock($2)", 3011, 3012))
		fine(tx.Rollback(ctx))
		equal(one[int](ctx, c, held, 3011), 1)
		equal(one[int](ctx, c, held, 3012), 0)
		equal(one[bool](ctx, c, "SELECT pg_advisory_unlock($1)", 3011), true)
	}},
	{"a blocked lock is granted at commit", func(ctx context.Context) {
		c, other := connect(ctx), connect(ctx)
		tx := must(c.Begin(ctx))
		must(tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", "a name"))
		granted := make(chan error, 1)
		go func() {
			_, err := other.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", "a name")
			granted <- err
		}()
		for one[int](ctx, tx, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == 0 {
			continue
		}
		fine(tx.Commit(ctx))
		fine(<-granted)
	}},
	{"a wait for a lock is cancelled", func(ctx context.Context) {
		c, other := connect(ctx), cancelling(ctx)
		do(ctx, c, "SELECT pg_advisory_lock(3013)")
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		_, err := other.Exec(short, "SELECT pg_advisory_lock(3013)")
		fails(err, "57014")
		equal(one[bool](ctx, other, "SELECT pg_try_advisory_lock(3013)"), false)
		equal(one[bool](ctx, c, "SELECT pg_advisory_unlock(3013)"), true)
	}},
	{"a statement is cancelled and the transaction fails", func(ctx context.Context) {
		c := cancelling(ctx)
		tx := must(c.Begin(ctx))
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		_, err := tx.Exec(short, "SELECT pg_sleep(30)")
		fails(err, "57014")
		_, err = tx.Exec(ctx, "SELECT 1")
		fails(err, "25P02")
		fine(tx.Rollback(ctx))
		equal(one[int](ctx, c, "SELECT 1"), 1)
	}},
	{"a client that gives up leaves no lock", func(ctx context.Context) {
		c := connect(ctx)
		for range 3 {
			gone := connect(ctx)
			do(ctx, gone, "SELECT pg_advisory_lock(3014)")
			short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			_, err := gone.Exec(short, "SELECT pg_sleep(30)")
			cancel()
			if err == nil || !gone.IsClosed() {
				panic(fmt.Sprint("the connection lives: ", err))
			}
			do(ctx, c, "SELECT pg_advisory_lock(3014)")
			do(ctx, c, "SELECT pg_advisory_unlock(3014)")
		}
	}},
}
