package pools

import "testing"

func TestPromotionTakesAFreeLockSlotAtOnce(t *testing.T) {
	r := newRig(t, "admin.max=1")
	r.active(Admin, "w1")
	r.run("checkout w2 admin")
	r.want("the slot moves, and the admin pool may open another", "promote w1 b1", "promoted w1 b1", "dial d2 admin")
	r.wantCounts("the accounts", "admin max 1, dialing 1, waiting 1", "lock max 1, active 1")
	if k := r.backend("b1").Kind(); k != Lock {
		t.Errorf("b1 is counted in the %s pool", k)
	}
}

func TestAPromotedBackendBelongsToTheLockPoolAfterItsRelease(t *testing.T) {
	r := newRig(t)
	r.active(Admin, "w1")
	r.run("promote w1 b1")
	r.run("checkout l1 lock")
	r.want("a lock waiter has it", "release w1", "granted l1 b1")
	r.want("and then nobody", "release l1")
	r.wantCounts("it is idle there", "admin max 2", "lock max 1, idle 1")
}

func TestAFullLockPoolExchangesAnIdleBackend(t *testing.T) {
	r := newRig(t)
	r.idle(Lock, 1)
	r.active(Admin, "a1", "a2")
	r.want("nothing is closed or opened", "promote a1 b2", "promoted a1 b2")
	r.wantCounts("both sums stay", "admin max 2, idle 1, active 1", "lock max 1, active 1")
	r.want("the exchanged one serves the admin pool", "checkout a3 admin", "granted a3 b1")
}

func TestAnExchangedBackendGoesToTheFirstAdminWaiter(t *testing.T) {
	r := newRig(t)
	r.idle(Lock, 1)
	r.active(Admin, "a1", "a2")
	r.run("checkout a3 admin")
	r.want("a waiter for an admin slot hinders no promotion that need not wait", "promote a1 a1", "promoted a1 b2", "granted a3 b1")
}

func TestAFreeSlotIsTakenBeforeAnIdleBackendIsExchanged(t *testing.T) {
	r := newRig(t, "lock.max=2")
	r.idle(Lock, 1)
	r.active(Admin, "a1")
	r.want("b1 stays what it is", "promote a1 a1", "promoted a1 b2")
	r.wantCounts("accounts", "admin max 2", "lock max 2, idle 1, active 1")
}

func TestADialThatNobodyWaitsForIsExchanged(t *testing.T) {
	r := newRig(t)
	r.active(Admin, "a1", "a2")
	r.run("checkout l1 lock")
	r.run("leave l1")
	r.want("the dial's slot is as good as an idle backend's", "promote a1 a1", "promoted a1 b1")
	r.wantCounts("the dial is the admin pool's now", "admin max 2, active 1, dialing 1", "lock max 1, active 1")
	r.run("checkout a3 admin")
	r.want("and so is its backend", "dialed d3", "granted a3 b3")
}

func TestADialBecomesSpareWhenItsWaiterLeaves(t *testing.T) {
	r := newRig(t)
	r.active(Admin, "a1")
	r.run("checkout l1 lock")
	r.want("l1 needs the dial", "promote a1 a1")
	r.want("now nobody does", "leave l1", "promoted a1 b1")
}

func TestAnExchangedBackendThatIsTooOldIsClosed(t *testing.T) {
	r := newRig(t, "admin.max_lifetime=1m", "lock.idle_timeout=0s")
	r.idle(Lock, 1)
	r.run("tick 2m")
	r.active(Admin, "a1", "a2")
	r.want("the admin pool's own limits hold", "promote a1 a1", "close b1 max lifetime", "promoted a1 b2")
	r.wantCounts("the slot is free", "admin max 2, active 1", "lock max 1, active 1")
}

func TestPromotionsAndLockWaitersAreServedInTheirOrder(t *testing.T) {
	r := newRig(t, "admin.max=4")
	r.active(Lock, "l1")
	r.active(Admin, "a1", "a2")
	r.run("checkout l2 lock")
	r.want("behind l2", "promote a1 a1")
	r.want("behind a1", "checkout l3 lock")
	r.want("behind l3", "promote a2 a2")
	r.wantCounts("all wait", "lock max 1, active 1, waiting 2, promotions 2")
	r.want("first l2", "release l1", "granted l2 b1")
	r.want("then a1: the released one takes its place in the admin pool", "release l2", "promoted a1 b2")
	r.wantCounts("the accounts after the exchange", "admin max 4, idle 1, active 1", "lock max 1, active 1, waiting 1, promotions 1")
	r.want("then l3", "release a1", "granted l3 b2")
	r.want("then a2", "release l3", "promoted a2 b3")
}

func TestASlotThatIsFreedWithoutABackendServesTheQueueInItsOrder(t *testing.T) {
	r := newRig(t, "lock.max=2", "admin.max=4")
	r.active(Lock, "l1", "l2")
	r.active(Admin, "a1")
	r.run("checkout l3 lock")
	r.run("promote a1 a1")
	r.want("l3 came first: a dial for it", "remove l1", "dial d4 lock")
	r.want("a1 needs no dial", "remove l2", "promoted a1 b3")
}

func TestAFreeSlotThatCannotBeDialledIsPromotedInto(t *testing.T) {
	r := newRig(t, "admin.max=4")
	r.active(Admin, "a1")
	r.active(Lock, "l1")
	r.run("checkout a2 admin")
	r.run("fail d3")
	r.run("checkout l2 lock")
	r.want("a2 waits in vain as long as dials fail, so nobody waits with a promotion", "promote a1 a1",
		"promotion refused a1 b1 promotion busy")
	r.run("leave a2")
	r.run("promote a1 a1")
	r.want("l2 came first, but could use the slot only by a dial", "remove l1", "promoted a1 b1")
	r.want("and has a backend when the transaction ends", "release a1", "granted l2 b1")
}

func TestPromotionWaitsOnlyWhileNobodyWaitsForAdmin(t *testing.T) {
	r := newRig(t, "admin.max=3")
	r.active(Lock, "l1")
	r.active(Admin, "a1", "a2")
	r.want("it may wait", "promote a1 a1")
	r.want("a second one too", "promote a2 a2")
	r.want("a waiter with a slot of its own is served without them", "checkout a3 admin", "dial d4 admin")
	r.run("later 1s")
	r.want("a waiter without one is not", "checkout a4 admin",
		"promotion refused a1 b2 promotion busy after 1s", "promotion refused a2 b3 promotion busy after 1s")
	r.want("and no promotion begins to wait meanwhile", "promote a1 a1", "promotion refused a1 b2 promotion busy")
	r.want("the refused one keeps its backend until its transaction ends", "release a1", "granted a3 b2 after 1s")
	r.run("dialed d4")
	r.want("now nobody waits for an admin slot", "promote a2 a2")
}

func TestPromotionIsRefusedWhenTheDialOfAnAdminWaiterFails(t *testing.T) {
	// The server may be full: of transactions that wait for promotion, among others.
	r := newRig(t, "admin.max=3")
	r.active(Lock, "l1")
	r.active(Admin, "a1")
	r.run("promote a1 a1")
	r.run("checkout a2 admin")
	r.want("a free slot is no hope while dials fail", "fail d3", "promotion refused a1 b2 promotion busy")
}

func TestPromotionIsRefusedWhenTheAdminPoolShrinksUnderAWaiter(t *testing.T) {
	r := newRig(t, "admin.max=9")
	r.active(Lock, "l1")
	r.active(Admin, "a1")
	r.run("promote a1 a1")
	for _, w := range []string{"a2", "a3", "a4", "a5", "a6"} {
		r.run("checkout " + w + " admin") // a6 has a slot, but no dial yet.
	}
	r.want("a6 has no slot any more", "configure admin.max=2", "promotion refused a1 b2 promotion busy")
}

func TestPromotionWaitsNoLongerThanTheLockPoolsCheckoutTimeout(t *testing.T) {
	r := newRig(t, "lock.checkout_timeout=3s")
	r.active(Lock, "l1")
	r.active(Admin, "a1")
	r.run("tick 1s")
	r.run("promote a1 a1")
	r.wantNext("its deadline", secs(3))
	r.want("not early", "tick 2999ms")
	r.want("in time", "tick 1ms", "promotion refused a1 b2 timeout after 3s")
	r.want("it can be asked for again", "promote a1 a1")
	r.want("and had", "release l1", "promoted a1 b2")
}

func TestAPromotionEndsWithItsBackend(t *testing.T) {
	r := newRig(t)
	r.active(Lock, "l1")
	r.active(Admin, "a1")
	r.run("promote a1 a1")
	r.want("the backend died: nothing is left to promote", "remove a1")
	r.wantCounts("nobody waits", "admin max 2", "lock max 1, active 1")
	r.want("the session may go on", "checkout a1 admin", "dial d3 admin")
}

func TestALeavingPromotionKeepsItsBackend(t *testing.T) {
	r := newRig(t)
	r.active(Lock, "l1")
	r.active(Admin, "a1")
	r.run("promote a1 a1")
	r.want("the client cancelled", "leave a1")
	r.want("its transaction ends as usual", "release a1")
	r.wantCounts("in the admin pool", "admin max 2, idle 1", "lock max 1, active 1")
}

func TestHeldLocksMoveWithThePromotedBackend(t *testing.T) {
	r := newRig(t)
	r.active(Admin, "a1")
	r.run("hold a1")
	r.run("promote a1 a1")
	r.wantCounts("the lock pool counts it", "admin max 2", "lock max 1, active 1, holding 1")
	r.run("release a1")
	r.wantCounts("and forgets it", "lock max 1, idle 1")
}

func TestHoldersOfLockSlotsAlwaysFindAnAdminSlotInTheEnd(t *testing.T) {
	// The deadlock that lockproxy exists for: as many lock holders as slots, each of whom needs a work
	// connection, and as many transactions that want a lock in their midst.
	r := newRig(t, "admin.max=3", "lock.max=3")
	r.active(Lock, "l1", "l2", "l3")
	r.active(Admin, "a1", "a2", "a3")
	for _, a := range []string{"a1", "a2", "a3"} {
		r.want("nobody needs its slot yet", "promote "+a+" "+a)
	}
	r.want("the first holder's work needs one", "checkout work1 admin", "promotion refused a1 b4 promotion busy",
		"promotion refused a2 b5 promotion busy", "promotion refused a3 b6 promotion busy")
	r.want("a1 rolls back", "release a1", "granted work1 b4")
	r.run("release work1")
	r.run("release l1")
	r.want("and all goes on", "promote a2 a2", "promoted a2 b5")
}
