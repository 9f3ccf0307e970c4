package proxy

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/lockproxy/lockproxy/proxy/session"
)

// Stats are counters since the server was made.
type Stats struct {
	Transactions uint64            // that ended on a server connection
	Pinned       map[string]uint64 // those of them that ran on one that their session keeps, by reason
}

// Stats gives the counters as they are now. The map is the caller's.
func (s *Server) Stats() Stats {
	s.counters.mu.Lock()
	defer s.counters.mu.Unlock()
	return Stats{Transactions: s.counters.transactions.Load(), Pinned: maps.Clone(s.counters.pinned)}
}

// counters are what Stats gives.
type counters struct {
	transactions atomic.Uint64
	mu           sync.Mutex // guards the rest, which few transactions touch
	pinned       map[string]uint64
}

func (c *counters) add(o *session.Output) {
	if o.Transactions == 0 {
		return
	}
	c.transactions.Add(uint64(o.Transactions))
	if len(o.Pinned) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pinned == nil {
		c.pinned = make(map[string]uint64)
	}
	for _, reason := range o.Pinned {
		c.pinned[reason]++
	}
}
