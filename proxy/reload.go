package proxy

import (
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/proxy/login"
	"github.com/lockproxy/lockproxy/proxy/session"
)

// Configuration is where a server's settings are written down.
type Configuration interface {
	// Reload has the server go by what is written there now. It names what takes a restart.
	Reload() (unchangeable []string, err error)
	// Set changes one setting, named as it is written, until the next Reload.
	Set(name, value string) error
}

// lasting gives the settings that a running server cannot change, by their names in the file.
func lasting(c *Config) map[string]any {
	return map[string]any{
		"server.listen": &c.Listen, "server.max_backends": &c.MaxBackends, "server.tcp_keepalive": &c.KeepAlive,
		"server.unix_socket_mode": &c.UnixSocketMode, "server.reuse_port": &c.ReusePort,
		"server.http_listen": &c.HTTPListen, "server.pgbouncer_metrics": &c.PgBouncerMetrics, "links": &c.Links,
	}
}

// Reload has the server go by another configuration. What cannot change without a restart stays as it is, and is named. After
// an error nothing has changed.
//
// No transaction is disturbed. Limits count at once; what sessions are told otherwise, such as lock_timeout, from a session's
// next transaction on. Where only how to connect has changed the pools' server connections are replaced as they become idle,
// and clients go on; so do those whose database is at another server now, once they are between two transactions. The
// clients of a database that is no more are told so there.
func (s *Server) Reload(config Config) (unchangeable []string, err error) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	before := s.rules.Load()
	old := lasting(&before.Config)
	for name, value := range lasting(&config) {
		if !reflect.DeepEqual(value, old[name]) {
			unchangeable = append(unchangeable, name)
		}
		reflect.ValueOf(value).Elem().Set(reflect.ValueOf(old[name]).Elem())
	}
	slices.Sort(unchangeable)
	config.Settings = lastingSettings(config.Settings, before.Settings)
	r, err := newRules(config, before)
	if err != nil {
		return nil, err
	}
	events, retired, err := s.adopt(r)
	if err != nil {
		r.inquiry.close()
		return nil, err
	}
	s.deliver(nil, events)
	before.inquiry.close()
	s.each(guest.follow)
	for _, p := range retired {
		p.parted()
	}
	return unchangeable, nil
}

// lastingSettings gives the settings as they count now: those that take a restart are what they were.
func lastingSettings(now, before []Setting) []Setting {
	was := make(map[string]string)
	for _, one := range before {
		was[one.Name] = one.Value
	}
	now = slices.Clone(now)
	for i := range now {
		if value, known := was[now[i].Name]; known && !now[i].Changeable {
			now[i].Value = value
		}
	}
	return now
}

// adopt puts the rules in place, for the pools that there are as well.
func (s *Server) adopt(r *rules) (events []pools.Event, retired []*pool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return nil, nil, errors.New("the server is shutting down")
	}
	s.rules.Store(r)
	for _, p := range s.pools {
		place, target := r.placeOf(p)
		if place == here {
			events = s.revise(events, p, r, target)
			continue
		}
		s.log.Info("the pool's clients go elsewhere", "database", p.name.database, "user", p.name.user, "gone", place == nowhere)
		events = s.retire(events, p, place == nowhere)
		retired = append(retired, p)
	}
	return events, retired, nil
}

// whereabouts says what becomes of a pool when the rules change.
type whereabouts int

const (
	here      whereabouts = iota // its server connections lead where they are to lead
	elsewhere                    // its clients' are to lead to another place, or be another user's
	nowhere                      // its database is no more
)

// placeOf says what becomes of a pool, and where one leads to that stays.
func (r *rules) placeOf(p *pool) (whereabouts, *backend.Target) {
	_, target, ok := r.database(p.name.database)
	old := p.terms.Load().target
	switch {
	case !ok:
		return nowhere, nil
	case target.ForcesUser() != old.ForcesUser(), target.UserFor(p.name.user) != p.name.user:
		return elsewhere, nil
	}
	target = r.targetFor(r.clientOf(p.name.user, p.name.database))
	if target.Place() != old.Place() {
		return elsewhere, nil
	}
	return here, target
}

// clientOf stands for a client that logged in by other rules.
func (r *rules) clientOf(user, database string) *login.Client {
	who := &login.Client{User: user, Database: database}
	who.Secret, _ = r.door.Secret(user, database)
	return who
}

// revise gives a pool that stays other terms. Called with the server's mutex held.
func (s *Server) revise(events []pools.Event, p *pool, r *rules, target *backend.Target) []pools.Event {
	db, _, _ := r.database(p.name.database)
	old := p.terms.Load()
	if !target.Proves() {
		target = target.Proving(p.name.user, old.target.Proof()) // what a client proved itself with at login
	}
	p.terms.Store(s.termsOf(p, r, db, target))
	if !slices.Equal(db.Functions, old.Functions) {
		p.definitions.redefined(p, session.RedefinedHere)
	}
	events = p.do(events, func(pair *pools.Pair) { pair.Configure(time.Now(), db.Admin, db.Lock) })
	if db.URL != old.URL || !target.Equal(old.target) {
		events = append(events, p.replace("how to connect has changed", (*pools.Pair).Drain)...)
	}
	return events
}

// retire ends a pool that nobody is to be given any more: what is idle is closed now, the rest at its release. Called with
// the server's mutex held.
func (s *Server) retire(events []pools.Event, p *pool, gone bool) []pools.Event {
	delete(s.pools, p.name)
	s.retired[p] = true
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed, p.moved, p.gone = true, !gone, gone
	close(p.done)
	p.timer.Stop()
	if gone {
		p.pair.Close(time.Now())
	} else {
		p.pair.Pause(time.Now(), true) // who waits is moved, and not refused
	}
	return p.collect(events)
}

// stands gives the pool that a client is to have: its own, its successor, or nil where its database is no more. Called with
// the client's mutex held.
func (c *client) stands() *pool {
	c.pool.mu.Lock()
	moved, gone := c.pool.moved, c.pool.gone
	c.pool.mu.Unlock()
	switch {
	case gone:
		return nil
	case !moved:
		return c.pool
	}
	next, err := c.proxy.poolOf(c.proxy.rules.Load().clientOf(c.about.user, c.about.database))
	if err != nil {
		return nil // by other rules once more
	}
	return next
}

// follow has the client go where its database is now.
func (c *client) follow() {
	c.mu.Lock()
	events := c.followLocked()
	c.mu.Unlock()
	c.proxy.deliver(nil, events)
}

func (c *client) followLocked() (events []pools.Event) {
	next := c.stands()
	switch {
	case next == nil:
		return c.stepLocked(nil, (*session.Session).Drain)
	case next == c.pool || c.server != nil || c.late: // it will when it asks next
		return nil
	}
	waited, granted := false, false
	now := time.Now()
	events = c.pool.do(nil, func(pair *pools.Pair) {
		waited = pair.Leave(now, &c.waiter)
		granted = c.waiter.Backend() != nil
	})
	if !granted {
		c.pool = next
	}
	if waited {
		events = c.checkout(events, c.wants, now)
	}
	return events
}

// follow ends the client if its database is no more.
func (r *relay) follow() {
	if _, _, ok := r.server.rules.Load().database(r.about.database); !ok {
		r.drain()
	}
}
