package proxy

import (
	"sync"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/pools/backend"
)

// Shares is how many backends all admin pools and all lock pools of one PostgreSQL server may have; zero: no bound.
type Shares struct{ Admin, Lock int }

// commons is what pools have in common whose backends are counted together, because they lead to one server: the budget, and
// the mutex that guards it with all of them. Where there is no bound each pool has its own, so that none waits
// for another.
type commons struct {
	mu sync.Mutex
	*pools.Budget
	target *backend.Target // of one of the pools
}

// commonsOf finds what the pools of the server have in common that a target leads to. Called with the server's mutex held.
func (s *Server) commonsOf(r *rules, target *backend.Target) *commons {
	if r.MaxBackends == (Shares{}) {
		return &commons{Budget: new(pools.Budget)}
	}
	for _, a := range s.shared {
		if a.target.SameServer(target) {
			return a
		}
	}
	a := &commons{Budget: pools.NewBudget(r.MaxBackends.Admin, r.MaxBackends.Lock), target: target}
	s.shared = append(s.shared, a)
	return a
}
