package proxy

import (
	"container/list"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockproxy/lockproxy/proxy/link"
)

// Server is a running lockproxy: its listeners, its clients and the pools of every database and user that they use.
//
// Mutexes nest in one direction: a client's, then the server's own or a server connection's, then that of a database's
// definitions, then a pool's. Nobody
// holds two clients' at once, and what a pool says is delivered after its mutex is free again.
type Server struct {
	// Configuration is what has been written down of the server's, for operators; nil: nothing. Set before Serve.
	Configuration Configuration

	rules     atomic.Pointer[rules]
	reloading sync.Mutex // held over Reload, before any other
	log       *slog.Logger
	loops     *link.Loops // nil: every link has goroutines

	news bell // rings when a server connection is gone

	begun    time.Time
	backends sync.Map // of *serverConn, by the process id of the server's
	counters counters

	http      net.Listener // for metrics; nil: none
	readiness readiness

	mu          sync.Mutex
	listeners   []net.Listener          // open until Serve has taken them over
	stops       []func()                // end accepting
	clients     map[uint32]guest        // by the process id that they were given
	pools       map[poolName]*pool      // by database and user
	retired     map[*pool]bool          // that nobody is given any more, and that have server connections
	schemas     map[string]*schema      // by the servers' names of databases
	definitions map[string]*definitions // by the server's database
	asking      list.List               // of *visitor: those that are logging in, in the order in which they came
	shared      []*commons              // of PostgreSQL servers, where MaxBackends bounds their backends
	heads       headcount               // how many there are of whom
	tidy        tidy
	older       time.Time // when the averages of the statistics begin
	newer       time.Time // and when those will that come next
	draining    bool
	ending      chan struct{} // closed when draining begins, for dials under way
	gone        chan struct{} // closed when draining and the last client is gone
	work        sync.WaitGroup
}

// guest is a client as the server knows it: one with a session, or one with a server connection of its own.
type guest interface {
	known() *about
	info() SessionInfo
	cancel() // for a cancel request with the right key
	follow() // the rules have changed
	drain()  // the client is to go as soon as it has come to an end of its work
	stop()   // the client is to go now
}

// New makes a server of a configuration. It opens nothing yet. The error names what cannot be used.
func New(config Config, log *slog.Logger) (*Server, error) {
	r, err := newRules(config)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	s := &Server{
		log:         log,
		begun:       now,
		older:       now,
		newer:       now,
		clients:     make(map[uint32]guest),
		pools:       make(map[poolName]*pool),
		retired:     make(map[*pool]bool),
		schemas:     make(map[string]*schema),
		definitions: make(map[string]*definitions),
		heads:       newHeadcount(),
		ending:      make(chan struct{}),
		gone:        make(chan struct{}),
	}
	s.rules.Store(r)
	return s, nil
}

// Listen opens the listeners. A taken address is an error; so is a unix socket that another process answers at.
func (s *Server) Listen() error {
	r := s.rules.Load()
	for _, address := range r.Listen {
		l, err := r.listen(address)
		if err != nil {
			s.closeListeners()
			return err
		}
		s.listeners = append(s.listeners, l)
	}
	if len(s.listeners) == 0 {
		return errors.New("server.listen names no address")
	}
	return s.listenHTTP()
}

// Addrs gives the addresses that Listen opened, with the ports that port 0 became.
func (s *Server) Addrs() []net.Addr {
	var list []net.Addr
	for _, l := range s.listeners {
		list = append(list, l.Addr())
	}
	return list
}

// Serve accepts clients until ctx ends; then it lets transactions end until the shutdown timeout, tells the rest that
// it ends, and returns when all is closed.
func (s *Server) Serve(ctx context.Context) error {
	if loops := s.rules.Load().Links.loops(); loops != nil {
		s.loops = loops
		defer loops.Close()
	}
	for _, l := range s.listeners {
		s.receive(l)
	}
	defer s.serveHTTP()()
	s.work.Go(s.keepTime)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			s.audit(now)
			s.rules.Load().shown.follow(s.log)
			if s.loops != nil {
				s.loops.Balance()
			}
			for _, p := range s.allPools() {
				p.refresh()
			}
			s.turn(now, s.rules.Load().StatsPeriod)
		case <-ctx.Done():
			s.shutdown()
			return nil
		}
	}
}

// loops starts the event loops, or gives nil where there are none.
func (l Links) loops() *link.Loops {
	if l == Goroutines {
		return nil
	}
	loops, err := link.NewLoops(link.Processors(), l != CallingLoops)
	if err != nil {
		return nil
	}
	if l == SpreadLoops {
		loops.Spread()
	}
	return loops
}

// receive has the connections of a listener accepted, by the event loops where there are any.
func (s *Server) receive(l net.Listener) {
	if s.loops != nil {
		if stop, err := s.loops.Accept(l, s, s.rules.Load().keepAlive()); err == nil {
			s.stops = append(s.stops, stop)
			if path, ok := l.Addr().(*net.UnixAddr); ok {
				s.stops = append(s.stops, func() { os.Remove(path.Name) }) // somebody else's it is not: its name was taken
			}
			return
		}
	}
	s.work.Go(func() { s.accept(l) })
}

// accept takes connections from one listener, without event loops.
func (s *Server) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.AcceptFailed(err) // or the peer was faster
			time.Sleep(acceptAgain)
			continue
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetKeepAliveConfig(s.rules.Load().keepAlive()) // a peer that is gone already is found out soon enough
		}
		v := &visitor{server: s}
		v.mu.Lock()
		if l := link.Start(conn, v); !v.begin(l, link.PeerOf(conn)) {
			l.Close()
		}
		v.mu.Unlock()
	}
}

// acceptAgain is the pause after a failed accept, which would else fail again at once.
const acceptAgain = 10 * time.Millisecond

// connect starts a link for a connection, in the event loops where they serve it.
func (s *Server) connect(conn net.Conn, owner link.Owner) (link.Link, error) {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		if s.loops != nil {
			return s.loops.Start(conn, owner)
		}
	}
	return link.Start(conn, owner), nil
}

// random gives bytes that nobody can guess.
func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails (crypto/rand)
	return b
}

func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		l.Close()
	}
	for _, stop := range s.stops {
		stop()
	}
}

// shutdown ends everything in order: no new clients, then those who are idle, then the others, then the pools.
func (s *Server) shutdown() {
	s.closeListeners()
	s.mu.Lock()
	s.draining = true
	close(s.ending)
	for e := s.asking.Front(); e != nil; e = e.Next() {
		e.Value.(*visitor).link.Close()
	}
	s.checkGone()
	s.mu.Unlock()
	s.log.Info("shutting down", "clients", s.count(), "timeout", s.rules.Load().ShutdownTimeout)
	s.each(guest.drain)
	select {
	case <-s.gone:
	case <-time.After(s.rules.Load().ShutdownTimeout):
		s.each(guest.stop)
		<-s.gone
	}
	s.mu.Lock()
	if s.tidy.timer != nil {
		s.tidy.timer.Stop()
	}
	for _, d := range s.definitions {
		d.close()
	}
	s.mu.Unlock()
	for _, p := range s.allPools() {
		p.close()
	}
	s.work.Wait()
	s.rules.Load().inquiry.close()
}

// allPools gives the pools that there are, for use without the server's mutex.
func (s *Server) allPools() []*pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.pools))
}

// checkGone tells shutdown when the last client is gone. Called with the mutex held.
func (s *Server) checkGone() {
	if !s.draining || len(s.clients) > 0 || s.asking.Len() > 0 {
		return
	}
	select {
	case <-s.gone:
	default:
		close(s.gone)
	}
}

func (s *Server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.clients)
}

// each calls f for every client, without the server's mutex.
func (s *Server) each(f func(guest)) {
	s.mu.Lock()
	all := make([]guest, 0, len(s.clients))
	for _, c := range s.clients {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		f(c)
	}
}
