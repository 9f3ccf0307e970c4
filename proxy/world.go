package proxy

import (
	"context"
	"slices"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/proxy/session"
)

// What changes in the server while its connections stay open: databases that are dropped, settings that sessions begin
// with, the server itself. An idle connection must neither be in the way nor be older than what it stands for.

// hearOf takes a client's statement that concerns others, which is on its way: the pools are seen to before it is answered.
// What they want is carried out by a goroutine of its own, since the client's mutex is held here.
func (c *client) hearOf(a *session.Action) {
	s, here := c.proxy, c.pool.terms.Load().target
	for _, p := range s.allPools() {
		target := p.terms.Load().target
		concerned := target.SameServer(here) && (a.Database == "" || target.Database() == a.Database) &&
			(a.Role == "" || target.User() == a.Role)
		if !concerned {
			continue
		}
		var events []pools.Event
		if a.Op == session.Vacate {
			events = p.replace("somebody needs the database to be empty", (*pools.Pair).Vacate)
			p.definitions.vacate()
		} else {
			events = p.replace("settings that sessions begin with change", (*pools.Pair).Drain)
			p.lookSoon() // a connection made before the change was committed is found out then
		}
		s.work.Go(func() { s.deliver(nil, events) })
	}
}

// replace has the pool's server connections closed that are open now, those in use at their release, once the events are
// delivered.
func (p *pool) replace(why string, how func(*pools.Pair, time.Time)) []pools.Event {
	p.server.log.Info("the pool's backends are replaced", "database", p.name.database, "user", p.name.user, "reason", why)
	return p.do(nil, func(pair *pools.Pair) {
		p.welcomes.forget()
		how(pair, time.Now())
	})
}

// firstLook is what a server connection was like when it was made.
type firstLook struct {
	parameters []backend.Parameter
	defaults   backend.Defaults
}

// heed compares a new connection with the last one. If its session began with other settings, the others are replaced, and
// clients keep what they began with; if it only reports something else, such as the version of another server, what new
// clients were to be told is forgotten.
func (p *pool) heed(conn *backend.Conn) {
	p.mu.Lock()
	last, first := p.newest, p.newest.parameters == nil
	p.newest, p.heeded = firstLook{conn.Parameters, conn.Defaults}, time.Now()
	changed := !first && !last.defaults.Same(conn.Defaults)
	if changed {
		p.began.Store(p.began.Load().end(session.NewSettings(settingsOf(last.defaults.Kept(conn.Defaults)))))
	}
	if changed || !slices.Equal(last.parameters, conn.Parameters) {
		p.welcomes.forget()
		p.welcomes.unnamed, _ = session.NewSettings(settingsOf(conn.Parameters)).Get(applicationName) // lockproxy's own gives none
	}
	p.mu.Unlock()
	if changed {
		p.server.deliver(nil, p.replace("settings that sessions begin with have changed", (*pools.Pair).Drain))
	}
}

// refresh looks for what was changed elsewhere, now and then, with a connection that it makes for this. It does so only
// where it takes no slot from anybody: while all of them are in use there is nobody who could be given an old one.
func (p *pool) refresh() {
	p.mu.Lock()
	due := !p.paused && !p.heeded.IsZero() && time.Since(p.heeded) > refreshEvery
	live, room := 0, false
	for _, kind := range []pools.Kind{pools.Admin, pools.Lock} {
		c := p.pair.Counts(kind)
		live += c.Idle + c.Active
		room = room || c.Idle+c.Active+c.Dialing < c.Max
	}
	p.mu.Unlock()
	if due && live > 0 && room {
		p.lookSoon()
	}
}

// lookSoon has a connection made that shows what sessions begin with: when the transaction that changed it may be over.
func (p *pool) lookSoon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.looking && !p.closed {
		p.looking = true
		time.AfterFunc(lookAfter, p.look)
	}
}

// lookAfter is how long a statement that changes what sessions begin with may take until its change is seen.
const lookAfter = 200 * time.Millisecond

func (p *pool) look() {
	p.mu.Lock()
	p.looking = false
	idle := p.closed || p.paused
	p.mu.Unlock()
	if idle {
		return
	}
	ctx, cancel := context.WithTimeout(closing{p.done}, cancelWithin)
	defer cancel()
	conn, err := p.connect(ctx)
	if err != nil {
		p.server.log.Warn("what sessions begin with could not be looked at", "database", p.name.database, "error", err)
		p.heedRefusal(err)
		return
	}
	conn.Close()
	p.heed(conn)
}

// heedRefusal lets go of a server that lets nobody in: told to shut down once everybody has gone (pg_ctl stop -m smart), it would wait for
// connections that nobody uses, and for those that somebody always does.
func (p *pool) heedRefusal(err error) {
	p.mu.Lock()
	some := p.pair.HasCurrent()
	p.mu.Unlock()
	if some && isShuttingDown(err) {
		p.server.deliver(nil, p.replace("the server is shutting down", (*pools.Pair).Retire))
	}
}

// leaveSilent closes the idle connections to a server that does not answer any more, where there are others: whoever is
// given one would wait for an answer that may never come, as an audit of it does.
func (p *pool) leaveSilent() {
	var left []*serverConn
	events := p.do(nil, func(pair *pools.Pair) {
		for b := range pair.Backends() {
			w, sc := b.Holder(), b.Conn.(*serverConn)
			if (w == nil || w.Owner.(*client).audits()) && sc.conn.Silent() {
				sc.fate = noAnswer
				left = append(left, sc)
			}
		}
		for _, sc := range left {
			if sc.slot.Holder() == nil {
				pair.Remove(time.Now(), sc.slot)
			}
		}
	})
	for _, sc := range left {
		p.server.log.Info("an idle backend is dropped", "database", p.name.database, "user", p.name.user, "pid", sc.conn.Pid, "reason", noAnswer)
		sc.theLink().Close()
	}
	p.server.deliver(nil, events)
}

const noAnswer = "its server does not answer"

// changedSides tells whether the server was promoted while the connection was open. Who has one that is in use keeps it; the
// next is given one to whatever server it is to be now.
func (sc *serverConn) changedSides() bool {
	if sc.facts.Reported == sc.looked {
		return false // nothing was reported since
	}
	const side = "in_hot_standby"
	now, reported := sc.facts.Reported.Get(side)
	if reported && !slices.Contains(sc.conn.Parameters, backend.Parameter{Name: side, Value: now}) {
		return true
	}
	sc.looked = sc.facts.Reported
	return false
}

// refreshEvery is how long it takes at most until ALTER ROLE ... SET on another connection is noticed.
const refreshEvery = 30 * time.Second
