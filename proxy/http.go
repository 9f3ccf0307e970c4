package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/proxy/console"
)

// listenHTTP opens the listener for metrics and health, if there is to be one.
func (s *Server) listenHTTP() (err error) {
	if address := s.rules.Load().HTTPListen; address != "" {
		if s.http, err = s.rules.Load().listenTCP(address); err != nil {
			s.closeListeners()
		}
	}
	return inSetting("server.http_listen", err)
}

// HTTPAddr gives the address at which metrics are served; nil: they are not.
func (s *Server) HTTPAddr() net.Addr {
	if s.http == nil {
		return nil
	}
	return s.http.Addr()
}

// serveHTTP serves metrics and health until stop is called: for as long as there are clients.
func (s *Server) serveHTTP() (stop func()) {
	if s.http == nil {
		return func() {}
	}
	web := &http.Server{
		Handler:           console.Handler(s, s.rules.Load().PgBouncerMetrics, console.Health{Hangs: s.Hangs, Unready: s.unready}),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	var work sync.WaitGroup
	work.Go(func() { _ = web.Serve(s.http) }) // until Close
	return func() {
		_ = web.Close()
		work.Wait()
	}
}

// readiness is what was found out about the databases' servers.
type readiness struct {
	mu    sync.Mutex
	had   map[string]bool // a connection was made, some time
	asked time.Time       // when one was last tried
	err   error           // that came of it
}

// askAgain is how long the answer of a server that could not be reached counts.
const askAgain = 2 * time.Second

// unready says why no client is to be sent here: the server ends, or there is a database that no connection was ever made
// to. One that could be reached once and cannot now is no reason: then all instances would be taken out of service at once,
// and clients, who would have waited for a failover, would be refused.
func (s *Server) unready() error {
	r := s.rules.Load()
	s.mu.Lock()
	deaf := s.deaf
	s.mu.Unlock()
	if deaf {
		return errors.New("shutting down")
	}
	ready := &s.readiness
	ready.mu.Lock()
	defer ready.mu.Unlock()
	if ready.had == nil {
		ready.had = make(map[string]bool)
	}
	for _, p := range s.allPools() {
		p.mu.Lock()
		if _, named := r.Databases[p.name.database]; named && p.ledger.births > 0 { // of other names there is no end
			ready.had[p.name.database] = true
		}
		p.mu.Unlock()
	}
	if time.Since(ready.asked) < askAgain {
		return ready.err
	}
	ready.err = nil
	for _, name := range slices.Sorted(maps.Keys(r.Databases)) {
		target := r.targets[name]
		if name == AnyDatabase || ready.had[name] || !target.ForcesUser() { // else only a client knows as whom to connect
			continue
		}
		if ready.err = s.reach(target.With("", name)); ready.err != nil {
			ready.err = fmt.Errorf("database %q: %w", name, ready.err)
			break
		}
		ready.had[name] = true
	}
	ready.asked = time.Now()
	return ready.err
}

// reach tries to connect.
func (s *Server) reach(target *backend.Target) error {
	ctx, cancel := context.WithTimeout(closing{s.ending}, askAgain)
	defer cancel()
	conn, err := backend.Dial(ctx, target)
	if err == nil {
		conn.Close()
	}
	return err
}
