package sim

import (
	"slices"

	"github.com/lockproxy/lockproxy/protocol"
)

// lock is one advisory lock in one mode.
type lock struct {
	key    string // the arguments, as text: "7" is another key than "0,7"
	shared bool
}

// hold is how often one server session holds a lock.
type hold struct {
	lock
	session, xact int
}

// lockBook is what one server session holds.
type lockBook struct {
	holds []hold
	taken []lock // for the transaction, the latest last: a savepoint is a length of this list
}

func (b *lockBook) find(l lock) *hold {
	for i := range b.holds {
		if b.holds[i].lock == l {
			return &b.holds[i]
		}
	}
	b.holds = append(b.holds, hold{lock: l})
	return &b.holds[len(b.holds)-1]
}

// takes adds a lock that nobody else's excludes.
func (b *lockBook) takes(l lock, session bool) {
	if session {
		b.find(l).session++
		return
	}
	b.find(l).xact++
	b.taken = append(b.taken, l)
}

// unlock releases a session-level lock once; false: there is none (lock.c, LockRelease).
func (b *lockBook) unlock(l lock) bool {
	h := b.find(l)
	if h.session == 0 {
		b.tidy()
		return false
	}
	h.session--
	b.tidy()
	return true
}

func (b *lockBook) unlockAll() {
	for i := range b.holds {
		b.holds[i].session = 0
	}
	b.tidy()
}

// releaseTo releases what the transaction took since a savepoint.
func (b *lockBook) releaseTo(n int) {
	for _, l := range b.taken[n:] {
		b.find(l).xact--
	}
	b.taken = b.taken[:n]
	b.tidy()
}

func (b *lockBook) tidy() {
	b.holds = slices.DeleteFunc(b.holds, func(h hold) bool { return h.session == 0 && h.xact == 0 })
}

// excludes tells whether what is held keeps another session from taking a lock.
func (b *lockBook) excludes(l lock) bool {
	for _, h := range b.holds {
		if h.key == l.key && !(h.shared && l.shared) {
			return true
		}
	}
	return false
}

// onSession counts the locks that outlive the transaction.
func (b *lockBook) onSession() (n int) {
	for _, h := range b.holds {
		if h.session > 0 {
			n++
		}
	}
	return n
}

// lockFunction is what one of PostgreSQL's lock functions does.
type lockFunction struct {
	session, try, shared, release bool
}

var lockFunctions = map[string]lockFunction{
	"pg_advisory_lock":                 {session: true},
	"pg_advisory_lock_shared":          {session: true, shared: true},
	"pg_try_advisory_lock":             {session: true, try: true},
	"pg_try_advisory_lock_shared":      {session: true, try: true, shared: true},
	"pg_advisory_unlock":               {session: true, release: true},
	"pg_advisory_unlock_shared":        {session: true, release: true, shared: true},
	"pg_advisory_xact_lock":            {},
	"pg_advisory_xact_lock_shared":     {shared: true},
	"pg_try_advisory_xact_lock":        {try: true},
	"pg_try_advisory_xact_lock_shared": {try: true, shared: true},
	"app.acquire":                      {session: true}, // a function of the user's
}

func notOwned(l lock) *protocol.Error {
	mode := "ExclusiveLock"
	if l.shared {
		mode = "ShareLock"
	}
	return &protocol.Error{Severity: "WARNING", Code: "01000", Message: "you don't own a lock of type " + mode}
}
