package pools

import (
	"errors"
	"testing"
	"time"
)

var start = time.Unix(1000, 0)

// dials gives the dials that were wanted, and how many refusals came for a cause.
func dials(p *Pair, cause Cause) (wanted []*Dial, refused int) {
	for _, e := range p.Events() {
		switch {
		case e.Op == DialWanted:
			wanted = append(wanted, e.Dial)
		case e.Op == Refused && e.Refusal.Cause == cause:
			refused++
		}
	}
	return wanted, refused
}

func TestVacatedPoolsStayEmptyUntilSomebodyAsks(t *testing.T) {
	p := newPair(Config{Max: 3, MinIdle: 2}, Config{Max: 1})
	p.Tick(start)
	wanted, _ := dials(p, 0)
	p.Dialed(start, wanted[0], nil)
	p.Vacate(start)
	if p.Dialed(start, wanted[1], nil); p.Counts(Admin).Idle != 0 {
		t.Error("one that was being dialled is kept")
	}
	p.Tick(start.Add(time.Hour))
	if wanted, _ = dials(p, 0); len(wanted) != 0 || !p.Next().IsZero() {
		t.Errorf("%d dials, the next tick at %v", len(wanted), p.Next())
	}
	p.Checkout(start.Add(time.Hour), &Waiter{}, Lock)
	if wanted, _ = dials(p, 0); len(wanted) != 3 {
		t.Errorf("%d dials when somebody asks, not 3", len(wanted))
	}
}

// To try again and again is of no use, and fills the logs of both sides.
func TestNobodyIsDialledForMinIdleAfterAPermanentFailure(t *testing.T) {
	p := newPair(Config{Max: 2, MinIdle: 1}, Config{Max: 1})
	p.Tick(start)
	wanted, _ := dials(p, 0)
	p.DialFailed(start, wanted[0], errors.New("no such database"), true)
	p.Tick(start.Add(time.Hour))
	if wanted, _ = dials(p, 0); len(wanted) != 0 {
		t.Error("it is dialled again")
	}
	p.Checkout(start.Add(time.Hour), &Waiter{}, Admin)
	if wanted, _ = dials(p, 0); len(wanted) != 1 {
		t.Error("whoever asks finds out whether it works now")
	}
}

func TestPatientPairsWaitForTheServerThatTakesOver(t *testing.T) {
	const timeout = 10 * time.Second
	for _, patient := range []bool{false, true} {
		p := newPair(Config{Max: 1, CheckoutTimeout: timeout}, Config{Max: 1, CheckoutTimeout: timeout})
		p.Patient = patient
		p.Checkout(start, &Waiter{}, Admin)
		refused, attempts := 0, 0
		var at time.Duration
		for at = 0; refused == 0 && at <= timeout; at += 10 * time.Millisecond {
			p.Tick(start.Add(at))
			wanted, n := dials(p, DialFailed)
			for _, d := range wanted {
				attempts++
				p.DialFailed(start.Add(at), d, errors.New("connection refused"), false)
				_, m := dials(p, DialFailed)
				n += m
			}
			refused += n
		}
		if at = at - 10*time.Millisecond; refused != 1 || patient != (at == timeout) || patient && attempts < 10 {
			t.Errorf("patient %t: %d refused after %v and %d attempts", patient, refused, at, attempts)
		}
	}
}
