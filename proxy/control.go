package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
)

// What operators may have the server do, with the meaning that PgBouncer gave the words (its manual, "Admin console"). A
// database is named as clients name it; "" means all of them.

// switches are what operators have turned off. By the name of the database; under the server's mutex.
type switches struct {
	paused   bool // all databases are
	pausedOf map[string]bool
	disabled map[string]bool
}

// State is what operators have turned off.
type State struct {
	Paused   bool // all databases are, whatever else is said of each
	Ending   bool // nobody new is let in
	PausedOf map[string]bool
	Disabled map[string]bool
}

var errPaused = errors.New("already suspended/paused")

// Pause lets go of the databases' server connections as they become free, and returns when none is left, or ctx has ended.
// Until Resume whoever needs one waits, for its checkout_timeout at most, new clients too. Whoever holds one keeps it: a
// transaction comes to its end, and who keeps it beyond that, with a lock for example, is waited for.
func (s *Server) Pause(ctx context.Context, database string) error {
	if err := s.pause(database); err != nil {
		return err
	}
	return s.news.await(ctx, func() bool { return s.closed(database) })
}

func (s *Server) pause(database string) error {
	err := s.turnSwitch(database, func() error {
		switch {
		case s.switches.paused:
			return errPaused
		case database == "":
			s.switches.paused = true
		default:
			s.switches.pausedOf[database] = true
		}
		return nil
	})
	if err == nil {
		s.log.Info("paused", "database", database)
	}
	return err
}

// Resume ends a Pause or a Kill. What was paused by name is resumed by name.
func (s *Server) Resume(database string) error {
	err := s.turnSwitch(database, func() error {
		switch {
		case database == "" && !s.switches.paused:
			return errors.New("pooler is not paused/suspended")
		case database == "":
			s.switches.paused = false
		case !s.switches.pausedOf[database]:
			return fmt.Errorf("database %s is not paused", database)
		default:
			delete(s.switches.pausedOf, database)
		}
		return nil
	})
	if err == nil {
		s.log.Info("resumed", "database", database)
		s.news.ring()
	}
	return err
}

// turnSwitch changes the switches of a database that there is, with the mutex held, and has the pools follow, unless that
// cannot be.
func (s *Server) turnSwitch(database string, turn func() error) error {
	s.mu.Lock()
	err := s.known(database)
	if err == nil {
		err = turn()
	}
	var events []pools.Event
	if err == nil {
		events = s.followSwitches(nil)
	}
	s.mu.Unlock()
	s.deliver(nil, events)
	return err
}

// followSwitches has the pools be paused, or not, as the switches say. Called with the mutex held.
func (s *Server) followSwitches(events []pools.Event) []pools.Event {
	for _, p := range s.pools {
		on := s.isPaused(p.name.database)
		events = p.do(events, func(pair *pools.Pair) {
			if p.paused != on {
				p.paused = on
				pair.Pause(time.Now(), on)
			}
		})
		if on {
			p.definitions.vacate()
		}
	}
	return events
}

func (s *Server) isPaused(database string) bool {
	return s.switches.paused || s.switches.pausedOf[database]
}

// known tells whether clients may come for a database of this name, if somebody has or not: under "*" it is any name, so that
// one can be turned off before its clients come. What is turned off is known until it is turned on, whatever a reload has taken
// out. Called with the mutex held.
func (s *Server) known(database string) error {
	r := s.rules.Load()
	_, _, there := r.database(database)
	if database == "" || there && database != AnyDatabase && !r.isConsole(database) || s.switches.pausedOf[database] || s.switches.disabled[database] {
		return nil
	}
	return fmt.Errorf("no such database: %s", database)
}

// poolsOf gives the pools of a database, those included that are about to end.
func (s *Server) poolsOf(database string) (found []*pool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	add := func(p *pool) {
		if database == "" || p.name.database == database {
			found = append(found, p)
		}
	}
	for _, p := range s.pools {
		add(p)
	}
	for p := range s.retired {
		add(p)
	}
	return found
}

// closed tells whether no server connection of a database is open, replication's included.
func (s *Server) closed(database string) bool {
	for _, p := range s.poolsOf(database) {
		p.mu.Lock()
		empty := p.empty()
		p.mu.Unlock()
		if !empty || p.definitions.reads.Load() > 0 {
			return false
		}
	}
	return !s.some(database, func(g guest) bool { _, replicates := g.(*relay); return replicates })
}

// some tells whether a condition holds for a client of a database.
func (s *Server) some(database string, condition func(guest) bool) bool {
	found := false
	s.each(func(g guest) {
		found = found || (database == "" || g.known().database == database) && condition(g)
	})
	return found
}

// Reconnect has the databases' server connections replaced: idle ones now, the others as soon as they are free.
func (s *Server) Reconnect(database string) error {
	if err := s.exists(database); err != nil {
		return err
	}
	for _, p := range s.poolsOf(database) {
		s.deliver(nil, p.replace("an operator asks for it", (*pools.Pair).Drain))
	}
	return nil
}

// WaitClose returns when every server connection has been replaced that a Reconnect, a Reload or the like is to replace.
func (s *Server) WaitClose(ctx context.Context, database string) error {
	if err := s.exists(database); err != nil {
		return err
	}
	return s.news.await(ctx, func() bool {
		for _, p := range s.poolsOf(database) {
			if !p.replaced() {
				return false
			}
		}
		return true
	})
}

// replaced tells whether the pool has no server connection that is about to be closed.
func (p *pool) replaced() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	admin, lock := p.pair.Counts(pools.Admin), p.pair.Counts(pools.Lock)
	return !p.pair.Outdated() && p.open == admin.Idle+admin.Active+lock.Idle+lock.Active
}

func (s *Server) exists(database string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known(database)
}

// Disable refuses new clients of a database, until Enable.
func (s *Server) Disable(database string) error { return s.disable(database, true) }

// Enable lets new clients of a database in again.
func (s *Server) Enable(database string) error { return s.disable(database, false) }

func (s *Server) disable(database string, on bool) error {
	if database == "" {
		return errors.New("a database is required")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.known(database); err != nil {
		return err
	}
	if on {
		s.switches.disabled[database] = true
	} else {
		delete(s.switches.disabled, database)
	}
	s.log.Info("new clients", "database", database, "refused", on)
	return nil
}

// enabled refuses a client whose database is disabled.
func (s *Server) enabled(database string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.switches.disabled[database] {
		return protocol.Fatal(protocol.ObjectNotInPrerequisiteState, "database does not allow connections: "+database)
	}
	return nil
}

// Kill ends the databases' clients and server connections at once. New clients wait until Resume.
func (s *Server) Kill(database string) error {
	if err := s.pause(database); err != nil {
		return err
	}
	s.log.Warn("clients are killed", "database", database)
	s.some(database, func(g guest) bool {
		switch g.(type) {
		case *client, *relay:
			g.stop()
		}
		return false
	})
	return nil
}

// KillClient ends one client, named by the process id that it was given.
func (s *Server) KillClient(pid uint32) error {
	s.mu.Lock()
	g := s.clients[pid]
	s.mu.Unlock()
	if g == nil {
		return errors.New("client not found")
	}
	s.logFor(g.known()).Warn("a client is killed")
	g.stop()
	return nil
}

// State gives what operators have turned off. The maps are the caller's.
func (s *Server) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return State{
		Paused: s.switches.paused, Ending: s.mode != running, PausedOf: maps.Clone(s.switches.pausedOf), Disabled: maps.Clone(s.switches.disabled),
	}
}
