package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/protocol"
)

// refusal puts into PostgreSQL's words why the pools gave no server: the server's own error if it has one, else 53300
// with the pool's numbers, who fills it, and what to change. Called without any mutex.
func (p *pool) refusal(r *pools.Refusal) *protocol.Error {
	var server *backend.Error
	if errors.As(r.Err, &server) {
		return fromServer(server)
	}
	e := &protocol.Error{Severity: "ERROR", Code: protocol.TooManyConnections, Message: r.Error(), Hint: p.terms.Load().advise(r.Hint())}
	switch r.Cause {
	case pools.DialFailed:
		e.Code = protocol.CannotConnect
	case pools.Closed:
		e.Code = protocol.AdminShutdown
	}
	if holder, ok := r.Holder.(*about); ok && holder != nil {
		e.Detail = fmt.Sprintf("Held longest, for %s, by %s", elapsed(r.HolderSince), holder)
		e.Detail += p.server.doing(holder) + p.users(r.Kind)
	}
	if r.Share > 0 {
		e.Detail = strings.TrimSpace(e.Detail + "\n" + p.sharers(r.Kind))
	}
	return e
}

// sharers says which pools have the backends of the server's share.
func (p *pool) sharers(kind pools.Kind) string {
	numbers := make(map[string]int)
	all := p.server.allPools()
	p.mu.Lock()
	for _, other := range all {
		if other.mu != p.mu { // it leads to another server
			continue
		}
		if c := other.pair.Counts(kind); c.Active+c.Idle > 0 {
			numbers[fmt.Sprintf("database %s (user %s)", other.name.database, other.name.user)] = c.Active + c.Idle
		}
	}
	p.mu.Unlock()
	if len(numbers) == 0 {
		return ""
	}
	return "Of the share " + most(numbers, func(name string, n int) string { return fmt.Sprintf("%s has %d", name, n) }) + "."
}

// most says the largest numbers, the largest first.
func most(numbers map[string]int, say func(name string, n int) string) string {
	names := slices.SortedFunc(maps.Keys(numbers), func(a, b string) int {
		return cmp.Or(cmp.Compare(numbers[b], numbers[a]), cmp.Compare(a, b))
	})
	var text []string
	for _, name := range names[:min(len(names), maxUsers)] {
		text = append(text, say(name, numbers[name]))
	}
	return strings.Join(text, ", ")
}

// doing says what a client does, and did last.
func (s *Server) doing(a *about) string {
	s.mu.Lock()
	c, ok := s.clients[a.Pid].(*client)
	s.mu.Unlock()
	if !ok {
		return "."
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return ", which is " + stateName(c.session.Status()) + "." + lastStatement(c.session.LastStatement(maxShown))
}

// maxUsers is how many are named that have a pool's backends, or a share's.
const maxUsers = 3

// users says which applications have the backends of a pool, if there are several.
func (p *pool) users(kind pools.Kind) string {
	numbers := make(map[string]int)
	p.mu.Lock()
	for b := range p.pair.Backends() {
		if w := b.Holder(); w != nil && b.Kind() == kind {
			if a, ok := w.Label.(*about); ok {
				numbers[a.application()]++
			}
		}
	}
	p.mu.Unlock()
	if len(numbers) < 2 {
		return ""
	}
	return "\nOf its backends " + most(numbers, func(name string, n int) string { return fmt.Sprintf("%d with %s", n, applicationText(name)) }) + "."
}

// String names a client as others are told about it.
func (a *about) String() string {
	return fmt.Sprintf("%s at %s (user %s, process %d)", applicationText(a.application()), addressText(a.peer), a.user, a.Pid)
}

func (c *client) logRefusal(r *pools.Refusal) {
	c.logger().Warn("a checkout was refused", "pool", r.Kind.String(), "cause", r.Cause.String(), "error", r.Error())
}

func stack() string { return string(debug.Stack()) }

// fromServer gives the server's own error as the client is to see it.
func fromServer(e *backend.Error) *protocol.Error {
	if e.Server == nil {
		return &protocol.Error{Severity: "ERROR", Code: protocol.CannotConnect, Message: e.Error()}
	}
	return &protocol.Error{Severity: "ERROR", Code: e.Server.Code, Message: e.Server.Message, Detail: e.Server.Detail, Hint: e.Server.Hint}
}

// isPermanent tells whether it is pointless to dial again at once.
func isPermanent(err error) bool {
	var e *backend.Error
	return errors.As(err, &e) && e.Permanent()
}

func isShuttingDown(err error) bool {
	var e *backend.Error
	return errors.As(err, &e) && e.Server != nil && e.Server.Code == protocol.CannotConnectNow
}
