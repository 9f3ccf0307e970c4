package pools

import "testing"

func TestShrinkingClosesIdleBackendsNowAndActiveOnesAtTheirRelease(t *testing.T) {
	r := newRig(t, "admin.max=4")
	r.active(Admin, "w1", "w2", "w3", "w4")
	r.run("release w4")
	r.run("release w3")
	r.want("the idle ones, the coldest first", "configure admin.max=1", "close b4 pool shrank", "close b3 pool shrank")
	r.wantCounts("no checkout is dropped", "admin max 1, active 2")
	r.run("checkout w5 admin")
	r.want("the pool is still too large for the waiter", "release w1", "close b1 pool shrank")
	r.want("now it is not", "release w2", "granted w5 b2")
}

func TestAShrunkPoolClosesADialsBackendThatItHasNoRoomFor(t *testing.T) {
	r := newRig(t, "admin.max=2")
	r.active(Admin, "w1")
	r.run("checkout w2 admin")
	r.run("configure admin.max=1")
	r.want("too many", "dialed d2", "close b2 pool shrank")
	r.want("the waiter has the other", "release w1", "granted w2 b1")
}

func TestGrowingServesThoseWhoWait(t *testing.T) {
	r := newRig(t, "admin.max=1", "lock.max=1")
	r.active(Admin, "a1")
	r.active(Lock, "l1")
	r.run("promote a1 a1")
	r.run("checkout l2 lock")
	r.want("in their order", "configure lock.max=3", "promoted a1 b1", "dial d3 lock")
	r.run("checkout a2 admin")
	r.run("checkout a3 admin")
	r.want("in the other pool too", "configure admin.max=2", "dial d5 admin")
}

func TestNewTimeLimitsCountFromTheSameEvents(t *testing.T) {
	r := newRig(t, "admin.max=1", "lock.idle_timeout=0s")
	r.idle(Lock, 1)
	r.active(Admin, "w1")
	r.run("checkout w2 admin")
	r.run("tick 5s")
	r.run("configure admin.checkout_timeout=7s lock.max_lifetime=1m")
	r.wantNext("7s from its checkout", secs(2))
	r.want("w2", "tick 2s", "refused w2 timeout after 7s")
	r.wantNext("a minute from the dial", secs(53))
	r.run("configure lock.max_lifetime=0s")
	r.wantNext("never", -1)
	r.run("configure lock.max_lifetime=1m")
	r.want("b1", "tick 53s", "close b1 max lifetime")
	r.run("checkout w3 admin")
	r.run("tick 5s")
	r.want("a limit that is over already", "configure admin.checkout_timeout=4s", "refused w3 timeout after 5s")
}

func TestDrainReplacesEveryBackendWithoutDroppingACheckout(t *testing.T) {
	r := newRig(t, "admin.max=3")
	r.active(Admin, "w1", "w2")
	r.run("release w2")
	r.run("checkout l1 lock")
	r.want("idle ones now", "drain", "close b2 drained")
	r.want("a dial that began before may have met the old server", "dialed d3", "close b3 drained", "dial d4 lock")
	r.want("the waiter gets a new one", "dialed d4", "granted l1 b4")
	r.run("checkout w3 admin")
	r.want("active ones at their release", "release w1", "close b1 drained")
	r.want("new ones stay", "release l1")
	r.wantCounts("one is left, one on its way", "admin max 3, dialing 1, waiting 1", "lock max 1, idle 1")
}

func TestDrainForgetsFailures(t *testing.T) {
	r := newRig(t)
	r.active(Admin, "w1")
	r.run("checkout w2 admin")
	r.run("fail d2")
	r.want("the operator knows better than a delay", "drain", "dial d3 admin")
	r.want("new dials are free", "checkout l1 lock", "dial d4 lock")
}

// A server that shuts down when everybody has gone: pg_ctl stop -m smart.
func TestRetireLetsGoOfAServerAndGoesOnAskingItNowAndThen(t *testing.T) {
	r := newRig(t, "admin.max=1", "lock.max=2")
	r.active(Admin, "w1")
	r.active(Lock, "l1")
	r.run("checkout l2 lock")
	r.run("leave l2")
	r.run("release l1")
	r.run("fail d3")
	r.want("idle ones now", "retire", "close b2 drained")
	r.run("checkout l2 lock")
	r.wantNext("the delay goes on", firstRetry)
	r.want("active ones at their release", "release w1", "close b1 drained")
	r.want("and nobody has hope but for the next attempt", "tick 50ms", "dial d4 lock")
	r.want("so that all are told", "fail d4", "refused l2 dial failed after 50ms")
}

func TestAFailureOfADialBegunBeforeADrainRefusesNobody(t *testing.T) {
	r := newRig(t)
	r.run("checkout w1 admin")
	r.run("drain")
	r.want("the old server's password", "fail-for-good d1", "dial d2 admin")
	r.want("the new one takes it", "dialed d2", "granted w1 b1")
}

func TestCloseRefusesAllWhoWaitAndClosesAllThatComesBack(t *testing.T) {
	r := newRig(t, "admin.max=3", "lock.max=1")
	r.idle(Admin, 1)
	r.active(Lock, "l1")
	r.active(Admin, "a1", "a2")
	r.run("promote a2 a2")
	r.run("checkout l2 lock")
	r.run("checkout a3 admin")
	r.want("both queues and the promotions", "close", "promotion refused a2 b3 closed",
		"refused a3 closed", "refused l2 closed")
	r.want("nobody is let in", "checkout a4 admin", "refused a4 closed")
	r.want("what was being dialled", "dialed d4", "close b4 shutdown")
	r.want("active ones when they are free", "release a1", "close b1 shutdown")
	r.run("remove a2")
	r.want("the last one", "release l1", "close b2 shutdown")
	r.wantCounts("the pair is empty", "admin max 3", "lock max 1")
	r.wantNext("and will do nothing more", -1)
	r.want("indeed", "tick 1h")
}

func TestCloseClosesIdleBackends(t *testing.T) {
	r := newRig(t, "admin.min_idle=1")
	r.run("tick")
	r.run("dialed d1")
	r.idle(Lock, 1)
	r.want("all of them, and MinIdle opens no more", "close", "close b1 shutdown", "close b2 shutdown")
	r.want("closing twice does nothing", "close")
}

func TestATransactionMayStillBePromotedAfterClose(t *testing.T) {
	r := newRig(t, "lock.max=1")
	r.active(Admin, "a1", "a2")
	r.run("close")
	r.want("a free slot is there, so the transaction can get done", "promote a1 a1", "promoted a1 b1")
	r.want("waiting is over", "promote a2 a2", "promotion refused a2 b2 closed")
	r.want("then all end", "release a1", "close b1 shutdown")
	r.run("release a2")
}

func TestAFailedDialAfterCloseIsTheEndOfIt(t *testing.T) {
	r := newRig(t, "admin.min_idle=1")
	r.run("tick")
	r.run("close")
	r.want("nobody is told, nothing retried", "fail d1")
	r.wantNext("never", -1)
}
