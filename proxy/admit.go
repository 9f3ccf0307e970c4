package proxy

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"net"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/proxy/login"
	"github.com/lockproxy/lockproxy/proxy/session"
)

// admit takes a connection from accept to a session, or to its end.
func (s *Server) admit(conn net.Conn) {
	if !s.asks(conn) {
		conn.Close()
		return
	}
	defer s.asked(conn)
	who, request, err := s.door.Welcome(conn)
	switch {
	case err != nil:
		s.log.Info("a client was refused", "client", addressOf(conn), "error", err)
		conn.Close()
	case request != nil:
		s.cancel(request)
		conn.Close() // once the request has been taken: libpq waits for it
	default:
		if err := s.welcome(who); err != nil {
			s.refuse(who, err)
		}
	}
}

// asks counts a connection that logs in. There may be as many of them as clients.
func (s *Server) asks(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining || len(s.asking) >= s.config.MaxClients {
		return false
	}
	s.asking[conn] = true
	return true
}

func (s *Server) asked(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.asking, conn)
	s.checkGone()
}

// refuse tells a client that was logged in why it is let in no further.
func (s *Server) refuse(who *login.Client, err error) {
	e := new(protocol.Error)
	if !errors.As(err, &e) {
		e = protocol.Fatal(protocol.InternalError, err.Error())
	}
	s.log.Info("a client was refused", "database", who.Database, "user", who.User, "client", addressOf(who.Conn), "error", err)
	who.Conn.SetDeadline(time.Now().Add(flushWithin))
	who.Conn.Write(protocol.AppendError(nil, e))
	who.Conn.Close()
}

// welcome makes a client of a connection that has logged in: with a session, or with a server connection of its own.
func (s *Server) welcome(who *login.Client) error {
	if who.Replication != "" {
		return s.replicate(who)
	}
	p, err := s.poolOf(who)
	if err != nil {
		return err
	}
	c := newClient(p, who)
	events, err := c.start(who.Conn)
	p.deliver(events)
	return err
}

func newClient(p *pool, who *login.Client) *client {
	c := &client{pool: p, about: newAbout(who)}
	var startup []session.Setting
	for _, one := range who.Parameters {
		startup = append(startup, session.Setting{Name: one.Name, Value: one.Value})
	}
	c.startup = session.NewSettings(startup)
	c.waiter.Owner, c.waiter.Label = c, c.about
	return c
}

func newAbout(who *login.Client) *about {
	a := &about{user: who.User, database: who.Database, address: addressOf(who.Conn), since: time.Now(), key: newKey(who.Minor)}
	for _, one := range who.Parameters {
		if one.Name == applicationName {
			a.application = one.Value
		}
	}
	return a
}

// start registers the client and begins its session.
func (c *client) start(conn net.Conn) ([]pools.Event, error) {
	s := c.pool.server
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.register(c); err != nil {
		return nil, err
	}
	c.session = session.New(c.pool.sessions, &session.Client{Pid: c.about.pid, Key: c.about.key, Settings: c.startup})
	var err error
	if c.link, err = s.connect(conn, c); err != nil {
		s.forget(c)
		return nil, err
	}
	known := c.pool.welcome(c.startup)
	return c.stepLocked(nil, func(one *session.Session, o *session.Output, now time.Time) { one.Start(o, now, known) }), nil
}

// register gives a client the process id that it is known by, unless there are too many or no more are let in.
func (s *Server) register(g guest) error {
	a := g.known()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return protocol.Fatal(protocol.CannotConnectNow, "the database system is shutting down")
	}
	if len(s.clients) >= s.config.MaxClients {
		return protocol.Fatal(protocol.TooManyConnections, "sorry, too many clients already")
	}
	for a.pid == 0 || s.clients[a.pid] != nil {
		a.pid = newPid()
	}
	s.clients[a.pid] = g
	return nil
}

// newPid gives a number that no process of a server's has: Linux gives out none from lowestPid on (PID_MAX_LIMIT), other
// systems smaller ones. It is positive where drivers read it as a signed number.
func newPid() uint32 {
	return lowestPid + binary.BigEndian.Uint32(random(4))%(1<<31-lowestPid)
}

const lowestPid = 1<<22 + 1

// newKey gives a key for cancel requests: as long as a client's protocol knows it, and as PostgreSQL makes it.
func newKey(minor int) []byte {
	if minor >= 2 {
		return random(32)
	}
	return random(4)
}

// forget takes a client out whose connection is over.
func (s *Server) forget(g guest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pid := g.known().pid; s.clients[pid] == g {
		delete(s.clients, pid)
	}
	s.checkGone()
}

// cancel hands a cancel request to the client that it names, if its key is right.
func (s *Server) cancel(request *login.Cancel) {
	s.mu.Lock()
	g := s.clients[request.Pid]
	s.mu.Unlock()
	if g != nil && subtle.ConstantTimeCompare(g.known().key, request.Key) == 1 {
		g.cancel()
	}
}

// audit asks idle backends that were used lately whether they hold locks that no session holds.
func (s *Server) audit(now time.Time) {
	for _, p := range s.allPools() {
		p.deliver(p.do(nil, func(pair *pools.Pair) { p.auditIdle(pair, now) }))
	}
}

// auditIdle takes the idle backends that are due, each for a session of its own that asks and gives it back.
func (p *pool) auditIdle(pair *pools.Pair, now time.Time) {
	var due []*pools.Backend
	for b := range pair.Backends() {
		if b.Holder() == nil && b.Conn.(*serverConn).facts.AuditDue(now) {
			due = append(due, b)
		}
	}
	for _, b := range due {
		c := &client{pool: p, about: &about{user: p.name.user, database: p.name.database, address: "audit", since: now}}
		c.session = session.NewAudit(p.sessions)
		c.waiter.Owner, c.waiter.Label = c, c.about
		pair.Take(now, &c.waiter, b)
	}
}
