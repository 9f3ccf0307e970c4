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

// welcome makes a client of a connection that has logged in, and starts its session.
func (s *Server) welcome(who *login.Client) error {
	p, err := s.poolOf(who)
	if err != nil {
		return err
	}
	c := s.newClient(p, who)
	if err := s.register(c); err != nil {
		return err
	}
	c.mu.Lock()
	c.link, err = s.connect(who.Conn, c)
	if err != nil {
		c.mu.Unlock()
		s.forget(c)
		return err
	}
	known := p.welcome(c.startup)
	events := c.stepLocked(nil, func(one *session.Session, o *session.Output, now time.Time) { one.Start(o, now, known) })
	c.mu.Unlock()
	p.deliver(events)
	return nil
}

func (s *Server) newClient(p *pool, who *login.Client) *client {
	c := &client{pool: p, key: random()}
	c.about = &about{user: who.User, database: who.Database, address: addressOf(who.Conn), since: time.Now()}
	var startup []session.Setting
	for _, one := range who.Parameters {
		startup = append(startup, session.Setting{Name: one.Name, Value: one.Value})
		if one.Name == "application_name" {
			c.about.application = one.Value
		}
	}
	c.startup = session.NewSettings(startup)
	c.waiter.Owner, c.waiter.Label = c, c.about
	return c
}

// register gives the client the process id that it is known by, unless there are too many or no more are let in.
func (s *Server) register(c *client) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return protocol.Fatal(protocol.CannotConnectNow, "the database system is shutting down")
	}
	if len(s.clients) >= s.config.MaxClients {
		return protocol.Fatal(protocol.TooManyConnections, "sorry, too many clients already")
	}
	for c.about.pid == 0 || s.clients[c.about.pid] != nil {
		c.about.pid = random() >> 1 // a signed number for drivers
	}
	s.clients[c.about.pid] = c
	c.session = session.New(c.pool.sessions, &session.Client{Pid: c.about.pid, Key: c.key, Settings: c.startup})
	return nil
}

// forget takes a client out whose connection is over.
func (s *Server) forget(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[c.about.pid] == c {
		delete(s.clients, c.about.pid)
	}
	s.checkGone()
}

// cancel hands a cancel request to the session that it names, if its key is right.
func (s *Server) cancel(request *login.Cancel) {
	s.mu.Lock()
	c := s.clients[request.Pid]
	s.mu.Unlock()
	if c == nil {
		return
	}
	var key [4]byte
	binary.BigEndian.PutUint32(key[:], c.key)
	if subtle.ConstantTimeCompare(key[:], request.Key) == 1 {
		c.step((*session.Session).Cancel)
	}
}

// audit asks idle backends that were used lately whether they hold locks that no session holds.
func (s *Server) audit(now time.Time) {
	s.mu.Lock()
	all := make([]*pool, 0, len(s.pools))
	for _, p := range s.pools {
		all = append(all, p)
	}
	s.mu.Unlock()
	for _, p := range all {
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
