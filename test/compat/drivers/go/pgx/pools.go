package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// together runs n of them at once and gives the first error.
func together(n int, work func(i int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = work(i) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// pools are about pgxpool and many connections.
var pools = []check{
	{"a pool with more connections than there are backends", func(ctx context.Context) {
		pool := connectPool(ctx, nil)
		defer pool.Close()
		must(pool.Exec(ctx, "CREATE TABLE accounts (id int PRIMARY KEY, balance int)"))
		must(pool.Exec(ctx, "INSERT INTO accounts SELECT n, 100 FROM generate_series(0, 9) n"))
		fine(together(24, func(i int) error {
			for n := range 8 {
				err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
					from, to := min(i%10, n), max(i%10, n)
					if _, err := tx.Exec(ctx, "UPDATE accounts SET balance = balance - 1 WHERE id = $1", from); err != nil {
						return err
					}
					_, err := tx.Exec(ctx, "UPDATE accounts SET balance = balance + 1 WHERE id = $1", to)
					return err
				})
				if err != nil {
					return err
				}
			}
			return nil
		}))
		equal(one[int](ctx, pool, "SELECT sum(balance) FROM accounts"), 1000)
	}},
	{"a pool that resets what its users leave", func(ctx context.Context) {
		pool := connectPool(ctx, func(c *pgxpool.Config) {
			c.MaxConns = 3
			c.AfterRelease = func(conn *pgx.Conn) bool {
				_, err := conn.Exec(context.Background(), "DISCARD ALL", pgx.QueryExecModeSimpleProtocol)
				return err == nil && conn.DeallocateAll(context.Background()) == nil
			}
		})
		defer pool.Close()
		fine(together(6, func(i int) error {
			for range 5 {
				err := pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
					if n := one[int](ctx, c, "SELECT count(*) FROM pg_class WHERE relname = 'left_behind' AND relnamespace = pg_my_temp_schema()"); n > 0 {
						return errors.New("another user's table")
					}
					_, err := c.Exec(ctx, "CREATE TEMP TABLE left_behind AS SELECT $1::int AS n", i)
					if err == nil && one[int](ctx, c, "SELECT n FROM left_behind") != i {
						err = errors.New("not the user's own table")
					}
					return err
				})
				if err != nil {
					return err
				}
			}
			return nil
		}))
	}},
	{"a pool that prepares each connection for its tenant", func(ctx context.Context) {
		type tenant struct{}
		pool := connectPool(ctx, func(c *pgxpool.Config) {
			c.PrepareConn = func(ctx context.Context, conn *pgx.Conn) (bool, error) {
				_, err := conn.Exec(ctx, "SELECT set_config('app.tenant', $1, false)", fmt.Sprint(ctx.Value(tenant{})))
				return true, err
			}
		})
		defer pool.Close()
		fine(together(20, func(i int) error {
			for range 5 {
				mine := context.WithValue(ctx, tenant{}, i)
				if got := one[string](mine, pool, "SELECT current_setting('app.tenant')"); got != fmt.Sprint(i) {
					return fmt.Errorf("tenant %d is %s", i, got)
				}
			}
			return nil
		}))
	}},
	{"a mutex of advisory locks over many connections", func(ctx context.Context) {
		pool := connectPool(ctx, nil)
		defer pool.Close()
		inside := 0
		fine(together(10, func(i int) error {
			return pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
				if _, err := c.Exec(ctx, "SELECT pg_advisory_lock($1)", 3020); err != nil {
					return err
				}
				if inside++; inside != 1 {
					return errors.New("two at once")
				}
				must(pool.Exec(ctx, "SELECT 1"))
				inside--
				_, err := c.Exec(ctx, "SELECT pg_advisory_unlock($1)", 3020)
				return err
			})
		}))
		equal(one[int](ctx, pool, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 3020"), 0)
	}},
	{"sixty connections, each with a statement and a setting of its own", func(ctx context.Context) {
		fine(together(60, func(i int) error {
			c, err := pgx.ConnectConfig(ctx, config("application_name", fmt.Sprint("c", i)))
			if err != nil {
				return err
			}
			defer c.Close(ctx)
			for n := range 5 {
				text := fmt.Sprintf("SELECT current_setting('application_name') || ':' || $1::int + %d", i)
				if got, wanted := one[string](ctx, c, text, n), fmt.Sprintf("c%d:%d", i, n+i); got != wanted {
					return fmt.Errorf("got %s, not %s", got, wanted)
				}
			}
			return nil
		}))
	}},
}
