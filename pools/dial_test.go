package pools

import (
	"errors"
	"testing"
	"time"
)

func TestADialGoesOnWhenItsWaiterGaveUp(t *testing.T) {
	r := newRig(t)
	r.run("checkout w1 admin")
	r.want("no event takes the dial back", "leave w1")
	r.want("nobody wants its backend", "dialed d1")
	r.wantCounts("so that it is idle", "admin max 2, idle 1")
	r.want("for the next one", "checkout w2 admin", "granted w2 b1")
}

func TestADialUnderWayIsNotDoubledForTheNextWaiter(t *testing.T) {
	r := newRig(t, "admin.max=9")
	r.run("checkout w1 admin")
	r.run("leave w1")
	r.want("d1 will do for w2", "checkout w2 admin")
	r.want("w3 needs another", "checkout w3 admin", "dial d2 admin")
	r.want("backends go to waiters in their order, whoever wanted the dial", "dialed d2", "granted w2 b1")
	r.want("the second one to the second", "dialed d1", "granted w3 b2")
}

func TestDialsAreNeverMoreThanFreeSlots(t *testing.T) {
	r := newRig(t, "admin.max=3")
	r.active(Admin, "w1")
	r.run("checkout w2 admin")
	r.want("the third slot", "checkout w3 admin", "dial d3 admin")
	r.want("there is no fourth", "checkout w4 admin")
	r.wantCounts("all slots are in use", "admin max 3, active 1, dialing 2, waiting 3")
}

func TestAtMostFourDialsOfAPairAreUnderWay(t *testing.T) {
	r := newRig(t, "admin.max=9", "lock.max=9")
	r.run("checkout a1 admin")
	r.run("checkout l1 lock")
	r.run("checkout a2 admin")
	r.want("the fourth", "checkout a3 admin", "dial d4 admin")
	r.want("no fifth for the lock pool", "checkout l2 lock")
	r.want("nor for the admin pool", "checkout a4 admin")
	r.want("the next begins when one has ended, for who came first", "dialed d1", "granted a1 b1", "dial d5 lock")
	r.want("then for who came second", "dialed d2", "granted l1 b2", "dial d6 admin")
	r.want("then nobody needs one", "dialed d5", "granted l2 b3")
}

func TestAReleasedBackendServesAWaiterWhoseDialIsUnderWay(t *testing.T) {
	r := newRig(t)
	r.active(Admin, "w1")
	r.run("checkout w2 admin")
	r.want("the release is sooner", "release w1", "granted w2 b1")
	r.want("the dial's backend is kept", "dialed d2")
	r.wantCounts("idle", "admin max 2, idle 1, active 1")
}

// A server that is full, or lets the user have no more, is no reason to fail beside a connection to it that nobody uses.
func TestAnIdleBackendOfTheOtherPoolServesWhileDiallingFails(t *testing.T) {
	r := newRig(t)
	r.active(Admin, "w1")
	r.run("release w1")
	r.want("a dial may do better", "checkout l1 lock", "dial d2 lock")
	r.want("it does not", "fail d2", "granted l1 b1")
	r.wantCounts("it counts where it is used", "admin max 2", "lock max 1, active 1")
	r.want("its slots are those of the other pool", "release l1")
	r.want("which has it back in the same way", "checkout w2 admin", "granted w2 b1")
	r.want("nobody takes it away from who has it", "checkout l2 lock")
	r.want("who comes first is first", "checkout w3 admin")
	r.want("it is given to who waits in its own pool", "release w2", "granted w3 b1")
	r.want("and then to the other", "release w3", "granted l2 b1")
}

func TestAFailureRefusesWaitersOfAPoolWithoutBackends(t *testing.T) {
	// PgBouncer #998: fail fast when no server works.
	r := newRig(t)
	r.run("checkout w1 admin")
	r.want("the only dial failed", "fail d1", "refused w1 dial failed")
	r.wantCounts("its slot is free", "admin max 2")
}

func TestOneFailureKillsNobodyWhomABackendOrDialCanServe(t *testing.T) {
	// PgBouncer #946: one FATAL at login killed all waiters.
	r := newRig(t, "admin.max=4")
	r.active(Admin, "w1")
	r.run("checkout w2 admin")
	r.want("w1's backend may yet serve w2", "fail d2")
	r.want("as it does", "release w1", "granted w2 b1")

	r = newRig(t, "admin.max=2")
	r.run("checkout w1 admin")
	r.run("checkout w2 admin")
	r.run("checkout w3 admin")
	r.want("another dial is under way", "fail d1")
	r.want("w1 comes first", "dialed d2", "granted w1 b1", "dial d3 admin")
	r.want("a success forgets the failure, so the other slot is dialled again", "dialed d3", "granted w2 b2")
	r.want("and w3 has its turn", "release w1", "granted w3 b1")
}

func TestAPermanentFailureRefusesAtOnceAlthoughOtherDialsAreUnderWay(t *testing.T) {
	// PgBouncer #46, #919: clients waited for ever for a database that was dropped.
	r := newRig(t, "admin.max=4", "lock.max=4")
	r.active(Lock, "l1")
	r.run("checkout l2 lock")
	r.run("checkout w1 admin")
	r.run("checkout w2 admin")
	r.want("a wrong password stays wrong; l2 may have l1's backend", "fail-for-good d3",
		"refused w1 dial failed", "refused w2 dial failed")
	r.want("l1's backend is all there is", "fail-for-good d2")
	r.want("l2 was right to wait", "release l1", "granted l2 b1")
	r.want("a dial that began before tells nothing new", "fail-for-good d4")
}

func TestAPermanentFailureDoesNotRefuseWhoeverABackendCanServe(t *testing.T) {
	r := newRig(t, "admin.max=2")
	r.active(Admin, "w1")
	r.run("checkout w2 admin")
	r.want("the password was changed, but w1 is logged in", "fail-for-good d2")
	r.want("and its backend is good", "release w1", "granted w2 b1")
}

func TestRefusalOfADialIsTheServersOwnError(t *testing.T) {
	r := newRig(t)
	r.p.Checkout(r.now, r.waiter("w1"), Admin)
	own := errors.New("FATAL: database \"nowhere\" does not exist (SQLSTATE 3D000)")
	r.p.DialFailed(r.now, r.p.Events()[0].Dial, own, true)
	refusal := r.p.Events()[0].Refusal
	if !errors.Is(refusal, own) || refusal.Cause != DialFailed {
		t.Errorf("%v does not wrap %v", refusal, own)
	}
}

func TestAfterAFailureOneProbeAtATimeWithAGrowingDelay(t *testing.T) {
	r := newRig(t, "admin.max=9", "admin.checkout_timeout=0s")
	r.active(Admin, "w1") // A living backend, so that waiters may wait.
	r.run("checkout w2 admin")
	r.run("fail d2")
	delay := 50 * time.Millisecond
	for i, probe := range []string{"d3", "d4", "d5", "d6", "d7", "d8", "d9", "d10", "d11"} {
		r.wantNext("the next attempt", delay)
		r.want("not early", "tick "+(delay-time.Millisecond).String())
		r.want("a newcomer does not hurry it", "checkout n"+probe+" admin")
		r.want("in time, and only one", "tick 1ms", "dial "+probe+" admin")
		r.want("no other beside it", "tick 1h")
		r.want("no luck", "fail "+probe)
		if delay = min(2*delay, time.Second); i == 8 && delay != time.Second {
			t.Fatalf("the delay ends at 1s, not %v", delay)
		}
	}
	r.run("tick 5s")
	r.want("a success ends it, and the others are dialled for", "dialed d12", "granted w2 b2 after 9h0m10.55s",
		"dial d13 admin", "dial d14 admin", "dial d15 admin", "dial d16 admin")
}

func TestDialsThatFailTogetherCountAsOneFailure(t *testing.T) {
	r := newRig(t, "admin.max=9")
	r.active(Admin, "w0")
	for _, w := range []string{"w1", "w2", "w3", "w4"} {
		r.run("checkout " + w + " admin")
	}
	for _, d := range []string{"d2", "d3", "d4", "d5"} {
		r.run("later 40ms")
		r.want("no dial before the last has failed", "fail "+d)
	}
	r.wantNext("the delay after one failure, not after four, from the last", 50*time.Millisecond)
}

func TestWaitersWhoComeDuringABackoffWaitForTheNextAttemptAndAreToldIfItFails(t *testing.T) {
	r := newRig(t, "admin.max=9", "lock.max=9")
	r.run("checkout w1 admin")
	r.run("fail d1")
	r.want("not refused by an old failure", "checkout w2 admin")
	r.want("of either pool", "checkout l1 lock")
	r.want("one probe for all", "tick 50ms", "dial d2 admin")
	r.want("who comes during the probe waits for it too", "checkout w3 admin")
	r.want("all are told", "fail d2", "refused w2 dial failed after 50ms", "refused w3 dial failed", "refused l1 dial failed after 50ms")
	r.wantNext("nobody needs another attempt", -1)
	r.want("long after that the next one dials at once", "later 1h")
	r.want("at once", "checkout w4 admin", "dial d3 admin")
}

func TestAProbesSuccessServesTheOtherPoolNext(t *testing.T) {
	r := newRig(t)
	r.run("checkout w1 admin")
	r.run("fail d1")
	r.run("checkout l1 lock")
	r.run("checkout w2 admin")
	r.want("the oldest need is probed for", "tick 50ms", "dial d2 lock")
	r.want("then all dial freely", "dialed d2", "granted l1 b1 after 50ms", "dial d3 admin")
}

func TestMinIdleIsKept(t *testing.T) {
	r := newRig(t, "admin.max=4", "admin.min_idle=2")
	r.want("the first Tick fills the pool", "tick", "dial d1 admin", "dial d2 admin")
	r.run("dialed d1")
	r.run("dialed d2")
	r.want("one is taken, another opened", "checkout w1 admin", "granted w1 b2", "dial d3 admin")
	r.run("dialed d3")
	r.want("one dies, another is opened", "remove b3", "dial d4 admin")
	r.run("dialed d4")
	r.wantCounts("two are ready", "admin max 4, idle 2, active 1")
	r.run("checkout w2 admin")
	r.run("dialed d5")
	r.want("as far as there are slots", "checkout w3 admin", "granted w3 b5")
	r.wantCounts("no more than four", "admin max 4, idle 1, active 3")
}

func TestWaitersComeBeforeMinIdle(t *testing.T) {
	r := newRig(t, "admin.min_idle=2", "admin.max=9", "lock.max=9")
	for _, w := range []string{"l1", "l2", "l3"} {
		r.p.Checkout(r.now, r.waiter(w), Lock)
	}
	if got := r.take(); got[0] != "dial d1 lock" {
		t.Errorf("%v: a waiter first", got)
	}
}

func TestMinIdleIsProbedForWhileTheServerIsAway(t *testing.T) {
	r := newRig(t, "admin.min_idle=2")
	r.run("tick")
	r.run("fail d1")
	r.run("fail d2")
	r.wantNext("nobody waits, and it is tried again all the same", 50*time.Millisecond)
	r.want("by one dial", "tick 50ms", "dial d3 admin")
	r.want("until it works", "dialed d3", "dial d4 admin")
}

func TestAFullQueueIsBoundedWhileDialsFail(t *testing.T) {
	r := newRig(t, "admin.max=2", "admin.max_waiting=1")
	r.run("checkout w1 admin")
	r.run("fail d1")
	r.want("one may hope for the next attempt", "checkout w2 admin")
	r.want("two, as there are two slots", "checkout w3 admin")
	r.want("one for a release", "checkout w4 admin")
	r.want("no more", "checkout w5 admin", "refused w5 queue full")
}

func TestRetryDelayIsBounded(t *testing.T) {
	for failures, want := range map[int]time.Duration{
		1: 50 * time.Millisecond, 2: 100 * time.Millisecond, 5: 800 * time.Millisecond,
		6: time.Second, 7: time.Second, 1 << 40: time.Second,
	} {
		if got := retryDelay(failures); got != want {
			t.Errorf("after %d failures %v, want %v", failures, got, want)
		}
	}
}

func TestCallsThatChangeNothingLeaveNoDialUndone(t *testing.T) {
	// A clock that they put forward made a dial due that none of them began: the simulation found that.
	begin := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	later := begin.Add(time.Minute)
	calls := map[string]func(p *Pair, gone *Backend){
		"Leave":  func(p *Pair, gone *Backend) { p.Leave(later, &Waiter{}) },
		"Remove": func(p *Pair, gone *Backend) { p.Remove(later, gone) },
		"Take":   func(p *Pair, gone *Backend) { p.Take(later, &Waiter{}, gone) },
	}
	for name, call := range calls {
		p := newPair(Config{Max: 2, MinIdle: 1}, Config{Max: 1})
		p.Tick(begin)
		gone := p.Dialed(begin, p.Events()[0].Dial, nil)
		p.Remove(begin, gone)
		p.DialFailed(begin, p.Events()[0].Dial, errors.New("refused"), false)
		call(p, gone)
		if err := p.Invariants(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if p.Tick(later); len(p.Events()) != 1 {
			t.Errorf("%s: the dial is not begun when it is due", name)
		}
	}
}
