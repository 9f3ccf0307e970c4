package login

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/lockproxy/lockproxy/protocol"
)

// Failures counts logins that fail, by address, so that nobody guesses passwords faster than Most a minute. A user who has
// lately logged in from an address is counted apart from the rest of it: one program with a wrong password does not lock
// out the others of its machine, or of its network behind one address. IPv6 is counted by /64, which is what one customer
// has. Unix sockets are not counted. It is for many goroutines and doors.
type Failures struct {
	Most int // within a minute; 0: there is no bound

	mu      sync.Mutex
	origins *Memory[origin, *tries]
}

// NewFailures counts from nought.
func NewFailures(most int) *Failures {
	return &Failures{Most: most, origins: NewMemory[origin, *tries](maxOrigins)}
}

// origin is an address, or a user who has lately logged in from there.
type origin struct {
	network netip.Prefix
	user    string // empty: everybody else
}

// tries are what is left, and grows again by and by.
type tries struct {
	left float64
	at   time.Time // when it was that much
}

// maxOrigins bounds what is remembered. A flood from more addresses than that has some forgotten.
const maxOrigins = 1 << 14

func networkOf(address netip.Addr) netip.Prefix {
	address = address.Unmap().WithZone("")
	bits := address.BitLen()
	if address.Is6() {
		bits = 64
	}
	network, _ := address.Prefix(bits)
	return network
}

// exhausted tells whether the address, or the user there, has failed too often.
func (f *Failures) exhausted(address netip.Addr, user string, now time.Time) bool {
	if f == nil || f.Most == 0 || !address.IsValid() {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_, one := f.find(networkOf(address), user)
	return one != nil && one.grow(f.Most, now) < 1
}

// find gives who is counted for a login. Called with the mutex held.
func (f *Failures) find(network netip.Prefix, user string) (origin, *tries) {
	if one, known := f.origins.Get(origin{network, user}); known {
		return origin{network, user}, one
	}
	others := origin{network: network}
	one, _ := f.origins.Get(others)
	return others, one
}

// grow gives what is left now.
func (t *tries) grow(most int, now time.Time) float64 {
	if passed := now.Sub(t.at); passed > 0 {
		t.left = min(float64(most), t.left+float64(most)*passed.Minutes())
		t.at = now
	}
	return t.left
}

// failed counts a failure.
func (f *Failures) failed(address netip.Addr, user string, now time.Time) {
	if f == nil || f.Most == 0 || !address.IsValid() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	where, one := f.find(networkOf(address), user)
	if one == nil {
		one = f.remember(where, now)
	}
	one.grow(f.Most, now)
	one.left--
}

// succeeded has the user be counted apart from now on.
func (f *Failures) succeeded(address netip.Addr, user string, now time.Time) {
	if f == nil || f.Most == 0 || !address.IsValid() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	where := origin{networkOf(address), user}
	if one, known := f.origins.Get(where); known {
		one.grow(f.Most, now)
		return
	}
	f.remember(where, now)
}

// remember begins to count. Called with the mutex held.
func (f *Failures) remember(where origin, now time.Time) *tries {
	one := &tries{float64(f.Most), now}
	f.origins.Put(where, one)
	return one
}

// admissible refuses who has failed too often. Where nothing is to be proved nobody can fail.
func (v *visit) admissible(rule *Rule) error {
	if rule.Method != Trust && v.door.Failures.exhausted(v.who.Address, v.startup.User, time.Now()) {
		return v.tooMany()
	}
	return nil
}

// tooMany is what they are told who have failed too often.
func (v *visit) tooMany() error {
	e := protocol.Fatal(protocol.InvalidAuthorizationSpecification, "too many failed logins from this address")
	e.Hint = fmt.Sprintf("No more than %d are allowed in a minute (auth.max_failures).", v.door.Failures.Most)
	return e
}

// judged counts how a login has ended. Of those that were begun at once more may fail than are allowed: an answer that comes
// after that is as if it had not been read.
func (v *visit) judged(rule *Rule, err error) error {
	if rule.Method == Trust {
		return err
	}
	f, address, user, now := v.door.Failures, v.who.Address, v.startup.User, time.Now()
	var said *protocol.Error
	failed := errors.As(err, &said) && isFailure(said)
	switch {
	case err != nil && !failed:
		return err
	case f.exhausted(address, user, now):
		return v.tooMany()
	case failed:
		f.failed(address, user, now)
	default:
		f.succeeded(address, user, now)
	}
	return err
}

// isFailure tells whether a client was told that it does not prove who it is.
func isFailure(e *protocol.Error) bool {
	return e.Code == protocol.InvalidPassword || e.Code == protocol.InvalidAuthorizationSpecification
}
