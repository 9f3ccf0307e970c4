package pools

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand"
	"slices"
	"testing"
	"time"
)

// TestRandomStepsAgreeWithTheModel takes seeded random steps; after each, the model judges all that came of
// it and the invariants hold. Each seed runs twice, so that a decision that depends on anything but the
// inputs is found out.
func TestRandomStepsAgreeWithTheModel(t *testing.T) {
	seeds, steps := int64(150), 1500
	if testing.Short() {
		seeds = 10
	}
	total := [Demotable + 1]int{}
	causes := map[Cause]int{}
	for seed := range seeds {
		first := newWalk(seed)
		if err := first.run(steps); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		second := newWalk(seed)
		if err := second.run(steps); err != nil || first.hash.Sum64() != second.hash.Sum64() {
			t.Fatalf("seed %d runs differently the second time (%v)", seed, err)
		}
		for op, n := range first.seen {
			total[op] += n
		}
		for c, n := range first.causes {
			causes[c] += n
		}
	}
	for op := Granted; op <= Demotable; op++ {
		if op != StillWaiting && total[op] < 100 && !testing.Short() {
			t.Errorf("only %d events %q: the walk sees too little", total[op], op)
		}
	}
	for c := Timeout; c <= Closed; c++ {
		if causes[c] < 20 && !testing.Short() {
			t.Errorf("only %d refusals by %q: the walk sees too little", causes[c], c)
		}
	}
}

// walk is one seed's random walk.
type walk struct {
	rng      *rand.Rand
	p        *Pair
	m        *model
	sessions []*Waiter
	trace    []string
	hash     interface {
		Write([]byte) (int, error)
		Sum64() uint64
	}
	seen   [Demotable + 1]int
	causes map[Cause]int
}

func newWalk(seed int64) *walk {
	w := &walk{rng: rand.New(rand.NewSource(seed)), hash: fnv.New64a(), causes: map[Cause]int{}}
	admin, lock := w.config(), w.config()
	w.p, w.m = newPair(admin, lock), newModel(admin, lock)
	w.m.now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 4 + w.rng.Intn(24) {
		w.sessions = append(w.sessions, &Waiter{Owner: i, Label: i})
	}
	return w
}

func (w *walk) config() Config {
	some := func(n int) time.Duration { return time.Duration(w.rng.Intn(n)) * time.Second }
	return Config{
		Max: 1 + w.rng.Intn(7), MinIdle: max(0, w.rng.Intn(5)-2), MaxWaiting: max(0, w.rng.Intn(10)-4),
		CheckoutTimeout: some(6), IdleTimeout: some(8), MaxLifetime: some(15),
	}
}

func (w *walk) run(steps int) error {
	w.m.verb = "tick"
	w.p.Tick(w.m.now)
	if err := w.check(); err != nil {
		return err
	}
	for i := range steps {
		w.step()
		if err := w.check(); err != nil {
			return fmt.Errorf("step %d: %w\n%v", i, err, w.trace[max(0, len(w.trace)-30):])
		}
	}
	return w.end()
}

// step takes one step, or none if the one that was drawn is impossible now.
func (w *walk) step() {
	w.m.verb = ""
	if w.rng.Intn(3) == 0 {
		w.m.now = w.m.now.Add(time.Duration(w.rng.Intn(400)) * time.Millisecond)
	}
	switch n := w.rng.Intn(100); {
	case n < 28:
		w.checkout()
	case n < 33:
		w.leave()
	case n < 53:
		w.giveBack(w.p.Release, "release", w.m.release)
	case n < 57:
		w.giveBack(w.p.Remove, "remove", w.m.takeBack)
	case n < 59:
		w.loseIdle()
	case n < 69:
		w.promote()
	case n < 72:
		w.hold()
	case n < 75:
		w.demote()
	case n < 86:
		w.endDial(w.rng.Intn(5) == 0)
	case n < 95:
		w.tick()
	case n < 97:
		w.withhold()
	case n < 99:
		w.configure()
	case w.rng.Intn(2) == 0:
		w.pause()
	default:
		w.drain()
	}
}

// note begins a step's call.
func (w *walk) note(verb string, args ...any) {
	w.m.verb = verb
	w.trace = append(w.trace, fmt.Sprint("\n", verb, args))
}

// check judges what came of a step.
func (w *walk) check() error {
	for _, e := range w.p.Events() {
		line := fmt.Sprint(" -> ", e.Op, e.Reason)
		if e.Waiter != nil {
			line += fmt.Sprint(" w", e.Waiter.Owner)
		}
		if e.Refusal != nil {
			line += fmt.Sprint(" ", e.Refusal)
			w.causes[e.Refusal.Cause]++
		}
		w.seen[e.Op]++
		w.trace = append(w.trace, line)
		w.hash.Write([]byte(line))
		if err := w.m.judge(e); err != nil {
			return fmt.Errorf("%v: %w", line, err)
		}
	}
	if err := w.p.Invariants(); err != nil {
		return err
	}
	return w.m.compare(w.p)
}

func (w *walk) checkout() {
	s := pick(w.rng, w.sessions)
	if w.m.has[s] != nil || slices.Contains(w.m.order, s) {
		return
	}
	k := Kind(w.rng.Intn(2))
	w.note("checkout", s.Owner, k)
	w.m.vacant = false
	w.m.enqueue(s, &w.m.waiting[k])
	w.p.Checkout(w.m.now, s, k)
}

func (w *walk) leave() {
	if len(w.m.order) == 0 {
		return
	}
	s := pick(w.rng, w.m.order)
	w.note("leave", s.Owner)
	w.m.dequeue(s)
	w.p.Leave(w.m.now, s)
}

// holder draws a session that has a backend.
func (w *walk) holder() *Waiter {
	s := pick(w.rng, w.sessions)
	if w.m.has[s] == nil {
		return nil
	}
	return s
}

func (w *walk) giveBack(call func(time.Time, *Backend), verb string, inModel func(*Backend)) {
	s := w.holder()
	if s == nil || verb == "release" && slices.Contains(w.m.promoting, s) {
		return
	}
	w.note(verb, s.Owner)
	b := w.m.has[s]
	inModel(b)
	call(w.m.now, b)
}

func (w *walk) loseIdle() {
	k := w.rng.Intn(2)
	if len(w.m.idle[k]) == 0 {
		return
	}
	b := pick(w.rng, w.m.idle[k])
	w.note("remove idle", k)
	w.m.takeBack(b)
	w.p.Remove(w.m.now, b)
}

func (w *walk) promote() {
	s := w.holder()
	if s == nil || w.m.poolOf(w.m.has[s]) == Lock || slices.Contains(w.m.promoting, s) {
		return
	}
	w.note("promote", s.Owner)
	w.m.enqueue(s, &w.m.promoting)
	w.p.Promote(w.m.now, s, w.m.has[s])
}

func (w *walk) demote() {
	s := w.holder()
	if s == nil || w.m.poolOf(w.m.has[s]) != Lock {
		return
	}
	w.note("demote", s.Owner)
	want := w.m.demote(w.m.has[s])
	if w.p.Demote(w.m.now, w.m.has[s]) != want {
		w.trace = append(w.trace, " where it should not, or did not")
		w.m.wrong = true
	}
}

func (w *walk) hold() {
	s := w.holder()
	if s == nil {
		return
	}
	b := w.m.has[s]
	w.note("hold", s.Owner)
	w.m.holds[b] = !w.m.holds[b]
	w.p.Hold(b, w.m.holds[b])
}

func (w *walk) endDial(fails bool) {
	under := slices.Concat(w.m.dials[Admin], w.m.dials[Lock])
	if len(under) == 0 {
		return
	}
	d := pick(w.rng, under)
	k := w.m.endDial(d)
	if fails {
		w.note("fail", k)
		permanent := w.rng.Intn(3) == 0
		if !w.m.old[d] {
			w.m.failing, w.m.failedAt = true, w.m.now
			w.m.vacant = w.m.vacant || permanent
		}
		w.p.DialFailed(w.m.now, d, errors.New("no"), permanent)
		return
	}
	w.note("dialed", k)
	if !w.m.old[d] {
		w.m.failing = false
	}
	b := w.p.Dialed(w.m.now, d, nil)
	w.m.idle[k] = append(w.m.idle[k], b)
	w.m.born[b], w.m.rested[b], w.m.old[b] = w.m.now, w.m.now, w.m.old[d]
}

// tick calls Tick now, or exactly when it is due.
func (w *walk) tick() {
	if next := w.p.Next(); w.rng.Intn(2) == 0 && next.After(w.m.now) && next.Before(w.m.now.Add(10*time.Second)) {
		w.m.now = next
	}
	w.note("tick", w.m.now)
	w.p.Tick(w.m.now)
}

func (w *walk) configure() {
	w.m.cfg = [2]Config{w.config(), w.config()}
	w.note("configure", w.m.cfg)
	w.p.Configure(w.m.now, w.m.cfg[Admin], w.m.cfg[Lock])
}

func (w *walk) withhold() {
	w.m.withheld = !w.m.withheld
	w.note("withhold", w.m.withheld)
	w.p.Withhold(w.m.now, w.m.withheld)
}

func (w *walk) pause() {
	if w.m.paused = !w.m.paused; w.m.paused {
		w.outdate()
	}
	w.note("pause", w.m.paused)
	w.p.Pause(w.m.now, w.m.paused)
}

func (w *walk) drain() {
	if w.rng.Intn(3) == 0 {
		w.retire()
		return
	}
	w.m.vacant = w.rng.Intn(2) == 0
	w.note("drain", w.m.vacant)
	w.outdate()
	if w.m.vacant {
		w.p.Vacate(w.m.now)
	} else {
		w.p.Drain(w.m.now)
	}
}

func (w *walk) retire() {
	failing := w.m.failing
	w.note("retire")
	w.outdate()
	w.m.failing = failing
	w.p.Retire(w.m.now)
}

// outdate notes that none of the backends and dials that there are is to serve anybody else.
func (w *walk) outdate() {
	w.m.failing = false
	for k := range w.m.idle {
		for _, b := range slices.Concat(w.m.idle[k], w.m.active[k]) {
			w.m.old[b] = true
		}
		for _, d := range w.m.dials[k] {
			w.m.old[d] = true
		}
	}
}

// end closes the pair and gives everything back: nothing may be left.
func (w *walk) end() error {
	w.note("close")
	w.m.closed = true
	w.p.Close(w.m.now)
	if err := w.check(); err != nil {
		return err
	}
	for _, s := range w.sessions {
		b := w.m.has[s]
		if b == nil {
			continue
		}
		w.note("release", s.Owner)
		w.m.release(b)
		w.p.Release(w.m.now, b)
		if err := w.check(); err != nil {
			return err
		}
	}
	for len(w.m.dials[Admin])+len(w.m.dials[Lock]) > 0 {
		w.endDial(false)
		if err := w.check(); err != nil {
			return err
		}
	}
	for k := Admin; k <= Lock; k++ {
		if c := w.p.Counts(k); c != (Counts{Max: c.Max}) {
			return fmt.Errorf("left over in the %s pool: %+v", k, c)
		}
	}
	return nil
}

func pick[T any](rng *rand.Rand, s []T) T { return s[rng.Intn(len(s))] }
