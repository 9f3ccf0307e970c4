package proxy

import (
	"container/list"
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"net/netip"
	"os/user"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
	"unique"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/proxy/link"
	"github.com/lockproxy/lockproxy/proxy/login"
	"github.com/lockproxy/lockproxy/proxy/session"
)

// visitor is a connection that logs in: the owner of its link until a client is. Whoever asks for replication has a server
// dialled first, so its visitor stays and hands on what it hears.
type visitor struct {
	server *Server
	link   link.Link
	peer   netip.AddrPort // known when the login is over
	due    time.Time      // when the login is to be over
	place  *list.Element  // among those that are logging in; under the server's mutex
	from   netip.Addr     // as which it is counted; under the server's mutex

	mu    sync.Mutex   // held over the start of a link that may call before it is known
	visit *login.Visit // nil: over
	ahead []byte       // what was sent behind the login, while a server is dialled
	next  link.Owner   // who hears everything once that is done; nil: not yet
	gone  error        // the link is over
}

// Accepted begins the login of a connection that a loop took.
func (s *Server) Accepted(l link.Link, peer link.Peer) link.Owner {
	v := &visitor{server: s}
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.begin(l, peer) {
		return nil
	}
	return v
}

// AcceptFailed: out of descriptors. The listener itself is well.
func (s *Server) AcceptFailed(err error) {
	now := time.Now().UnixNano()
	if last := s.unaccepted.Load(); now-last >= int64(unacceptedAgain) && s.unaccepted.CompareAndSwap(last, now) {
		s.log.Warn("a connection could not be accepted", "error", err)
	}
}

// unacceptedAgain is how often that is logged: it is tried much more often, for as long as somebody waits (link.AcceptAgain).
const unacceptedAgain = 10 * time.Second

// begin begins the login, unless the server ends. Called with the mutex held.
func (v *visitor) begin(l link.Link, peer link.Peer) bool {
	s := v.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if v.link = l; s.draining {
		return false
	}
	r := s.rules.Load()
	s.makeRoom(r)
	s.heads.comes(v, peer.Address.Addr())
	s.ask(v, r.LoginTimeout)
	v.visit = r.door.Begin(login.Peer{
		Address: peer.Address.Addr(), Port: peer.Address.Port(), Account: account(peer), Admits: v.admits,
	})
	return true
}

// account tells who is at the other end of a unix socket, when somebody asks; nil: nobody can tell.
func account(peer link.Peer) func() (string, error) {
	if peer.Account == link.Unknown {
		return nil
	}
	return func() (string, error) {
		one, err := user.LookupId(strconv.Itoa(peer.Account))
		if err != nil {
			return "", err
		}
		return one.Username, nil
	}
}

// asked says that a connection no longer logs in.
func (s *Server) asked(v *visitor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asking.Remove(v.place)
	s.checkGone()
}

// left says that a connection is over that did not become a client's.
func (s *Server) left(v *visitor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heads.goes(v.from)
}

// enters says that a connection has logged in and is about to be a client, and entered that it is, or is refused.
func (s *Server) enters(v *visitor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asking.Remove(v.place)
	s.entering++
}

func (s *Server) entered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entering--
	s.checkGone()
}

// Received takes what the peer sent.
func (v *visitor) Received(p []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.next != nil:
		v.next.Received(p)
	case v.visit != nil:
		v.heed(v.visit.Received(p))
	}
}

// heed does what a step of the login has come to. Called with the mutex held.
func (v *visitor) heed(said []byte, over bool) {
	if over {
		v.conclude(said)
		return
	}
	if len(said) > 0 {
		v.link.Write(said)
	}
	if errand := v.visit.Errand(); errand != nil {
		v.link.Pause()
		v.server.work.Go(func() {
			errand()
			v.ran()
		})
	}
}

// ran has a login go on after an errand, unless it is over.
func (v *visitor) ran() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.visit == nil {
		return
	}
	v.link.Resume()
	v.heed(v.visit.Ran())
}

// expire ends a login that has taken too long.
func (v *visitor) expire() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.visit != nil {
		v.conclude(v.visit.Expire())
	}
}

// dismiss ends a login because the server ends.
func (v *visitor) dismiss() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.visit == nil {
		return
	}
	if said, over := v.visit.Dismiss(); over {
		v.conclude(said)
	}
}

// Closed takes the end of the connection.
func (v *visitor) Closed(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.gone = err
	switch {
	case v.next != nil:
		v.next.Closed(err)
	case v.visit != nil:
		v.visit.End()
		v.conclude(nil)
	default:
		v.server.news.ring() // its database may be paused
	}
}

// Drained and HungUp are of interest to replication alone.
func (v *visitor) Drained() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.next != nil {
		v.next.Drained()
	}
}

// HungUp takes the end of a peer whose bytes wait unread.
func (v *visitor) HungUp() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if next, ok := v.next.(link.HangupOwner); ok {
		next.HungUp()
	} else {
		v.link.Close() // Closed follows
	}
}

// conclude is the end of a login: said is what the peer is still to be told of it. Called with the mutex held.
func (v *visitor) conclude(said []byte) {
	s := v.server
	who, request, err := v.visit.Result()
	rest := v.visit.Rest()
	peer := v.visit.Peer()
	v.peer = netip.AddrPortFrom(peer.Address, peer.Port)
	v.visit = nil
	if who != nil && who.Encryption != nil {
		said, rest = v.encrypt(who.Encryption, said, rest)
	}
	switch {
	case err != nil:
		s.log.Info("a client was refused", "client", addressText(v.peer), "error", err)
		if r := (*login.Refusal)(nil); errors.As(err, &r) {
			s.counters.refused.add(r.Said.Code)
		}
		v.leave(said)
	case request != nil:
		v.cancel(request, said)
	case who.Replication != "":
		v.link.Write(said)
		v.link.Pause()
		v.ahead = slices.Clone(rest)
		s.work.Go(func() { v.replicate(who) })
		return
	default:
		s.enters(v) // before the client hears that it is in: from then on it is told of a shutdown
		defer s.entered()
		if err := v.welcome(who, said, rest); err != nil {
			s.left(v)
			v.refuse(who, said, err)
		}
		return
	}
	s.left(v)
	s.asked(v)
}

// encrypt has the link go on with the TLS of the login. What the login has put out is encrypted already; what it has left
// unread is given in clear.
func (v *visitor) encrypt(e *login.Encryption, said, rest []byte) (unsaid, clear []byte) {
	v.link.Write(said)
	l, clear := e.Over(v.link, rest, v)
	v.server.mu.Lock()
	defer v.server.mu.Unlock()
	v.link = l // under the mutex of those who end logins
	return nil, clear
}

// leave tells the peer the last word, and ends the connection.
func (v *visitor) leave(said []byte) {
	if len(said) == 0 {
		v.link.Close()
		return
	}
	v.link.Write(said)
	v.link.CloseAfterFlush(flushWithin)
}

// refuse tells a client that was logged in why it is let in no further.
func (v *visitor) refuse(who *login.Client, said []byte, err error) {
	e := new(protocol.Error)
	if !errors.As(err, &e) {
		e = protocol.Fatal(protocol.InternalError, err.Error())
	}
	v.server.counters.refused.add(e.Code)
	v.server.log.Info("a client was refused", "database", who.Database, "user", who.User, "client", addressText(v.peer), "error", err)
	v.leave(protocol.AppendError(said, e))
}

// welcome makes a client with a session of a connection that has logged in.
func (v *visitor) welcome(who *login.Client, said, rest []byte) error {
	if v.server.rules.Load().isConsole(who.Database) {
		o, err := v.server.newOperator(who, v.peer)
		if err == nil {
			o.start(v.link, said, rest)
		}
		return err
	}
	if err := v.server.enabled(who.Database); err != nil {
		return err
	}
	p, err := v.server.poolOf(who)
	if err != nil {
		return err
	}
	c := newClient(p, who, v.peer)
	events, err := c.start(v.link, said)
	if err != nil {
		return err
	}
	p.server.deliver(nil, events)
	if len(rest) > 0 {
		c.Received(rest)
	}
	return nil
}

// replicate makes a client with a server connection of its own of one that has logged in.
func (v *visitor) replicate(who *login.Client) {
	defer v.server.asked(v)
	v.awaitResume(who.Database)
	r, err := v.server.dialRelay(who, v.peer)
	if err != nil {
		v.server.left(v)
		v.refuse(who, nil, err)
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := r.start(v.link); err != nil {
		v.server.forget(r)
		v.refuse(who, nil, err)
		return
	}
	v.next = clientEnd{r}
	if v.gone != nil {
		v.next.Closed(v.gone)
		return
	}
	if len(v.ahead) > 0 {
		v.next.Received(v.ahead)
		v.ahead = nil
	}
	v.link.Resume()
}

// awaitResume waits while a database is paused.
func (v *visitor) awaitResume(database string) {
	s := v.server
	_ = s.news.await(closing{s.ending}, func() bool {
		v.mu.Lock()
		gone := v.gone != nil
		v.mu.Unlock()
		s.mu.Lock()
		defer s.mu.Unlock()
		return gone || !s.isPaused(database)
	})
}

func newClient(p *pool, who *login.Client, peer netip.AddrPort) *client {
	c := &client{proxy: p.server, pool: p, about: newAbout(who, peer)}
	c.about.database = p.name.database // the same text, kept once
	if who.User == p.name.user {
		c.about.user = p.name.user
	}
	c.about.Settings = p.share(c.about.Settings)
	c.waiter.Owner, c.waiter.Label = c, c.about
	return c
}

func newAbout(who *login.Client, peer netip.AddrPort) *about {
	a := &about{user: who.User, database: who.Database, peer: peer, since: time.Now()}
	a.Key = newKey(who.Minor)
	if who.Encryption != nil {
		a.tls = unique.Make(who.Encryption.String())
	}
	var startup []session.Setting
	for _, one := range who.Parameters {
		value := one.Value
		if one.Name == applicationName && !utf8.ValidString(value) {
			value = printable(value)
		}
		startup = append(startup, session.Setting{Name: one.Name, Value: value})
	}
	a.Settings = session.StartupSettings(startup)
	return a
}

// start registers the client, makes the link its own and begins its session. Said is the login's last word, which goes out
// with the session's first.
func (c *client) start(l link.Link, said []byte) ([]pools.Event, error) {
	s := c.proxy
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.register(c); err != nil {
		return nil, err
	}
	if c.pool = c.stands(); c.pool == nil { // the rules changed before it was registered, and so nobody told it
		s.forget(c)
		return nil, noDatabase(c.about.database)
	}
	c.session = session.New(c.pool.terms.Load().sessions, &c.about.Client)
	c.link = l
	l.Handover(c)
	known := c.pool.welcome(c.about.Settings)
	return c.stepLocked(nil, func(one *session.Session, o *session.Output, now time.Time) {
		one.Start(o, now, known)
		o.Client = slices.Insert(o.Client, 0, said)
	}), nil
}

// register gives a client the process id that it is known by, unless there are too many or no more are let in.
func (s *Server) register(g guest) error {
	a := g.known()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return login.ErrShuttingDown
	}
	if err := s.full(g); err != nil {
		return err
	}
	for a.Pid == 0 || s.clients[a.Pid] != nil {
		a.Pid = newPid(s.siblings.number)
	}
	s.clients[a.Pid] = g
	s.heads.enters(g)
	s.moved()
	return nil
}

// A client's process id is a number that no process of a server's has: Linux gives out none from 1<<22 on (PID_MAX_LIMIT), other
// systems smaller ones. It is positive where drivers read it as a signed number. Its upper half is lockproxy's own number.
const pidBits = 22

// MostClients is the highest Config.MaxClients, so that most process ids are free.
const MostClients = 1 << (pidBits - 1)

// newPid gives a process id of the lockproxy with that number.
func newPid(number uint32) uint32 { return number<<pidBits | anyBits()>>(32-pidBits) }

// numberOf gives the number of the lockproxy that gave out a process id.
func numberOf(pid uint32) uint32 { return pid >> pidBits }

// anyNumber gives a lockproxy's number by chance.
func anyNumber() uint32 {
	const highest = 1<<(31-pidBits) - 1
	return 1 + anyBits()%highest
}

func anyBits() uint32 { return binary.BigEndian.Uint32(random(4)) }

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
	if pid := g.known().Pid; s.clients[pid] == g {
		delete(s.clients, pid)
		s.heads.leaves(g)
		s.moved()
	}
	s.checkGone()
}

// cancel acts on a cancel request, and then has the peer leave: libpq waits for that. Called with the mutex held.
func (v *visitor) cancel(request *login.Cancel, said []byte) {
	s := v.server
	if numberOf(request.Pid) == s.siblings.number {
		s.cancelHere(request)
		v.leave(said)
		return
	}
	s.work.Go(func() {
		s.cancelElsewhere(request)
		v.mu.Lock()
		defer v.mu.Unlock()
		v.leave(said)
	})
}

// cancelHere hands a cancel request to the client that it names, if its key is right.
func (s *Server) cancelHere(request *login.Cancel) {
	s.mu.Lock()
	g := s.clients[request.Pid]
	s.mu.Unlock()
	if g != nil && hmac.Equal(g.known().Key, request.Key) {
		g.cancel()
	}
}
