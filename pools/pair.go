// Package pools decides who gets a server connection. For one (database, user) it keeps two pools with
// separate limits: the lock pool for sessions that ask for, wait for or hold an advisory lock, and the
// admin pool for everything else.
//
// It is an automaton: calls and the time go in; grants, refusals, dials wanted and closes wanted come out
// as events. It starts no goroutine, reads no clock, holds no mutex and calls nobody back; it never looks
// into a connection.
//
// Why two pools cannot deadlock: who holds a lock slot needs no admin slot for its own statements, and who
// holds an admin slot waits for a lock slot (a promotion) only while nobody waits for an admin slot. So the
// wait graph is lock -> admin, never back.
package pools

import (
	"iter"
	"time"
)

// Pair is the two pools of one (database, user). Not for concurrent use: the caller serializes calls, and
// delivers Events after it has unlocked. Times that run backwards count as the latest time seen.
type Pair struct {
	// Patient has checkouts wait for their whole CheckoutTimeout while no server can be reached: another is about to take
	// over. Set before the first call.
	Patient bool
	// Owner is the caller's; never looked into. Set before the first call.
	Owner any

	budget     *Budget
	promoter   place[Pair] // in the budget's list of those in which promotions wait
	demoter    place[Pair] // and of those in which backends are to be demoted
	pools      [2]pool
	promoting  list[Waiter]  // promotions that wait for a lock slot, first come first
	surplus    list[Backend] // active lock backends that are to be demoted, while the admin pool has no room
	now        time.Time     // of its last call
	generation uint64        // raised by Drain
	failures   int           // failed rounds of dialling since the last success; 0: dial freely
	retryAt    time.Time     // when failures > 0: no dial before
	failure    error         // when failures > 0: the last
	withheld   bool          // no checkout is served; all else goes on
	paused     bool          // nor is anything dialled, and what is released is closed
	closed     bool
	vacant     bool      // MinIdle counts for nothing until somebody asks for a backend
	noticeAt   time.Time // when the queues are gone through for those to be told that they still wait; zero: nobody is
}

// Backend is one server connection's place in the pools, from Dialed until Remove or CloseWanted.
type Backend struct {
	Conn any // the caller's; never looked into

	place      place[Backend] // in a pool's idle or active list; in none once it left the pools
	held       place[Backend] // in a pool's holding list while its session holds advisory locks
	surplus    place[Backend] // in Pair.surplus
	kind       Kind
	holder     *Waiter   // while active
	since      time.Time // idle, or active in this pool, since
	born       time.Time
	generation uint64
	leaving    bool // its budget counts it until Remove says that it is gone
}

// Waiter is a session's place in the pools: a part of the caller's session record, used again for each
// checkout. It must not be copied. It waits for at most one thing, and holds at most one backend: a
// session that has an admin backend and needs a lock slot asks for promotion.
type Waiter struct {
	Owner any // the caller's; never looked into
	Label any // immutable facts about the client that refusals may name (Refusal.Holder); never looked into

	place   place[Waiter] // in a pool's waiting list, or in Pair.promoting
	seq     uint64        // its arrival's number
	since   time.Time     // waits since
	backend *Backend      // that it holds
	noticed bool          // it was told that it still waits
}

// Checkout asks for a backend of pool k. The answer is a Granted or Refused event: in this call when an
// idle backend is there and nobody waits, or the queue is full; else later. It panics if w already waits
// or holds a backend.
func (p *Pair) Checkout(now time.Time, w *Waiter, k Kind) {
	now = p.enter(now)
	if w.backend != nil {
		panic("pools: Checkout by a waiter that holds a backend")
	}
	p.vacant = false
	p.enqueue(now, w, &p.pools[k].waiting)
	p.settle(now)
	p.refuseExcess(now, w, &p.pools[k])
}

// Leave takes w out of its queue at once, because the client is gone, cancelled or the backend to be
// promoted died; no event follows. It reports whether w was waiting: if not, its answer is under way as an
// event, and a grant must still be released. A dial that was wanted for w goes on.
func (p *Pair) Leave(now time.Time, w *Waiter) bool {
	now = p.enter(now)
	waited := p.waits(w)
	if waited {
		w.place.in.remove(&w.place)
	}
	p.settle(now) // also where nobody left: the time has passed, and a dial may be due
	return waited
}

// Withhold says whether checkouts are to wait, whatever is idle: until something is known that whoever is served next must
// know. Their time runs; dials, promotions and Take go on. It may be said again.
func (p *Pair) Withhold(now time.Time, on bool) {
	now = p.enter(now)
	p.withheld = on
	p.settle(now)
}

// Pause has the pair let go of the server, or take it up again: idle backends are closed now, active ones at their release,
// and none is dialled, so that whoever asks waits. Their time runs; promotions go on, since a transaction is to come to its
// end. It may be said again.
func (p *Pair) Pause(now time.Time, on bool) {
	now = p.enter(now)
	if on && !p.paused {
		p.paused = true
		p.replaceAll(now, p.vacant)
		return
	}
	p.paused = on
	p.settle(now)
}

// Release gives back a clean backend: to the first who waits, or to the idle ones; or it is closed, when
// it is too old, was drained, or its pool shrank. It panics if b is not checked out, or its holder still
// waits for b's promotion.
func (p *Pair) Release(now time.Time, b *Backend) {
	now = p.enter(now)
	p.mustBeActive("Release", b)
	if b.holder.place.in != nil {
		panic("pools: Release of a backend whose promotion waits")
	}
	p.takeBack(b)
	p.rest(now, b)
	p.settle(now)
}

// Remove takes b out of the pools because it died or its user must close it: its slot is free. A promotion
// of b that waits ends without an event. A backend that already left the pools is left alone, since the
// caller may see it die while CloseWanted is under way; but if its pair has a Budget, this is what says that it is gone.
func (p *Pair) Remove(now time.Time, b *Backend) {
	now = p.enter(now)
	pl := &p.pools[b.kind]
	switch b.place.in {
	case nil:
		p.budget.gone(b)
	case &pl.idle:
		pl.idle.remove(&b.place)
		p.budget.giveBack(b.kind)
	default:
		p.mustBeActive("Remove", b)
		if w := b.holder; w.place.in != nil {
			w.place.in.remove(&w.place)
		}
		p.takeBack(b)
		p.budget.giveBack(b.kind)
	}
	p.settle(now)
}

// Hold says whether the session that has b holds advisory locks now. It is counted and shown, and decides
// nothing. It panics if b is not checked out.
func (p *Pair) Hold(b *Backend, locks bool) {
	p.mustBeActive("Hold", b)
	holding := &p.pools[b.kind].holding
	switch {
	case locks && b.held.in == nil:
		holding.pushBack(&b.held, b)
	case !locks && b.held.in != nil:
		holding.remove(&b.held)
	}
}

// Backends goes through all backends of the pair, for display: each pool's active ones, longest held
// first, then its idle ones. The pair must not change meanwhile.
func (p *Pair) Backends() iter.Seq[*Backend] {
	return func(yield func(*Backend) bool) {
		for i := range p.pools {
			for _, l := range []*list[Backend]{&p.pools[i].active, &p.pools[i].idle} {
				for b := range l.all() {
					if !yield(b) {
						return
					}
				}
			}
		}
	}
}

// Kind returns the pool that the backend is counted in now.
func (b *Backend) Kind() Kind { return b.kind }

// Holder returns the waiter that has the backend checked out, or nil.
func (b *Backend) Holder() *Waiter { return b.holder }

// Holding reports whether the backend's session was last said to hold advisory locks.
func (b *Backend) Holding() bool { return b.held.in != nil }

// Since returns when the backend was checked out or promoted, or when it became idle.
func (b *Backend) Since() time.Time { return b.since }

// Outdated tells whether backends are checked out, or being dialled, that will be closed instead of being given to
// anybody else, because of a Drain, a Vacate or a Pause.
func (p *Pair) Outdated() bool {
	for i := range p.pools {
		for b := range p.pools[i].active.all() {
			if b.generation != p.generation {
				return true
			}
		}
		for d := range p.pools[i].dials.all() {
			if d.generation != p.generation {
				return true
			}
		}
	}
	return false
}

// Born returns when the backend was dialled.
func (b *Backend) Born() time.Time { return b.born }

// Backend returns the backend that the waiter holds, or nil.
func (w *Waiter) Backend() *Backend { return w.backend }

// Waiting reports whether the waiter is in a queue, and since when.
func (w *Waiter) Waiting() (since time.Time, ok bool) {
	if w.place.in == nil {
		return time.Time{}, false
	}
	return w.since, true
}

// enter begins a call. Callers read the clock before they take their mutex, so that times may come in the
// wrong order by a little; queues rely on the right one.
func (p *Pair) enter(now time.Time) time.Time {
	if now.After(p.budget.now) {
		p.budget.now = now
	}
	p.now = p.budget.now
	return p.now
}

// grant gives pl's most recently used backend to its first waiter.
func (p *Pair) grant(now time.Time, pl *pool) {
	b, w := pl.idle.front(), pl.waiting.front()
	pl.idle.remove(&b.place)
	pl.waiting.remove(&w.place)
	pl.active.pushBack(&b.place, b)
	b.holder, b.since, w.backend = w, now, b
	p.emit(Event{Op: Granted, Waiter: w, Backend: b, Waited: now.Sub(w.since)})
}

// takeBack takes an active backend off its holder and its pool's lists.
func (p *Pair) takeBack(b *Backend) {
	pl := &p.pools[b.kind]
	if b.held.in != nil {
		pl.holding.remove(&b.held)
	}
	p.noSurplus(b)
	pl.active.remove(&b.place)
	b.holder.backend = nil
	b.holder = nil
}

// rest makes b, which is in no list, idle in the pool of its kind, unless it must be closed.
func (p *Pair) rest(now time.Time, b *Backend) {
	pl := &p.pools[b.kind]
	if reason := p.unfit(now, pl, b); reason != 0 {
		p.expel(b, reason)
		return
	}
	b.since = now
	pl.idle.pushFront(&b.place, b)
	pl.noteLifetime(b)
}

// unfit says why b must not become idle in pl, or 0.
func (p *Pair) unfit(now time.Time, pl *pool, b *Backend) CloseReason {
	switch {
	case p.closed:
		return ShutDown
	case b.generation != p.generation:
		return Drained
	case pl.free() <= 0:
		return Shrunk
	case pl.tooOld(now, b):
		return LifetimeExpired
	case p.budget.wants(now, pl, b):
		return Yielded
	}
	return 0
}

// closeIdle closes an idle backend of pl.
func (p *Pair) closeIdle(pl *pool, b *Backend, reason CloseReason) {
	pl.idle.remove(&b.place)
	p.expel(b, reason)
}

// expel wants b closed, which is in no list.
func (p *Pair) expel(b *Backend, reason CloseReason) {
	p.budget.leaves(b)
	p.emit(Event{Op: CloseWanted, Backend: b, Reason: reason})
}

func (p *Pair) mustBeActive(call string, b *Backend) {
	switch b.place.in {
	case &p.pools[b.kind].active:
	case nil:
		panic("pools: " + call + " of a backend that left the pools")
	case &p.pools[b.kind].idle:
		panic("pools: " + call + " of an idle backend")
	default:
		panic("pools: " + call + " of another pair's backend")
	}
}
