package proxy

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/proxy/console"
	"github.com/lockproxy/lockproxy/proxy/session"
)

// What is counted costs the relay path next to nothing: a server connection has a tally, which belongs to whoever has the
// connection, and which is added to the pool's ledger when it is given back, under the mutex that this takes anyway.
// The time is that of the step.

// Stats are counters since the server was made.
type Stats struct {
	Transactions uint64            // that ended on a server connection
	Pinned       map[string]uint64 // those of them that ran on one that their session keeps, by reason
}

// Stats gives the counters as they are now. The map is the caller's.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	before := s.finished()
	s.mu.Unlock()
	all := Stats{Transactions: before.Transactions, Pinned: s.counters.pinned.all()}
	for _, p := range s.allPools() {
		p.settle()
		p.mu.Lock()
		all.Transactions += p.ledger.Transactions
		p.mu.Unlock()
	}
	return all
}

// counters are what is counted of no single pool.
type counters struct {
	pinned  tags // transactions on a server that their session keeps, by reason
	refused tags // logins, by SQLSTATE
}

// tags count rare things by name. There are few names.
type tags struct {
	mu     sync.Mutex
	counts map[string]uint64
}

func (t *tags) add(names ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = make(map[string]uint64)
	}
	for _, name := range names {
		t.counts[name]++
	}
}

func (t *tags) all() map[string]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.counts)
}

// tally is what was done with one server connection since its pool's ledger had it last. Under the mutex of the client
// that has the connection.
type tally struct {
	console.Totals
	locks [session.LockOutcomes]uint32

	query, transaction time.Time // when the one under way began; zero: none is
}

// outside is what clients do that have no server: most of it is a BEGIN, which is answered without one.
type outside struct {
	received, sent, queries, parses atomic.Uint64
}

// count takes a step into account. Sent is how many bytes the client was sent. Called with the client's mutex held.
func (c *client) count(o *session.Output, sent int, now time.Time) {
	if o.Received > 0 {
		c.asked = now.Sub(c.proxy.begun)
	}
	if c.server != nil {
		tx, busy := c.session.Status()
		c.server.tally.add(o, sent, now, busy, tx != 'I')
	} else if o.Received > 0 || sent > 0 {
		c.pool.outside.add(o, sent)
	}
	if len(o.Pinned) > 0 {
		c.proxy.counters.pinned.add(o.Pinned...)
	}
}

// add counts a step, after which the client waits for an answer or not, and is within a transaction or not.
func (t *tally) add(o *session.Output, sent int, now time.Time, busy, inside bool) {
	t.Received += uint64(o.Received)
	t.Sent += uint64(sent)
	t.Parses += uint64(o.Parses)
	t.ServerParses += uint64(o.ServerParses)
	t.Binds += uint64(o.Binds)
	if o.Queries > 0 {
		t.Queries += uint64(o.Queries)
		t.QueryTime += since(t.query, now)
		t.query = time.Time{}
	}
	if o.Transactions > 0 {
		t.Transactions += uint64(o.Transactions)
		t.TransactionTime += since(t.transaction, now)
		t.transaction = time.Time{}
	}
	t.query = begins(t.query, now, busy)
	t.transaction = begins(t.transaction, now, busy || inside)
	if o.Locks != ([session.LockOutcomes]uint16{}) {
		for i, n := range o.Locks {
			t.locks[i] += uint32(n)
		}
	}
}

// since is how long it is since a time; zero: it is not.
func since(begun, now time.Time) time.Duration {
	if begun.IsZero() {
		return 0
	}
	return now.Sub(begun)
}

// begins gives when something began that is under way, or the zero time.
func begins(begun, now time.Time, under bool) time.Time {
	switch {
	case !under:
		return time.Time{}
	case begun.IsZero():
		return now
	}
	return begun
}

func (s *outside) add(o *session.Output, sent int) {
	s.received.Add(uint64(o.Received))
	s.sent.Add(uint64(sent))
	if o.Queries > 0 {
		s.queries.Add(uint64(o.Queries))
	}
	if o.Parses > 0 {
		s.parses.Add(uint64(o.Parses))
	}
}

// ledger is what a pool has counted. Under the pool's mutex.
type ledger struct {
	console.Totals
	waits, holds   [console.Kinds]console.Histogram
	refusals       [console.Kinds]map[string]uint64 // by cause
	promises       console.Promotions
	births, misses uint64
	deaths         map[string]uint64 // by reason
	locks          [session.LockOutcomes]uint64
	newer, older   console.Totals // one period ago at most, and two
}

func newLedger() ledger {
	a := ledger{deaths: make(map[string]uint64)}
	for i := range a.refusals {
		a.refusals[i] = make(map[string]uint64)
	}
	return a
}

// receive adds a tally, and makes it empty. What is under way in it goes on.
func (a *ledger) receive(t *tally) {
	a.Totals.Add(&t.Totals)
	for i, n := range t.locks {
		a.locks[i] += uint64(n)
	}
	*t = tally{query: t.query, transaction: t.transaction}
}

// release takes the end of a client's use of a server connection into account.
func (a *ledger) release(sc *serverConn, now time.Time) {
	a.receive(&sc.tally)
	sc.tally.query, sc.tally.transaction = time.Time{}, time.Time{}
	a.holds[sc.slot.Kind()].Observe(now.Sub(sc.slot.Since()))
}

// died counts a server connection that is over.
func (a *ledger) died(sc *serverConn) {
	if sc.fate == "" {
		sc.fate = "server closed"
	}
	a.deaths[sc.fate]++
}

// note takes what the pools have decided into account.
func (a *ledger) note(events []pools.Event) {
	for i := range events {
		switch e := &events[i]; e.Op {
		case pools.Granted:
			if e.Waiter.Owner.(*client).about.Pid != 0 { // an audit is nobody's
				a.Assignments++
				a.waited(e.Backend.Kind(), e.Waited)
			}
		case pools.Refused:
			a.waited(e.Refusal.Kind, e.Refusal.Waited)
			a.refusals[e.Refusal.Kind][e.Refusal.Cause.String()]++
		case pools.Promoted:
			a.promises.Granted++
			a.WaitTime += e.Waited
		case pools.PromotionRefused:
			a.WaitTime += e.Refusal.Waited
		case pools.CloseWanted:
			e.Backend.Conn.(*serverConn).fate = e.Reason.String()
		}
	}
}

// promotionRefused counts a refused promotion. Nobody is told of it where the transaction begins anew.
func (p *pool) promotionRefused(r *pools.Refusal, anew bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := &p.ledger; anew {
		a.promises.Anew++
	} else {
		a.promises.Refused++
		a.refusals[r.Kind][r.Cause.String()]++
	}
}

func (a *ledger) waited(kind pools.Kind, d time.Duration) {
	a.WaitTime += d
	a.waits[kind].Observe(d)
}

// totals gives the ledger's totals with what was done outside of it. Called with the pool's mutex held.
func (p *pool) totals() console.Totals {
	t, o := p.ledger.Totals, &p.outside
	t.Received += o.received.Load()
	t.Sent += o.sent.Load()
	t.Queries += o.queries.Load()
	t.Parses += o.parses.Load()
	return t
}

// finished gives the totals of the pools that are no more, or are about to be. Called with the mutex held.
func (s *Server) finished() console.Totals {
	all := s.buried
	for p := range s.retired {
		p.mu.Lock()
		its := p.totals()
		p.mu.Unlock()
		all.Add(&its)
	}
	return all
}

// settle takes the tallies of the server connections into account that clients have now.
func (p *pool) settle() {
	for _, c := range p.holders() {
		c.settle()
	}
}

func (c *client) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server != nil {
		c.pool.mu.Lock()
		defer c.pool.mu.Unlock()
		c.pool.ledger.receive(&c.server.tally)
	}
}

// turn begins another period of the averages when the last is over. They are taken over one or two, as PgBouncer's are
// (src/stats.c).
func (s *Server) turn(now time.Time, length time.Duration) {
	s.mu.Lock()
	over := now.Sub(s.newer) >= length
	if over {
		s.older, s.newer = s.newer, now
	}
	s.mu.Unlock()
	if !over {
		return
	}
	for _, p := range s.allPools() {
		p.settle()
		p.mu.Lock()
		p.ledger.older, p.ledger.newer = p.ledger.newer, p.totals()
		p.mu.Unlock()
	}
}
