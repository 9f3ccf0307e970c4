package proxy

import (
	"slices"
	"time"

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
	if c, ok := g.(*client); ok {
		c.stepIf(func() bool { return c.session.MayGiveWay(time.Now()) && c.pool.starves() }, (*session.Session).GiveWay)
	}
}
