package login

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
	"time"
)

func TestFailuresAreCountedByAddress(t *testing.T) {
	now := time.Unix(1e9, 0)
	here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	f := NewFailures(3)
	for range 3 {
		if f.exhausted(here, "u", now) {
			t.Fatal("it is too early")
		}
		f.failed(here, "u", now)
	}
	for user, want := range map[string]bool{"u": true, "another": true} {
		if f.exhausted(here, user, now) != want || f.exhausted(there, user, now) {
			t.Errorf("%s: the address counts for the wrong ones", user)
		}
	}
	mapped := netip.MustParseAddr("::ffff:192.0.2.1")
	if !f.exhausted(mapped, "u", now) {
		t.Error("the address is not known again within IPv6")
	}
	if !f.exhausted(here, "u", now.Add(19*time.Second)) || f.exhausted(here, "u", now.Add(21*time.Second)) {
		t.Error("a third of a minute gives back something else than a third")
	}
	f.failed(here, "u", now.Add(21*time.Second))
	if !f.exhausted(here, "u", now.Add(21*time.Second)) || f.exhausted(here, "u", now.Add(time.Hour)) {
		t.Error("what grows again is not counted")
	}
}

func TestIPv6IsCountedByItsNetworks(t *testing.T) {
	now := time.Unix(1e9, 0)
	f := NewFailures(1)
	f.failed(netip.MustParseAddr("2001:db8::1"), "u", now)
	if !f.exhausted(netip.MustParseAddr("2001:db8::ffff:2%eth0"), "u", now) || f.exhausted(netip.MustParseAddr("2001:db8:0:1::1"), "u", now) {
		t.Error("a network is something else than a /64")
	}
}

// One program with a wrong password does not lock the others of its machine out.
func TestWhoHasLoggedInLatelyIsCountedApart(t *testing.T) {
	now := time.Unix(1e9, 0)
	here := netip.MustParseAddr("192.0.2.1")
	f := NewFailures(2)
	f.succeeded(here, "good", now)
	for range 5 {
		f.failed(here, "bad", now)
	}
	if f.exhausted(here, "good", now) || !f.exhausted(here, "bad", now) {
		t.Error("who has logged in is counted with the others")
	}
	f.failed(here, "good", now)
	f.failed(here, "good", now)
	if !f.exhausted(here, "good", now) {
		t.Error("who has logged in may guess without end")
	}
}

// It is an hour from the last login: else guesses at a user would be counted apart for as long as the address is remembered.
func TestWhoHasLoggedInLongAgoIsCountedWithTheOthers(t *testing.T) {
	now := time.Unix(1e9, 0)
	here := netip.MustParseAddr("192.0.2.1")
	f := NewFailures(1)
	exhaust := func() {
		f.failed(here, "bad", now)
		f.failed(here, "good", now)
	}
	f.succeeded(here, "good", now)
	now = now.Add(59 * time.Minute)
	exhaust()
	if !f.exhausted(here, "good", now) {
		t.Error("who has logged in lately may guess without end")
	}
	now = now.Add(50 * time.Second)
	f.succeeded(here, "good", now)
	if !f.exhausted(here, "good", now) {
		t.Error("a login has the failures before it forgotten")
	}
	now = now.Add(59 * time.Minute)
	f.failed(here, "bad", now)
	if f.exhausted(here, "good", now) {
		t.Error("the hour is not counted from the last login")
	}
	now = now.Add(time.Minute)
	f.failed(here, "bad", now)
	if !f.exhausted(here, "good", now) {
		t.Error("who has logged in an hour ago is counted apart")
	}
	now = now.Add(time.Minute)
	f.failed(here, "good", now)
	if !f.exhausted(here, "bad", now) {
		t.Error("who has logged in an hour ago does not count for the others")
	}
}

// A reload goes on counting, by the bound that is written there now.
func TestAnotherBoundGoesOnWithTheCount(t *testing.T) {
	now := time.Unix(1e9, 0)
	here := netip.MustParseAddr("192.0.2.1")
	f := NewFailures(3)
	for range 3 {
		f.failed(here, "u", now)
	}
	higher := f.Bounded(5)
	if !f.exhausted(here, "u", now) || higher.exhausted(here, "u", now) {
		t.Error("more are allowed, or fewer")
	}
	higher.failed(here, "u", now)
	higher.failed(here, "u", now)
	if !higher.exhausted(here, "u", now) {
		t.Error("what failed before is forgotten")
	}
	lower := higher.Bounded(2)
	if !lower.exhausted(here, "u", now) || lower.exhausted(here, "u", now.Add(31*time.Second)) {
		t.Error("fewer are allowed, and what is above them is held against the address")
	}
	if f.Bounded(0).exhausted(here, "u", now) {
		t.Error("no bound is one")
	}
}

func TestSocketsAndNoBoundAreNotCounted(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, f := range []*Failures{nil, NewFailures(0), NewFailures(1)} {
		address := netip.MustParseAddr("192.0.2.1")
		if f != nil && f.Most == 1 {
			address = netip.Addr{} // a unix socket
		}
		for range 3 {
			f.failed(address, "u", now)
			f.succeeded(address, "u", now)
		}
		if f.exhausted(address, "u", now) {
			t.Errorf("%+v: it is counted", f)
		}
	}
}

// O#421, O#685: what is remembered is bounded, whoever comes.
func TestAFloodOfAddressesIsForgotten(t *testing.T) {
	f := NewFailures(1)
	now := time.Unix(1e9, 0)
	for i := range uint32(3 * maxOrigins) {
		f.failed(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, i))), "u", now)
	}
	if n := f.counts.origins.Len(); n > maxOrigins {
		t.Errorf("%d are remembered", n)
	}
	if last := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 3*maxOrigins-1))); !f.exhausted(last, "u", now) {
		t.Error("who failed last is forgotten")
	}
}

func TestTooManyFailuresRefuseAlsoTheRightPassword(t *testing.T) {
	here := Peer{Address: netip.MustParseAddr("192.0.2.1")}
	d := door(t)
	d.Rules, d.Failures = rules(t, "host all trusting all trust\nhost all all all scram-sha-256"), NewFailures(3)
	fail := func() {
		p := visitorAs(t, d, here)
		scramFails(p, "alice")
	}
	fail()
	fail()
	// Those that were begun in time end no better: else whoever begins enough at once guesses as often as it likes.
	var begun []*peer
	for range 3 {
		p := visitorAs(t, d, here)
		p.send(startup("user", "alice"))
		p.want("the offer", offer)
		begun = append(begun, p)
	}
	fail()
	p := visitorAs(t, d, here)
	p.send(startup("user", "alice"))
	p.wantFatal("one too many", "28000", "too many failed logins from this address")
	for _, p := range begun {
		conversation := newClient(t, "secret")
		first, _ := conversation.Step("")
		p.send(initial(first))
		final, err := conversation.Step(p.challenge())
		if err != nil {
			t.Fatal(err)
		}
		p.send(sasl(final))
		p.wantFatal("the right password, too late", "28000", "too many failed logins from this address")
	}
	p = visitorAs(t, d, here)
	p.send(startup("user", "trusting"))
	p.wantClient("where nothing is to be proved, nothing is counted")
	p = visitorAs(t, d, Peer{Address: netip.MustParseAddr("192.0.2.2")})
	p.send(startup("user", "alice"))
	p.want("another address", offer)
}

func TestFailuresAreCountedFromManyGoroutines(t *testing.T) {
	f := NewFailures(1000)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 100 {
				address := netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 2)})
				f.failed(address, "u", time.Now())
				f.succeeded(address, "v", time.Now())
				f.exhausted(address, "w", time.Now())
			}
		})
	}
	all.Wait()
}
