package pools

import "time"

// Promote asks to move the slot of b, an admin backend that w holds, to the lock pool's account: a
// transaction cannot move to another backend, so its slot does. The answer is a Promoted or
// PromotionRefused event. It comes in this call when the lock pool has a free slot or something idle to
// exchange. Else w waits in the lock pool's queue, but only as long as nobody waits for an admin slot: a
// lock holder may need one to get done. It panics if w does not hold b, b is a lock backend, or w waits.
func (p *Pair) Promote(now time.Time, w *Waiter, b *Backend) {
	now = p.enter(now)
	p.mustBeActive("Promote", b)
	if b.kind != Admin {
		panic("pools: Promote of a lock backend")
	}
	if b.holder != w {
		panic("pools: Promote of a backend that the waiter does not hold")
	}
	p.enqueue(now, w, &p.promoting)
	p.settle(now)
	p.refuseExcess(now, w, &p.pools[Lock])
}

// promotionCameBefore reports whether a promotion waits that came before w.
func (p *Pair) promotionCameBefore(w *Waiter) bool {
	first := p.promoting.front()
	return first != nil && first.seq < w.seq
}

// canPromote reports whether the first waiting promotion is next to have a slot of the lock pool. It is
// asked only when idle lock backends, if there are any, are not a checkout's that came before.
func (p *Pair) canPromote(now time.Time) bool {
	lock := &p.pools[Lock]
	switch {
	case p.promoting.n == 0:
		return false
	case lock.idle.n > 0, lock.dials.n > lock.waiting.n:
		return true
	case lock.free() <= 0 || !p.budget.allows(lock, p.promoting.front().seq):
		return false
	}
	// A slot without a backend serves a checkout only by a dial; if none may begin, the slot would be idle.
	w := lock.uncovered()
	return w == nil || p.promotionCameBefore(w) || !p.mayDial(now)
}

// promoteFirst moves the first waiting promotion's backend to the lock pool's account. If that is full,
// an idle lock backend, or a dial that nobody waits for, takes the backend's place in the admin pool's
// account: the two accounts' sums stay, and nothing is closed or opened.
func (p *Pair) promoteFirst(now time.Time) {
	w := p.promoting.front()
	p.promoting.remove(&w.place)
	full := p.pools[Lock].free() <= 0 || !p.budget.has(Lock)
	p.transfer(now, w.backend, Lock)
	if full {
		p.giveToAdmin(now)
	}
	p.emit(Event{Op: Promoted, Waiter: w, Backend: w.backend, Waited: now.Sub(w.since)})
}

// transfer moves an active backend to the other pool's account.
func (p *Pair) transfer(now time.Time, b *Backend, to Kind) {
	before, after := &p.pools[b.kind], &p.pools[to]
	before.active.remove(&b.place)
	after.active.pushBack(&b.place, b)
	if b.held.in != nil {
		before.holding.remove(&b.held)
		after.holding.pushBack(&b.held, b)
	}
	p.recount(b.kind, to)
	b.kind, b.since = to, now
}

// giveIdle moves an idle backend to the other pool, unless that has no use for it.
func (p *Pair) giveIdle(now time.Time, b *Backend, to Kind) {
	p.pools[b.kind].idle.remove(&b.place)
	p.recount(b.kind, to)
	b.kind = to
	p.rest(now, b)
}

// recount has the budget count a backend of one kind as one of the other.
func (p *Pair) recount(from, to Kind) {
	p.budget.giveBack(from)
	p.budget.take(to)
}

func (p *Pair) giveToAdmin(now time.Time) {
	admin, lock := &p.pools[Admin], &p.pools[Lock]
	if b := lock.idle.front(); b != nil {
		p.giveIdle(now, b, Admin)
		return
	}
	p.recount(Lock, Admin)
	d := lock.dials.back()
	lock.dials.remove(&d.place)
	d.kind = Admin
	admin.dials.pushBack(&d.place, d)
}

// AdminStarves reports whether somebody waits for an admin slot whom neither a dial under way nor a free
// slot will serve. While dialling fails a free slot serves nobody: the server itself may be full, of
// backends that a waiting promotion's transaction keeps.
func (p *Pair) AdminStarves() bool {
	admin := &p.pools[Admin]
	served := admin.idle.n + admin.dials.n // where checkouts are withheld some are idle
	if p.failures == 0 {
		served += p.budget.slots(admin)
	}
	return admin.waiting.n > served
}
