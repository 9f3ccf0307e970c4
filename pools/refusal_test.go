package pools

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// refusalOf runs a command that must end in one refusal, and returns it.
func refusalOf(r *rig, command string) *Refusal {
	r.t.Helper()
	args := strings.Fields(command + " . .")
	r.apply(command, args[0], args[1], args[2], nil)
	events := r.p.Events()
	if len(events) != 1 || events[0].Refusal == nil {
		r.t.Fatalf("%s: %v, want one refusal", command, events)
	}
	return events[0].Refusal
}

func TestRefusalNamesWhatThePoolLooksLike(t *testing.T) {
	r := newRig(t, "lock.max=3")
	r.active(Lock, "l1", "l2", "l3")
	r.run("hold l2")
	r.run("hold l3")
	r.run("checkout l4 lock")
	r.run("later 1s")
	r.run("checkout l5 lock")
	r.run("checkout l6 lock")
	got := *refusalOf(r, "tick 9s")
	want := Refusal{
		Kind: Lock, Cause: Timeout, Max: 3, Active: 3, Holding: 2, Waiting: 2, Waited: 10 * time.Second,
		Holder: "label of l1", HolderSince: r.begin,
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestRefusalNamesWhoHasHeldABackendLongest(t *testing.T) {
	r := newRig(t, "admin.max=2", "lock.max=1", "lock.max_waiting=1", "admin.max_waiting=1")
	r.active(Admin, "a1")
	r.run("later 1s")
	r.active(Admin, "a2")
	r.run("later 1s")
	r.run("release a1")
	r.active(Admin, "a3") // a1's backend, but a3 has it since now.
	r.run("checkout a4 admin")
	if f := refusalOf(r, "checkout a5 admin"); f.Holder != "label of a2" || !f.HolderSince.Equal(r.begin.Add(secs(1))) {
		t.Errorf("a2 has held longest: %v since %v", f.Holder, f.HolderSince)
	}
	r.run("leave a4")
	r.run("later 1s")
	r.run("promote a2 a2")
	r.run("release a3")
	r.active(Admin, "a3")
	r.run("promote a3 a3")
	if f := refusalOf(r, "checkout l0 lock"); f.Waiting != 1 {
		t.Errorf("the promotion waits for a lock backend as well: %+v", f)
	}
	r.run("leave a3")
	r.run("checkout l1 lock")
	if f := refusalOf(r, "checkout l2 lock"); f.Holder != "label of a2" || !f.HolderSince.Equal(r.now) {
		t.Errorf("a2 has held a lock backend since its promotion: %v since %v", f.Holder, f.HolderSince)
	}
}

func TestRefusalOfAPoolWithoutHoldersNamesNobody(t *testing.T) {
	r := newRig(t, "admin.max=0")
	r.run("checkout w1 admin")
	if f := refusalOf(r, "tick 10s"); f.Holder != nil || !f.HolderSince.IsZero() {
		t.Errorf("nobody holds anything: %+v", f)
	}
}

func TestRefusedPromotionTellsHowManyWaitForAdmin(t *testing.T) {
	r := newRig(t, "admin.max=1")
	r.active(Lock, "l1")
	r.active(Admin, "a1")
	r.run("checkout a2 admin")
	r.run("checkout a3 admin")
	f := refusalOf(r, "promote a1 a1")
	if f.Kind != Lock || f.Cause != PromotionBusy || !f.Promotion || f.AdminWaiting != 2 || f.Max != 1 || f.Active != 1 {
		t.Errorf("%+v", f)
	}
	r.run("leave a3")
	if f := refusalOf(r, "close"); f.Promotion {
		t.Errorf("a checkout's refusal is no promotion's: %+v", f)
	}
}

func TestRefusalsTextIsASentenceAndItsHintNamesTheSetting(t *testing.T) {
	base := Refusal{Max: 10, Active: 10, Holding: 9, Waiting: 1, Waited: 10 * time.Second, Err: errors.New("connection refused")}
	for _, c := range []struct {
		kind        Kind
		cause       Cause
		admin       int
		error, hint string
	}{
		{
			Lock, Timeout, 0,
			"no backend of the lock pool became free within 10s: 10 of 10 are checked out, 9 of them by sessions that hold advisory locks, and 1 other session waits for it",
			"Keep transactions shorter, raise pools.lock.max (DATABASE_LOCK_POOL_MAX), or wait longer with pools.lock.checkout_timeout.",
		},
		{
			Admin, QueueFull, 0,
			"too many sessions wait for the admin pool: 10 of 10 are checked out, 9 of them by sessions that hold advisory locks, and 1 other session waits for it",
			"Keep transactions shorter, raise pools.admin.max (DATABASE_POOL_MAX) or pools.admin.max_waiting.",
		},
		{Admin, DialFailed, 0, "the admin pool could not connect to the server: connection refused", ""},
		{
			Lock, PromotionBusy, 3,
			"the transaction could not move to the lock pool while 3 other sessions wait for an admin backend: 10 of 10 are checked out, 9 of them by sessions that hold advisory locks, and 1 other session waits for it",
			"Take the advisory lock in the transaction's first statement, so that it begins in the lock pool, or raise pools.lock.max (DATABASE_LOCK_POOL_MAX).",
		},
		{Lock, Closed, 0, "the lock pool is shut down", ""},
		{Lock, 0, 0, "the lock pool refused a backend", ""},
	} {
		f := base
		f.Kind, f.Cause, f.AdminWaiting = c.kind, c.cause, c.admin
		if got := f.Error(); got != c.error {
			t.Errorf("%v\n got %s\nwant %s", c.cause, got, c.error)
		}
		if got := f.Hint(); got != c.hint {
			t.Errorf("%v\n got %s\nwant %s", c.cause, got, c.hint)
		}
	}
}

func TestEveryNamedValueHasAName(t *testing.T) {
	for got, want := range map[string]string{
		Admin.String(): "admin", Lock.String(): "lock", Kind(7).String(): "unknown",
		Granted.String(): "granted", CloseWanted.String(): "close wanted", Op(99).String(): "unknown",
		IdleExpired.String(): "idle timeout", ShutDown.String(): "shutdown", CloseReason(0).String(): "none",
		Timeout.String(): "timeout", Closed.String(): "closed", Cause(77).String(): "unknown",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
