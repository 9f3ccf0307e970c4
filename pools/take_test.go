package pools

import (
	"testing"
	"time"
)

func TestTakeGivesOneCertainIdleBackendAndNoOther(t *testing.T) {
	now := time.Unix(0, 0)
	p := newPair(Config{Max: 2, MinIdle: 2}, Config{Max: 1})
	p.Tick(now)
	var backends []*Backend
	for _, e := range append([]Event(nil), p.Events()...) {
		backends = append(backends, p.Dialed(now, e.Dial, nil))
	}
	p.Events()
	for _, b := range backends {
		var w Waiter
		if !p.Take(now, &w, b) {
			t.Fatal("an idle backend can be taken")
		}
		events := p.Events()
		if len(events) != 1 || events[0].Op != Granted || events[0].Backend != b || w.Backend() != b {
			t.Fatalf("taken: %+v", events)
		}
		if p.Take(now, new(Waiter), b) {
			t.Error("a backend that is checked out cannot be taken")
		}
		if err := p.Invariants(); err != nil {
			t.Error(err)
		}
	}
	for _, b := range backends {
		p.Release(now, b)
	}
	if c := p.Counts(Admin); c.Idle != 2 || c.Active != 0 {
		t.Errorf("after the release: %+v", c)
	}
}
