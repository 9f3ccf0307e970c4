package pools

import (
	"math"
	"time"
)

const (
	// maxDials is how many dials of one pair may be under way: a server that comes back, or a pool that
	// starts empty, must not be met by a stampede of logins.
	maxDials = 4
	// firstRetry and lastRetry bound the growing delay between attempts while dialling fails. Who asks meanwhile waits for the next, and
	// would be told at once on a direct connection, or served again.
	firstRetry = 50 * time.Millisecond
	lastRetry  = time.Second
)

// Dial is one attempt to open a server connection, from DialWanted until Dialed or DialFailed.
type Dial struct {
	place      place[Dial]
	kind       Kind
	generation uint64
	round      int // Pair.failures when it began
}

// Kind returns the pool whose slot the dial takes now; a promotion may exchange it.
func (d *Dial) Kind() Kind { return d.kind }

// Dialed says that d succeeded. The new backend goes to the first who waits in its pool, or is idle, as
// when the waiter who wanted it gave up; or a CloseWanted event follows, when the pair was drained or
// closed or the pool shrank meanwhile. It panics if d has ended already.
func (p *Pair) Dialed(now time.Time, d *Dial, conn any) *Backend {
	now = p.enter(now)
	p.endDial(d)
	if d.generation == p.generation {
		p.failures = 0
	}
	b := &Backend{Conn: conn, kind: d.kind, born: now, generation: d.generation}
	p.rest(now, b)
	p.settle(now)
	return b
}

// DialFailed says that d failed with err. Permanent errors are those that the next attempt would meet too
// (wrong password, no such database). The waiters of a pool without any backend are refused with err: at
// once if it is permanent, else when no other dial of the pair is under way. Waiters that a living backend
// can serve go on waiting. It panics if d has ended already.
func (p *Pair) DialFailed(now time.Time, d *Dial, err error, permanent bool) {
	now = p.enter(now)
	p.endDial(d)
	p.budget.giveBack(d.kind)
	// A dial begun before a Drain says nothing about the server after it.
	if d.generation == p.generation {
		p.vacant = p.vacant || permanent // only somebody who asks can find out when that is over
		p.failure = err
		p.backOff(now, d)
		for p.decide(now) { // whom a backend of the other pool can serve is not hopeless
		}
		p.refuseHopeless(now, err, permanent)
	}
	p.settle(now)
}

// backOff delays the next dial. Dials that began together fail together: they count as one failure, and the
// delay runs from the last.
func (p *Pair) backOff(now time.Time, d *Dial) {
	if d.round == p.failures {
		p.failures++
	}
	p.retryAt = now.Add(retryDelay(p.failures))
}

// retryDelay doubles from firstRetry to lastRetry.
func retryDelay(failures int) time.Duration {
	delay := firstRetry
	for i := 1; i < failures && delay < lastRetry; i++ {
		delay *= 2
	}
	return min(delay, lastRetry)
}

// lend moves an idle backend of one pool that nobody there waits for to the other, for somebody who waits there, while dialling fails:
// the server may be full, or let the user have no more, and what it refuses is here.
func (p *Pair) lend(now time.Time) {
	if p.failures == 0 {
		return
	}
	for i := range p.pools {
		pl, other := &p.pools[i], &p.pools[1-i]
		if pl.waiting.n <= pl.idle.n || other.idle.n <= other.waiting.n || pl.free() <= 0 {
			continue
		}
		if b, w := other.idle.back(), pl.waiting.at(pl.idle.n); !pl.tooOld(now, b) && p.budget.allows(pl, w.seq) {
			p.giveIdle(now, b, pl.kind)
			return
		}
	}
}

// refuseHopeless refuses the checkouts of pools that have no backend to hope for. Both pools are looked at,
// because only one dial at a time tries for both while dialling fails.
func (p *Pair) refuseHopeless(now time.Time, err error, permanent bool) {
	if !permanent && p.dialing() > 0 {
		return
	}
	for i := range p.pools {
		pl := &p.pools[i]
		waits := p.Patient && pl.CheckoutTimeout > 0 && !permanent
		if !pl.hasCurrent() && !waits {
			p.refuseAll(now, &pl.waiting, DialFailed, err)
		}
	}
}

// onlyDials tells whether the waiters of a pool lack nothing but a dial that does not fail.
func (p *Pair) onlyDials(pl *pool) bool {
	return p.failures > 0 && !pl.hasCurrent() && !p.paused && !p.withheld && (pl.dials.n > 0 || p.budget.slots(pl) > 0)
}

// dialNext wants a dial for the pool whose need is the oldest, if one may begin now.
func (p *Pair) dialNext(now time.Time) bool {
	if !p.mayDial(now) {
		return false
	}
	pl := p.dialer()
	if pl == nil {
		return false
	}
	d := &Dial{kind: pl.kind, generation: p.generation, round: p.failures}
	pl.dials.pushBack(&d.place, d)
	p.budget.take(pl.kind)
	p.emit(Event{Op: DialWanted, Dial: d})
	return true
}

// mayDial reports whether a dial may begin now. While dialling fails, one at a time probes the server.
func (p *Pair) mayDial(now time.Time) bool {
	switch {
	case p.closed, p.paused:
		return false
	case p.failures > 0:
		return p.dialing() == 0 && !now.Before(p.retryAt)
	}
	return p.dialing() < maxDials
}

// dialer returns the pool that should dial next, or nil: the first waiter without a dial comes first,
// MinIdle last.
func (p *Pair) dialer() *pool {
	var next *pool
	first := uint64(math.MaxUint64)
	for i := range p.pools {
		pl := &p.pools[i]
		seq := uint64(math.MaxUint64)
		if w := pl.uncovered(); w != nil {
			seq = w.seq
		}
		if !p.wantsDial(pl) || !p.budget.allows(pl, seq) {
			continue
		}
		if next == nil || seq < first {
			next, first = pl, seq
		}
	}
	return next
}

// wantsDial reports whether the pool needs more backends than are under way, and has a slot.
func (p *Pair) wantsDial(pl *pool) bool {
	need := max(0, pl.waiting.n-pl.idle.n)
	if !p.vacant {
		need += max(0, pl.MinIdle-pl.idle.n)
	}
	return need > pl.dials.n && pl.free() > 0
}

// wantsAnyDial is wantsDial of either pool.
func (p *Pair) wantsAnyDial() bool {
	return p.wantsDial(&p.pools[Admin]) || p.wantsDial(&p.pools[Lock])
}

// dialing is how many dials of the pair are under way.
func (p *Pair) dialing() int { return p.pools[Admin].dials.n + p.pools[Lock].dials.n }

func (p *Pair) endDial(d *Dial) {
	dials := &p.pools[d.kind].dials
	if d.place.in != dials {
		panic("pools: the end of a dial that is not under way in this pair")
	}
	dials.remove(&d.place)
}
