package proxy

import (
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/proxy/session"
)

// audit asks idle backends that were used lately whether they hold locks that no session holds.
func (s *Server) audit(now time.Time) {
	for _, p := range s.allPools() {
		s.deliver(nil, p.do(nil, func(pair *pools.Pair) { p.auditIdle(pair, now) }))
	}
}

// auditor is who asks.
var auditor = session.Client{Settings: session.NewSettings([]session.Setting{{Name: applicationName, Value: "audit"}})}

// audits tells whether the client is one of those.
func (c *client) audits() bool { return c.about.Settings == auditor.Settings }

// auditIdle takes the idle backends that are due, each for a session of its own that asks and gives it back.
func (p *pool) auditIdle(pair *pools.Pair, now time.Time) {
	var due []*pools.Backend
	for b := range pair.Backends() {
		if b.Holder() == nil && b.Conn.(*serverConn).facts.AuditDue(now) {
			due = append(due, b)
		}
	}
	for _, b := range due {
		c := &client{proxy: p.server, pool: p, about: &about{Client: auditor, user: p.name.user, database: p.name.database, since: now}}
		c.session = session.NewAudit(p.terms.Load().sessions)
		c.waiter.Owner, c.waiter.Label = c, c.about
		pair.Take(now, &c.waiter, b)
	}
}
