package pools

import "time"

// Tick does what is due by the time: it refuses those who waited for their pool's CheckoutTimeout, closes
// idle backends that IdleTimeout or MaxLifetime ends, tries again to dial, opens what MinIdle asks for, and says who still
// waits.
// A waiter's time counts from its Checkout or Promote.
func (p *Pair) Tick(now time.Time) {
	now = p.enter(now)
	p.expireQueue(now, &p.promoting, &p.pools[Lock])
	for i := range p.pools {
		pl := &p.pools[i]
		p.expireQueue(now, &pl.waiting, pl)
		p.expireLifetimes(now, pl)
		p.expireIdle(now, pl)
	}
	p.settle(now)
	p.noticeQueues(now)
}

// Next returns when Tick is due next: never late, and early only when what was due has meanwhile been
// checked out. The zero time means never; it may change with every call.
func (p *Pair) Next() time.Time {
	next := queueDue(&p.promoting, &p.pools[Lock])
	for i := range p.pools {
		pl := &p.pools[i]
		next = earlier(next, queueDue(&pl.waiting, pl))
		if pl.idle.n > 0 {
			next = earlier(next, pl.lifeDue)
		}
		if pl.idle.n > pl.MinIdle && pl.IdleTimeout > 0 {
			next = earlier(next, pl.idle.back().since.Add(pl.IdleTimeout))
		}
	}
	next = earlier(next, p.noticeDue())
	if p.failures > 0 && !p.closed && p.dialing() == 0 && p.now.Before(p.retryAt) && p.wantsAnyDial() {
		next = earlier(next, p.retryAt)
	}
	return next
}

// queueDue returns when the first in a queue to pl has waited for too long; zero: never.
func queueDue(queue *list[Waiter], pl *pool) time.Time {
	if w := queue.front(); w != nil && pl.CheckoutTimeout > 0 {
		return w.since.Add(pl.CheckoutTimeout)
	}
	return time.Time{}
}

// expireQueue refuses those at the front of a queue to pl whose time is over. Of a pool without any backend the cause is what dialling fails with.
func (p *Pair) expireQueue(now time.Time, queue *list[Waiter], pl *pool) {
	for due := queueDue(queue, pl); !due.IsZero() && !now.Before(due); due = queueDue(queue, pl) {
		if p.onlyDials(pl) {
			p.refuse(now, queue.front(), DialFailed, p.failure)
		} else {
			p.refuse(now, queue.front(), Timeout, nil)
		}
	}
}

// expireLifetimes closes the idle backends that are too old. Old ones may be anywhere in the idle list, so
// it is gone through, but only when lifeDue says that it may be worth it.
func (p *Pair) expireLifetimes(now time.Time, pl *pool) {
	if pl.lifeDue.IsZero() || now.Before(pl.lifeDue) {
		return
	}
	pl.lifeDue = time.Time{}
	for b := range pl.idle.all() {
		if pl.tooOld(now, b) {
			p.closeIdle(pl, b, LifetimeExpired)
		} else {
			pl.noteLifetime(b)
		}
	}
}

// expireIdle closes the backends that were idle for too long, beyond MinIdle.
func (p *Pair) expireIdle(now time.Time, pl *pool) {
	if pl.IdleTimeout <= 0 {
		return
	}
	for pl.idle.n > max(0, pl.MinIdle) && !now.Before(pl.idle.back().since.Add(pl.IdleTimeout)) {
		p.closeIdle(pl, pl.idle.back(), IdleExpired)
	}
}
