package proxy

import (
	"cmp"
	"slices"
	"time"
	"unique"
)

// SessionInfo is what one client looks like at one moment.
type SessionInfo struct {
	Pid             uint32 // that its cancel requests name
	Database, User  string // as it gave them
	Address         string
	TLS             string // what is spoken, such as "TLSv1.3/TLS_AES_128_GCM_SHA256/ECDH=X25519"; empty: clear text
	ApplicationName string // as it was at login
	Since           time.Time
	State           string // "idle", "active", "idle in transaction", "idle in transaction (aborted)", "replication"
	BackendPid      uint32 // of the server process that it has; 0: none

	Pinned      []string  // why it keeps its server beyond a transaction; none: it does not
	PinnedSince time.Time // zero: it is not pinned

	WaitingSince time.Time // for a server; zero: it does not wait
	WaitsFor     string    // "admin" or "lock": the pool; "promotion"; "" where it does not wait
}

// Sessions gives what all clients look like, by process id. Each is looked at on its own, so that nobody is stopped for
// longer than one look takes.
func (s *Server) Sessions() []SessionInfo {
	var all []SessionInfo
	s.each(func(g guest) { all = append(all, g.info()) })
	slices.SortFunc(all, func(a, b SessionInfo) int { return cmp.Compare(a.Pid, b.Pid) })
	return all
}

func (a *about) info() SessionInfo {
	i := SessionInfo{
		Pid: a.Pid, Database: a.database, User: a.user, Address: addressText(a.peer), ApplicationName: a.application, Since: a.since,
	}
	if a.tls != (unique.Handle[string]{}) {
		i.TLS = a.tls.Value()
	}
	return i
}

func (c *client) info() SessionInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.about.info()
	tx, busy := c.session.Status()
	if i.Pinned = c.session.Pins(); len(i.Pinned) > 0 {
		i.PinnedSince = c.pinnedSince
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
	i := r.about.info()
	i.State, i.BackendPid = "replication", r.conn.Pid
	return i
}
