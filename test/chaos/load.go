package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// load is the applications: workers that do their rounds until they are stopped.
type load struct {
	*stage
	workers []*worker
	books   *books
	cancel  context.CancelFunc
	all     sync.WaitGroup
}

// worker is one client, with the connections that it has.
type worker struct {
	*load
	name      string
	number    int
	cabled    bool // Its network may fail, so that it may lose a connection without a word.
	guarded   bool // It logs in by SCRAM.
	encrypted bool // It speaks TLS.
	conn      *pgx.Conn
	other     *pgx.Conn                      // what a lock on the first gates runs here
	fatal     atomic.Pointer[pgconn.PgError] // the last that ended a connection since the round began
	round     int
	rounds    atomic.Int64 // that went well
	perform   func(w *worker, ctx context.Context) error
}

// patience bounds a round: longer than all timeouts that lockproxy and the server have, and all faults last.
const patience = 40 * time.Second

func newLoad(s *stage) *load {
	l := &load{stage: s, books: newBooks()}
	for _, k := range []struct {
		name    string
		workers int
		perform func(w *worker, ctx context.Context) error
	}{
		{"ledger", 4, (*worker).keepLedger},
		{"gate", 6, (*worker).passGate},
		{"leader", 3, (*worker).lead},
		{"settings", 2, (*worker).setAndLook},
		{"copy", 1, (*worker).copyRows},
		{"cancel", 1, (*worker).cancelOwn},
		{"vanish", 2, (*worker).vanish},
	} {
		for i := range k.workers {
			w := &worker{load: l, name: fmt.Sprintf("%s-%d", k.name, i), number: len(l.workers), perform: k.perform}
			w.cabled, w.guarded, w.encrypted = i%2 == 1, w.number%3 == 0, w.number%4 >= 2
			l.workers = append(l.workers, w)
		}
	}
	return l
}

func (l *load) start(ctx context.Context) {
	ctx, l.cancel = context.WithCancel(ctx)
	for _, w := range l.workers {
		l.all.Go(func() { w.work(ctx) })
	}
}

// stop ends all workers, in the middle of what they do.
func (l *load) stop() {
	l.cancel()
	l.all.Wait()
}

// everybodyWorks checks that each worker gets on: what faults left behind must be in nobody's way.
func (l *load) everybodyWorks() {
	const more, within = 3, 30 * time.Second
	before := make([]int64, len(l.workers))
	for i, w := range l.workers {
		before[i] = w.rounds.Load()
	}
	end := time.Now().Add(within)
	for i, w := range l.workers {
		for w.rounds.Load() < before[i]+more {
			if time.Now().After(end) {
				l.journal.violation("%s did not get on within %v after the last fault", w.name, within)
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

func (w *worker) work(ctx context.Context) {
	defer w.hangUp()
	for ctx.Err() == nil {
		bounded, cancel := context.WithTimeout(ctx, patience)
		err := w.turn(bounded)
		stuck := ctx.Err() == nil && bounded.Err() != nil
		cancel()
		switch {
		case ctx.Err() != nil:
		case stuck:
			w.journal.violation("%s is stuck: %v", w.name, err)
			w.hangUp()
		case err == nil:
			w.rounds.Add(1)
			w.journal.count("rounds of " + strings.TrimRight(w.name, "-0123456789"))
			if w.guarded {
				w.journal.count("rounds after a login by SCRAM")
			}
			if w.encrypted {
				w.journal.count("rounds over TLS")
			}
		default:
			w.judge(err)
		}
	}
}

// turn is one round, on connections that are made where there are none.
func (w *worker) turn(ctx context.Context) (err error) {
	w.fatal.Store(nil)
	for _, c := range []**pgx.Conn{&w.conn, &w.other} {
		if *c != nil && !(*c).IsClosed() {
			if (*c).PgConn().TxStatus() == 'I' {
				continue
			}
			if _, err := (*c).Exec(ctx, "ROLLBACK"); err != nil {
				return err
			}
			continue
		}
		if *c, err = w.connect(ctx); err != nil {
			return err
		}
	}
	w.round++
	return w.perform(w, ctx)
}

// connect opens a connection that keeps what a FATAL said. Where one arrives while pgx deallocates statements, pgx reads on until
// the connection is closed, and returns that (pgconn.Pipeline.Close).
func (w *worker) connect(ctx context.Context) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(w.url(w))
	if err != nil {
		return nil, err
	}
	goesOn := config.OnPgError
	config.OnPgError = func(conn *pgconn.PgConn, said *pgconn.PgError) bool {
		if goesOn(conn, said) {
			return true
		}
		w.fatal.Store(said)
		return false
	}
	return pgx.ConnectConfig(ctx, config)
}

func (w *worker) hangUp() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, c := range []*pgx.Conn{w.conn, w.other} {
		if c != nil {
			_ = c.Close(ctx) // It may have failed before.
		}
	}
}

// promised are the errors that clients may see while things fail, by their SQLSTATE: no connection to the server, a lost one,
// one whose COMMIT was under way; what the server says when it ends a session or a statement, when it starts and
// stops; no backend within the checkout timeout, no lock within lock_timeout; a transaction that has failed before.
var promised = []string{"08001", "08006", "08007", "57P01", "57P02", "57P03", "57014", "53300", "55P03", "25P02", "25P03"}

// judge tells whether an error is one that may be.
func (w *worker) judge(err error) {
	var said *pgconn.PgError
	var wrong *wrongAnswer
	if !errors.As(err, &said) {
		said = w.fatal.Load()
	}
	switch {
	case errors.As(err, &wrong):
		w.journal.violation("%s: %v", w.name, err)
	case said != nil && slices.Contains(promised, said.Code):
		w.journal.count("errors " + said.Code)
	case w.cabled && said == nil:
		w.journal.count("connections cut")
	default:
		w.journal.violation("%s: an error that is not promised: %v", w.name, err)
	}
	time.Sleep(5 * time.Millisecond) // An application that fails does not try again without end either.
}

// wrongAnswer is an answer that cannot be.
type wrongAnswer struct{ text string }

func (w *wrongAnswer) Error() string { return w.text }

func wrong(format string, args ...any) error { return &wrongAnswer{fmt.Sprintf(format, args...)} }
