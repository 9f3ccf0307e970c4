package pools

import (
	"math"
	"time"
)

// Budget bounds the backends of all pairs that lead to one server, each kind of pool by a share of its own: a flood of
// ordinary work cannot take the lock pools' share, nor the reverse. The zero value has no bound. Its pairs are one automaton:
// the caller serializes the calls of all of them.
//
// Where a share is used up, who needs a backend waits in its pool's queue as for a slot. Over all pairs it is first come,
// first served: for the next that is free; for the one that has been idle longest, in whatever pair, which is closed for it;
// and for one that is released in a pair that has more (wants). A promotion waits for the lock share only while nobody in any
// pair waits in vain for the admin share: so that here too the wait graph is lock -> admin, never back.
type Budget struct {
	shares  [2]int // by kind; 0: no bound
	used    [2]int // backends and dials of all pairs, and what leaves
	leaving [2]int // backends that are to be closed, and are not yet known to be gone

	claims    [2]list[pool] // pools that want a backend now and lack nothing but a free one of the share
	spares    [2]list[pool] // pools with idle backends
	promoters list[Pair]    // in which promotions wait
	demoters  list[Pair]    // in which backends are to be demoted

	now    time.Time // the latest time seen
	seq    uint64    // the last arrival's number, over all queues
	events []Event
}

// settledFor is for how long at least a backend serves one pair before it is closed for another: to open one costs as much
// as many transactions.
const settledFor = 100 * time.Millisecond

// NewBudget returns a budget of so many backends for admin and lock pools, both positive.
func NewBudget(admin, lock int) *Budget { return &Budget{shares: [2]int{admin, lock}} }

// NewPair returns a pair without backends that takes them from the budget. Tick fills it up to MinIdle.
func (b *Budget) NewPair(admin, lock Config) *Pair {
	p := &Pair{budget: b}
	p.pools[Admin] = pool{kind: Admin, pair: p, Config: admin}
	p.pools[Lock] = pool{kind: Lock, pair: p, Config: lock}
	return p
}

func (b *Budget) bounded() bool { return b.shares[Admin] > 0 }

// has tells whether a share has a free backend.
func (b *Budget) has(k Kind) bool { return !b.bounded() || b.used[k] < b.shares[k] }

// slots is how many of a pool's free slots the share has backends for, now or as soon as others are gone.
func (b *Budget) slots(pl *pool) int {
	n := max(0, pl.free())
	if b.bounded() {
		n = min(n, max(0, b.shares[pl.kind]-b.used[pl.kind]+b.leaving[pl.kind]))
	}
	return n
}

// allows tells whether a pool may take a backend of its share for an arrival of that number: there is a free one, and nobody
// of another pair came before.
func (b *Budget) allows(pl *pool, seq uint64) bool {
	if !b.bounded() {
		return true
	}
	first := b.firstClaim(pl.kind, pl)
	return b.has(pl.kind) && (first == nil || seq < first.claimed())
}

func (b *Budget) take(k Kind)     { b.used[k]++ }
func (b *Budget) giveBack(k Kind) { b.used[k]-- }

// leaves notes that a backend is to be closed. It counts until it is gone, so that the server never has more than it may.
func (b *Budget) leaves(one *Backend) {
	if !b.bounded() {
		b.giveBack(one.kind)
		return
	}
	one.leaving = true
	b.leaving[one.kind]++
}

func (b *Budget) gone(one *Backend) {
	if one.leaving {
		one.leaving = false
		b.leaving[one.kind]--
		b.giveBack(one.kind)
	}
}

// claimed is the number of the first arrival for which the pool wants a backend that it does not have; else the highest.
func (pl *pool) claimed() uint64 {
	seq := uint64(math.MaxUint64)
	if w := pl.uncovered(); w != nil && pl.pair.mayDial(pl.pair.now) {
		seq = w.seq
	}
	if w := pl.pair.promoting.front(); w != nil && pl.kind == Lock {
		seq = min(seq, w.seq)
	}
	return seq
}

// lacks is how many backends the pool could take from its share now.
func (pl *pool) lacks() int {
	n := 0
	if pl.pair.mayDial(pl.pair.now) {
		n = max(0, pl.waiting.n-pl.idle.n-pl.dials.n)
	}
	if pl.kind == Lock {
		n += pl.pair.promoting.n
	}
	return max(0, min(n, pl.free()))
}

// lacking is how many backends of a share are wanted and neither there nor about to be.
func (b *Budget) lacking(k Kind) int {
	n := 0
	for pl := range b.claims[k].all() {
		n += pl.lacks()
	}
	return n - b.leaving[k] - max(0, b.shares[k]-b.used[k])
}

// firstClaim is the pool with the earliest arrival that must wait for a share, but for one pool; or nil.
func (b *Budget) firstClaim(k Kind, but *pool) *pool {
	var first *pool
	for pl := range b.claims[k].all() {
		if pl != but && (first == nil || pl.claimed() < first.claimed()) {
			first = pl
		}
	}
	return first
}

// settle notes how a pair stands after a call, and has the others do what they can now.
func (b *Budget) settle(now time.Time, p *Pair) {
	if !b.bounded() {
		return
	}
	b.note(p)
	for b.serve(now, Admin) || b.serve(now, Lock) {
	}
	for one := range b.promoters.all() {
		if b.lacking(Admin) > 0 || one.AdminStarves() {
			one.refuseAll(now, &one.promoting, PromotionBusy, nil)
			b.note(one)
		}
	}
	for one := range b.demoters.all() {
		one.tellSurplus()
		b.note(one)
	}
}

func (b *Budget) note(p *Pair) {
	for i := range p.pools {
		pl := &p.pools[i]
		mark(&b.claims[i], &pl.claim, pl, !p.closed && !p.paused && pl.lacks() > 0) // a paused pair takes nothing
		mark(&b.spares[i], &pl.spare, pl, pl.idle.n > 0)
	}
	mark(&b.promoters, &p.promoter, p, p.promoting.n > 0)
	mark(&b.demoters, &p.demoter, p, p.surplus.n > 0)
}

// mark has a record be in a list, or not.
func mark[T any](l *list[T], at *place[T], of *T, in bool) {
	switch {
	case in && at.in == nil:
		l.pushBack(at, of)
	case !in && at.in != nil:
		l.remove(at)
	}
}

// serve does one thing for who waits for a share, and reports whether there was one to do.
func (b *Budget) serve(now time.Time, k Kind) bool {
	first := b.firstClaim(k, nil)
	switch {
	case first != nil && b.has(k):
		p := first.pair
		served := p.decide(now)
		b.note(p)
		return served
	case first != nil && b.lacking(k) > 0, b.used[k]-b.leaving[k] > b.shares[k]:
		if idle := b.longestIdle(k, first); idle != nil {
			idle.pair.closeIdle(idle, idle.idle.back(), Yielded)
			b.note(idle.pair)
			return true
		}
	}
	return false
}

// longestIdle is the pool with the backend that has been idle longest, but for one pool; or nil.
func (b *Budget) longestIdle(k Kind, but *pool) *pool {
	var longest *pool
	for pl := range b.spares[k].all() {
		if pl != but && (longest == nil || pl.idle.back().since.Before(longest.idle.back().since)) {
			longest = pl
		}
	}
	return longest
}

// wants tells whether a backend that pl has no more use for at the moment, or is about to give to its next waiter, is to be
// closed for another pair: one that came before and has none, or has fewer by more than this one. Who has been there for a
// moment only stays, so that pairs that are all busy do not take turns with every transaction.
func (b *Budget) wants(now time.Time, pl *pool, one *Backend) bool {
	if !b.bounded() || b.lacking(pl.kind) <= 0 {
		return false
	}
	first, next := b.firstClaim(pl.kind, pl), pl.waiting.front()
	switch {
	case first == nil:
		return false
	case next == nil:
		return true
	case next.seq < first.claimed() || now.Sub(one.born) < settledFor:
		return false
	}
	has, other := pl.live()+pl.dials.n+1, first.live()+first.dials.n
	return other == 0 || other+1 < has
}
