package proxy

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/proxy/link"
	"github.com/lockproxy/lockproxy/proxy/session"
)

type poolName struct{ database, user string }

// pool is the two pools of one (database, user) with what carries out their wishes: dials, closes, grants delivered.
type pool struct {
	server   *Server
	name     poolName
	terms    atomic.Pointer[terms]
	catalog  atomic.Pointer[session.Catalog]
	readsSeq atomic.Bool               // clients ask for what nextval left in their sessions
	began    atomic.Pointer[beginning] // what sessions begin with now
	newest   firstLook                 // of the last connection made; under mu
	heeded   time.Time                 // when that was; likewise

	definitions *definitions
	used        time.Time // when somebody last came for it, or was seen to have it; under the server's mutex

	outside outside

	mu       *sync.Mutex // guards the rest; nothing is called under it that takes another
	pair     *pools.Pair
	ledger   ledger
	timer    *time.Timer
	due      time.Time // what the timer is set to; zero: it is not
	welcomes welcomes
	done     chan struct{} // closed with the pool, for dials under way
	closed   bool
	moved    bool // its clients are to have another pool
	gone     bool // or none, like their database
	paused   bool // by an operator
	open     int  // server connections that there are
	looking  bool // a connection is about to be made for a look at what it begins with
}

func newPool(s *Server, r *rules, name poolName, db Database, target *backend.Target) (*pool, error) {
	p := &pool{
		server: s, name: name,
		done: make(chan struct{}), ledger: newLedger(),
	}
	p.began.Store(&beginning{})
	common := s.commonsOf(r, target)
	p.mu, p.pair = &common.mu, common.NewPair(db.Admin, db.Lock)
	p.pair.Owner = p
	p.pair.Patient = target.SeveralServers()
	p.terms.Store(s.termsOf(p, r, db, target))
	p.timer = time.AfterFunc(time.Hour, p.tick)
	p.timer.Stop()
	p.definitions = s.definitionsOf(target)
	if err := p.definitions.join(p); err != nil {
		return nil, err
	}
	s.schemaOf(target.Database()).pools++
	return p, nil
}

// do runs f on the pair and gives what is to be delivered. The list is the caller's.
func (p *pool) do(into []pools.Event, f func(*pools.Pair)) []pools.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p.pair)
	return p.collect(into)
}

// checkout asks for a server, and adds to the events. It gives false when the pool has moved: another is to be asked.
func (p *pool) checkout(events *[]pools.Event, w *pools.Waiter, kind pools.Kind, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.moved {
		return false
	}
	p.pair.Checkout(now, w, kind)
	*events = p.collect(*events)
	return true
}

// retake gives a session the idle server back on which it has moved sequences last. It gives false where there is none.
func (p *pool) retake(events *[]pools.Event, c *client, kind pools.Kind, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.moved || p.paused {
		return false
	}
	for b := range p.pair.Backends() {
		if b.Kind() == kind && b.Holder() == nil && c.session.Seeking(b.Conn.(*serverConn).facts) && p.pair.Take(now, &c.waiter, b) {
			*events = p.collect(*events)
			return true
		}
	}
	return false
}

// collect takes the pair's events and sets the timer. Called with the mutex held.
func (p *pool) collect(into []pools.Event) []pools.Event {
	before := len(into)
	into = append(into, p.pair.Events()...)
	for i := before; i < len(into); i++ {
		into[i].Pair.Owner.(*pool).ledger.note(into[i : i+1]) // under the same mutex, whosever it is
	}
	next := p.pair.Next()
	if !next.IsZero() && !p.closed && (p.due.IsZero() || next.Before(p.due)) {
		p.due = next
		p.timer.Reset(time.Until(next))
	}
	return into
}

// tick lets the pair see the time.
func (p *pool) tick() {
	p.server.deliver(nil, p.do(nil, func(pair *pools.Pair) {
		p.due = time.Time{}
		pair.Tick(time.Now())
	}))
}

// deliver carries out what pairs want, and what follows from that, within a batch or nil. Called without any mutex.
func (s *Server) deliver(b *link.Batch, events []pools.Event) {
	for i := 0; i < len(events); i++ {
		switch e := &events[i]; e.Op {
		case pools.Granted, pools.Promoted, pools.Demotable:
			events = append(events, e.Waiter.Owner.(*client).hear(b, e, nil)...)
		case pools.Refused, pools.PromotionRefused, pools.StillWaiting:
			events = append(events, e.Waiter.Owner.(*client).hear(b, e, e.Pair.Owner.(*pool).refusal(e.Refusal))...)
		case pools.DialWanted:
			s.work.Add(1)
			go e.Pair.Owner.(*pool).dial(e.Dial)
		case pools.CloseWanted:
			sc := e.Backend.Conn.(*serverConn)
			name := sc.pool.name
			s.log.Debug("backend closed", "reason", e.Reason.String(), "database", name.database, "user", name.user, "pid", sc.conn.Pid)
			sc.hangUp()
		}
	}
}

// dial opens a server connection that the pair wants.
func (p *pool) dial(d *pools.Dial) {
	defer p.server.work.Done()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := context.AfterFunc(closing{p.done}, cancel)
	defer stop()

	conn, err := p.connect(ctx)
	if err != nil {
		p.dialFailed(d, err)
		return
	}
	p.heed(conn)
	sc := newServerConn(p, conn)
	sc.starting.Lock()
	sc.link, err = p.server.connect(conn.Net, sc)
	sc.starting.Unlock()
	if err != nil {
		conn.Close()
		sc.over()
		p.dialFailed(d, err)
		return
	}
	p.server.deliver(nil, p.do(nil, func(pair *pools.Pair) {
		sc.slot = pair.Dialed(time.Now(), d, sc)
		if sc.dead.Load() && sc.slot.Holder() == nil {
			pair.Remove(time.Now(), sc.slot)
		}
	}))
}

// connect makes a server connection, and has a look at the functions with it where that is due.
func (p *pool) connect(ctx context.Context) (*backend.Conn, error) {
	look, target := p.definitions.reading(), p.terms.Load().target
	defer p.leaveSilent()
	if look == nil {
		return backend.Dial(ctx, target)
	}
	conn, err := backend.Dial(ctx, target, &look.Probe)
	if err == nil {
		p.definitions.learn(look)
	}
	return conn, err
}

// closing is a context that ends when a channel is closed.
type closing struct{ done <-chan struct{} }

func (c closing) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c closing) Done() <-chan struct{}       { return c.done }
func (c closing) Value(any) any               { return nil }
func (c closing) Err() error {
	select {
	case <-c.done:
		return context.Canceled
	default:
		return nil
	}
}

func (p *pool) dialFailed(d *pools.Dial, err error) {
	p.server.log.Warn("a connection to the server failed", "database", p.name.database, "user", p.name.user, "error", err)
	p.server.deliver(nil, p.do(nil, func(pair *pools.Pair) {
		if isPermanent(err) {
			p.welcomes.forget() // the next client is to hear it at once, as from the server
		}
		p.ledger.misses++
		pair.DialFailed(time.Now(), d, err, isPermanent(err))
	}))
	p.heedRefusal(err)
	p.parted()
}

// end refuses who asks from now on, where a pool had moved and there is none in its place any more.
func (p *pool) end(events []pools.Event) []pools.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moved, p.gone = false, true
	p.pair.Close(time.Now())
	return p.collect(events)
}

// parted notes that a server connection is over, or that a dial came to nothing.
func (p *pool) parted() {
	p.mu.Lock()
	over := (p.moved || p.gone) && p.empty()
	p.mu.Unlock()
	if over {
		p.server.bury(p)
	}
	p.server.news.ring()
}

// empty tells whether there is no server connection, nor one under way. Called with the mutex held.
func (p *pool) empty() bool {
	return p.open == 0 && p.pair.Counts(pools.Admin).Dialing+p.pair.Counts(pools.Lock).Dialing == 0
}

// holders gives the clients that have a server connection of the pool's, audits included.
func (p *pool) holders() (all []*client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for b := range p.pair.Backends() {
		if w := b.Holder(); w != nil {
			all = append(all, w.Owner.(*client))
		}
	}
	return all
}

// close refuses who waits, closes what is idle and has the rest closed at its release.
func (p *pool) close() {
	p.mu.Lock()
	if !p.closed {
		close(p.done)
	}
	p.closed = true
	p.timer.Stop()
	p.pair.Close(time.Now())
	events := p.collect(nil)
	p.mu.Unlock()
	p.server.deliver(nil, events)
}

// welcome gives what servers of this pool report for the startup settings, or nil if that is not known yet.
func (p *pool) welcome(startup *session.Settings) *session.Settings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.welcomes.find(startup)
}

// share gives startup settings as another client has them, if there is one that began with the same.
func (p *pool) share(startup *session.Settings) *session.Settings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.welcomes.share(startup)
}

func (p *pool) learnWelcome(startup, reported *session.Settings) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.welcomes.learn(startup, reported)
}
