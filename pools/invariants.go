package pools

import "fmt"

// Invariants returns the first rule that the pair breaks, or nil. It goes through everything, for tests
// and simulation; it holds between any two calls.
func (p *Pair) Invariants() error {
	for i := range p.pools {
		if err := p.checkPool(&p.pools[i]); err != nil {
			return fmt.Errorf("%s pool: %w", p.pools[i].kind, err)
		}
	}
	if err := p.checkPromotions(); err != nil {
		return fmt.Errorf("promotions: %w", err)
	}
	if err := p.checkSurplus(); err != nil {
		return fmt.Errorf("demotions: %w", err)
	}
	if n := p.dialing(); n > maxDials {
		return fmt.Errorf("%d dials under way, at most %d allowed", n, maxDials)
	}
	if pl := p.dialer(); pl != nil && p.mayDial(p.now) && p.dialsAtOnce(pl) {
		return fmt.Errorf("%s pool: a dial is needed and possible, but not under way", pl.kind)
	}
	return nil
}

// dialsAtOnce tells whether what the pool needs must be under way. A new pair dials at its first Tick, and MinIdle is kept
// at the pair's own calls, not when another one makes room in the Budget.
func (p *Pair) dialsAtOnce(pl *pool) bool {
	return !p.now.IsZero() && (!p.budget.bounded() || pl.uncovered() != nil)
}

func (p *Pair) checkPool(pl *pool) error {
	if err := checkLists(pl); err != nil {
		return err
	}
	if err := checkBackends(pl); err != nil {
		return err
	}
	for d := range pl.dials.all() {
		if d.kind != pl.kind {
			return fmt.Errorf("a dial of the %s pool is in its list", d.kind)
		}
	}
	for w := range pl.waiting.all() {
		if w.backend != nil {
			return fmt.Errorf("a waiter waits while it holds a backend of the %s pool", w.backend.kind)
		}
	}
	switch {
	case pl.idle.n > 0 && pl.waiting.n > 0 && !p.withheld:
		return fmt.Errorf("%d wait beside %d idle backends", pl.waiting.n, pl.idle.n)
	case pl.idle.n > 0 && pl.free() < 0:
		return fmt.Errorf("%d idle backends in a pool with %d free slots", pl.idle.n, pl.free())
	case p.paused && pl.idle.n > 0:
		return fmt.Errorf("%d idle backends of a paused pair", pl.idle.n)
	case p.closed && pl.idle.n+pl.waiting.n+p.promoting.n > 0:
		return fmt.Errorf("%d idle and %d waiting after Close", pl.idle.n, pl.waiting.n)
	}
	return nil
}

func checkLists(pl *pool) error {
	for _, l := range []*list[Backend]{&pl.idle, &pl.active, &pl.holding} {
		if err := l.check(); err != nil {
			return err
		}
	}
	if err := pl.dials.check(); err != nil {
		return err
	}
	return checkQueue(&pl.waiting)
}

func checkQueue(queue *list[Waiter]) error {
	var last uint64
	for w := range queue.all() {
		if w.seq <= last {
			return fmt.Errorf("arrival %d waits behind arrival %d", w.seq, last)
		}
		last = w.seq
	}
	return queue.check()
}

func checkBackends(pl *pool) error {
	for b := range pl.idle.all() {
		if b.kind != pl.kind || b.holder != nil || b.held.in != nil {
			return fmt.Errorf("an idle backend of the %s pool, held by %p, holding %t", b.kind, b.holder, b.Holding())
		}
	}
	for b := range pl.active.all() {
		if b.kind != pl.kind || b.holder == nil || b.holder.backend != b {
			return fmt.Errorf("an active backend of the %s pool whose holder does not have it", b.kind)
		}
	}
	for b := range pl.holding.all() {
		if b.place.in != &pl.active {
			return fmt.Errorf("a backend counts as holding locks but is not active in the pool")
		}
	}
	return nil
}

// checkPromotions holds the rule that makes deadlock impossible, among others.
func (p *Pair) checkPromotions() error {
	if err := checkQueue(&p.promoting); err != nil {
		return err
	}
	for w := range p.promoting.all() {
		if w.backend == nil || w.backend.place.in != &p.pools[Admin].active {
			return fmt.Errorf("one waits without an active admin backend")
		}
	}
	lock := &p.pools[Lock]
	switch {
	case p.promoting.n == 0:
	case p.AdminStarves():
		return fmt.Errorf("%d wait while somebody waits for an admin slot", p.promoting.n)
	case lock.idle.n > 0 || lock.free() > 0 && p.budget.has(Lock) || lock.dials.n > lock.waiting.n:
		return fmt.Errorf("%d wait beside %d idle backends, %d free slots and %d dials for %d waiters",
			p.promoting.n, lock.idle.n, lock.free(), lock.dials.n, lock.waiting.n)
	}
	return nil
}

func (p *Pair) checkSurplus() error {
	for b := range p.surplus.all() {
		if b.place.in != &p.pools[Lock].active {
			return fmt.Errorf("one is to come that is no active lock backend")
		}
	}
	if p.surplus.n > 0 && p.adminHasRoom() {
		return fmt.Errorf("%d were not told that the admin pool has room", p.surplus.n)
	}
	return p.surplus.check()
}

// Invariants returns the first rule that the budget and those of its pairs that are given break, or nil. They are all of
// its pairs.
func (b *Budget) Invariants(pairs ...*Pair) error {
	for _, k := range []Kind{Admin, Lock} {
		n, waits := b.leaving[k], 0
		for _, p := range pairs {
			n += p.pools[k].live() + p.pools[k].dials.n
			waits += p.pools[k].lacks()
		}
		switch {
		case n != b.used[k]:
			return fmt.Errorf("%s share: %d are used, %d are counted", k, n, b.used[k])
		case n > b.shares[k]:
			return fmt.Errorf("%s share: %d of %d are used", k, n, b.shares[k])
		case waits > 0 && b.has(k):
			return fmt.Errorf("%s share: %d wait beside %d of %d that are used", k, waits, n, b.shares[k])
		case b.lacking(k) > 0 && b.longestIdle(k, b.firstClaim(k, nil)) != nil:
			return fmt.Errorf("%s share: %d wait beside an idle backend of another pair", k, b.lacking(k))
		}
	}
	if b.promoters.n > 0 && b.lacking(Admin) > 0 {
		return fmt.Errorf("promotions wait while somebody waits for the admin share")
	}
	return nil
}

// check walks the list both ways and counts.
func (l *list[T]) check() error {
	n := 0
	var last *place[T]
	for e := l.first; e != nil; e = e.next {
		if e.in != l || e.prev != last || e.of == nil {
			return fmt.Errorf("broken link at place %d of %d", n, l.n)
		}
		last = e
		if n++; n > l.n {
			return fmt.Errorf("more than the %d records that the list counts", l.n)
		}
	}
	if n != l.n || l.last != last {
		return fmt.Errorf("%d records in a list that counts %d", n, l.n)
	}
	return nil
}
