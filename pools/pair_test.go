package pools

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCheckoutTakesAnIdleBackendAtOnce(t *testing.T) {
	r := newRig(t)
	r.idle(Admin, 1)
	r.want("an idle backend is granted in the same call", "checkout w1 admin", "granted w1 b1")
	r.wantCounts("it is active", "admin max 2, active 1")
}

func TestCheckoutOfAnEmptyPoolDialsForTheWaiter(t *testing.T) {
	r := newRig(t)
	r.want("nothing is there, so a dial is wanted", "checkout w1 admin", "dial d1 admin")
	r.run("later 20ms")
	r.want("the dialled backend goes to the waiter", "dialed d1", "granted w1 b1 after 20ms")
}

func TestIdleBackendsAreTakenLastInFirstOut(t *testing.T) {
	r := newRig(t, "admin.max=3")
	r.idle(Admin, 3)
	r.want("the last one released comes first", "checkout w1 admin", "granted w1 b3")
	r.want("then the one before it", "checkout w2 admin", "granted w2 b2")
	r.run("release b3")
	r.want("the warm one again, not the one that was never used", "checkout w3 admin", "granted w3 b3")
}

func TestWaitersAreServedFirstComeFirstServed(t *testing.T) {
	r := newRig(t, "admin.max=1")
	r.active(Admin, "w1")
	for _, w := range []string{"w2", "w3", "w4"} {
		r.want("the pool is full", "checkout "+w+" admin")
	}
	r.want("the first in the queue", "release b1", "granted w2 b1")
	r.want("one who left is passed over", "leave w3")
	r.want("the next in the queue", "release b1", "granted w4 b1")
	r.want("nobody is left", "release b1")
	r.wantCounts("so it is idle", "admin max 1, idle 1")
}

func TestDirectHandoffKeepsThePoolsSize(t *testing.T) {
	// pg_doorman 3.5.2: each direct handoff lost a permit, and the pool shrank to nothing.
	r := newRig(t, "admin.max=1")
	r.active(Admin, "a")
	for range 1000 {
		r.run("checkout b admin")
		r.want("handed over", "release a", "granted b b1")
		r.run("checkout a admin")
		r.want("handed back", "release b", "granted a b1")
	}
	r.wantCounts("after all that it is still one of one", "admin max 1, active 1")
	r.run("remove a")
	r.want("and its slot can be used again", "checkout a admin", "dial d2 admin")
}

func TestCountersSurviveEveryWayOut(t *testing.T) {
	// PgBouncer 1.24.1 #1238 and PgDog #961: a counter that was wrong once stayed wrong for ever.
	r := newRig(t, "admin.max=2", "lock.max=2")
	r.active(Admin, "a1", "a2")
	r.run("checkout gone admin")
	r.run("leave gone")
	r.run("promote a1 b1")
	r.run("hold b1")
	r.run("remove b1")
	r.run("remove b1") // died twice, as two observers saw it
	r.run("release b2")
	r.wantCounts("nothing is left over", "admin max 2, idle 1", "lock max 2")
	r.run("remove b2")
	r.wantCounts("nothing at all", "admin max 2", "lock max 2")
}

func TestLeavingIsAtOnceAndTellsWhetherTheWaiterWaited(t *testing.T) {
	r := newRig(t, "admin.max=1")
	r.active(Admin, "w1")
	r.run("checkout w2 admin")
	if !r.p.Leave(r.now, r.waiter("w2")) {
		t.Error("w2 waited")
	}
	if r.p.Leave(r.now, r.waiter("w2")) {
		t.Error("w2 has left already")
	}
	if r.p.Leave(r.now, r.waiter("w1")) {
		t.Error("w1 has its backend, and must release it")
	}
	r.want("who left is granted nothing", "release b1")
	r.want("who left may come back", "checkout w2 admin", "granted w2 b1")
}

func TestThePoolsAreSeparateAccounts(t *testing.T) {
	r := newRig(t, "admin.max=1", "lock.max=1")
	r.idle(Lock, 1)
	r.active(Admin, "w1")
	r.want("an idle lock backend is not lent", "checkout w2 admin")
	r.want("nor the other way round", "checkout w3 lock", "granted w3 b1")
	r.want("a lock backend's release serves no admin waiter", "release w3")
	r.wantCounts("it is idle beside the waiter", "admin max 1, active 1, waiting 1", "lock max 1, idle 1")
}

func TestRemoveFreesTheSlotForTheNextWaiter(t *testing.T) {
	r := newRig(t, "admin.max=1")
	r.active(Admin, "w1")
	r.run("checkout w2 admin")
	r.want("a backend that died makes room for another", "remove w1", "dial d2 admin")
	r.want("which is the waiter's", "dialed d2", "granted w2 b2")
	r.run("release w2")
	r.want("an idle one that dies is not missed", "remove b2")
	r.wantCounts("nothing is left", "admin max 1")
}

func TestQueueIsBoundedByMaxWaiting(t *testing.T) {
	r := newRig(t, "admin.max=1", "admin.max_waiting=2", "lock.max=1", "lock.max_waiting=1")
	r.want("a free slot is no waiting for others", "checkout w1 admin", "dial d1 admin")
	r.want("the first who depends on others", "checkout w2 admin")
	r.want("the second", "checkout w3 admin")
	r.want("the third is too many", "checkout w4 admin", "refused w4 queue full")
	r.run("leave w2")
	r.want("there is room again", "checkout w4 admin")

	r = newRig(t, "admin.max=2", "lock.max=1", "lock.max_waiting=1")
	r.active(Lock, "l1")
	r.active(Admin, "a1", "a2")
	r.want("a promotion waits", "promote a1 a1")
	r.want("promotions and checkouts count alike", "checkout l2 lock", "refused l2 queue full")
	r.want("in either order", "promote a2 a2", "promotion refused a2 b3 queue full")
}

func TestHoldIsOnlyCounted(t *testing.T) {
	r := newRig(t, "lock.max=2")
	r.active(Lock, "w1", "w2")
	r.want("w1 took a lock", "hold w1")
	r.want("and another", "hold w1")
	r.wantCounts("a backend is counted once", "lock max 2, active 2, holding 1")
	if !r.backend("w1").Holding() || r.backend("w2").Holding() {
		t.Error("b1 holds, b2 does not")
	}
	r.run("unhold w1")
	r.run("unhold w1")
	r.wantCounts("none holds", "lock max 2, active 2")
	r.run("hold w2")
	r.run("release w2")
	r.wantCounts("a released backend holds nothing", "lock max 2, idle 1, active 1")
}

func TestCountsTellTheLongestWaitAndCheckout(t *testing.T) {
	r := newRig(t, "admin.max=1", "lock.max=1")
	if c := r.p.Counts(Admin); c.Max != 1 || !c.WaitingSince.IsZero() || !c.ActiveSince.IsZero() {
		t.Errorf("an empty pool: %+v", c)
	}
	r.active(Admin, "a1")
	r.run("later 1s")
	r.active(Lock, "l1")
	r.run("later 1s")
	r.run("promote a1 a1")
	r.run("later 1s")
	r.run("checkout l2 lock")
	r.run("later 1s")
	admin, lock := r.p.Counts(Admin), r.p.Counts(Lock)
	for _, c := range []struct {
		what string
		got  time.Time
		want time.Duration
	}{
		{"the admin backend was checked out first", admin.ActiveSince, 0},
		{"the lock backend a second later", lock.ActiveSince, time.Second},
		{"the promotion waits longest", lock.WaitingSince, 2 * time.Second},
	} {
		if got := c.got.Sub(r.begin); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
	r.run("leave a1")
	if got := r.p.Counts(Lock).WaitingSince.Sub(r.begin); got != 3*time.Second {
		t.Errorf("now the checkout waits longest: %v", got)
	}
}

func TestWaiterAndBackendTellWhatTheyAreDoing(t *testing.T) {
	r := newRig(t, "admin.max=1")
	w1, w2 := r.waiter("w1"), r.waiter("w2")
	r.active(Admin, "w1")
	r.run("later 3s")
	r.run("checkout w2 admin")
	if since, ok := w2.Waiting(); !ok || !since.Equal(r.now) {
		t.Errorf("w2 waits since now: %v %v", since, ok)
	}
	if _, ok := w1.Waiting(); ok {
		t.Error("w1 does not wait")
	}
	b := w1.Backend()
	if b.Holder() != w1 || b.Kind() != Admin || !b.Since().Equal(r.begin) || !b.Born().Equal(r.begin) {
		t.Errorf("b1 is w1's since the beginning: %+v", b)
	}
	r.run("release w1")
	if b.Holder() != w2 || !b.Since().Equal(r.now) || !b.Born().Equal(r.begin) || w1.Backend() != nil {
		t.Errorf("b1 is w2's since now: %+v", b)
	}
}

func TestBackendsShowsEachOnceActiveOnesFirst(t *testing.T) {
	r := newRig(t, "admin.max=3", "lock.max=2")
	r.idle(Admin, 1)
	r.active(Lock, "l1")
	r.active(Admin, "a1", "a2")
	r.run("release a1")
	var got []string
	for b := range r.p.Backends() {
		got = append(got, b.Kind().String()+" "+r.nameOf(b))
	}
	if want := []string{"admin b3", "admin b1", "lock b2"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for range r.p.Backends() {
		break // A reader may stop early.
	}
}

func TestATakenBackendIsReplacedAsMinIdleAsks(t *testing.T) {
	r := newRig(t, "admin.min_idle=1")
	r.run("tick")
	r.run("dialed d1")
	if !r.p.Take(r.now, r.waiter("probe"), r.backend("b1")) {
		t.Fatal("b1 is idle")
	}
	if got := strings.Join(r.take(), "; "); got != "granted probe b1; dial d2 admin" {
		t.Errorf("taken: %s", got)
	}
	if err := r.p.Invariants(); err != nil {
		t.Error(err)
	}
}

func TestTimesThatRunBackwardsCountAsTheLatestSeen(t *testing.T) {
	// Callers read the clock before they take their mutex, so that a later call may bring an earlier time.
	r := newRig(t, "admin.max=1")
	r.active(Admin, "w1")
	r.run("later 1s")
	r.run("checkout w2 admin")
	r.run("later -500ms")
	r.run("checkout w3 admin")
	r.run("later 500ms")
	r.want("w2 came first and is refused first", "tick 10s", "refused w2 timeout after 10s", "refused w3 timeout after 10s")
}

func TestEventsHoldUntilTheNextCall(t *testing.T) {
	r := newRig(t, "admin.max=1", "admin.max_waiting=1")
	r.p.Checkout(r.now, r.waiter("w1"), Admin)
	r.p.Checkout(r.now, r.waiter("w2"), Admin)
	r.p.Checkout(r.now, r.waiter("w3"), Admin)
	events := r.p.Events()
	if len(events) != 2 || events[0].Op != DialWanted || events[1].Op != Refused {
		t.Errorf("a dial and a refusal since the beginning: %v", events)
	}
	if more := r.p.Events(); len(more) != 0 {
		t.Errorf("nothing since: %v", more)
	}
}

func TestABurstOfEventsLeavesNoBufferBehind(t *testing.T) {
	r := newRig(t, "admin.max=1")
	r.active(Admin, "w1")
	for range 10 * keptEvents {
		r.p.Checkout(r.now, &Waiter{}, Admin)
	}
	r.p.Close(r.now)
	if n := len(r.p.Events()); n != 10*keptEvents {
		t.Errorf("%d refusals", n)
	}
	if c := cap(r.p.budget.events); c > keptEvents {
		t.Errorf("room for %d events is kept, and with it the records of clients that are gone", c)
	}
}

func TestMisusePanicsByName(t *testing.T) {
	full := func(t *testing.T) *rig {
		r := newRig(t, "admin.max=2", "lock.max=1")
		r.active(Lock, "l1")
		r.active(Admin, "a1", "a2")
		return r
	}
	other := func(t *testing.T) *Backend {
		r := newRig(t)
		r.active(Admin, "x")
		return r.backend("x")
	}
	for _, c := range []struct {
		name   string
		misuse func(r *rig)
		want   string
	}{
		{"release of an idle backend", func(r *rig) { r.run("release a1"); r.run("release b2") }, "Release of an idle backend"},
		{"release of a removed backend", func(r *rig) { r.run("remove a1"); r.run("release b2") }, "Release of a backend that left the pools"},
		{"release of another pair's backend", func(r *rig) { r.p.Release(r.now, other(t)) }, "another pair's backend"},
		{"remove of another pair's backend", func(r *rig) { r.p.Remove(r.now, other(t)) }, "another pair's backend"},
		{"hold of an idle backend", func(r *rig) { r.run("release a1"); r.run("hold b2") }, "Hold of an idle backend"},
		{"checkout while waiting", func(r *rig) { r.run("checkout w lock"); r.run("checkout w admin") }, "already waits"},
		{"checkout while holding", func(r *rig) { r.run("checkout a1 lock") }, "holds a backend"},
		{"promotion twice", func(r *rig) { r.run("promote a1 a1"); r.run("promote a1 a1") }, "already waits"},
		{"promotion of a lock backend", func(r *rig) { r.run("promote l1 l1") }, "Promote of a lock backend"},
		{"demotion of an admin backend", func(r *rig) { r.run("demote a1") }, "Demote of an admin backend"},
		{"promotion of another's backend", func(r *rig) { r.run("promote a1 a2") }, "does not hold"},
		{"promotion of an idle backend", func(r *rig) { r.run("release a1"); r.run("promote a1 b2") }, "Promote of an idle backend"},
		{"release while the promotion waits", func(r *rig) { r.run("promote a1 a1"); r.run("release a1") }, "promotion waits"},
		{"a dial that ends twice", func(r *rig) { r.run("dialed d1") }, "not under way"},
		{"a dial that fails after its end", func(r *rig) { r.run("fail d1") }, "not under way"},
		{"leaving another pair's queue", func(r *rig) {
			o := newRig(t, "admin.max=0")
			o.run("checkout w admin")
			r.p.Leave(r.now, o.waiter("w"))
		}, "another pair's waiter"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := full(t)
			defer func() {
				if got, _ := recover().(string); !strings.Contains(got, c.want) {
					t.Errorf("panic %q, want one about %q", got, c.want)
				}
			}()
			c.misuse(r)
		})
	}
}

func TestCheckoutAndReleaseDoNotAllocate(t *testing.T) {
	p, w, now := onePair()
	if n := testing.AllocsPerRun(1000, func() { checkoutRelease(p, w, now) }); n != 0 {
		t.Errorf("%v allocations a checkout and release", n)
	}
}

func BenchmarkCheckoutRelease(b *testing.B) {
	p, w, now := onePair()
	b.ReportAllocs()
	for b.Loop() {
		checkoutRelease(p, w, now)
	}
}

// onePair returns a pair with an idle admin backend, limits as the defaults are.
func onePair() (*Pair, *Waiter, time.Time) {
	cfg := Config{Max: 20, CheckoutTimeout: 10 * time.Second, IdleTimeout: 30 * time.Second, MaxLifetime: time.Hour}
	p, w, now := newPair(cfg, cfg), &Waiter{}, time.Now()
	p.Checkout(now, w, Admin)
	b := p.Dialed(now, p.Events()[0].Dial, nil)
	p.Release(now, b)
	p.Events()
	return p, w, now
}

func checkoutRelease(p *Pair, w *Waiter, now time.Time) {
	p.Checkout(now, w, Admin)
	b := p.Events()[0].Backend
	p.Hold(b, true)
	p.Release(now, b)
	if len(p.Events()) != 0 || p.Next().IsZero() {
		panic("a release into the idle list has no event, and its timeout is due some day")
	}
}
