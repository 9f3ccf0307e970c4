package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
)

// connections is a pool as applications have them: so many connections, first come first served.
type connections struct {
	url  string
	free chan *pgx.Conn // nil: to be opened.
}

func newConnections(url string, size int) *connections {
	p := &connections{url: url, free: make(chan *pgx.Conn, size)}
	for range size {
		p.free <- nil
	}
	return p
}

// use waits for a connection and lends it to f.
func (p *connections) use(ctx context.Context, f func(*pgx.Conn) error) (err error) {
	var conn *pgx.Conn
	select {
	case conn = <-p.free:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { p.free <- conn }()
	if conn == nil || conn.IsClosed() {
		if conn, err = pgx.Connect(ctx, p.url); err != nil {
			return err
		}
	}
	return f(conn)
}

// close closes all connections, once nobody uses any.
func (p *connections) close() {
	for range cap(p.free) {
		if conn := <-p.free; conn != nil {
			_ = conn.Close(context.Background()) // Nothing is lost with it.
		}
	}
}

// crew is the workers of one round. Its numbers may be read while they work.
type crew struct {
	pool         *connections
	jobs         int64
	next         atomic.Int64
	done, failed atomic.Int64
	left         []atomic.Bool // By worker, from 0: there was no job for it any more.
	first        atomic.Pointer[error]
	working      sync.WaitGroup
}

func newCrew(url string, connections, workers, jobs int) *crew {
	return &crew{pool: newConnections(url, connections), jobs: int64(jobs), left: make([]atomic.Bool, workers)}
}

// start sets the workers to work until there are no more jobs, or ctx ends.
func (c *crew) start(ctx context.Context) {
	for i := range c.left {
		c.working.Go(func() {
			c.work(ctx, i+1)
			c.left[i].Store(true)
		})
	}
}

// wait returns when all workers have ended, and closes their connections.
func (c *crew) wait() {
	c.working.Wait()
	c.pool.close()
}

func (c *crew) work(ctx context.Context, worker int) {
	for job := c.next.Add(1); job <= c.jobs && ctx.Err() == nil; job = c.next.Add(1) {
		err := c.do(ctx, worker, job)
		switch {
		case err == nil:
			c.done.Add(1)
		case ctx.Err() == nil:
			c.failed.Add(1)
			c.first.CompareAndSwap(nil, &err)
		}
	}
}

// The statements of a job. The comment tells whoever looks at pg_stat_activity for whom an insert works.
const (
	lockStatement   = "SELECT pg_advisory_xact_lock($1)"
	insertStatement = "INSERT INTO demo.results (job) VALUES ($1) /* worker %d */"
)

// do is the workload, in both rounds: a transaction on one connection holds the worker's lock while a row is inserted
// on another connection.
func (c *crew) do(ctx context.Context, worker int, job int64) error {
	return c.pool.use(ctx, func(conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, lockStatement, worker); err != nil {
				return err
			}
			return c.pool.use(ctx, func(other *pgx.Conn) error {
				_, err := other.Exec(ctx, fmt.Sprintf(insertStatement, worker), job)
				return err
			})
		})
	})
}

func (c *crew) firstError() error {
	if err := c.first.Load(); err != nil {
		return *err
	}
	return nil
}
