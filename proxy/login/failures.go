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
// logged in from an address within the last hour is counted apart from the rest of it: one program with a wrong password does
// not lock out the others of its machine, or of its network behind one address. IPv6 is counted by /64, which is what one
// customer has. Unix sockets are not counted. It is for many goroutines and doors.
type Failures struct {
	Most int // within a minute; 0: there is no bound

	counts *counts
}

// counts are what several bounds may go by, one after the other.
type counts struct {
	mu      sync.Mutex
	origins *Memory[origin, *count]
}

// NewFailures counts from nought.
func NewFailures(most int) *Failures {
	return &Failures{most, &counts{origins: NewMemory[origin, *count](maxOrigins)}}
}

// Bounded goes on with the count by another bound.
func (f *Failures) Bounded(most int) *Failures { return &Failures{most, f.counts} }

// origin is an address, or a user who has lately logged in from there.
type origin struct {
	network netip.Prefix
	user    string // empty: everybody else
}

// count is how many failures are held against an origin; they are forgotten by and by.
type count struct {
	failed float64
	at     time.Time // when they were that many
	proved time.Time // when the user last logged in; zero for everybody else
}

const (
	// maxOrigins bounds what is remembered. A flood from more addresses than that has some forgotten.
	maxOrigins = 1 << 14
	// lately is how long it counts that a user has logged in from there.
	lately = time.Hour
)

func networkOf(address netip.Addr) netip.Prefix {
	address = address.Unmap().WithZone("")
	bits := address.BitLen()
	if address.Is6() {
		bits = 64
	}
	network, _ := address.Prefix(bits)
	return network
}

// counted tells whether failures from an address are.
func (f *Failures) counted(address netip.Addr) bool {
	return f != nil && f.Most > 0 && address.IsValid()
}

// exhausted tells whether the address, or the user there, has failed too often.
func (f *Failures) exhausted(address netip.Addr, user string, now time.Time) bool {
	if !f.counted(address) {
		return false
	}
	f.counts.mu.Lock()
	defer f.counts.mu.Unlock()
	_, one := f.counts.find(networkOf(address), user, now)
	return one != nil && one.still(f.Most, now)+1 > float64(f.Most)
}

// failed counts a failure.
func (f *Failures) failed(address netip.Addr, user string, now time.Time) {
	if !f.counted(address) {
		return
	}
	f.counts.mu.Lock()
	defer f.counts.mu.Unlock()
	where, one := f.counts.find(networkOf(address), user, now)
	if one == nil {
		one = &count{at: now}
		f.counts.origins.Put(where, one)
	}
	one.failed = one.still(f.Most, now) + 1
}

// succeeded has the user be counted apart from now on.
func (f *Failures) succeeded(address netip.Addr, user string, now time.Time) {
	if !f.counted(address) {
		return
	}
	f.counts.mu.Lock()
	defer f.counts.mu.Unlock()
	where := origin{networkOf(address), user}
	one, known := f.counts.origins.Get(where)
	if !known || !one.apart(now) {
		one = &count{at: now}
		f.counts.origins.Put(where, one)
	}
	one.proved = now
}

// find gives who is counted for a login, and what is held against them, if anything. Called with the mutex held.
func (c *counts) find(network netip.Prefix, user string, now time.Time) (origin, *count) {
	if one, known := c.origins.Get(origin{network, user}); known && one.apart(now) {
		return origin{network, user}, one
	}
	others := origin{network: network}
	one, _ := c.origins.Get(others)
	return others, one
}

// apart tells whether the user is counted apart from others at the address.
func (c *count) apart(now time.Time) bool { return now.Sub(c.proved) < lately }

// still gives how many failures are held against the origin now.
func (c *count) still(most int, now time.Time) float64 {
	c.failed = min(c.failed, float64(most)) // the bound may have been higher
	if passed := now.Sub(c.at); passed > 0 {
		c.failed = max(0, c.failed-float64(most)*passed.Minutes())
		c.at = now
	}
	return c.failed
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
		if v.asked && v.door.Doubt != nil {
			v.door.Doubt(user, v.startup.Database)
		}
	default:
		f.succeeded(address, user, now)
	}
	return err
}

// isFailure tells whether a client was told that it does not prove who it is.
func isFailure(e *protocol.Error) bool {
	return e.Code == protocol.InvalidPassword || e.Code == protocol.InvalidAuthorizationSpecification
}
