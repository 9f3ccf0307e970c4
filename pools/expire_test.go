package pools

import (
	"testing"
	"time"
)

func secs(n int) time.Duration { return time.Duration(n) * time.Second }

func TestCheckoutTimeoutRefusesThatWaiterOnlyAndNeverEarly(t *testing.T) {
	// PgBouncer #22, #125, #1395: timeouts that misfire, because time counted from the wrong event.
	r := newRig(t, "admin.max=1", "lock.max=1", "lock.checkout_timeout=20s")
	r.run("later 1h") // The pair's age does not count.
	r.active(Admin, "w1")
	r.active(Lock, "l1")
	r.run("later 4s") // Nor does how long the backend has been out.
	r.run("checkout w2 admin")
	r.run("checkout l2 lock")
	r.run("tick 6s")
	r.run("checkout w3 admin")
	r.wantNext("w2's deadline", secs(4))
	r.want("not early", "tick 3999ms")
	r.want("w2 and nobody else", "tick 1ms", "refused w2 timeout after 10s")
	r.wantNext("w3's deadline", secs(6))
	r.want("w3", "tick 6s", "refused w3 timeout after 10s")
	r.wantNext("the lock pool has its own", secs(4))
	r.want("l2", "tick 4s", "refused l2 timeout after 20s")
	r.wantNext("nobody waits", -1)
}

func TestARefusedWaiterMayAskAgainAndWaitsItsFullTime(t *testing.T) {
	r := newRig(t, "admin.max=1")
	r.active(Admin, "w1")
	r.run("checkout w2 admin")
	r.run("tick 10s")
	r.run("later 3s")
	r.run("checkout w2 admin")
	r.wantNext("a new wait", secs(10))
	r.want("served in the end", "release w1", "granted w2 b1")
}

func TestALateTickDoesNotKeepAReleasedBackendFromAWaiter(t *testing.T) {
	r := newRig(t, "admin.max=1")
	r.active(Admin, "w1")
	r.run("checkout w2 admin")
	r.run("later 11s")
	r.want("a grant is better than a refusal", "release w1", "granted w2 b1 after 11s")
	r.want("and not taken back", "tick")
}

func TestCheckoutTimeoutOfZeroMeansNone(t *testing.T) {
	r := newRig(t, "admin.max=1", "admin.checkout_timeout=0s")
	r.active(Admin, "w1")
	r.run("checkout w2 admin")
	r.wantNext("never", -1)
	r.want("patience", "tick 1000h")
	r.want("and its reward", "release w1", "granted w2 b1 after 1000h0m0s")
}

func TestATimeoutWhileADialIsUnderWayDoesNotStopTheDial(t *testing.T) {
	r := newRig(t)
	r.run("checkout w1 admin")
	r.want("the server is slow", "tick 10s", "refused w1 timeout after 10s")
	r.want("but there", "dialed d1")
	r.want("for the next", "checkout w2 admin", "granted w2 b1")
}

// That none of no backends became free would be no help.
func TestAWaitThatOnlyADialCouldEndIsRefusedWithWhatDialsFailWith(t *testing.T) {
	r := newRig(t, "admin.max=1", "admin.checkout_timeout=60ms")
	r.run("checkout w1 admin")
	r.want("at once, as it is the last hope", "fail d1", "refused w1 dial failed")
	r.run("checkout w2 admin")
	r.want("the next attempt", "tick 50ms", "dial d2 admin")
	r.want("is under way", "tick 10ms", "refused w2 dial failed after 60ms")
}

func TestIdleBackendsAreClosedAfterTheirTimeoutTheOldestFirst(t *testing.T) {
	r := newRig(t, "admin.max=3")
	r.idle(Admin, 2) // b2 is on top.
	r.run("later 10s")
	r.active(Admin, "w1")
	r.run("release w1") // b2 was used.
	r.wantNext("b1 is idle for 10s already", secs(20))
	r.want("not early", "tick 19999ms")
	r.want("b1", "tick 1ms", "close b1 idle timeout")
	r.wantNext("b2 was used 10s later", secs(10))
	r.want("b2", "tick 10s", "close b2 idle timeout")
	r.wantCounts("none is left", "admin max 3")
}

func TestAnActiveBackendIsNeverIdleForTooLong(t *testing.T) {
	r := newRig(t)
	r.idle(Admin, 1)
	r.run("later 29s")
	r.active(Admin, "w1")
	r.want("a long transaction", "tick 1h")
	r.run("release w1")
	r.wantNext("time counts from the release", secs(30))
}

func TestIdleTimeoutNeverClosesBelowMinIdle(t *testing.T) {
	r := newRig(t, "admin.max=5")
	r.idle(Admin, 3)
	r.run("configure admin.min_idle=2")
	r.want("one beyond MinIdle", "tick 1h", "close b1 idle timeout")
	r.wantNext("those stay", -1)
	r.want("for ever", "tick 1000h")
}

func TestTimeoutsOfZeroMeanNever(t *testing.T) {
	// pg_doorman 3.3.2: idle_timeout=0 closed at once.
	r := newRig(t, "admin.idle_timeout=0s", "admin.max_lifetime=0s")
	r.idle(Admin, 2)
	r.wantNext("never", -1)
	r.want("they stay", "tick 10000h")
	r.run("checkout w1 admin")
	r.want("even through a release", "release w1")
	r.wantCounts("both are there", "admin max 2, idle 2")
}

func TestPoolsHaveTheirOwnTimeouts(t *testing.T) {
	// pg_doorman 3.3.2: overrides of one pool were ignored.
	r := newRig(t, "admin.idle_timeout=5s", "lock.idle_timeout=8s", "lock.max_lifetime=7s")
	r.idle(Admin, 1)
	r.idle(Lock, 1)
	r.want("the admin pool's", "tick 5s", "close b1 idle timeout")
	r.wantNext("the lock pool's", secs(2))
	r.want("by age", "tick 2s", "close b2 max lifetime")
}

func TestMaxLifetimeClosesIdleBackendsWhenDueAndActiveOnesAtTheirRelease(t *testing.T) {
	r := newRig(t, "admin.max=3", "admin.idle_timeout=0s", "admin.max_lifetime=1m")
	r.idle(Admin, 2)
	r.run("later 30s")
	r.run("checkout w1 admin")
	r.run("checkout w2 admin")
	r.active(Admin, "w3") // b3, half a minute younger
	r.run("release w2")
	r.run("release w3")
	r.wantNext("b1's minute is over, wherever in the list it is", secs(30))
	r.want("not early", "tick 29999ms")
	r.want("the old idle one, not the young one, not the active one", "tick 1ms", "close b1 max lifetime")
	r.wantNext("b3 is next", secs(30))
	r.want("the active one at its release", "release w1", "close b2 max lifetime")
	r.want("b3", "tick 30s", "close b3 max lifetime")
	r.wantNext("nothing is left", -1)
}

func TestABackendTooOldIsNotHandedToAWaiter(t *testing.T) {
	r := newRig(t, "admin.max=1", "admin.max_lifetime=1m", "admin.checkout_timeout=0s")
	r.active(Admin, "w1")
	r.run("checkout w2 admin")
	r.run("later 1m")
	r.want("a new one takes its slot", "release w1", "close b1 max lifetime", "dial d2 admin")
	r.want("for the waiter", "dialed d2", "granted w2 b2 after 1m0s")
}

func TestMinIdleIsRestoredAfterExpiry(t *testing.T) {
	r := newRig(t, "admin.min_idle=1", "admin.max_lifetime=1m")
	r.run("tick")
	r.run("dialed d1")
	r.want("old ones are replaced even below MinIdle", "tick 1m", "close b1 max lifetime", "dial d2 admin")
	r.run("dialed d2")
	r.wantNext("a minute for the new one too", time.Minute)
}

func TestNextIsNeverLate(t *testing.T) {
	r := newRig(t, "admin.max=2", "admin.max_lifetime=1m", "lock.checkout_timeout=1s")
	r.wantNext("an empty pair has nothing to do", -1)
	r.active(Admin, "w1")
	r.wantNext("nor has one with active backends", -1)
	r.run("release w1")
	r.wantNext("idle timeout", secs(30))
	r.run("configure admin.idle_timeout=2m")
	r.wantNext("lifetime", time.Minute)
	r.run("checkout l1 lock")
	r.wantNext("checkout timeout", secs(1))
	r.run("leave l1")
	r.wantNext("nobody waits for the lock pool any more", time.Minute)
	r.run("checkout w2 admin")
	r.run("fail d2")
	r.run("checkout l2 lock")
	r.wantNext("the next attempt", 50*time.Millisecond)
}
