package proxy

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockproxy/lockproxy/proxy/console"
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

	unaccepted atomic.Int64 // when it was logged that a connection could not be accepted, in nanoseconds since 1970

	http       net.Listener // for metrics; nil: none
	unixSocket string       // the address of the first unix socket, for the console: a client's own does not tell to which it came
	readiness  readiness
	siblings   siblings

	mu          sync.Mutex
	listeners   []*listener
	clients     map[uint32]guest        // by the process id that they were given
	pools       map[poolName]*pool      // by database and user
	retired     map[*pool]bool          // that nobody is given any more, and that have server connections
	buried      console.Totals          // of pools that are no more
	schemas     map[string]*schema      // by the servers' names of databases
	schemaSeq   uint64                  // how many there ever were
	definitions map[string]*definitions // by the server's database
	asking      asking                  // those that are logging in
	shared      []*commons              // of PostgreSQL servers, where MaxBackends bounds their backends
	heads       headcount               // how many there are of whom
	entering    int                     // logged in, and not yet among the clients
	tidy        tidy
	older       time.Time // when the averages of the statistics begin
	newer       time.Time // and when those will that come next
	switches    switches
	mode        ShutdownMode
	deaf        bool // nobody is accepted any more
	draining    bool
	orders      chan struct{} // has one when mode has changed
	ending      chan struct{} // closed when draining begins, for dials under way
	gone        chan struct{} // closed when deaf and the last client is gone
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
	r, err := newRules(config, nil)
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
		switches:    switches{pausedOf: make(map[string]bool), disabled: make(map[string]bool)},
		orders:      make(chan struct{}, 1),
		ending:      make(chan struct{}),
		gone:        make(chan struct{}),
	}
	s.rules.Store(r)
	return s, nil
}

// Serve accepts clients until ctx ends or Shutdown is called, and returns when all is closed. The end of ctx is as
// Shutdown(WaitForServers).
func (s *Server) Serve(ctx context.Context) error {
	if loops := s.rules.Load().Links.loops(); loops != nil {
		s.mu.Lock()
		s.loops = loops
		s.mu.Unlock()
		defer loops.Close()
	}
	s.meetSiblings() // clients are given its number
	for _, l := range s.listeners {
		l.serve(s)
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
			s.forgetUnused(now)
			for _, p := range s.allPools() {
				p.refresh()
			}
			s.turn(now, s.rules.Load().StatsPeriod)
		case <-ctx.Done():
			s.Shutdown(WaitForServers)
			ctx = context.WithoutCancel(ctx)
		case <-s.orders:
			if s.toldTo() == WaitForClients {
				s.goDeaf()
				s.log.Info("nobody new is accepted: waiting for the clients to leave", "clients", s.count())
				continue
			}
			s.shutdown()
			return nil
		case <-s.gone:
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

// Hangs says what of the server has stood still for as long as ctx lasts; nil: nothing.
func (s *Server) Hangs(ctx context.Context) error {
	s.mu.Lock() // if that hangs, so does who asks
	loops := s.loops
	s.mu.Unlock()
	if loops != nil && loops.GoRound(ctx) != nil {
		return errors.New("an event loop hangs")
	}
	return nil
}

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

// allPools gives the pools that there are, for use without the server's mutex.
func (s *Server) allPools() []*pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.pools))
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
