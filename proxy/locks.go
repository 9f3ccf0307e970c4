package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lockproxy/lockproxy/proxy/console"
	"github.com/lockproxy/lockproxy/proxy/session"
)

// LockInfo is one advisory lock that a session holds or waits for, as it was at one moment.
type LockInfo = console.LockInfo

// Locks gives the advisory locks of all databases that clients have a server of, as the servers show them: also those of
// sessions outside of this lockproxy, which its clients may wait for. Where a server cannot be asked the error says so.
func (s *Server) Locks(ctx context.Context) ([]LockInfo, error) {
	var all []LockInfo
	var errs []error
	for d, holders := range s.lockHolders() {
		rows, err := d.locks(ctx, holders[0].pool.terms.Load().target)
		if err != nil {
			errs = append(errs, fmt.Errorf("the locks of database %s: %w", holders[0].about.database, err))
		}
		all = append(all, lockInfos(rows, holders)...)
	}
	slices.SortStableFunc(all, func(a, b LockInfo) int {
		return cmp.Or(cmp.Compare(a.Database, b.Database), cmp.Compare(a.ObjSubID, b.ObjSubID),
			cmp.Compare(a.ClassID, b.ClassID), cmp.Compare(a.ObjID, b.ObjID), cmp.Compare(a.State, b.State))
	})
	return all, errors.Join(errs...)
}

// lockHolder is a client that has a server, as it was at one moment: one that may hold locks or wait for one.
type lockHolder struct {
	about     *about
	pool      *pool
	pid       uint32    // of the server
	since     time.Time // when it got the server, or was promoted with it
	statement string

	ofSession, ofTransaction bool // it may hold locks of that level
	names                    []session.LockName
	waited                   *session.LockKey // the server said that it waits for that; nil: it did not
	state                    string           // as SessionInfo has it
}

// maxShown is how many bytes of a statement are shown.
const maxShown = 100

// lockHolders gives the clients that have a server, by the database there. Each is looked at on its own, and those that have
// none are not: many may ask at once who is in their way.
func (s *Server) lockHolders() map[*definitions][]lockHolder {
	all := make(map[*definitions][]lockHolder)
	for _, p := range s.poolsOf("") {
		for _, c := range p.holders() {
			if h, ok := c.lockHolder(); ok && c.about.Pid != 0 { // an audit is nobody's
				all[p.definitions] = append(all[p.definitions], h)
			}
		}
	}
	return all
}

func (c *client) lockHolder() (h lockHolder, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		return h, false
	}
	h = lockHolder{about: c.about, pool: c.pool, pid: c.server.conn.Pid, statement: c.session.LastStatement(maxShown)}
	h.ofSession, h.ofTransaction = c.session.LocksOf()
	h.names, h.waited = c.session.LockNames(), c.session.WaitsFor()
	h.state = stateName(c.session.Status())
	c.pool.mu.Lock()
	h.since = c.server.slot.Since()
	c.pool.mu.Unlock()
	return h, true
}

// level names the level of a lock of the holder's; "" where it may be of either.
func (h *lockHolder) level() string {
	if h.ofSession == h.ofTransaction {
		return ""
	}
	return levelOf(h.ofTransaction)
}

// lockInfos puts together what a server says of its sessions' locks and what is known of those that are clients'.
func lockInfos(rows []lockRow, holders []lockHolder) []LockInfo {
	byPid := make(map[uint32]*lockHolder, len(holders))
	for i := range holders {
		byPid[holders[i].pid] = &holders[i]
	}
	waiting := make(map[session.LockKey]int)
	unnamed := make(map[uint32]int)
	for i := range rows {
		r := &rows[i]
		if !r.granted {
			waiting[r.key]++
		}
		if h := byPid[r.pid]; h != nil && h.name(r) == nil {
			unnamed[r.pid]++
		}
	}
	infos := make([]LockInfo, 0, len(rows))
	for i := range rows {
		r := &rows[i]
		info := r.info(holders[0].about.database)
		if h := byPid[r.pid]; h != nil {
			h.describe(&info, r, unnamed[r.pid] == 1)
		}
		if info.Waiters = waiting[r.key]; !r.granted {
			info.Waiters--
		}
		infos = append(infos, info)
	}
	return infos
}

// info gives a lock with what the server tells of its session.
func (r *lockRow) info(database string) LockInfo {
	i := LockInfo{
		Key: r.key.String(), ClassID: r.key.Class, ObjID: r.key.Object, ObjSubID: r.key.Sub,
		Mode: "exclusive", State: "held", BackendPid: r.pid,
		Address: r.address, ApplicationName: r.application, Database: database, User: r.user,
		Statement: session.ShowStatement(r.query, maxShown),
	}
	if r.shared {
		i.Mode = "shared"
	}
	if !r.granted {
		i.State = "waiting"
	}
	return i
}

// describe adds what is known of a lock as a client's. Alone tells that it is the only one of the client's whose key no
// name stands for.
func (h *lockHolder) describe(i *LockInfo, r *lockRow, alone bool) {
	a := h.about
	i.Client, i.Address, i.ApplicationName, i.Database, i.User = a.Pid, addressText(a.peer), a.application(), a.database, a.user
	i.Level, i.Since, i.Statement = h.level(), h.since, h.statement
	n := h.name(r)
	if n == nil && alone {
		n = h.otherName()
	}
	if n == nil {
		return
	}
	if i.Words = n.Words; n.Known {
		i.Level = levelOf(n.Transaction)
	}
	if i.Since = n.Asked; r.granted && !n.Got.IsZero() {
		i.Since = n.Got
	}
}

func levelOf(transaction bool) string {
	if transaction {
		return "transaction"
	}
	return "session"
}

// name finds the client's own name for a lock, by its key; nil: it has none, or one whose key only the server knows. The
// same key may be locked for the session and for the transaction: then it is the session's that lasts.
func (h *lockHolder) name(r *lockRow) (found *session.LockName) {
	for i := range h.names {
		if n := &h.names[i]; n.Known && n.Key == r.key && (found == nil || found.Transaction) {
			found = n
		}
	}
	return found
}

// otherName gives the one name of the client's whose key only the server knows; nil: there is none, or there are several.
func (h *lockHolder) otherName() (found *session.LockName) {
	for i := range h.names {
		n := &h.names[i]
		if n.Known {
			continue
		}
		if found != nil && found.Words != n.Words {
			return nil
		}
		found = n
	}
	return found
}
