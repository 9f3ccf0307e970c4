package proxy

import (
	"time"

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
	p.timer.Reset(0) // min_idle is kept from the start
	return p, nil
}

// bury forgets a pool whose last server connection is gone, and that nobody will be given one of.
func (s *Server) bury(p *pool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.retired[p] {
		return
	}
	delete(s.retired, p)
	if !p.definitions.leave(p) {
		return
	}
	for place, d := range s.definitions {
		if d == p.definitions {
			delete(s.definitions, place)
			d.close()
		}
	}
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
