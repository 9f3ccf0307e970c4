package pools

import (
	"math"
	"time"
)

// Demote moves the slot of b, a lock backend that its holder keeps without a lock, back to the admin pool's account, and reports
// whether it did: nobody waits for that, as who waits for an admin slot keeps none of the lock pool that others need. While the
// admin pool has no room, b stays where it is; a Demotable event says, once, that there is some, so that its holder may ask
// again. It panics if b is not checked out, or is an admin backend.
func (p *Pair) Demote(now time.Time, b *Backend) bool {
	now = p.enter(now)
	p.mustBeActive("Demote", b)
	if b.kind != Lock {
		panic("pools: Demote of an admin backend")
	}
	room := p.adminHasRoom()
	if p.noSurplus(b); room {
		p.moveToAdmin(now, b)
	} else {
		p.surplus.pushBack(&b.surplus, b)
	}
	p.settle(now)
	return room
}

// adminHasRoom reports whether the admin pool has a slot that nobody waits for, or something idle to exchange.
func (p *Pair) adminHasRoom() bool {
	admin := &p.pools[Admin]
	return !p.closed && !p.paused && admin.waiting.n == 0 && (admin.idle.n > 0 || p.adminHasSlot())
}

func (p *Pair) adminHasSlot() bool {
	admin := &p.pools[Admin]
	return admin.free() > 0 && p.budget.allows(admin, math.MaxUint64)
}

// moveToAdmin moves an active lock backend to the admin pool's account. If that is full, the backend there that has been idle
// longest takes its place: the two accounts' sums stay, and nothing is closed or opened.
func (p *Pair) moveToAdmin(now time.Time, b *Backend) {
	full := !p.adminHasSlot()
	p.transfer(now, b, Admin)
	if full {
		p.giveIdle(now, p.pools[Admin].idle.back(), Lock)
	}
}

// noSurplus forgets that b was to be demoted.
func (p *Pair) noSurplus(b *Backend) {
	if b.surplus.in != nil {
		p.surplus.remove(&b.surplus)
	}
}

// tellSurplus tells those that were to be demoted when the admin pool has room.
func (p *Pair) tellSurplus() {
	for p.surplus.n > 0 && p.adminHasRoom() {
		b := p.surplus.front()
		p.surplus.remove(&b.surplus)
		p.emit(Event{Op: Demotable, Waiter: b.holder, Backend: b})
	}
}
