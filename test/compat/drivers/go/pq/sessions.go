package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"time"

	"github.com/lib/pq"
)

// sessions are about what lives in a session, listening, cancelling and pools.
var sessions = []check{
	{"settings of the address and of the session", func(ctx context.Context) {
		c := session(ctx, "&application_name=pq&search_path=pg_catalog&work_mem=3MB&timezone=Asia/Tokyo")
		other := session(ctx, "")
		for range 4 {
			equal(one[string](ctx, c, "SELECT concat_ws('|', current_setting('application_name'), current_setting('search_path'), current_setting('work_mem'), current_setting('timezone'))"),
				"pq|pg_catalog|3MB|Asia/Tokyo")
			equal(one[string](ctx, other, "SHOW work_mem"), "4MB")
		}
		do(ctx, c, "SET work_mem = '5MB'")
		equal(one[string](ctx, c, "SHOW work_mem"), "5MB")
		do(ctx, c, "RESET ALL")
		equal(one[string](ctx, c, "SHOW work_mem"), "3MB")
		equal(one[time.Time](ctx, c, "SELECT '2020-01-01 00:00Z'::timestamptz").Format(time.RFC3339), "2020-01-01T09:00:00+09:00")
	}},
	{"a listener is told while idle", func(ctx context.Context) {
		db := open(ctx, "")
		var listeners []*pq.Listener
		for range 2 {
			listener := pq.NewListener(os.Getenv("DATABASE_URL"), time.Second, time.Minute, nil)
			defer listener.Close()
			fine(listener.Listen("pq news"))
			listeners = append(listeners, listener)
		}
		for n := range 3 {
			do(ctx, db, "SELECT pg_notify('pq news', $1)", fmt.Sprint(n))
			for _, listener := range listeners {
				select {
				case notification := <-listener.Notify:
					equal(notification.Channel+notification.Extra, fmt.Sprint("pq news", n))
				case <-ctx.Done():
					panic("no notification")
				}
				fine(listener.Ping())
			}
		}
		fine(listeners[0].Unlisten("pq news"))
		do(ctx, db, `NOTIFY "pq news", 'last'`)
		equal((<-listeners[1].Notify).Extra, "last")
		equal(len(listeners[0].Notify), 0)
	}},
	{"notices reach their handler", func(ctx context.Context) {
		var got []string
		connector := pq.ConnectorWithNoticeHandler(must(pq.NewConnector(os.Getenv("DATABASE_URL"))), func(e *pq.Error) { got = append(got, e.Message) })
		db := sql.OpenDB(connector)
		defer db.Close()
		c := must(db.Conn(ctx))
		do(ctx, c, "DO $$ BEGIN RAISE NOTICE 'a'; RAISE WARNING 'b'; END $$")
		do(ctx, c, "ROLLBACK")
		equal(got, "[a b there is no transaction in progress]")
	}},
	{"a context that ends cancels its statement", func(ctx context.Context) {
		db := open(ctx, "")
		for range 4 {
			short, cancel := context.WithTimeout(ctx, 150*time.Millisecond)
			_, err := db.ExecContext(short, "SELECT pg_sleep($1)", 15)
			cancel()
			if err == nil {
				panic("not cancelled")
			}
		}
		for one[int](ctx, db, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep($1)%' AND state = 'active'") > 0 {
			continue
		}
	}},
	{"temporary tables and sequences", func(ctx context.Context) {
		c, other := session(ctx, ""), session(ctx, "")
		do(ctx, c, "CREATE TEMP TABLE pq_temp (id serial, n int)")
		do(ctx, c, "INSERT INTO pq_temp (n) VALUES ($1)", 5)
		equal(one[int](ctx, c, "SELECT n FROM pq_temp WHERE id = lastval()"), 5)
		_, err := other.ExecContext(ctx, "SELECT n FROM pq_temp")
		fails(err, "42P01")
	}},
	{"SQL's cursors over several statements", func(ctx context.Context) {
		db := open(ctx, "")
		tx := must(db.BeginTx(ctx, nil))
		do(ctx, tx, "DECLARE pq_cursor CURSOR FOR SELECT n FROM generate_series(1, 10) n")
		for n := 1; n <= 5; n++ {
			equal(one[int](ctx, tx, "FETCH pq_cursor"), n)
			equal(one[int](ctx, tx, "SELECT $1::int", n), n)
		}
		fine(tx.Commit())
	}},
	{"session locks exclude and are counted", func(ctx context.Context) {
		c, other := session(ctx, ""), session(ctx, "")
		for range 2 {
			do(ctx, c, "SELECT pg_advisory_lock($1, $2)", 7, 1)
		}
		for _, free := range []bool{false, false, true} {
			equal(one[bool](ctx, other, "SELECT pg_try_advisory_lock($1, $2)", 7, 1), free)
			equal(one[bool](ctx, c, "SELECT pg_advisory_unlock($1, $2)", 7, 1), !free)
		}
	}},
	{"a pool of connections around one lock", func(ctx context.Context) {
		db := open(ctx, "")
		db.SetMaxOpenConns(16)
		inside := 0
		fine(together(16, func(i int) error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", 7001); err != nil {
				return err
			}
			if inside++; inside != 1 {
				return fmt.Errorf("%d at once", inside)
			}
			if _, err := tx.ExecContext(ctx, "SELECT $1::int", i); err != nil {
				return err
			}
			inside--
			return tx.Commit()
		}))
	}},
	{"connections that are not kept", func(ctx context.Context) {
		db := open(ctx, "&application_name=short")
		db.SetMaxIdleConns(0)
		fine(together(20, func(i int) error {
			for range 3 {
				if got := one[string](ctx, db, "SHOW application_name"); got != "short" {
					return fmt.Errorf("another's setting: %s", got)
				}
			}
			return nil
		}))
	}},
}
