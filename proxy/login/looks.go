package login

import (
	"cmp"
	"math/bits"
	"slices"
	"sync"
)

// look is how a user is asked, which a peer sees before it has proved anything: it follows from the user's secret.
type look struct{ iterations, saltSize int } // of SCRAM; nought: by MD5

var (
	byMD5 = look{}
	usual = look{iterations, saltSize} // what PostgreSQL makes of a password
)

// Looks are how the users are asked that are known. Unknown users are asked by lot, as often one way as known ones are, and each
// name always the same way: so nothing follows from how a name is asked. It is for many goroutines.
type Looks struct {
	mu        sync.Mutex
	md5, sasl tally // under the two methods; what MD5 asks by is what a password is compared by, which takes its time
}

// NewLooks knows of nobody.
func NewLooks() *Looks {
	return &Looks{md5: tally{of: make(map[string]look)}, sasl: tally{of: make(map[string]look)}}
}

// Learn has a user counted by a secret, in the place of the one before.
func (l *Looks) Learn(user string, secret Secret) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, rule := range []Method{MD5, SCRAM} {
		seen, can := secret.look(rule)
		l.under(rule).count(user, seen, can)
	}
}

// draw gives how an unknown user is asked under a method.
func (l *Looks) draw(rule Method, lot uint64) look {
	if l == nil {
		return usual
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.under(rule).draw(lot)
}

func (l *Looks) under(rule Method) *tally {
	if rule == SCRAM {
		return &l.sasl
	}
	return &l.md5
}

// tally is how many users are asked in which way.
type tally struct {
	of     map[string]look // by user
	shares []share         // in the order of looks, so that nothing hangs on who came first
}

type share struct {
	look  look
	users int
}

// maxTally bounds whom a tally remembers. Of more users it does not take the rest into account.
const maxTally = 1 << 16

// count counts a user. Whom nobody can be asked for any more is not counted.
func (t *tally) count(user string, seen look, can bool) {
	before, counted := t.of[user]
	switch {
	case counted && can && before == seen, !counted && (!can || len(t.of) >= maxTally):
		return
	case counted:
		t.add(before, -1)
		delete(t.of, user)
	}
	if can {
		t.add(seen, 1)
		t.of[user] = seen
	}
}

func (t *tally) add(seen look, users int) {
	at, found := slices.BinarySearchFunc(t.shares, seen, func(s share, l look) int {
		return cmp.Or(cmp.Compare(s.look.iterations, l.iterations), cmp.Compare(s.look.saltSize, l.saltSize))
	})
	if !found {
		t.shares = slices.Insert(t.shares, at, share{look: seen})
	}
	if t.shares[at].users += users; t.shares[at].users == 0 {
		t.shares = slices.Delete(t.shares, at, at+1)
	}
}

// draw gives the look on which a lot falls, of all that there are. Few lots fall on another one when a user more is counted.
func (t *tally) draw(lot uint64) look {
	at, _ := bits.Mul64(lot, uint64(len(t.of)))
	for _, s := range t.shares {
		if at < uint64(s.users) {
			return s.look
		}
		at -= uint64(s.users)
	}
	return usual
}
