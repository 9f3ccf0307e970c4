package sim

import (
	"fmt"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/proxy/session"
)

// front is the proxy's end of one client connection: what proxy/client.go does with a session, in one thread. What the
// pools say is not delivered at once but when the scheduler likes.
type front struct {
	w       *world
	app     *app // nil for an audit
	id      int
	session *session.Session
	startup *session.Settings
	waiter  pools.Waiter
	server  *serverLink
	wire    bool // the client's link is there
	in      pipe // from the client
	out     pipe // to the client

	late    bool
	wanted  *pools.Kind
	answers int // of the pools, under way

	paused                              bool
	sessionFull, serverFull, clientFull bool
	closing                             time.Time // when the link ends at the latest; zero: it is not about to
}

func (f *front) String() string {
	switch {
	case f == nil:
		return "nobody"
	case f.app == nil:
		return fmt.Sprintf("audit%d", f.id)
	}
	return fmt.Sprintf("c%d", f.id)
}

// flushWithin is proxy/client.go's.
const flushWithin = 2 * time.Second

// step steps the session and carries out what comes of it.
func (f *front) step(run func(s *session.Session, o *session.Output, now time.Time)) {
	o := &f.w.output
	if o.Pools = nil; f.w.plan.atOnce {
		o.Pools = f
	}
	run(f.session, o, f.w.now)
	if o.Redefined != session.NotRedefined {
		f.w.redefined(o.Redefined)
	}
	f.write(o)
	for i := range o.Actions {
		f.act(&o.Actions[i])
	}
	f.steer()
	o.Reset()
	f.w.collect()
}

func (f *front) write(o *session.Output) {
	if f.server != nil {
		for _, p := range o.Server {
			f.w.mix(p)
			f.w.note("%v > %v  %s", f, f.server, p)
			f.server.write(p, f)
		}
		f.serverFull = f.server.out().buffered() > f.w.plan.maxBuffer
	} else if len(o.Server) > 0 {
		f.w.fail("%v has bytes for a server and no server", f)
	}
	for _, p := range o.Client {
		f.w.mix(p)
		f.w.note("%v < proxy  %s", f, p)
		if f.wire && f.closing.IsZero() {
			f.out.write(p, nil)
		}
	}
	if !f.clientFull && f.server != nil && f.out.buffered() > f.w.plan.maxBuffer {
		f.clientFull, f.server.paused = true, true
	}
}

func (f *front) steer() {
	f.sessionFull = f.session.Paused()
	f.paused = f.sessionFull || f.serverFull
}

func (f *front) clientDrained() {
	if f.clientFull {
		f.clientFull = false
		if f.server != nil {
			f.server.paused = false
		}
	}
}

func (f *front) serverDrained() {
	f.serverFull = false
	f.steer()
}

func (f *front) act(a *session.Action) {
	w := f.w
	w.note("%v wants %s", f, describe(a))
	switch a.Op {
	case session.Checkout:
		f.checkout(a.Kind)
	case session.Promote:
		w.pair.Promote(w.now, &f.waiter, f.server.slot)
	case session.Leave:
		f.wanted = nil
		f.late = !w.pair.Leave(w.now, &f.waiter) || f.late
	case session.Release:
		sl := f.letGo(w.pair.Release)
		w.checkClean(sl, f)
	case session.Remove:
		if a.Reason == session.ReasonProtocol || a.Reason == session.ReasonInternal {
			w.fail("%v removed its server: %s", f, a.Text)
		}
		sl := f.letGo(w.pair.Remove)
		if gaveUp := a.Reason == session.ReasonServerLost || a.Reason == session.ReasonSettings || a.Reason == session.ReasonNotCleaned; gaveUp && !sl.dead && f.app != nil {
			f.app.losses++ // it is given up: nobody knows whether it did what it was sent
		}
		sl.close()
	case session.Hold:
		w.pair.Hold(f.server.slot, a.On)
	case session.CancelServer:
		w.cancels = append(w.cancels, &cancel{front: f, link: f.server})
	case session.CloseClient:
		if a.Reason == session.ReasonInternal || a.Reason == session.ReasonProtocol {
			w.fail("%v was closed: %s", f, a.Text)
		}
		if sl := f.server; a.Reason == session.ReasonServerLost && sl != nil && sl.far.gone && !sl.dead && f.app != nil {
			f.app.losses++ // it has said its last words, and its end is still to come
		}
		if f.wire && f.closing.IsZero() {
			f.closing = w.now.Add(flushWithin)
			f.out.ended = true
		}
	case session.Welcomed:
		w.welcomes[f.startup.Without("application_name").Fingerprint()] = f.session.Told()
	case session.Stray:
		w.fail("%v found a stray lock: %s", f, a.Text)
	}
}

// Checkout takes a server at once, as proxy/client.go does.
func (f *front) Checkout(kind pools.Kind) *session.Server {
	f.w.collect()
	before := len(f.w.events) // of which one may be a late answer
	f.checkout(kind)
	f.w.collect()
	last := len(f.w.events) - 1
	if last < before || f.w.events[last].Op != pools.Granted || f.w.events[last].Waiter != &f.waiter {
		return nil
	}
	sl := f.w.events[last].Backend.Conn.(*serverLink)
	if sl.dead {
		return nil
	}
	f.w.events = f.w.events[:last]
	f.answers--
	sl.holder, f.server = f, sl
	f.w.note("%v has a server at once", f)
	return sl.facts
}

// Demote moves the session's slot to the admin pool's account, if that has room.
func (f *front) Demote() bool {
	done := f.w.pair.Demote(f.w.now, f.server.slot)
	f.w.note("%v is demoted: %t", f, done)
	f.w.collect()
	if done {
		f.w.seen.demotions++
	}
	return done
}

func (f *front) checkout(kind pools.Kind) {
	if f.late {
		f.wanted = &kind
		return
	}
	f.w.pair.Checkout(f.w.now, &f.waiter, kind)
}

func (f *front) letGo(how func(time.Time, *pools.Backend)) *serverLink {
	sl := f.server
	f.clientDrained()
	f.serverFull = false
	f.server = nil
	sl.holder = nil
	how(f.w.now, sl.slot)
	if sl.dead {
		f.w.pair.Remove(f.w.now, sl.slot)
	}
	return sl
}

// hear takes the pools' answer.
func (f *front) hear(e *pools.Event) {
	if e.Op == pools.Demotable {
		if f.server != nil && f.server.slot == e.Backend {
			f.step((*session.Session).Demotable)
		}
		return
	}
	if f.answers--; f.answers < 0 {
		f.w.fail("%v hears an answer of the pools that it has had", f)
	}
	if f.late {
		f.hearLate(e)
		return
	}
	switch e.Op {
	case pools.Granted:
		f.granted(e.Backend)
	case pools.Refused:
		f.step(func(s *session.Session, o *session.Output, now time.Time) { s.Refused(o, now, refusal(e.Refusal)) })
	case pools.Promoted:
		if f.server != nil && f.server.slot == e.Backend {
			f.step((*session.Session).Promoted)
		}
	default:
		f.step(func(s *session.Session, o *session.Output, now time.Time) {
			s.PromotionRefused(o, now, refusal(e.Refusal))
		})
	}
}

func (f *front) hearLate(e *pools.Event) {
	f.late = false
	switch {
	case e.Op == pools.Granted:
		f.w.pair.Release(f.w.now, e.Backend)
		if e.Backend.Conn.(*serverLink).dead {
			f.w.pair.Remove(f.w.now, e.Backend)
		}
	case e.Op == pools.Promoted && f.server != nil && f.server.slot == e.Backend:
		f.step((*session.Session).Promoted)
	}
	if f.wanted != nil {
		kind := *f.wanted
		f.wanted = nil
		f.checkout(kind)
	}
	f.w.collect()
}

func (f *front) granted(b *pools.Backend) {
	sl := b.Conn.(*serverLink)
	if sl.dead {
		kind := b.Kind()
		f.w.pair.Remove(f.w.now, b)
		f.w.pair.Checkout(f.w.now, &f.waiter, kind)
		f.w.collect()
		return
	}
	sl.holder = f
	f.server = sl
	f.step(func(s *session.Session, o *session.Output, now time.Time) { s.Granted(o, now, sl.facts, b.Kind()) })
}

// refusal is proxy/refusal.go's, without the numbers.
func refusal(r *pools.Refusal) *protocol.Error {
	e := &protocol.Error{Severity: "ERROR", Code: protocol.TooManyConnections, Message: r.Error(), Hint: r.Hint()}
	switch r.Cause {
	case pools.DialFailed:
		e.Code = protocol.CannotConnect
	case pools.Closed:
		e.Code = protocol.AdminShutdown
	}
	return e
}

// received hands on what the client sent. The bytes are spoilt afterwards, for whoever keeps them.
func (f *front) received(n int) {
	p, _ := f.in.read(n)
	f.w.note("%v > proxy  %s", f, p)
	f.step(func(s *session.Session, o *session.Output, now time.Time) { s.ClientBytes(o, now, p) })
	spoil(p)
}

// closed takes the end of the client's link.
func (f *front) closed() {
	f.wire = false
	f.in.lose(0)
	f.in.ended = true
	f.out.ended = true
	f.clientDrained()
	f.w.note("%v is disconnected", f)
	f.step((*session.Session).ClientLost)
}

func spoil(p []byte) {
	for i := range p {
		p[i] = 0xAA
	}
}

// serverLink is the proxy's end of one server connection, as proxy/serverconn.go has it.
type serverLink struct {
	w      *world
	far    *server
	facts  *session.Server
	slot   *pools.Backend
	holder *front
	dead   bool // its end was seen
	paused bool
	shut   bool // closed from this side
}

func (sl *serverLink) String() string { return fmt.Sprintf("s%d", sl.far.pid) }

func (sl *serverLink) out() *pipe { return &sl.far.in }

func (sl *serverLink) write(p []byte, who *front) {
	if !sl.shut && !sl.far.gone {
		sl.far.in.write(p, who)
	}
}

// close ends the link and drops what is on its way, or some of it.
func (sl *serverLink) close() {
	if sl.shut {
		return
	}
	sl.shut = true
	in := &sl.far.in
	if !sl.far.gone {
		in.lose(sl.w.rng.Intn(len(in.data) + 1))
	}
	in.ended = true
	sl.over()
}

// hangUp ends the link in good order.
func (sl *serverLink) hangUp() {
	sl.write(protocol.AppendTerminate(nil), nil)
	sl.shut = true
	sl.far.in.ended = true
	sl.over()
}

// over is what follows the end of the link.
func (sl *serverLink) over() {
	if sl.dead {
		return
	}
	sl.dead = true
	if h := sl.holder; h != nil {
		if h.app != nil {
			h.app.losses++
		}
		h.step((*session.Session).ServerLost)
		return
	}
	if sl.slot != nil && sl.slot.Holder() == nil {
		sl.w.pair.Remove(sl.w.now, sl.slot)
		sl.w.collect()
	}
}

// received hands on what the server sent.
func (sl *serverLink) received(n int) {
	p, _ := sl.far.out.read(n)
	if sl.shut {
		return
	}
	sl.w.note("%v < %v  %s", sl.holder, sl, p)
	if sl.holder == nil {
		if !sl.far.gone {
			sl.w.fail("%v spoke unasked: %s", sl, spell(p))
		}
		sl.close()
		return
	}
	sl.holder.step(func(s *session.Session, o *session.Output, now time.Time) { s.ServerBytes(o, now, p) })
	spoil(p)
}
