// Command pq uses what lib/pq is known for: database/sql over unnamed and named statements, binary parameters, COPY row
// by row, its Listener, notices, and a context that ends.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/lib/pq"
)

// limit is how long a check may take.
const limit = 20 * time.Second

// check is one named check. What fails in it panics.
type check struct {
	name string
	run  func(ctx context.Context)
}

func main() {
	n := 0
	for _, some := range [][]check{statements, sessions} {
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
func fails(err error, state string) *pq.Error {
	var e *pq.Error
	if !errors.As(err, &e) || string(e.Code) != state {
		panic(fmt.Sprintf("got the error %v, not SQLSTATE %s", err, state))
	}
	return e
}

// open gives a pool of the driver's database/sql, closed with the check.
func open(ctx context.Context, more string) *sql.DB {
	db := must(sql.Open("postgres", os.Getenv("DATABASE_URL")+more))
	context.AfterFunc(ctx, func() { db.Close() })
	return db
}

// session gives one connection of a pool of its own.
func session(ctx context.Context, more string) *sql.Conn {
	return must(open(ctx, more).Conn(ctx))
}

// querier is a pool, a connection or a transaction.
type querier interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}

func one[T any](ctx context.Context, q querier, text string, args ...any) (value T) {
	fine(q.QueryRowContext(ctx, text, args...).Scan(&value))
	return value
}

func do(ctx context.Context, q querier, text string, args ...any) {
	must(q.ExecContext(ctx, text, args...))
}

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
