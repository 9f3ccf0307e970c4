package pools

import "time"

// enqueue puts w at the end of a queue.
func (p *Pair) enqueue(now time.Time, w *Waiter, queue *list[Waiter]) {
	if w.place.in != nil {
		panic("pools: a waiter that already waits asked again")
	}
	p.budget.seq++
	w.seq, w.since = p.budget.seq, now
	queue.pushBack(&w.place, w)
	pl := &p.pools[Lock]
	if queue == &p.pools[Admin].waiting {
		pl = &p.pools[Admin]
	}
	p.expectNotice(w, pl)
}

// waits reports whether w is in one of the pair's queues.
func (p *Pair) waits(w *Waiter) bool {
	switch w.place.in {
	case nil:
		return false
	case &p.promoting, &p.pools[Admin].waiting, &p.pools[Lock].waiting:
		return true
	}
	panic("pools: Leave of another pair's waiter")
}

// settle does all that can be done now, one decision at a time. Every call that changes anything ends
// here, so that each rule about who comes next stands in one place.
func (p *Pair) settle(now time.Time) {
	for p.decide(now) {
	}
	if p.promoting.n > 0 && p.AdminStarves() {
		p.refuseAll(now, &p.promoting, PromotionBusy, nil)
	}
	p.tellSurplus()
	p.budget.settle(now, p)
}

// decide takes the next decision, and reports whether there was one to take.
func (p *Pair) decide(now time.Time) bool {
	admin, lock := &p.pools[Admin], &p.pools[Lock]
	serves := !p.withheld && !p.paused
	if serves {
		p.lend(now)
	}
	switch {
	case admin.idle.n > 0 && admin.waiting.n > 0 && serves:
		p.grant(now, admin)
	case lock.idle.n > 0 && lock.waiting.n > 0 && serves && !p.promotionCameBefore(lock.waiting.front()):
		p.grant(now, lock)
	case p.canPromote(now):
		p.promoteFirst(now)
	default:
		return p.dialNext(now)
	}
	return true
}

// refuseExcess refuses w, which has just joined pl's queue, if it may not stay there.
func (p *Pair) refuseExcess(now time.Time, w *Waiter, pl *pool) {
	switch {
	case w.place.in == nil: // served, or refused already
	case p.closed:
		p.refuse(now, w, Closed, nil)
	case pl.MaxWaiting > 0 && p.contenders(pl) > pl.MaxWaiting:
		p.refuse(now, w, QueueFull, nil)
	}
}

// contenders is how many in pl's queue can be served only when somebody else releases.
func (p *Pair) contenders(pl *pool) int {
	n := max(0, pl.waiting.n-pl.idle.n-pl.dials.n-p.budget.slots(pl))
	if pl.kind == Lock {
		n += p.promoting.n
	}
	return n
}
