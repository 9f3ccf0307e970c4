package sim

import (
	"maps"
	"slices"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
)

// check holds the rules that hold after every step.
func (w *world) check() {
	if err := w.pair.Invariants(); err != nil {
		w.fail("pools: %v", err)
	}
	for _, f := range w.fronts {
		w.checkFront(f)
	}
	for _, v := range w.servers {
		w.checkServer(v)
	}
}

func (w *world) checkFront(f *front) {
	_, waits := f.waiter.Waiting()
	switch {
	case f.server != nil && f.server.holder != f:
		w.fail("%v has %v, which is %v's", f, f.server, f.server.holder)
	case f.server != nil && f.waiter.Backend() != f.server.slot:
		w.fail("%v has %v and another slot", f, f.server)
	case f.session.Ended() && (f.server != nil || waits):
		w.fail("%v has ended and has or waits for a server", f)
	case f.server == nil && f.waiter.Backend() != nil && f.answers == 0:
		w.fail("%v has a slot and no server", f)
	case f.in.ended && !f.wire && f.app != nil && waits && f.wanted == nil && f.session.Ended():
		w.fail("%v waits for nobody", f)
	}
}

// checkServer holds that what lives in a server session belongs to the session that has it.
func (w *world) checkServer(v *server) {
	e := v.engine
	if v.gone || v.link.shut || v.link.dead {
		return
	}
	if (e.open || e.locks.onSession() > 0 || e.listening) && v.link.holder != v.user {
		w.fail("what %v left on %v (transaction %c, %d locks, listening %t) is there for %v", v.user, v.link, e.tx,
			e.locks.onSession(), e.listening, v.link.holder)
	}
}

// checkQuiet holds that nobody keeps a server without a reason, when nothing can happen but that time passes.
func (w *world) checkQuiet() {
	for _, f := range w.fronts {
		if _, promoting := f.waiter.Waiting(); f.server == nil || f.server.far.gone || promoting {
			continue
		}
		if e := f.server.far.engine; !e.open && e.locks.onSession() == 0 && !e.busy() && len(f.session.Pins()) == 0 {
			w.fail("%v keeps %v without a transaction, a lock or a pin", f, f.server)
		} else if admin := w.pair.Counts(pools.Admin); w.plan.atOnce && f.server.slot.Kind() == pools.Lock && !e.open && e.locks.onSession() == 0 && !e.busy() &&
			!f.session.Ended() && admin.Waiting == 0 && admin.Active+admin.Dialing < admin.Max {
			w.fail("%v keeps %v in the lock pool without a lock, where the admin pool has room", f, f.server)
		}
	}
}

// checkClean holds that a server that is given back has nothing of its session left.
func (w *world) checkClean(sl *serverLink, f *front) {
	e := sl.far.engine
	if sl.far.gone || sl.shut {
		return
	}
	if e.open || e.tx != 'I' || len(e.locks.holds) > 0 || e.listening || e.busy() || e.skipping || len(sl.far.out.data) > 0 {
		w.fail("%v gave %v back with transaction %c, %d locks, listening %t, busy %t, unread %s", f, sl, e.tx,
			len(e.locks.holds), e.listening, e.busy(), spell(sl.far.out.data))
	}
	w.checkLeftovers(sl, f)
}

// checkLeftovers holds that what is still on its way to a server that is given back is nothing that it answers.
func (w *world) checkLeftovers(sl *serverLink, f *front) {
	p := append(append([]byte(nil), sl.far.engine.in...), sl.far.in.data...)
	for len(p) >= protocol.HeadSize {
		kind, size := protocol.Head(p)
		switch kind {
		case protocol.CopyData, protocol.CopyDone, protocol.CopyFail, protocol.Flush:
		default:
			w.fail("%v gave %v back before it had read %s", f, sl, spell(p))
			return
		}
		p = p[min(size, len(p)):]
	}
	if len(p) > 0 {
		w.fail("%v gave %v back in the middle of a message", f, sl)
	}
}

// checkEnd holds what must be when nothing can happen any more.
func (w *world) checkEnd() {
	for _, a := range w.apps {
		switch {
		case !a.quit:
			w.fail("%v waits for ever: %d units unanswered, %d to come", a, len(a.units), a.left)
			if len(a.units) > 0 {
				w.note("%v waits for the answer to %s", a, a.units[0].sent)
			}
		}
	}
	for _, f := range w.fronts {
		w.fail("%v does not end", f)
	}
	for _, v := range w.servers {
		if v.link.shut || v.link.dead {
			w.fail("server %d does not end", v.pid)
		}
		if v.link.slot.Holder() != nil {
			w.fail("%v is idle and checked out", v.link)
		}
		if e := v.engine; len(e.locks.holds) > 0 || e.open || !e.idle() {
			w.fail("%v is left with %d locks, transaction %c", v.link, len(e.locks.holds), e.tx)
		}
	}
	for _, row := range slices.Sorted(maps.Keys(w.rows)) {
		if !w.sure[row] && !w.doubts[row] {
			w.fail("row %s was committed, and its application was told that it was not", row)
		}
	}
}
