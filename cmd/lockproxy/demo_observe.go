package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// doing is what a slot is used for.
type doing int

const (
	unopened doing = iota // There is no connection in the slot yet.
	idle
	locked    // A transaction holds a worker's lock.
	inserting // An insert is running.
)

// slot is one connection to PostgreSQL.
type slot struct {
	doing  doing
	worker int  // For whom, from 1; 0 for nobody.
	lock   bool // It has held a lock. Lockproxy never moves such a connection back to the admin pool.
}

// String says it in words: "lock 3", "insert 12", "idle", nothing for a slot that is not open.
func (s slot) String() string {
	switch s.doing {
	case idle:
		return "idle"
	case locked:
		return fmt.Sprintf("lock %d", s.worker)
	case inserting:
		return fmt.Sprintf("insert %d", s.worker)
	}
	return ""
}

// observer asks PostgreSQL itself what the connections of one database do.
type observer struct {
	conn    *pgx.Conn
	lockers map[int32]bool // Process ids of servers that have held a lock.
	workers map[int32]bool // And of those that have inserted.
}

func newObserver(ctx context.Context, url string) (*observer, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	return &observer{conn: conn, lockers: map[int32]bool{}, workers: map[int32]bool{}}, nil
}

func (o *observer) close() {
	_ = o.conn.Close(context.Background()) // It has only read.
}

// slotsQuery has a row for each connection of the workers: one holds at most one lock, whose key is its worker's number
// (PostgreSQL manual, "pg_locks").
const slotsQuery = `
	SELECT a.pid, coalesce(a.state, ''), a.query, coalesce(l.objid::bigint, 0)
	FROM pg_stat_activity a LEFT JOIN pg_locks l ON l.pid = a.pid AND l.locktype = 'advisory' AND l.granted
	WHERE a.datname = current_database() AND a.usename <> '` + postgres.Superuser + `'
	ORDER BY a.backend_start, a.pid`

// slots lists the connections that have been used by a worker, the oldest first.
func (o *observer) slots(ctx context.Context) ([]slot, error) {
	rows, err := o.conn.Query(ctx, slotsQuery)
	if err != nil {
		return nil, err
	}
	var slots []slot
	var pid int32
	var state, query string
	var key int
	_, err = pgx.ForEachRow(rows, []any{&pid, &state, &query, &key}, func() error {
		if s, used := o.see(pid, state, query, key); used {
			slots = append(slots, s)
		}
		return nil
	})
	return slots, err
}

// see reads one row. Until a connection has had a lock or an insert, nobody can tell which pool it is in.
func (o *observer) see(pid int32, state, query string, key int) (s slot, used bool) {
	insert, worker := insertOf(query)
	if key > 0 || query == lockStatement {
		o.lockers[pid] = true
	}
	if insert {
		o.workers[pid] = true // Its last statement may be one of lockproxy's own, later.
	}
	s = slot{doing: idle, lock: o.lockers[pid]}
	switch {
	case key > 0:
		s.doing, s.worker = locked, key
	case insert && state == "active":
		s.doing, s.worker = inserting, worker
	}
	return s, s.lock || o.workers[pid]
}

// insertOf reports whether a statement is a worker's insert, and whose.
func insertOf(query string) (insert bool, worker int) {
	if !strings.HasPrefix(query, "INSERT ") {
		return false, 0
	}
	_, comment, _ := strings.Cut(query, "/*")
	_, err := fmt.Sscanf(comment, " worker %d", &worker)
	return err == nil, worker
}

// rows counts the rows that the inserts left behind.
func (o *observer) rows(ctx context.Context) (count int, err error) {
	err = o.conn.QueryRow(ctx, "SELECT count(*) FROM demo.results").Scan(&count)
	return count, err
}
