package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// keepLedger writes an entry in a transaction, and keeps books of what it was told about it.
func (w *worker) keepLedger(ctx context.Context) error {
	entry := w.round
	tx, err := w.conn.Begin(ctx)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "INSERT INTO ledger VALUES ($1, $2)", w.name, entry); err != nil {
		return err
	}
	w.books.tried(w.name, entry)
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	w.books.acknowledged(w.name, entry)
	return nil
}

// passGate is what lockproxy is for: a lock on one connection gates work on another. The counter that it reads and writes would
// lose a count if two had the lock at a time.
func (w *worker) passGate(ctx context.Context) error {
	key := fmt.Sprintf("key %d", (w.number+w.round)%keys)
	tx, err := w.conn.Begin(ctx)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", key); err != nil {
		return err
	}
	if _, err := w.other.Exec(ctx, "INSERT INTO bulk VALUES ($1, $2, 'gated')", w.name, w.round); err != nil {
		return err
	}
	var n int
	if err := tx.QueryRow(ctx, "SELECT n FROM counters WHERE name = $1", key).Scan(&n); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "UPDATE counters SET n = $2 WHERE name = $1", key, n+1); err != nil {
		return err
	}
	w.books.counting(key)
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	w.books.counted(key)
	return nil
}

// lead becomes the leader by a lock of its session, if nobody is, and counts in two transactions, which is safe only while the lock
// is its own.
func (w *worker) lead(ctx context.Context) error {
	var leads bool
	if err := w.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock(77)").Scan(&leads); err != nil || !leads {
		return err
	}
	var n int
	if err := w.conn.QueryRow(ctx, "SELECT n FROM counters WHERE name = 'leader'").Scan(&n); err != nil {
		return w.resign(ctx, err)
	}
	w.books.counting("leader")
	if _, err := w.conn.Exec(ctx, "UPDATE counters SET n = $1 WHERE name = 'leader'", n+1); err != nil {
		return w.resign(ctx, err)
	}
	w.books.counted("leader")
	return w.resign(ctx, nil)
}

// resign gives the lock back, as an application does after an error too.
func (w *worker) resign(ctx context.Context, err error) error {
	var had bool
	if w.conn.IsClosed() {
		return err
	}
	if resignErr := w.conn.QueryRow(ctx, "SELECT pg_advisory_unlock(77)").Scan(&had); resignErr != nil {
		_ = w.conn.Close(ctx) // Whoever does not know whether it has a lock must not go on.
		return resignErr
	}
	if err == nil && !had {
		return wrong("the lock of a leader was gone, and it was not told")
	}
	return err
}

// setAndLook has a setting of its own that must be there in each transaction, and nobody else's.
func (w *worker) setAndLook(ctx context.Context) error {
	if w.round%10 == 1 || w.conn.PgConn().CustomData()["set"] == nil {
		if _, err := w.conn.Exec(ctx, "SELECT set_config('app.who', $1, false)", w.name); err != nil {
			return err
		}
		w.conn.PgConn().CustomData()["set"] = true
	}
	var who, application string
	if err := w.conn.QueryRow(ctx, "SELECT current_setting('app.who'), current_setting('application_name')").Scan(&who, &application); err != nil {
		return err
	}
	if who != w.name || application != w.name {
		return wrong("the settings are those of %q and %q", who, application)
	}
	return nil
}

// copyRows copies rows in, and out again.
func (w *worker) copyRows(ctx context.Context) error {
	const rows = 500
	tx, err := w.conn.Begin(ctx)
	if err != nil {
		return err
	}
	mine := fmt.Sprintf("%s %d", w.name, w.round)
	n, err := tx.CopyFrom(ctx, pgx.Identifier{"bulk"}, []string{"worker", "entry", "filler"},
		pgx.CopyFromSlice(rows, func(i int) ([]any, error) { return []any{mine, i, fmt.Sprintf("%0500d", i)}, nil }))
	if err != nil {
		return err
	}
	var there int
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM bulk WHERE worker = $1", mine).Scan(&there); err != nil {
		return err
	}
	if n != rows || there != rows {
		return wrong("%d rows were copied, %d said to be, %d are there", rows, n, there)
	}
	return tx.Rollback(ctx)
}

// cancelOwn cancels a statement of its own.
func (w *worker) cancelOwn(ctx context.Context) error {
	canceled := make(chan error, 1)
	canceler := w.conn.PgConn()
	timer := time.AfterFunc(20*time.Millisecond, func() { canceled <- canceler.CancelRequest(ctx) })
	_, err := w.conn.Exec(ctx, "SELECT pg_sleep(1)")
	if !timer.Stop() {
		if cancelErr := <-canceled; cancelErr != nil && err == nil {
			return nil // The request was lost with the network; the statement came to its end.
		}
	}
	if e := new(pgconn.PgError); errors.As(err, &e) && e.Code == "57014" {
		return nil
	}
	return err
}

// vanish takes locks and goes without a word.
func (w *worker) vanish(ctx context.Context) error {
	key := fmt.Sprintf("key %d", w.round%keys)
	if _, err := w.conn.Exec(ctx, "SELECT pg_advisory_lock(hashtextextended($1, 0))", key); err != nil {
		return err
	}
	if w.round%2 == 0 {
		if _, err := w.conn.Exec(ctx, "BEGIN; UPDATE counters SET n = -1 WHERE name = 'nobody'", pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
	}
	_ = w.conn.PgConn().Conn().Close() // That is the point.
	_ = w.conn.Close(ctx)              // Which tells pgx.
	return nil
}
