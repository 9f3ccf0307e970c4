package pools

import (
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"time"
)

// market is several pairs that share a budget, and their sessions, which come and go at random.
type market struct {
	rng      *rand.Rand
	budget   *Budget
	pairs    []*Pair
	sessions [][]*Waiter // by pair
	dials    []*Event
	leaving  []*Event
	now      time.Time
	trace    []string
	refused  map[Cause]int
	yielded  int
}

func newMarket(seed int64, admin, lock int, configs ...Config) *market {
	m := &market{rng: rand.New(rand.NewSource(seed)), budget: NewBudget(admin, lock), now: time.Unix(1000, 0), refused: map[Cause]int{}}
	for i, c := range configs {
		p := m.budget.NewPair(c, c)
		m.pairs = append(m.pairs, p)
		var own []*Waiter
		for j := range 8 {
			own = append(own, &Waiter{Owner: fmt.Sprint(i, ".", j)})
		}
		m.sessions = append(m.sessions, own)
	}
	return m
}

// did takes the events of a call, and checks what must hold after it.
func (m *market) did(what string, args ...any) error {
	m.trace = append(m.trace, fmt.Sprint(what, args))
	for _, e := range m.budget.events {
		m.trace = append(m.trace, fmt.Sprint("  ", e.Op, e.Reason, slices.Index(m.pairs, e.Pair)))
		switch e.Op {
		case DialWanted:
			m.dials = append(m.dials, &e)
		case CloseWanted:
			m.leaving = append(m.leaving, &e)
			if e.Reason == Yielded {
				m.yielded++
			}
		case Refused, PromotionRefused:
			m.refused[e.Refusal.Cause]++
		}
	}
	m.pairs[0].Events()
	for i, p := range m.pairs {
		if err := p.Invariants(); err != nil {
			return fmt.Errorf("pair %d: %w", i, err)
		}
	}
	return m.budget.Invariants(m.pairs...)
}

func (m *market) step() error {
	i := m.rng.Intn(len(m.pairs))
	p, w := m.pairs[i], pick(m.rng, m.sessions[i])
	if m.rng.Intn(3) == 0 {
		m.now = m.now.Add(time.Duration(m.rng.Intn(300)) * time.Millisecond)
	}
	b := w.backend
	switch n := m.rng.Intn(100); {
	case n < 35 && b == nil && w.place.in == nil:
		p.Checkout(m.now, w, Kind(m.rng.Intn(2)))
		return m.did("checkout", w.Owner)
	case n < 40 && w.place.in != nil:
		p.Leave(m.now, w)
		return m.did("leave", w.Owner)
	case n < 60 && b != nil && w.place.in == nil:
		p.Release(m.now, b)
		return m.did("release", w.Owner)
	case n < 65 && b != nil:
		p.Remove(m.now, b)
		return m.did("remove", w.Owner)
	case n < 75 && b != nil && b.kind == Admin && w.place.in == nil:
		p.Promote(m.now, w, b)
		return m.did("promote", w.Owner)
	case n < 78 && b != nil && b.kind == Lock:
		p.Demote(m.now, b)
		return m.did("demote", w.Owner)
	case n < 92 && len(m.dials) > 0:
		return m.endDial(m.rng.Intn(8) == 0)
	case n < 98 && len(m.leaving) > 0:
		return m.endLeaving()
	}
	p.Tick(m.now)
	return m.did("tick")
}

func (m *market) endDial(fails bool) error {
	e := m.dials[0]
	m.dials = m.dials[1:]
	if fails {
		e.Pair.DialFailed(m.now, e.Dial, errors.New("no"), false)
		return m.did("dial failed")
	}
	e.Pair.Dialed(m.now, e.Dial, nil)
	return m.did("dialed")
}

func (m *market) endLeaving() error {
	e := m.leaving[0]
	m.leaving = m.leaving[1:]
	e.Pair.Remove(m.now, e.Backend)
	return m.did("gone")
}

// settle has everybody come to an end of what it does: then nobody may be left waiting.
func (m *market) settle() error {
	for range 400 {
		m.now = m.now.Add(50 * time.Millisecond)
		for i, own := range m.sessions {
			for _, w := range own {
				if w.backend == nil || w.place.in != nil {
					continue
				}
				m.pairs[i].Release(m.now, w.backend)
				if err := m.did("release", w.Owner); err != nil {
					return err
				}
			}
		}
		for len(m.dials) > 0 {
			if err := m.endDial(false); err != nil {
				return err
			}
		}
		for len(m.leaving) > 0 {
			if err := m.endLeaving(); err != nil {
				return err
			}
		}
		for _, p := range m.pairs {
			p.Tick(m.now)
			if err := m.did("tick"); err != nil {
				return err
			}
		}
	}
	for _, own := range m.sessions {
		for _, w := range own {
			if since, waits := w.Waiting(); waits {
				return fmt.Errorf("%v waits since %v", w.Owner, m.now.Sub(since))
			}
		}
	}
	return nil
}

// Whatever pairs do, the server never has more backends than it may, nobody waits beside an idle one, no promotion waits while
// somebody waits for the admin share, and everybody is served in the end.
func TestPairsThatShareABudget(t *testing.T) {
	yielded, busy := 0, 0
	for seed := range int64(150) {
		rng := rand.New(rand.NewSource(seed))
		var configs []Config
		for range 1 + rng.Intn(4) {
			configs = append(configs, Config{Max: 1 + rng.Intn(5), MinIdle: max(0, rng.Intn(4)-2), IdleTimeout: time.Duration(rng.Intn(3)) * time.Second})
		}
		m := newMarket(seed, 1+rng.Intn(6), 1+rng.Intn(4), configs...)
		err := m.did("new")
		for i := 0; i < 400 && err == nil; i++ {
			err = m.step()
		}
		if err == nil {
			err = m.settle()
		}
		if err != nil {
			t.Fatalf("seed %d: %v\n%v", seed, err, m.trace[max(0, len(m.trace)-60):])
		}
		yielded += m.yielded
		busy += m.refused[PromotionBusy]
	}
	if yielded == 0 || busy == 0 {
		t.Errorf("%d backends yielded, %d promotions refused: the walk is too tame", yielded, busy)
	}
}

// A pair that is never idle cannot keep the others out, nor do they take turns with every transaction.
func TestABusyPairYieldsToWhoCameBefore(t *testing.T) {
	c := Config{Max: 5}
	m := newMarket(1, 1, 1, c, c)
	busy, poor := m.pairs[0], m.pairs[1]
	do := func(what string, call func()) {
		t.Helper()
		call()
		if err := m.did(what); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	w := m.sessions[0]
	do("first", func() { busy.Checkout(m.now, w[0], Admin) })
	do("dialed", func() { m.endDial(false) })
	other := m.sessions[1][0]
	do("the poor one waits", func() { poor.Checkout(m.now, other, Admin) })
	for i := 1; ; i++ {
		do("another waits", func() { busy.Checkout(m.now, w[i%2], Admin) })
		m.now = m.now.Add(30 * time.Millisecond)
		do("release", func() { busy.Release(m.now, w[(i+1)%2].backend) })
		if m.yielded > 0 {
			break
		}
		if i > 5 {
			t.Fatal("the poor one is kept out")
		}
	}
	if waited := m.now.Sub(time.Unix(1000, 0)); waited < settledFor {
		t.Errorf("a backend that was opened is closed after %v", waited)
	}
	if len(m.dials) > 0 {
		t.Error("another backend is dialled before the first is gone")
	}
	do("gone", func() { m.endLeaving() })
	do("dialed", func() { m.endDial(false) })
	if other.backend == nil {
		t.Error("the poor one has none")
	}
}

// A flood of ordinary work leaves the lock pools' share alone, and the reverse.
func TestEachKindOfPoolHasAShareOfItsOwn(t *testing.T) {
	for _, flood := range []Kind{Admin, Lock} {
		m := newMarket(1, 2, 2, Config{Max: 5}, Config{Max: 5})
		for i, own := range m.sessions {
			for _, w := range own[:5] {
				m.pairs[i].Checkout(m.now, w, flood)
				if err := m.did("flood"); err != nil {
					t.Fatal(err)
				}
			}
		}
		for len(m.dials) > 0 {
			if err := m.endDial(false); err != nil {
				t.Fatal(err)
			}
		}
		for i := range m.pairs {
			m.pairs[i].Checkout(m.now, m.sessions[i][7], 1-flood)
			if err := m.did("other"); err != nil {
				t.Fatal(err)
			}
			for len(m.dials) > 0 {
				if err := m.endDial(false); err != nil {
					t.Fatal(err)
				}
			}
			if m.sessions[i][7].backend == nil {
				t.Errorf("a flood of the %s pools takes what is the other's", flood)
			}
		}
	}
}

func TestTheLongestIdleBackendOfAnotherPairMakesRoom(t *testing.T) {
	m := newMarket(1, 2, 1, Config{Max: 5}, Config{Max: 5}, Config{Max: 5})
	for i := range 2 {
		w := m.sessions[i][0]
		m.pairs[i].Checkout(m.now, w, Admin)
		m.did("checkout")
		m.endDial(false)
		m.now = m.now.Add(time.Second)
		m.pairs[i].Release(m.now, w.backend)
		if err := m.did("release"); err != nil {
			t.Fatal(err)
		}
	}
	m.pairs[2].Checkout(m.now, m.sessions[2][0], Admin)
	if err := m.did("checkout"); err != nil {
		t.Fatal(err)
	}
	if len(m.leaving) != 1 || m.leaving[0].Pair != m.pairs[0] {
		t.Errorf("the first pair's is idle longest; closed are %v", m.leaving)
	}
}
