package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/lockproxy/lockproxy/proxy/session"
)

// The scheduler: what could happen next is listed, one of it is drawn, and it happens.

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// deed is something that could happen next.
type deed struct {
	weight int
	do     act
	which  int
}

type act uint8

const (
	appSends act = iota
	appReads
	appLeaves
	appEnds
	frontReads
	frontEnds
	frontCloses
	frontTold
	frontTicks
	frontGivesWay
	serverReads
	serverSteps
	serverEnds
	serverAlarm
	serverTold
	linkReads
	linkEnds
	poolEvent
	poolDial
	poolTick
	cancelHits
	functionsRead
	actCount
)

// enabled lists what could happen now.
func (w *world) enabled(list []deed) []deed {
	add := func(when bool, weight int, do act, which int) {
		if when {
			list = append(list, deed{weight, do, which})
		}
	}
	for i, a := range w.apps {
		if !a.quit {
			add(a.canSend(), 4, appSends, i)
			add(len(a.front.out.data) > 0, 8, appReads, i)
			add(a.canLeave(), 4, appLeaves, i)
			add(a.front.out.ended && len(a.front.out.data) == 0 && !a.fatal, 4, appEnds, i)
		}
	}
	for i, f := range w.fronts {
		in := &f.in
		add(f.wire && len(in.data) > 0 && !f.paused, 8, frontReads, i)
		add(f.wire && in.ended && (len(in.data) == 0 || f.paused), 4, frontEnds, i)
		add(f.wire && !f.closing.IsZero() && (len(f.out.data) == 0 || !w.now.Before(f.closing)), 4, frontCloses, i)
		add(f.out.owed, 8, frontTold, i)
		due := f.session.Deadline()
		add(!due.IsZero() && !w.now.Before(due), 8, frontTicks, i)
		add(f.session.MayGiveWay(w.now.Add(time.Minute)), 1, frontGivesWay, i)
	}
	for i, v := range w.servers {
		add(!v.gone && len(v.in.data) > 0, 8, serverReads, i)
		add(!v.gone && v.in.ended && len(v.in.data) == 0 && !v.canStep() && !v.engine.busy(), 4, serverEnds, i)
		add(!v.gone && v.in.ended && len(v.in.data) == 0 && v.engine.copyIn != nil && !v.whole(), 4, serverEnds, i)
		add(v.canStep(), 8, serverSteps, i)
		due := v.due()
		add(!due.IsZero() && !w.now.Before(due), 4, serverAlarm, i)
		add(v.in.owed, 8, serverTold, i)
		add(len(v.out.data) > 0 && !v.link.paused && !v.link.shut, 8, linkReads, i)
		add(v.gone && len(v.out.data) == 0 && !v.link.shut && !v.link.dead, 8, linkEnds, i)
	}
	for i := range w.events {
		add(true, 8, poolEvent, i)
	}
	for i := range w.dials {
		add(true, 4, poolDial, i)
	}
	for i, c := range w.cancels {
		add(!c.astray, 4, cancelHits, i)
		add(c.astray, 1, cancelHits, i)
	}
	add(w.definitions.reading, 1, functionsRead, 0)
	next := w.pair.Next()
	add(!next.IsZero() && !w.now.Before(next), 8, poolTick, 0)
	return list
}

// canLeave tells whether the application has come to its end and says goodbye.
func (a *app) canLeave() bool {
	return a.fatal || a.welcomed && a.left == 0 && len(a.units) == 0
}

// piece draws how many of n bytes come at once.
func (w *world) piece(n int) int {
	if w.chance(30) {
		return n
	}
	return 1 + w.rng.Intn(min(n, w.plan.piece))
}

func (w *world) perform(d deed) {
	w.seen.acts[d.do]++
	switch i := d.which; d.do {
	case appSends:
		w.apps[i].send()
	case appReads:
		w.apps[i].reads(w.piece(len(w.apps[i].front.out.data)))
	case appLeaves:
		w.apps[i].leave(w.chance(70))
	case appEnds:
		w.apps[i].hungUp()
	case frontReads:
		w.fronts[i].received(w.piece(len(w.fronts[i].in.data)))
	case frontEnds, frontCloses:
		w.fronts[i].closed()
	case frontTold:
		w.fronts[i].out.owed = false
		w.fronts[i].clientDrained()
	case frontTicks:
		w.fronts[i].step((*session.Session).Tick)
	case frontGivesWay:
		w.fronts[i].step((*session.Session).GiveWay)
	case serverReads:
		w.servers[i].reads(w.piece(len(w.servers[i].in.data)))
	case serverSteps:
		w.servers[i].step()
	case serverEnds:
		w.servers[i].end()
	case serverAlarm:
		w.servers[i].alarm()
	case serverTold:
		w.servers[i].in.owed = false
		if h := w.servers[i].link.holder; h != nil {
			h.serverDrained()
		}
	case linkReads:
		w.servers[i].link.received(w.piece(len(w.servers[i].out.data)))
	case linkEnds:
		w.note("%v is lost", w.servers[i].link)
		w.servers[i].link.over()
	case poolEvent:
		w.deliver(i)
	case poolDial:
		w.dialed(i)
	case poolTick:
		w.pair.Tick(w.now)
		w.collect()
	case cancelHits:
		w.cancelGoesOn(i)
	case functionsRead:
		w.readingEnds()
	}
}

// cancelGoesOn takes a cancel request to the server, and then the news of that to the session; or, now and then, the news that nobody
// knows, and the request whenever.
func (w *world) cancelGoesOn(i int) {
	c := w.cancels[i]
	switch {
	case !c.hit && !c.astray && w.chance(20):
		c.astray = true
		w.seen.astray++
		w.note("a cancel request to %v is astray", c.link)
		c.front.step((*session.Session).CancelAstray)
		return
	case !c.hit:
		c.hit = true
		w.note("a cancel request reaches %v", c.link)
		c.link.far.hurt = !c.link.far.gone && c.link.far.interruptible()
		if !c.astray {
			return
		}
	}
	w.cancels = append(w.cancels[:i], w.cancels[i+1:]...)
	if !c.astray {
		c.front.step((*session.Session).CancelDone)
	}
}

// interruptible tells whether a signal finds something to interrupt, now or in what is about to be read: one that
// comes while the server waits for a command is forgotten.
func (v *server) interruptible() bool { return v.engine.busy() || v.whole() && v.w.chance(50) }

// nextDue gives the time at which something happens by itself; zero: never.
func (w *world) nextDue() time.Time {
	due := w.pair.Next()
	for _, f := range w.fronts {
		due = earlier(due, f.session.Deadline())
		if f.wire {
			due = earlier(due, f.closing)
		}
	}
	for _, v := range w.servers {
		due = earlier(due, v.due())
	}
	for _, a := range w.apps {
		if !a.quit && a.left > 0 && a.next.After(w.now) {
			due = earlier(due, a.next)
		}
	}
	return due
}

// settled tells whether nobody is left for whom anything could happen. Pools that keep idle backends go on renewing them.
func (w *world) settled() bool {
	for _, v := range w.servers {
		if !v.due().IsZero() || v.engine.busy() {
			return false
		}
	}
	return w.rested() && len(w.fronts) == 0
}

// step has one thing happen; false: nothing can any more.
func (w *world) step(list []deed) ([]deed, bool) {
	w.steps++
	if w.rng.Intn(4) == 0 {
		w.now = w.now.Add(w.upTo(time.Millisecond))
	}
	if !w.calm {
		w.disturb()
	}
	list = w.enabled(list[:0])
	if len(list) == 0 || w.rng.Intn(300) == 0 {
		if len(list) == 0 {
			w.checkQuiet()
		}
		if len(list) == 0 && w.settled() {
			return list, false
		}
		due := w.nextDue()
		if due.IsZero() || !due.After(w.now) {
			if len(list) == 0 {
				return list, false
			}
		} else {
			w.now = due
			return list, true
		}
	}
	sum := 0
	for i := range list {
		sum += list[i].weight
	}
	n := w.rng.Intn(sum)
	for i := range list {
		if n -= list[i].weight; n < 0 {
			w.mix([]byte{byte(list[i].do), byte(list[i].which), byte(len(list))})
			w.perform(list[i])
			break
		}
	}
	w.forgetOver()
	return list, true
}

// forgetOver takes out what has ended.
func (w *world) forgetOver() {
	w.fronts = slices.DeleteFunc(w.fronts, func(f *front) bool {
		return !f.wire && f.session.Ended() && f.answers == 0 && f.server == nil && !w.cancelsOf(f)
	})
	w.servers = slices.DeleteFunc(w.servers, func(v *server) bool { return v.gone && v.link.dead })
}

func (w *world) cancelsOf(f *front) bool {
	for _, c := range w.cancels {
		if c.front == f {
			return true
		}
	}
	return false
}

// disturb has something break, now and then.
func (w *world) disturb() {
	p := &w.plan
	n := w.rng.Intn(10000)
	switch {
	case n < p.deaths:
		w.kill()
	case n < p.deaths+p.cancels:
		w.cancelSome()
	case n < p.deaths+p.cancels+p.vanish:
		a := w.apps[w.rng.Intn(len(w.apps))]
		if !a.quit {
			w.seen.left++
			a.leave(w.chance(30))
		}
	case n < p.deaths+p.cancels+p.vanish+p.upheavals:
		w.upheave()
	case n < p.deaths+p.cancels+p.vanish+p.upheavals+p.changes:
		w.redefine()
	case n < p.deaths+p.cancels+p.vanish+p.upheavals+p.changes+p.signals:
		w.signalSome()
	case n > 9990:
		w.audit()
	}
}

// kill ends a server: with last words or none, and what it said last may be lost.
func (w *world) kill() {
	if len(w.servers) == 0 {
		return
	}
	v := w.servers[w.rng.Intn(len(w.servers))]
	if v.gone {
		return
	}
	w.seen.deaths++
	w.note("server %d is killed", v.pid)
	if w.chance(50) {
		v.dies(adminShutdown())
		return
	}
	v.dies(nil)
	v.out.lose(w.rng.Intn(len(v.out.data) + 1))
}

// cancelSome sends a cancel request for an application.
func (w *world) cancelSome() {
	a := w.apps[w.rng.Intn(len(w.apps))]
	if a.quit || !a.front.wire {
		return
	}
	w.seen.cancels++
	a.cancels++
	w.note("%v cancels", a)
	a.front.step((*session.Session).Cancel)
}

// signalSome has somebody cancel what a server runs, by its process id: whatever that is.
func (w *world) signalSome() {
	if len(w.servers) == 0 {
		return
	}
	v := w.servers[w.rng.Intn(len(w.servers))]
	if x := v.engine.running; v.gone || !v.interruptible() || x != nil && x.st.verb == vBegin { // a BEGIN would leave what was sent with it alone
		return
	}
	w.note("somebody cancels what server %d runs", v.pid)
	w.seen.signals++
	v.hurt = true
	for _, a := range w.apps {
		if a.front == v.link.holder {
			a.cancels++
		}
	}
}

// upheave reconfigures the pools, replaces all backends, or stops a session.
func (w *world) upheave() {
	switch w.rng.Intn(3) {
	case 0:
		w.note("new limits")
		w.pair.Configure(w.now, w.drawPool(), w.drawPool())
		w.collect()
	case 1:
		w.note("all backends are to be replaced")
		w.pair.Drain(w.now)
		w.collect()
	case 2:
		if a := w.apps[w.rng.Intn(len(w.apps))]; a.front.wire {
			w.note("%v is stopped", a)
			w.stopped[a.front] = true
			w.seen.stops++
			a.front.step((*session.Session).Stop)
		}
	}
}

// audit is proxy/admit.go's auditIdle.
func (w *world) audit() {
	for _, v := range w.servers {
		b := v.link.slot
		if b == nil || b.Holder() != nil || v.link.dead || !v.link.facts.AuditDue(w.now) {
			continue
		}
		w.audits++
		f := &front{w: w, id: w.audits, session: session.NewAudit(w.sessions)}
		f.waiter.Owner = f
		if w.pair.Take(w.now, &f.waiter, b) {
			w.fronts = append(w.fronts, f)
			w.collect()
		}
	}
}

// run lets everything happen until nothing can any more.
func (w *world) run(most int) {
	var list []deed
	for w.broken == "" {
		var more bool
		if list, more = w.step(list); !more {
			break
		}
		if w.broken == "" {
			w.check()
		}
		if !w.calm && (w.steps > most || w.rested()) {
			w.calm = true
		}
		if w.steps > 20*most {
			w.fail("it does not end: %v", w.seen.acts)
		}
	}
	if w.broken == "" {
		w.checkEnd()
	}
}

// rested tells whether all applications have left.
func (w *world) rested() bool {
	for _, a := range w.apps {
		if !a.quit {
			return false
		}
	}
	return true
}

func (w *world) String() string { return fmt.Sprintf("%d steps, %d units", w.steps, w.done) }
