package proxy

import (
	"cmp"
	"slices"
	"time"
	"unique"

	"github.com/lockproxy/lockproxy/proxy/console"
	"github.com/lockproxy/lockproxy/proxy/link"
)

// SessionInfo is what one client looks like at one moment.
type SessionInfo = console.SessionInfo

// Sessions gives what all clients look like, by process id. Each is looked at on its own, so that nobody is stopped for
// longer than one look takes.
func (s *Server) Sessions() []SessionInfo {
	var all []SessionInfo
	s.each(func(g guest) {
		i := g.info()
		if i.Local == noAddress {
			i.Local = s.unixSocket
		}
		all = append(all, i)
	})
	slices.SortFunc(all, func(a, b SessionInfo) int { return cmp.Compare(a.Pid, b.Pid) })
	return all
}

// info gives what is known of a client, whose link may be nil.
func (a *about) info(l link.Link) SessionInfo {
	i := SessionInfo{
		Pid: a.Pid, Database: a.database, User: a.user, Address: addressText(a.peer), ApplicationName: a.application(), Since: a.since,
		Replication: "none",
	}
	if l != nil {
		if local, err := l.Local(); err == nil {
			i.Local = addressText(local)
		}
	}
	if a.tls != (unique.Handle[string]{}) {
		i.TLS = a.tls.Value()
	}
	return i
}

func (c *client) info() SessionInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.about.info(c.link)
	i.Pooled, i.Asked, i.Prepared = c.pool.name.user, c.proxy.begun.Add(c.asked), c.session.Prepared()
	tx, busy := c.session.Status()
	if i.Pinned = c.session.Pins(); len(i.Pinned) > 0 {
		i.PinnedSince, i.PinnedBy = c.pinnedSince, c.pinnedBy
	}
	if c.server != nil {
		i.BackendPid = c.server.conn.Pid
	}
	i.WaitsFor, i.WaitingSince = c.wait()
	i.State = stateName(tx, busy || i.WaitsFor != "")
	return i
}

// wait tells what server the client waits for, and since when. Called with the mutex held.
func (c *client) wait() (what string, since time.Time) {
	c.pool.mu.Lock()
	since, waits := c.waiter.Waiting()
	c.pool.mu.Unlock()
	switch {
	case !waits:
		return "", since
	case c.server != nil:
		return "promotion", since
	}
	return c.wants.String(), since
}

// stateName is pg_stat_activity's name for what a client does.
func stateName(tx byte, busy bool) string {
	switch {
	case busy:
		return "active"
	case tx == 'T':
		return "idle in transaction"
	case tx == 'E':
		return "idle in transaction (aborted)"
	}
	return "idle"
}

func (r *relay) info() SessionInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.about.info(r.client)
	i.State, i.Pooled, i.BackendPid, i.Replication = "replication", r.user, r.conn.Pid, r.kind()
	return i
}
