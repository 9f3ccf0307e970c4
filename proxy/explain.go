package proxy

import (
	"context"
	"fmt"
	"time"

	"github.com/lockproxy/lockproxy/proxy/session"
)

// explainWithin bounds how long a server's error is kept back until it can be explained.
const explainWithin = time.Second

// explain finds out what lock the client's session waits for, or failed to get in time, and who has it, and tells the
// session. The server is asked on a connection of its own; where it does not answer, what clients of this lockproxy asked for must do.
func (c *client) explain(number int, failed bool) {
	s := c.proxy
	defer s.work.Done()
	c.mu.Lock()
	p := c.pool
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), explainWithin)
	defer cancel()
	d := p.definitions
	rows, err := d.locks(ctx, p.terms.Load().target)
	holders := s.lockHolders()[d]
	if err != nil {
		c.logger().Warn("the server could not be asked who holds a lock", "error", err)
		rows = knownRows(holders)
	}
	e := &session.Explanation{}
	for i := range holders {
		if holders[i].about == c.about {
			e = explanation(&holders[i], rows, holders)
		}
	}
	if failed && e.Lock != "" {
		c.logger().Warn("a wait for an advisory lock took too long", "lock", e.Lock, "holder", e.Holder)
	}
	c.step(func(s *session.Session, o *session.Output, now time.Time) { s.Explained(o, now, number, e) })
}

// knownRows gives the locks that clients are thought to hold, as the server would.
func knownRows(holders []lockHolder) (rows []lockRow) {
	for i := range holders {
		h := &holders[i]
		for j := range h.names {
			n := &h.names[j]
			if holds := n.Transaction && h.ofTransaction || !n.Transaction && h.ofSession; n.Known && (holds && !n.Tried || n.Got.IsZero()) {
				rows = append(rows, lockRow{key: n.Key, shared: n.Shared, granted: !n.Got.IsZero(), pid: h.pid})
			}
		}
	}
	return rows
}

// explanation says what a client waits for, or waited for, by the locks that there are.
func explanation(self *lockHolder, rows []lockRow, holders []lockHolder) *session.Explanation {
	e := &session.Explanation{}
	wanted := self.wanted()
	for i := range rows {
		if r := &rows[i]; r.pid == self.pid && !r.granted {
			e.Waits, e.Key = true, r.key
			wanted = []lockRow{*r}
		}
	}
	infos := lockInfos(rows, holders)
	for i := range wanted {
		w := &wanted[i]
		if e.Lock == "" {
			e.Lock = self.lockText(w)
		}
		holder, others, waiters := holderOf(w, self, rows, infos)
		if holder == nil {
			continue
		}
		e.Lock = self.lockText(w)
		e.Holder = "It is held " + holderText(holder, holders)
		if others > 0 {
			e.Holder += fmt.Sprintf(", and by %d more", others)
		}
		e.Holder += fmt.Sprintf("; %d more wait for it.%s", waiters, lastStatement(holder.Statement))
		return e
	}
	return e
}

// wanted gives what the client asked for and has not got, as far as it is known.
func (h *lockHolder) wanted() (rows []lockRow) {
	if h.waited != nil {
		rows = append(rows, lockRow{key: *h.waited, pid: h.pid})
	}
	for i := range h.names {
		if n := &h.names[i]; n.Known && n.Got.IsZero() {
			rows = append(rows, lockRow{key: n.Key, shared: n.Shared, pid: h.pid})
		}
	}
	return rows
}

// holderOf finds who has a lock that a client wants, as the first of so many others, and how many others wait for it.
func holderOf(w *lockRow, self *lockHolder, rows []lockRow, infos []LockInfo) (first *LockInfo, others, waiters int) {
	for i := range rows {
		switch r := &rows[i]; {
		case r.key != w.key || r.pid == self.pid:
		case !r.granted:
			waiters++
		case first != nil:
			others++
		default:
			first = &infos[i]
		}
	}
	return first, others, waiters
}

// lockText names a lock.
func (h *lockHolder) lockText(r *lockRow) string {
	n := h.name(r)
	if n == nil {
		n = h.otherName()
	}
	if n == nil || n.Words == r.key.String() {
		return "advisory lock " + r.key.String()
	}
	return fmt.Sprintf("advisory lock %q (key %s)", n.Words, r.key)
}

// holderText says who holds a lock, how long, and what it does.
func holderText(i *LockInfo, holders []lockHolder) string {
	if i.BackendPid == 0 {
		return "by a prepared transaction"
	}
	text := ""
	if !i.Since.IsZero() {
		text = "for " + elapsed(i.Since) + " "
	}
	for j := range holders {
		if h := &holders[j]; h.pid == i.BackendPid {
			return text + "by " + h.about.String() + ", which is " + h.state
		}
	}
	return text + fmt.Sprintf("outside of this lockproxy, by %s at %s (user %s, server process %d)",
		applicationText(i.ApplicationName), i.Address, i.User, i.BackendPid)
}

// lastStatement is a sentence about what somebody did last.
func lastStatement(text string) string {
	if text == "" {
		return ""
	}
	return " Its last statement: " + text
}

func elapsed(t time.Time) string { return time.Since(t).Round(time.Millisecond).String() }

func applicationText(name string) string {
	if name == "" {
		return "an application without a name"
	}
	return "application " + name
}
