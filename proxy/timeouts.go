package proxy

import (
	"cmp"
	"net"
	"time"

	"github.com/lockproxy/lockproxy/proxy/session"
)

// Timeouts are looked after by a round over all clients every so often, by the times that their sessions keep anyway. A
// timer for each would have to be set for each message. It makes a timeout late, by a tenth of the shortest one at most
// or by a second, and never early.

// keepTime goes round until all clients are gone.
func (s *Server) keepTime() {
	for {
		every := s.rules.Load().rounds()
		select {
		case <-s.gone:
			return
		case <-time.After(cmp.Or(every, time.Second)): // others may come with another configuration
		}
		if every > 0 {
			s.each(s.expire)
		}
		s.makeWay()
	}
}

// keepAlive has the system ask a client that has been silent for so long whether its machine is still there, nine times as
// often, and else end the connection. There is no TCP_USER_TIMEOUT beside it: Linux ends by that also who reads nothing for
// a while, such as a pager before a long result.
func (r *rules) keepAlive() net.KeepAliveConfig {
	every := max(r.KeepAlive, time.Second)
	return net.KeepAliveConfig{Enable: r.KeepAlive > 0, Idle: every, Interval: every, Count: 9}
}

// rounds is how often timeouts are to be looked at; 0: there are none.
func (r *rules) rounds() time.Duration {
	var shortest time.Duration
	note := func(t *Timeouts) {
		for _, d := range []time.Duration{t.ClientIdle, t.Query, t.Transaction, t.IdleInTransaction} {
			if d > 0 && (shortest == 0 || d < shortest) {
				shortest = d
			}
		}
	}
	note(&r.Timeouts)
	for _, u := range r.Users {
		note(&u.Timeouts)
	}
	if shortest == 0 {
		return 0
	}
	return min(max(shortest/10, 5*time.Millisecond), time.Second)
}

// timeouts are those of a user.
func (r *rules) timeouts(user string) Timeouts {
	all, own := r.Timeouts, r.Users[user].Timeouts
	return Timeouts{
		ClientIdle: cmp.Or(own.ClientIdle, all.ClientIdle), Query: cmp.Or(own.Query, all.Query),
		Transaction: cmp.Or(own.Transaction, all.Transaction), IdleInTransaction: cmp.Or(own.IdleInTransaction, all.IdleInTransaction),
	}
}

// expire ends what of a client's has taken too long. Replication connections take as long as they like.
func (s *Server) expire(g guest) {
	c, ok := g.(*client)
	if !ok {
		return
	}
	t := s.rules.Load().timeouts(c.about.user)
	c.stepIf(func() bool { return c.session.Overdue(time.Now(), &t) },
		func(one *session.Session, o *session.Output, now time.Time) { one.Expire(o, now, &t) })
}
