package pools

import (
	"fmt"
	"time"
)

// Refusal says why a checkout or a promotion came to nothing, with what the pool looked like then. It is
// an error whose text is one sentence for the client; Hint says what to change. Immutable.
type Refusal struct {
	Kind      Kind // the pool that was asked
	Cause     Cause
	Promotion bool // a promotion was refused, not a checkout
	Max       int
	Active    int           // checked out
	Holding   int           // of those: by sessions that hold advisory locks
	Waiting   int           // sessions that still wait for the pool, this one not counted
	Waited    time.Duration // from the request to the refusal
	Place     int           // in the queue, from 1 (Waits)
	Err       error         // DialFailed: the server's own error
	// Share is how many backends of its kind the server's Budget has, where that is used up; 0: it is not.
	Share int
	// Withheld says that no checkout was served, whatever was idle (Withhold).
	Withheld bool
	// Paused says that the server was let go of (Pause).
	Paused bool
	// AdminWaiting is how many sessions wait for an admin backend (PromotionBusy).
	AdminWaiting int
	// Holder is the Label of the waiter that has held a backend of the pool longest, since HolderSince;
	// nil and zero if none is checked out.
	Holder      any
	HolderSince time.Time
}

// Cause is why a checkout or a promotion was refused.
type Cause uint8

const (
	// Timeout: the pool's CheckoutTimeout passed.
	Timeout Cause = iota + 1
	// QueueFull: MaxWaiting sessions wait already.
	QueueFull
	// DialFailed: the server refused a new connection, and the pool has no other to hope for.
	DialFailed
	// PromotionBusy: the lock pool is full, and a promotion may not wait because sessions wait for an
	// admin backend.
	PromotionBusy
	// Closed: the pair was closed.
	Closed
	// Waits: nothing was refused, the session still waits (StillWaiting).
	Waits
)

// String names the cause as metrics and logs show it.
func (c Cause) String() string {
	return name(int(c), "none", "timeout", "queue full", "dial failed", "promotion busy", "closed", "still waits")
}

// Error is one sentence that names the pool and what it looked like.
func (r *Refusal) Error() string {
	switch r.Cause {
	case Timeout:
		return fmt.Sprintf("no backend of the %s pool became free within %v: %s", r.Kind, r.Waited.Round(time.Millisecond), r.state())
	case QueueFull:
		return fmt.Sprintf("too many sessions wait for the %s pool: %s", r.Kind, r.state())
	case DialFailed:
		return fmt.Sprintf("the %s pool could not connect to the server: %v", r.Kind, r.Err)
	case PromotionBusy:
		return fmt.Sprintf("the transaction could not move to the lock pool while %s an admin backend: %s", sessions(r.AdminWaiting), r.state())
	case Closed:
		return fmt.Sprintf("the %s pool is shut down", r.Kind)
	case Waits:
		return fmt.Sprintf("still waiting for a backend of the %s pool after %v, as number %d in the queue: %s",
			r.Kind, r.Waited.Round(time.Millisecond), r.Place, r.state())
	}
	return fmt.Sprintf("the %s pool refused a backend", r.Kind)
}

// Hint says what would help, and names the setting to change; it is empty when no setting would.
func (r *Refusal) Hint() string {
	raise := "raise pools.admin.max (DATABASE_POOL_MAX)"
	if r.Kind == Lock {
		raise = "raise pools.lock.max (DATABASE_LOCK_POOL_MAX)"
	}
	switch {
	case r.Paused && r.Cause == Timeout && !r.Promotion:
		return "An operator has to RESUME it."
	}
	if r.Share > 0 && (r.Cause == Timeout || r.Cause == PromotionBusy) {
		return "Keep transactions shorter, or raise server.max_backends."
	}
	switch r.Cause {
	case Timeout:
		return "Keep transactions shorter, " + raise + ", or wait longer with pools." + r.Kind.String() + ".checkout_timeout."
	case QueueFull:
		return "Keep transactions shorter, " + raise + " or pools." + r.Kind.String() + ".max_waiting."
	case PromotionBusy:
		return "Take the advisory lock in the transaction's first statement, so that it begins in the lock pool, or " + raise + "."
	}
	return ""
}

// Unwrap returns the server's own error, if there is one.
func (r *Refusal) Unwrap() error { return r.Err }

// state describes the pool in words.
func (r *Refusal) state() string {
	late := (r.Cause == Timeout || r.Cause == Waits) && !r.Promotion
	if r.Paused && late {
		return "the database is paused"
	}
	if r.Withheld && late {
		return "its backends are withheld until it is known what has changed in the database"
	}
	state := fmt.Sprintf("%d of %d are checked out, %d of them by sessions that hold advisory locks, and %s it",
		r.Active, r.Max, r.Holding, sessions(r.Waiting))
	if r.Share > 0 {
		state += fmt.Sprintf("; server.max_backends leaves the server's %s pools %d backends, and all are in use", r.Kind, r.Share)
	}
	return state
}

func sessions(n int) string {
	if n == 1 {
		return "1 other session waits for"
	}
	return fmt.Sprintf("%d other sessions wait for", n)
}

// refuse takes w out of its queue with a refusal.
func (p *Pair) refuse(now time.Time, w *Waiter, cause Cause, err error) {
	pl, e := &p.pools[Lock], Event{Op: Refused, Waiter: w}
	switch w.place.in {
	case &p.promoting:
		e.Op, e.Backend = PromotionRefused, w.backend
	case &p.pools[Admin].waiting:
		pl = &p.pools[Admin]
	}
	w.place.in.remove(&w.place)
	e.Refusal = p.refusal(pl, cause)
	e.Refusal.Promotion = e.Op == PromotionRefused
	e.Refusal.Waited = now.Sub(w.since)
	e.Refusal.Err = err
	p.emit(e)
}

// refuseAll refuses all in a queue.
func (p *Pair) refuseAll(now time.Time, queue *list[Waiter], cause Cause, err error) {
	for w := range queue.all() {
		p.refuse(now, w, cause, err)
	}
}

// refusal describes pl.
func (p *Pair) refusal(pl *pool, cause Cause) *Refusal {
	r := &Refusal{
		Kind: pl.kind, Cause: cause, Max: pl.Max, Active: pl.active.n, Holding: pl.holding.n,
		Waiting: pl.waiting.n, Withheld: p.withheld, Paused: p.paused, AdminWaiting: p.pools[Admin].waiting.n,
	}
	if pl.kind == Lock {
		r.Waiting += p.promoting.n
	}
	if p.budget.bounded() && pl.free() > 0 && !p.budget.has(pl.kind) {
		r.Share = p.budget.shares[pl.kind]
	}
	if b := pl.active.front(); b != nil {
		r.Holder, r.HolderSince = b.holder.Label, b.since
	}
	return r
}
