package proxy

import (
	"slices"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/proxy/session"
)

// makeWay has clients give back the servers that they have no need of, in transactions that have done nothing yet but
// set something, where others wait.
func (s *Server) makeWay() {
	if slices.ContainsFunc(s.allPools(), (*pool).starves) {
		s.each(s.giveWay)
	}
}

// starves tells whether somebody waits for a server of the admin pool that all others have.
func (p *pool) starves() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pair.AdminStarves()
}

func (s *Server) giveWay(g guest) {
	c, ok := g.(*client)
	if !ok {
		return
	}
	var events []pools.Event
	c.mu.Lock()
	if c.session.MayGiveWay(time.Now()) && c.pool.starves() {
		events = c.stepLocked(nil, (*session.Session).GiveWay)
	}
	c.mu.Unlock()
	s.deliver(nil, events)
}
