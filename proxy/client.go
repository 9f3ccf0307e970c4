package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/proxy/link"
	"github.com/lockproxy/lockproxy/proxy/session"
)

// client is one client connection, or an audit, which has none: the owner of its link, and the monitor of its session.
// Whoever has something for the session locks it, steps it, and carries out what it wants.
type client struct {
	proxy *Server
	about *about

	mu      sync.Mutex
	pool    *pool       // changes only while it has no server and waits for none
	batch   *link.Batch // that a step's output goes to; nil: it is written at once
	session *session.Session
	link    link.Link // nil: none, or none any more
	waiter  pools.Waiter
	server  *serverConn   // that its session has
	serving atomic.Uint32 // the process id of that, for those who ask without the mutex; 0: none
	timer   *time.Timer   // for the session's deadline

	asked       time.Duration // when it sent something last, since the server was made
	pinnedSince time.Time     // when its session was pinned to the server that it has; zero: it was not
	pinnedBy    string        // the statement that did it, shortened
	wants       pools.Kind    // the pool that was asked last

	late   bool // an answer of the pools that nobody waits for is under way
	wanted bool // they are to be asked once it has come

	flow flow
}

// about is what is known of a client, for logs and for those who wait for what it holds. It does not change, but for told.
type about struct {
	session.Client // as its session knows it: the process id and key of its cancel requests, and what it began with

	user, database string
	peer           netip.AddrPort        // the zero one for a unix socket
	tls            unique.Handle[string] // what is spoken; the zero one: clear text
	since          time.Time

	told atomic.Pointer[session.Settings] // what it was told last of its settings; nil: nothing yet
}

// application is the name that the client's application goes by now. Many set it after the login.
func (a *about) application() string {
	if name, told := a.told.Load().Get(applicationName); told {
		return name
	}
	name, _ := a.Settings.Get(applicationName)
	return name
}

// turn is one step of a client's session: what it puts out, and what the pools have to say meanwhile.
type turn struct {
	output session.Output
	client *client
	events []pools.Event
	now    time.Time
}

// turns are shared: a client that is idle owns none.
var turns = sync.Pool{New: func() any {
	t := new(turn)
	t.output.Pools = t
	return t
}}

// step locks the client, runs f on its session, carries out what comes of it, and delivers what follows from that.
func (c *client) step(f func(s *session.Session, o *session.Output, now time.Time)) { c.stepIn(nil, f) }

// stepIf is step where the session is due for it, as that tells with the client locked.
func (c *client) stepIf(due func() bool, f func(s *session.Session, o *session.Output, now time.Time)) {
	var events []pools.Event
	c.mu.Lock()
	if due() {
		events = c.stepLocked(nil, f)
	}
	c.mu.Unlock()
	c.proxy.deliver(nil, events)
}

// stepIn is step within a batch.
func (c *client) stepIn(b *link.Batch, f func(s *session.Session, o *session.Output, now time.Time)) {
	c.mu.Lock()
	c.batch = b
	events := c.stepLocked(nil, f)
	c.batch = nil
	c.mu.Unlock()
	if len(events) > 0 {
		c.proxy.deliver(b, events)
	}
}

// stepLocked adds to the events, which are to be delivered without the mutex.
func (c *client) stepLocked(events []pools.Event, f func(s *session.Session, o *session.Output, now time.Time)) []pools.Event {
	t := turns.Get().(*turn)
	t.client, t.now = c, c.batch.Now()
	ok := t.run(f)
	t.output.Reset()
	if !ok {
		t.events = c.abandon(t.events)
	}
	events = append(events, t.events...)
	clear(t.events)
	t.client, t.events = nil, t.events[:0]
	turns.Put(t)
	return events
}

// run steps the session and carries out what it wants. A panic there is a bug of ours: it ends this client and its
// server, never the program.
func (t *turn) run(f func(s *session.Session, o *session.Output, now time.Time)) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			t.client.logger().Error("a session found itself in an impossible state", "panic", p, "stack", stack())
		}
	}()
	f(t.client.session, &t.output, t.now)
	t.events = t.client.carryOut(t.events, &t.output, t.now)
	return true
}

// Checkout asks the pools for a server. One that is granted at once need not be delivered.
func (t *turn) Checkout(kind pools.Kind) *session.Server {
	c, before := t.client, len(t.events)
	t.events = c.checkout(t.events, kind, t.now)
	for i := before; i < len(t.events); i++ {
		e := &t.events[i]
		if e.Op != pools.Granted || e.Waiter != &c.waiter {
			continue
		}
		sc := e.Backend.Conn.(*serverConn)
		if !c.takes(sc) {
			return nil // which is found out once more when the event is delivered
		}
		t.events = slices.Delete(t.events, i, i+1)
		return sc.facts
	}
	return nil
}

// Demote moves the client's slot to the admin pool's account, if that has room.
func (t *turn) Demote() (done bool) {
	c := t.client
	t.events = c.pool.do(t.events, func(p *pools.Pair) { done = p.Demote(t.now, c.server.slot) })
	return done
}

// Received takes what the client sent.
func (c *client) Received(p []byte) { c.ReceivedIn(nil, p) }

// ReceivedIn takes it within a batch.
func (c *client) ReceivedIn(b *link.Batch, p []byte) {
	c.stepIn(b, func(s *session.Session, o *session.Output, now time.Time) { s.ClientBytes(o, now, p) })
}

// Closed takes the end of the client's connection.
func (c *client) Closed(error) {
	c.mu.Lock()
	c.link = nil
	c.resumeServer() // it may have waited for a client that read too little, and is to come to its end
	events := c.stepLocked(nil, (*session.Session).ClientLost)
	c.mu.Unlock()
	c.proxy.deliver(nil, events)
	c.proxy.forget(c)
}

// HungUp takes the end of a client whose bytes wait unread: nobody will hear an answer to them.
func (c *client) HungUp() {
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	if l != nil {
		l.Close() // Closed follows
	}
}

func (c *client) serverBytes(b *link.Batch, sc *serverConn, p []byte) {
	c.mu.Lock()
	if c.server != sc {
		c.mu.Unlock()
		sc.idleBytes(p)
		return
	}
	c.batch = b
	events := c.stepLocked(nil, func(s *session.Session, o *session.Output, now time.Time) { s.ServerBytes(o, now, p) })
	c.batch = nil
	c.mu.Unlock()
	if len(events) > 0 {
		c.proxy.deliver(b, events)
	}
}

func (c *client) serverLost(sc *serverConn, err error) {
	c.mu.Lock()
	var events []pools.Event
	if c.server == sc {
		if c.link != nil { // else it is what the client left that was being cleared away: nobody has lost anything
			c.logger().Warn("a backend died under a session", "pid", sc.conn.Pid, "error", err)
		}
		events = c.stepLocked(events, (*session.Session).ServerLost)
	}
	c.mu.Unlock()
	c.proxy.deliver(nil, events)
}

// carryOut does what the session wants: bytes first, then the actions in order.
func (c *client) carryOut(events []pools.Event, o *session.Output, now time.Time) []pools.Event {
	if o.Redefined != session.NotRedefined {
		c.pool.definitions.redefined(c.pool, o.Redefined) // before the client hears of it, and calls what is new
	}
	if told := c.session.Told(); told != c.about.told.Load() {
		c.about.told.Store(told)
	}
	if o.Notifies {
		c.server.notifier.Store(c.about.Pid) // before the server hears of it: a listener may have the notification at once
	}
	c.count(o, c.write(o), now)
	for i := range o.Actions {
		events = c.act(events, &o.Actions[i], now)
	}
	c.steer()
	c.setTimer()
	return events
}

// act does one thing that the session wants.
func (c *client) act(events []pools.Event, a *session.Action, now time.Time) []pools.Event {
	switch a.Op {
	case session.Checkout:
		return c.checkout(events, a.Kind, now)
	case session.Promote:
		return c.pool.do(events, func(p *pools.Pair) { p.Promote(now, &c.waiter, c.server.slot) })
	case session.Leave:
		c.wanted = false
		return c.pool.do(events, func(p *pools.Pair) { c.late = !p.Leave(now, &c.waiter) || c.late })
	case session.Release:
		if c.server.changedSides() {
			return c.remove(events, now, "its server was promoted", "")
		}
		if c.server.conn.Silent() {
			return c.remove(events, now, noAnswer, "")
		}
		return c.letGo(events, now, func(p *pools.Pair, b *pools.Backend) { p.Release(now, b) })
	case session.Remove:
		return c.remove(events, now, a.Reason.String(), a.Text)
	case session.Hold:
		return c.pool.do(events, func(p *pools.Pair) { p.Hold(c.server.slot, a.On) })
	default:
		c.note(a)
		return events
	}
}

// remove has the session's server closed, which nobody else is to have.
func (c *client) remove(events []pools.Event, now time.Time, why, detail string) []pools.Event {
	sc := c.server
	c.logger().Info("a backend is closed", "pid", sc.conn.Pid, "reason", why, "detail", detail)
	events = c.letGo(events, now, func(p *pools.Pair, b *pools.Backend) {
		sc.fate = why
		p.Remove(now, b)
	})
	sc.link.Close()
	return events
}

// note does what needs no pool.
func (c *client) note(a *session.Action) {
	switch a.Op {
	case session.CancelServer:
		c.proxy.work.Add(1)
		go c.cancelServer(c.server)
	case session.Explain:
		c.pool.server.work.Add(1)
		go c.explain(a.Number, a.On)
	case session.CloseClient:
		if a.Text != "" {
			c.logger().Info("a client is closed", "reason", a.Reason.String(), "detail", a.Text)
		}
		c.closeLink(a.Reason == session.ReasonNone)
	case session.Pinned:
		if c.pinnedSince.IsZero() {
			c.pinnedSince, c.pinnedBy = time.Now(), c.session.LastStatement(maxShown)
		}
		c.logger().Debug("a session is pinned to its backend", "reason", a.Text)
	case session.Welcomed:
		c.pool.learnWelcome(c.about.Settings, c.session.Told())
	case session.Stray:
		c.logger().Warn("an advisory lock was found that no session holds", "pid", c.server.conn.Pid, "detail", a.Text, "statements", c.server.facts.Recent())
	case session.ReadsSequences:
		c.pool.readsSeq.Store(true)
	case session.Vacate, session.Redefault:
		c.hearOf(a)
	}
}

// closeLink ends the client's connection once it has been told everything. One that said goodbye sends nothing more, so that a
// closed socket makes nothing get lost.
func (c *client) closeLink(goodbye bool) {
	if c.link == nil {
		return
	}
	if c.link.Write(); goodbye && c.link.Buffered() == 0 { // no bytes, but whatever a batch holds goes out
		c.link.Close()
		return
	}
	c.link.CloseAfterFlush(flushWithin)
}

// flushWithin is how long a client may take to read what it is told last.
const flushWithin = 2 * time.Second

// checkout asks for a server, once no older answer is under way.
func (c *client) checkout(events []pools.Event, kind pools.Kind, now time.Time) []pools.Event {
	if c.wants = kind; c.late {
		c.wanted = true
		return events
	}
	if c.session.Seeks() && c.pool.retake(&events, c, kind, now) {
		return events
	}
	for !c.pool.checkout(&events, &c.waiter, kind, now) {
		if next := c.stands(); next != nil {
			c.pool = next
		} else {
			events = c.pool.end(events)
		}
	}
	c.session.Follow(c.pool.terms.Load().sessions)
	return events
}

// letGo gives the session's server back to the pools in one way or the other.
func (c *client) letGo(events []pools.Event, now time.Time, how func(*pools.Pair, *pools.Backend)) []pools.Event {
	sc := c.server
	c.resumeServer()
	c.flow.serverFull = false
	c.server, c.pinnedSince, c.pinnedBy = nil, time.Time{}, ""
	c.serving.Store(0)
	sc.holder.Store(nil)
	return c.pool.do(events, func(p *pools.Pair) {
		c.pool.ledger.release(sc, now)
		how(p, sc.slot)
		if sc.dead.Load() {
			p.Remove(time.Now(), sc.slot)
		}
	})
}

// hear takes the pools' answer, within a batch or nil. Why is what to tell the client, where it is told anything.
func (c *client) hear(b *link.Batch, e *pools.Event, why *protocol.Error) []pools.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.batch = b
	defer func() { c.batch = nil }()
	switch {
	case e.Op == pools.Demotable && (c.server == nil || c.server.slot != e.Backend):
		return nil
	case e.Op == pools.Demotable:
		return c.stepLocked(nil, (*session.Session).Demotable)
	case e.Op == pools.StillWaiting:
		return c.stepLocked(nil, func(s *session.Session, o *session.Output, now time.Time) { s.Notice(o, now, why.Message, why.Detail) })
	}
	if c.late {
		return c.hearLate(e)
	}
	switch e.Op {
	case pools.Granted:
		return c.granted(e.Backend)
	case pools.Refused:
		c.logRefusal(e.Refusal)
		return c.stepLocked(nil, func(s *session.Session, o *session.Output, now time.Time) { s.Refused(o, now, why) })
	case pools.Promoted:
		if c.server == nil || c.server.slot != e.Backend {
			return nil
		}
		return c.stepLocked(nil, (*session.Session).Promoted)
	default:
		anew := false
		events := c.stepLocked(nil, func(s *session.Session, o *session.Output, now time.Time) { anew = s.PromotionRefused(o, now, why) })
		if c.pool.promotionRefused(e.Refusal, anew); !anew {
			c.logRefusal(e.Refusal)
		}
		return events
	}
}

// hearLate takes an answer that the session no longer waits for.
func (c *client) hearLate(e *pools.Event) (events []pools.Event) {
	c.late = false
	now := time.Now()
	switch {
	case e.Op == pools.Granted:
		events = c.pool.do(events, func(p *pools.Pair) {
			p.Release(now, e.Backend)
			if e.Backend.Conn.(*serverConn).dead.Load() {
				p.Remove(now, e.Backend) // nobody else will hear of its end
			}
		})
	case e.Op == pools.Promoted && c.server != nil && c.server.slot == e.Backend:
		events = c.stepLocked(events, (*session.Session).Promoted)
	}
	if c.wanted {
		c.wanted = false
		events = c.checkout(events, c.wants, now)
	}
	return events
}

// granted gives the session its server. One that died in the pool is nobody's business: another is asked for.
func (c *client) granted(b *pools.Backend) []pools.Event {
	sc := b.Conn.(*serverConn)
	if !c.takes(sc) {
		now := time.Now()
		kind := b.Kind()
		events := c.pool.do(nil, func(p *pools.Pair) { p.Remove(now, b) })
		return c.checkout(events, kind, now)
	}
	kind := b.Kind()
	return c.stepLocked(nil, func(s *session.Session, o *session.Output, now time.Time) { s.Granted(o, now, sc.facts, kind) })
}

// takes makes a server that was granted the session's, unless it is dead.
func (c *client) takes(sc *serverConn) bool {
	sc.holder.Store(c)
	if sc.dead.Load() {
		sc.holder.Store(nil)
		return false
	}
	c.server = sc
	c.serving.Store(sc.conn.Pid)
	return true
}

// abandon gives up a client whose session is beyond help, and its server.
func (c *client) abandon(events []pools.Event) []pools.Event {
	now := time.Now()
	c.session = session.Over()
	if c.link != nil {
		c.link.Write(protocol.AppendError(nil, protocol.Fatal(protocol.InternalError, "lockproxy found itself in an impossible state")))
		c.link.CloseAfterFlush(flushWithin)
	}
	events = c.pool.do(events, func(p *pools.Pair) { p.Leave(now, &c.waiter) })
	if sc := c.server; sc != nil {
		events = c.letGo(events, now, func(p *pools.Pair, b *pools.Backend) {
			sc.fate = session.ReasonInternal.String()
			p.Remove(now, b)
		})
		sc.link.Close()
	}
	return events
}

// setTimer has the session ticked at its deadline.
func (c *client) setTimer() {
	at := c.session.Deadline()
	if at.IsZero() {
		if c.timer != nil {
			c.timer.Stop()
		}
		return
	}
	if c.timer == nil {
		c.timer = time.AfterFunc(time.Until(at), func() { c.step((*session.Session).Tick) })
		return
	}
	c.timer.Reset(time.Until(at))
}

// cancelServer sends a cancel request to the server and tells the session when it has arrived, or that nobody knows.
func (c *client) cancelServer(sc *serverConn) {
	defer c.proxy.work.Done()
	ctx, cancel := context.WithTimeout(context.Background(), cancelWithin)
	defer cancel()
	err := sc.conn.Cancel(ctx)
	if err != nil {
		c.logger().Warn("a cancel request failed", "pid", sc.conn.Pid, "error", err)
	}
	if errors.Is(err, backend.ErrAstray) {
		c.step((*session.Session).CancelAstray)
	} else {
		c.step((*session.Session).CancelDone)
	}
}

// cancelWithin bounds the wait for the server to take a cancel request.
const cancelWithin = 10 * time.Second

func (c *client) known() *about { return c.about }

func (c *client) cancel() { c.step((*session.Session).Cancel) }

// drain ends the client when it is idle; now if it waits for a database that nobody will resume any more.
func (c *client) drain() {
	if c.isHeldUp() {
		c.stop()
		return
	}
	c.step((*session.Session).Drain)
}

// isHeldUp tells whether the client waits for a server because its database is paused.
func (c *client) isHeldUp() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	what, _ := c.wait()
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	return what != "" && c.server == nil && c.pool.paused
}

func (c *client) stop() { c.step((*session.Session).Stop) }

// logger gives the log with what every line about the client says.
func (c *client) logger() *slog.Logger { return c.proxy.logFor(c.about) }

func (s *Server) logFor(a *about) *slog.Logger {
	return s.log.With("database", a.database, "user", a.user, "client", addressText(a.peer))
}

// noAddress is in the place of one where there is none: at a unix socket.
const noAddress = "local"

func addressText(peer netip.AddrPort) string {
	if !peer.IsValid() {
		return noAddress
	}
	return peer.String()
}
