package pools

import "time"

// Kind names one of a pair's two pools.
type Kind uint8

const (
	// Admin is the pool of everything but advisory locks.
	Admin Kind = iota
	// Lock is the pool of sessions that ask for, wait for or hold an advisory lock.
	Lock
)

// String returns "admin" or "lock".
func (k Kind) String() string { return name(int(k), "admin", "lock") }

// Config is one pool's limits.
type Config struct {
	// Max is how many slots there are: backends, idle or checked out, and dials under way.
	Max int
	// MinIdle is how many idle backends are kept ready, as far as Max allows.
	MinIdle int
	// CheckoutTimeout bounds the wait in the queue; 0: no bound.
	CheckoutTimeout time.Duration
	// IdleTimeout is after how long an idle backend beyond MinIdle is closed; 0: never.
	IdleTimeout time.Duration
	// MaxLifetime is at which age a backend is closed, if active at its release; 0: never.
	MaxLifetime time.Duration
	// MaxWaiting bounds how many may wait for others to release; those that a free slot or a dial under
	// way will serve are not counted. 0: no bound.
	MaxWaiting int
	// Notice is after how long in the queue a StillWaiting event says so, once; 0: never.
	Notice time.Duration
}

// Counts is what one pool looks like at one moment. Max is its limit, the others are lengths of lists.
type Counts struct {
	Max               int
	Idle              int
	Active            int       // checked out
	Dialing           int       // dials under way
	Waiting           int       // checkouts in the queue
	PromotionsWaiting int       // promotions in the queue; lock pool only
	Holding           int       // of Active: their session holds advisory locks
	WaitingSince      time.Time // of the longest wait in the queue; zero: nobody waits
	ActiveSince       time.Time // of the backend that was checked out longest ago; zero: none is
}

// Counts returns what pool k looks like now.
func (p *Pair) Counts(k Kind) Counts {
	pl := &p.pools[k]
	c := Counts{
		Max: pl.Max, Idle: pl.idle.n, Active: pl.active.n, Dialing: pl.dials.n,
		Waiting: pl.waiting.n, Holding: pl.holding.n,
	}
	first := pl.waiting.front()
	if k == Lock {
		c.PromotionsWaiting = p.promoting.n
		if w := p.promoting.front(); w != nil && (first == nil || w.seq < first.seq) {
			first = w
		}
	}
	if first != nil {
		c.WaitingSince = first.since
	}
	if b := pl.active.front(); b != nil {
		c.ActiveSince = b.since
	}
	return c
}

// pool is one of the two pools. Every slot in use is a place in one of idle, active and dials.
type pool struct {
	Config
	kind    Kind
	pair    *Pair
	claim   place[pool]   // in the budget's list of those that want a backend and must wait for its leave
	spare   place[pool]   // in the budget's list of those with idle backends
	idle    list[Backend] // the most recently used first: those not needed grow old at the back
	active  list[Backend] // the longest held first
	holding list[Backend] // those of active whose session holds advisory locks
	dials   list[Dial]    // under way
	waiting list[Waiter]  // checkouts, first come first
	// lifeDue is not after the moment at which the first idle backend reaches MaxLifetime; zero: none does.
	lifeDue time.Time
}

// live is how many backends there are.
func (pl *pool) live() int { return pl.idle.n + pl.active.n }

// hasCurrent tells whether there is a backend that somebody else may have: one that is not to be replaced.
func (pl *pool) hasCurrent() bool {
	for _, backends := range []*list[Backend]{&pl.idle, &pl.active} {
		for b := range backends.all() {
			if b.generation == pl.pair.generation {
				return true
			}
		}
	}
	return false
}

// free is how many slots are unused; below zero when the pool shrank below what is in use.
func (pl *pool) free() int { return pl.Max - pl.live() - pl.dials.n }

// uncovered returns the first waiter that neither a dial under way will serve nor, once checkouts are not withheld any
// more, an idle backend; or nil.
func (pl *pool) uncovered() *Waiter {
	covered := pl.idle.n + pl.dials.n
	if pl.waiting.n <= covered {
		return nil
	}
	return pl.waiting.at(covered)
}

// tooOld reports whether b has reached MaxLifetime.
func (pl *pool) tooOld(now time.Time, b *Backend) bool {
	return pl.MaxLifetime > 0 && !now.Before(b.born.Add(pl.MaxLifetime))
}

// noteLifetime keeps lifeDue true of b, which became idle.
func (pl *pool) noteLifetime(b *Backend) {
	if pl.MaxLifetime > 0 {
		pl.lifeDue = earlier(pl.lifeDue, b.born.Add(pl.MaxLifetime))
	}
}

// earlier returns the earlier of two times, of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
