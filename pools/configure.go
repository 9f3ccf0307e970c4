package pools

import "time"

// Configure sets new limits. A pool that shrank closes idle backends now and active ones at their release,
// so that no checkout is dropped; a pool that grew serves those who wait. Time limits count from when they
// always did, so a shorter CheckoutTimeout may refuse waiters in this call; a smaller MaxWaiting sends
// nobody away who waits already.
func (p *Pair) Configure(now time.Time, admin, lock Config) {
	p.pools[Admin].Config, p.pools[Lock].Config = admin, lock
	for i := range p.pools {
		pl := &p.pools[i]
		for pl.free() < 0 && pl.idle.n > 0 {
			p.closeIdle(pl, pl.idle.back(), Shrunk)
		}
		pl.lifeDue = time.Time{}
		for b := range pl.idle.all() {
			pl.noteLifetime(b)
		}
	}
	p.Tick(now)
}

// Drain replaces all backends, as RECONNECT asks for: idle ones are closed now, active ones at their
// release, and those that are being dialled as soon as they are there. It also ends the delay after
// failed dials.
func (p *Pair) Drain(now time.Time) { p.replaceAll(now, false) }

// Vacate is Drain that leaves the pools empty: MinIdle opens nothing until somebody asks for a backend. It is for a
// database that is about to be dropped, or copied, which waits until nobody is connected.
func (p *Pair) Vacate(now time.Time) { p.replaceAll(now, true) }

// HasCurrent tells whether there is a backend that Drain would replace.
func (p *Pair) HasCurrent() bool { return p.pools[Admin].hasCurrent() || p.pools[Lock].hasCurrent() }

// Retire is Drain for a server that lets nobody in any more and waits until all have gone: the delay after failed dials goes on.
func (p *Pair) Retire(now time.Time) {
	now = p.enter(now)
	p.generation++
	p.closeAllIdle(Drained)
	p.settle(now)
}

func (p *Pair) replaceAll(now time.Time, vacant bool) {
	now = p.enter(now)
	p.generation++
	p.failures, p.vacant = 0, vacant
	p.closeAllIdle(Drained)
	p.settle(now)
}

// Close shuts the pair down: all who wait are refused, as is every later Checkout; idle backends are
// closed now, active ones at their release. Transactions under way may still be promoted, if no wait is
// needed. The pair is empty when both Counts show nothing active and nothing dialing.
func (p *Pair) Close(now time.Time) {
	now = p.enter(now)
	p.closed = true
	p.refuseAll(now, &p.promoting, Closed, nil)
	for i := range p.pools {
		p.refuseAll(now, &p.pools[i].waiting, Closed, nil)
	}
	p.closeAllIdle(ShutDown)
}

func (p *Pair) closeAllIdle(reason CloseReason) {
	for i := range p.pools {
		pl := &p.pools[i]
		for b := range pl.idle.all() {
			p.closeIdle(pl, b, reason)
		}
	}
}
