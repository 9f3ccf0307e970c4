package proxy

import (
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/proxy/login"
)

// poolOf finds the pools of the client's database and of the user that the server will see, or makes them.
func (s *Server) poolOf(who *login.Client) (*pool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rules.Load() // under the mutex: Reload finds every pool that was made by the rules before
	db, target, ok := r.database(who.Database)
	if !ok {
		return nil, noDatabase(who.Database)
	}
	name := poolName{who.Database, target.UserFor(who.User)}
	if p := s.pools[name]; p != nil {
		p.used = time.Now()
		p.renew(who)
		return p, nil
	}
	p, err := newPool(s, r, name, db, r.targetFor(who))
	if err != nil {
		return nil, err
	}
	if s.isPaused(who.Database) {
		p.paused = true
		p.pair.Pause(time.Now(), true)
	}
	s.pools[name] = p
	p.used = time.Now()
	p.timer.Reset(0) // min_idle is kept from the start
	return p, nil
}

// bury forgets a pool whose last server connection is gone, and that nobody will be given one of. What it has counted stays
// in the totals.
func (s *Server) bury(p *pool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.retired[p] {
		return
	}
	delete(s.retired, p)
	s.leaveSchema(p.terms.Load().target.Database())
	if d := p.definitions; d.leave(p) && s.definitions[d.place] == d {
		delete(s.definitions, d.place)
		d.close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.totals()
	s.buried.Add(&all)
}

// briefly is for how long a pool is remembered that never had a server connection: its database may not exist, and of such
// names there is no end.
const briefly = 10 * time.Second

// forgetUnused forgets the pools that nobody has used for a while. Whoever comes for such a pool at the same moment finds that
// it has moved, and gets another.
func (s *Server) forgetUnused(now time.Time) {
	old := s.unused(now)
	if len(old) == 0 {
		return
	}
	has := make(map[*pool]bool)
	s.each(func(g guest) {
		if c, ok := g.(*client); ok {
			c.mu.Lock()
			has[c.pool] = true
			c.mu.Unlock()
		}
	})
	events, forgotten := s.forgetPools(old, has, now)
	s.deliver(nil, events)
	for _, p := range forgotten {
		p.parted()
	}
}

// unused gives the pools that have no use now, and that nobody came for lately.
func (s *Server) unused(now time.Time) (found []*pool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return nil
	}
	r := s.rules.Load()
	for _, p := range s.pools {
		if s.isUnused(p, r, now) {
			found = append(found, p)
		}
	}
	return found
}

// forgetPools retires those of some pools that are still unused, and that no client has. Those that one has are used.
func (s *Server) forgetPools(old []*pool, has map[*pool]bool, now time.Time) (events []pools.Event, forgotten []*pool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rules.Load()
	for _, p := range old {
		switch {
		case has[p]:
			p.used = now
		case s.pools[p.name] == p && s.isUnused(p, r, now):
			s.log.Debug("a pool that nobody uses is forgotten", "database", p.name.database, "user", p.name.user)
			events = s.retire(events, p, false)
			forgotten = append(forgotten, p)
		}
	}
	return events, forgotten
}

// isUnused tells whether nobody came for a pool lately, and nothing goes on in it. Idle server connections that are to be
// kept, as by min_idle, are a use where the configuration names the database. What an operator has turned off stays in sight.
// Called with the mutex held.
func (s *Server) isUnused(p *pool, r *rules, now time.Time) bool {
	age := now.Sub(p.used)
	if age < min(r.PoolIdleTimeout, briefly) || s.switches.pausedOf[p.name.database] || s.switches.disabled[p.name.database] {
		return false
	}
	_, named := r.Databases[p.name.database]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ledger.births > 0 && age < r.PoolIdleTimeout || named && !p.empty() {
		return false
	}
	for _, kind := range []pools.Kind{pools.Admin, pools.Lock} {
		if c := p.pair.Counts(kind); c.Active+c.Waiting+c.PromotionsWaiting > 0 {
			return false
		}
	}
	return true
}

// renew has the pool's next connections made with what a client has just proved itself by: the password may be another one
// than it was (pgbouncer #1432, #1504). Called with the server's mutex held.
func (p *pool) renew(who *login.Client) {
	was := p.terms.Load()
	if target := was.target.Proving(who.User, proofOf(who)); target != was.target {
		now := *was
		now.target = target
		p.terms.Store(&now)
	}
}

func noDatabase(name string) *protocol.Error {
	return protocol.Fatal(protocol.InvalidCatalogName, `database "`+name+`" does not exist`)
}
