// Command pgx uses what pgx is known for, in the query mode that is its argument: named prepared statements that it keeps
// (cache_statement), descriptions that it keeps (cache_describe), unnamed statements described each time (describe_exec),
// unnamed ones that are not (exec), and simple queries (simple_protocol).
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// limit is how long a check may take.
const limit = 20 * time.Second

var modes = map[string]pgx.QueryExecMode{
	"cache_statement": pgx.QueryExecModeCacheStatement, "cache_describe": pgx.QueryExecModeCacheDescribe,
	"describe_exec": pgx.QueryExecModeDescribeExec, "exec": pgx.QueryExecModeExec, "simple_protocol": pgx.QueryExecModeSimpleProtocol,
}

var mode pgx.QueryExecMode

// check is one named check. What fails in it panics.
type check struct {
	name string
	run  func(ctx context.Context)
}

func main() {
	var known bool
	if mode, known = modes[strings.Join(os.Args[1:], " ")]; !known {
		fmt.Fprintln(os.Stderr, "usage: pgx cache_statement|cache_describe|describe_exec|exec|simple_protocol")
		os.Exit(2)
	}
	n := 0
	for _, some := range [][]check{queries, statements, streams, states, pools} {
		for _, c := range some {
			c.perform()
			n++
		}
	}
	fmt.Printf("1..%d\n", n)
}

func (c check) perform() {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	defer func() {
		if why := recover(); why != nil {
			fmt.Printf("not ok %s: %s\n", c.name, strings.Join(strings.Fields(fmt.Sprint(why)), " "))
			return
		}
		fmt.Println("ok", c.name)
	}()
	c.run(ctx)
}

// must gives the value of a call that may not fail.
func must[T any](value T, err error) T {
	fine(err)
	return value
}

func fine(err error) {
	if err != nil {
		panic(err)
	}
}

func equal(got, wanted any) {
	if fmt.Sprint(got) != fmt.Sprint(wanted) {
		panic(fmt.Sprintf("got %v, not %v", got, wanted))
	}
}

// fails wants an error of this SQLSTATE.
func fails(err error, state string) *pgconn.PgError {
	e, is := err.(*pgconn.PgError)
	for inner := err; !is && inner != nil; {
		wrapped, can := inner.(interface{ Unwrap() error })
		if !can {
			break
		}
		inner = wrapped.Unwrap()
		e, is = inner.(*pgconn.PgError)
	}
	if !is || e.Code != state {
		panic(fmt.Sprintf("got the error %v, not SQLSTATE %s", err, state))
	}
	return e
}

// config is that of the environment, with the mode and more parameters ("name", "value", ...).
func config(parameters ...string) *pgx.ConnConfig {
	c := must(pgx.ParseConfig(os.Getenv("DATABASE_URL")))
	c.DefaultQueryExecMode = mode
	for i := 0; i < len(parameters); i += 2 {
		c.RuntimeParams[parameters[i]] = parameters[i+1]
	}
	return c
}

// connect gives a connection that is closed with the check.
func connect(ctx context.Context, parameters ...string) *pgx.Conn {
	return open(ctx, config(parameters...))
}

func open(ctx context.Context, c *pgx.ConnConfig) *pgx.Conn {
	conn := must(pgx.ConnectConfig(ctx, c))
	context.AfterFunc(ctx, func() { conn.PgConn().Conn().Close() })
	return conn
}

func connectPool(ctx context.Context, change func(*pgxpool.Config)) *pgxpool.Pool {
	c := must(pgxpool.ParseConfig(os.Getenv("DATABASE_URL")))
	c.ConnConfig.DefaultQueryExecMode = mode
	c.MaxConns = 12
	if change != nil {
		change(c)
	}
	return must(pgxpool.NewWithConfig(ctx, c))
}

// do runs a statement.
func do(ctx context.Context, c *pgx.Conn, text string, args ...any) pgconn.CommandTag {
	return must(c.Exec(ctx, text, args...))
}

// failing runs a statement that fails.
func failing(ctx context.Context, c *pgx.Conn, state, text string, args ...any) *pgconn.PgError {
	_, err := c.Exec(ctx, text, args...)
	return fails(err, state)
}

// one is the single value of a query.
func one[T any](ctx context.Context, c interface {
	QueryRow(context.Context, string, ...any) pgx.Row
}, text string, args ...any) (value T) {
	fine(c.QueryRow(ctx, text, args...).Scan(&value))
	return value
}
