package session

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// LockKey is an advisory lock's key as pg_locks shows it.
type LockKey = sql.LockKey

// LockName is how the client named a lock that it asked for.
type LockName struct {
	Words       string // in one line
	Key         LockKey
	Known       bool // Key is the one that the words stand for; else only the server knows it
	Transaction bool // it was asked for the transaction, not for the session
	Shared      bool
	Tried       bool // it was asked for if nobody has it
	Asked       time.Time
	Got         time.Time // zero: not yet, or not at all
}

// lockNames are the locks that a session asked for on the server that it has: the latest of them. Which of them it holds
// the server knows, not this.
type lockNames struct {
	list  []lockName
	next  int            // the one to be written over, once there are maxLockNames
	new   lockName       // the one at hand
	texts int            // how many there were
	calls []sql.LockCall // of the text at hand
	wait  lockWait
}

type lockName struct {
	key         sql.LockKey
	known       bool
	transaction bool
	released    bool // once at least
	shared      bool
	tried       bool
	text        int   // which text asked for it, in the order in which they were sent
	statement   uint8 // which of its statements
	size        uint8
	words       [64]byte
	asked, got  time.Time
}

const (
	maxLockNames    = 64
	keptLockNames   = 8 // by who has none
	maxNamers       = 16
	encodingSetting = "client_encoding"
)

// nameLocks notes how a text that is on its way, and does that to locks, names them. Values are those of its parameters, or
// nil.
func (s *Session) nameLocks(effects sql.Effect, text []byte, d sql.Dialect, values sql.Values) {
	n := s.lockNames
	if n == nil {
		if n, _ = s.o.lockNames.take(); n == nil {
			n = new(lockNames)
		}
		s.lockNames = n
	}
	n.texts++
	s.known.reader.LockCalls(&n.calls, text, d)
	for i := range n.calls {
		call, one := &n.calls[i], &n.new
		*one = lockName{asked: s.now, text: n.texts, transaction: call.Effect&(sql.XactAcquire|sql.XactTry) != 0,
			shared: call.Shared, tried: call.Effect&(sql.SessionTry|sql.XactTry) != 0, statement: uint8(min(call.Statement, 255))}
		var words []byte
		words, one.key, one.known = call.AppendName(one.words[:0], d, values)
		one.size = uint8(len(words))
		one.known = one.known && s.sameToServer(words)
		if call.Effect&(sql.SessionRelease|sql.UnlockAll) != 0 {
			n.released(one, call.Effect == sql.UnlockAll)
		} else {
			n.add(one)
		}
	}
	clear(n.calls) // they hold parts of the text
	if n.calls = n.calls[:0]; effects&acquires != 0 {
		s.lockSent()
	}
}

// sameToServer tells whether a text is to the server what it is to the client, byte by byte: it hashes its own.
func (s *Session) sameToServer(text []byte) bool {
	ours, _ := s.state.told.Get(encodingSetting)
	theirs, _ := s.state.told.Get("server_encoding")
	return ours == theirs || !slices.ContainsFunc(text, func(c byte) bool { return c >= 0x80 })
}

// add notes a lock that is asked for. One that the session has already it has since then.
func (n *lockNames) add(one *lockName) {
	for i := range n.list {
		old := &n.list[i]
		if old.known && one.known && old.key == one.key && old.transaction == one.transaction {
			if !old.released {
				one.got = old.got
			}
			*old = *one
			return
		}
	}
	if len(n.list) < maxLockNames {
		n.list = append(n.list, *one)
		return
	}
	n.list[n.next] = *one
	n.next = (n.next + 1) % maxLockNames
}

// released notes that a lock is given up, once at least, or all of the session's.
func (n *lockNames) released(one *lockName, all bool) {
	for i := range n.list {
		if old := &n.list[i]; !old.transaction && (all || one.known && old.known && old.key == one.key) {
			old.released = true
		}
	}
}

// gotLocks notes that the next statement of a message's text came to its end: what it asked for it has, unless it only
// tried.
func (s *Session) gotLocks(r *request) {
	n := s.lockNames
	if n == nil {
		return
	}
	first := n.waiting()
	for i := range n.list {
		if one := &n.list[i]; one.got.IsZero() && one.text == first && one.in(r) {
			one.got = s.now
		}
	}
}

// waiting gives the first text of which locks were asked for that it has not got.
func (n *lockNames) waiting() int {
	first := n.texts
	for i := range n.list {
		if one := &n.list[i]; one.got.IsZero() {
			first = min(first, one.text)
		}
	}
	return first
}

// in tells whether the statement of a message that is at hand is the one that asked for it.
func (n *lockName) in(r *request) bool { return r.kind != protocol.Query || int(n.statement) == r.done }

// transactionNamesOver forgets the locks of a transaction that is over.
func (s *Session) transactionNamesOver() {
	if n := s.lockNames; n != nil {
		n.list = slices.DeleteFunc(n.list, func(one lockName) bool { return one.transaction })
		n.next = 0
	}
}

// forgetLocks forgets all names, with the server that the locks were on.
func (s *Session) forgetLocks() {
	if n := s.lockNames; n != nil {
		s.lockNames = nil
		n.list, n.next, n.wait = n.list[:0], 0, lockWait{}
		if cap(n.list) <= keptLockNames {
			s.o.lockNames.keep(n, maxNamers)
		}
	}
}

// LockNames gives the locks that the client asked for on the server that it has, as it named them.
func (s *Session) LockNames() (names []LockName) {
	if s.lockNames == nil {
		return nil
	}
	for i := range s.lockNames.list {
		one := &s.lockNames.list[i]
		words := sql.OneLine(one.words[:one.size])
		if int(one.size) == len(one.words) {
			words = sql.Cut(words+"...", len(one.words)) // some of it may be missing
		}
		names = append(names, LockName{
			Words: words, Key: one.key, Known: one.known, Transaction: one.transaction, Shared: one.shared, Tried: one.tried, Asked: one.asked, Got: one.got,
		})
	}
	return names
}

// bindValues are the parameters of a Bind message.
type bindValues struct{ formats, values []byte }

// valuesOf reads the body of a Bind message behind its names, as far as it is here.
func valuesOf(p []byte) *bindValues {
	formats, rest, ok := int16s(p)
	if !ok || len(rest) < 2 {
		return &bindValues{}
	}
	return &bindValues{formats, rest}
}

// Value gives parameter n, from 1.
func (b *bindValues) Value(n int) (value []byte, isBinary, ok bool) {
	if len(b.values) < 2 || n < 1 || n > int(binary.BigEndian.Uint16(b.values)) {
		return nil, false, false
	}
	for i, rest := 1, b.values[2:]; len(rest) >= 4; i++ {
		size := int(int32(binary.BigEndian.Uint32(rest)))
		if rest = rest[4:]; size > len(rest) {
			break
		}
		if i == n {
			return rest[:max(size, 0)], formatOf(b.formats, n-1) == 1, size >= 0
		}
		rest = rest[max(size, 0):]
	}
	return nil, false, false
}

// namesLocks tells whether a message is one whose text names locks: those that it takes and those that it gives up.
func namesLocks(effects sql.Effect) bool {
	return effects&(acquires|sql.SessionRelease|sql.UnlockAll) != 0
}
