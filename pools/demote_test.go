package pools

import "testing"

func TestADemotedBackendsLockSlotIsFree(t *testing.T) {
	r := newRig(t)
	r.active(Lock, "l1")
	r.run("checkout l2 lock")
	r.want("its slot is the next one's", "demote l1", "dial d2 lock")
	r.wantCounts("the accounts", "admin max 2, active 1", "lock max 1, dialing 1, waiting 1")
	r.want("it belongs to the admin pool when it is released", "release l1")
	r.wantCounts("the accounts", "admin max 2, idle 1", "lock max 1, dialing 1, waiting 1")
}

func TestAFullAdminPoolExchangesAnIdleBackendForADemotedOne(t *testing.T) {
	r := newRig(t, "admin.max=1")
	r.idle(Admin, 1)
	r.active(Lock, "l1")
	r.run("checkout l2 lock")
	r.want("nothing is closed or opened", "demote l1", "granted l2 b1")
	r.wantCounts("both sums stay", "admin max 1, active 1", "lock max 1, active 1")
}

func TestABackendIsDemotedOnceTheAdminPoolHasRoom(t *testing.T) {
	r := newRig(t, "admin.max=1")
	r.active(Admin, "a1")
	r.active(Lock, "l1")
	r.want("there is no room", "demote l1")
	if r.demoted {
		t.Fatal("it was demoted")
	}
	r.run("checkout a2 admin")
	r.want("who waits for the admin pool comes first", "release a1", "granted a2 b1")
	r.want("it is told when there is room", "release a2", "demotable l1 b2")
	r.want("once", "tick 1s")
	r.want("and is demoted when it asks then", "demote l1")
	r.wantCounts("the accounts", "admin max 1, active 1", "lock max 1, idle 1")
}

func TestABackendThatIsGivenBackIsNotDemoted(t *testing.T) {
	for _, end := range []string{"release l1", "remove l1"} {
		r := newRig(t, "admin.max=1")
		r.active(Admin, "a1")
		r.active(Lock, "l1")
		r.run("demote l1")
		r.want("it ends", end)
		r.want("and nobody is told", "release a1")
	}
}

func TestHeldLocksMoveWithTheDemotedBackend(t *testing.T) {
	r := newRig(t)
	r.active(Lock, "l1")
	r.run("hold l1")
	r.want("a caller that does not count is its own business", "demote l1")
	r.wantCounts("the accounts", "admin max 2, active 1, holding 1", "lock max 1")
}
