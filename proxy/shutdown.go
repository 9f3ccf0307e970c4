package proxy

import "time"

// ShutdownMode is what a server that is to end waits for.
type ShutdownMode int

const (
	running ShutdownMode = iota
	// WaitForClients serves the clients that there are as before, until the last one has left.
	WaitForClients
	// WaitForServers ends each client as soon as it is between two transactions, and after the shutdown timeout the others.
	WaitForServers
	// AtOnce ends all clients, whatever they do.
	AtOnce
)

// Shutdown has Serve accept nobody any more, and end. A server that is ending already may be told to be quicker.
func (s *Server) Shutdown(mode ShutdownMode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if mode <= s.mode {
		return
	}
	s.mode = mode
	select {
	case s.orders <- struct{}{}:
	default:
	}
}

func (s *Server) toldTo() ShutdownMode {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mode
}

// goDeaf ends accepting.
func (s *Server) goDeaf() {
	s.closeListeners()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deaf = true
	s.checkGone()
}

// shutdown ends everything in order: no new clients, then those who are idle, then the others, then the pools.
func (s *Server) shutdown() {
	s.goDeaf()
	s.mu.Lock()
	s.draining = true
	close(s.ending)
	var asking []*visitor
	for e := s.asking.Front(); e != nil; e = e.Next() {
		asking = append(asking, e.Value.(*visitor))
	}
	s.checkGone()
	s.mu.Unlock()
	for _, v := range asking {
		v.dismiss()
	}
	timeout := s.rules.Load().ShutdownTimeout
	s.log.Info("shutting down", "clients", s.count(), "timeout", timeout)
	s.each(guest.drain)
	s.awaitGone(timeout)
	s.mu.Lock()
	if s.tidy.timer != nil {
		s.tidy.timer.Stop()
	}
	for _, d := range s.definitions {
		d.close()
	}
	clear(s.definitions) // a pool that is buried later finds none to close
	s.mu.Unlock()
	for _, p := range s.allPools() {
		p.close()
	}
	s.siblings.close()
	s.work.Wait()
	s.rules.Load().inquiry.close()
}

// awaitGone waits for the last client to be gone, and has those go at last that take too long.
func (s *Server) awaitGone(timeout time.Duration) {
	over := time.After(timeout)
	for {
		if s.toldTo() == AtOnce {
			s.each(guest.stop)
			s.cutLogins()
			<-s.gone
			return
		}
		select {
		case <-s.gone:
			return
		case <-s.orders:
		case <-over:
			s.Shutdown(AtOnce)
		}
	}
}

// cutLogins ends those that are still logging in, without a word.
func (s *Server) cutLogins() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := s.asking.Front(); e != nil; e = e.Next() {
		e.Value.(*visitor).link.Close()
	}
}

// checkGone tells shutdown when the last client is gone. Called with the mutex held.
func (s *Server) checkGone() {
	if !s.deaf || len(s.clients)+s.asking.Len()+s.entering > 0 {
		return
	}
	select {
	case <-s.gone:
	default:
		close(s.gone)
	}
}
