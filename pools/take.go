package pools

import "time"

// Take checks one certain idle backend out to w, past the queue: for a look at the backend itself, not for
// a client's work. It reports whether it did, with a Granted event; a backend that is not idle stays where
// it is. It panics if w already waits or holds a backend.
func (p *Pair) Take(now time.Time, w *Waiter, b *Backend) bool {
	now = p.enter(now)
	pl := &p.pools[b.kind]
	if b.place.in != &pl.idle || p.closed {
		p.settle(now)
		return false
	}
	if w.backend != nil || w.place.in != nil {
		panic("pools: Take by a waiter that waits or holds a backend")
	}
	pl.idle.remove(&b.place)
	pl.active.pushBack(&b.place, b)
	b.holder, b.since, w.backend = w, now, b
	p.emit(Event{Op: Granted, Waiter: w, Backend: b})
	p.settle(now) // MinIdle may ask for another.
	return true
}
