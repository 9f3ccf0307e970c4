package session

import (
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
)

// second is what each of these timeouts is.
var second = Timeouts{ClientIdle: time.Second, Query: time.Second, Transaction: time.Hour, IdleInTransaction: time.Second}

// passes lets time pass, and tells whether something was overdue then; what came of it was taken.
func (c *conversation) passes(d time.Duration, t Timeouts) bool {
	c.now = c.now.Add(d)
	if !c.s.Overdue(c.now, &t) {
		return false
	}
	c.s.Expire(&c.o, c.now, &t)
	c.took()
	return true
}

func (c *conversation) wantInTime(rule string, d time.Duration, t Timeouts) {
	c.t.Helper()
	if c.passes(d, t) {
		c.t.Fatalf("%s\nclient %s\nserver %s\nactions %+v", rule, spell(c.client), spell(c.server), c.actions)
	}
}

func (c *conversation) wantOverdue(rule string, d time.Duration, t Timeouts, messages ...[]byte) {
	c.t.Helper()
	if !c.passes(d, t) {
		c.t.Fatalf("%s\nnothing is overdue", rule)
	}
	c.wantClient(rule, messages...)
}

// wantReleaseAsked is wantRelease of a server that is asked for locks first, since so much time has passed.
func (c *conversation) wantReleaseAsked(rule string) {
	c.t.Helper()
	c.wantServer("it is asked what nobody knows of", query(askLocks))
	c.answers(row("l", "0", ""), complete("SELECT 1"), ready('I'))
	c.wantRelease(rule)
}

func fatal(code, message string) []byte {
	return protocol.AppendError(nil, protocol.Fatal(code, message))
}

const almost = time.Second - 1

var (
	goneIdle   = fatal("57P05", "terminating connection due to idle-session timeout")
	goneInside = fatal("25P03", "terminating connection due to idle-in-transaction timeout")
	goneAtAll  = fatal("25P04", "terminating connection due to transaction timeout")
)

// B#22, B#125, B#1395: times were counted from the wrong event.
func TestIdleTimeCountsFromTheLastAnswer(t *testing.T) {
	c := newConversation(t)
	c.wantInTime("the time begins with the welcome", almost, second)
	c.sends(query("select 1"))
	c.granted(pools.Admin)
	c.wantInTime("what runs is not idle", almost, second)
	c.answers(row("1"), complete("SELECT 1"), ready('I'))
	c.client, c.server, c.actions = nil, nil, nil
	c.wantInTime("the time begins with the answer", almost, second)
	c.sends(query("begin; commit"))
	c.wantInTime("a client that waits for a server is not idle", time.Hour, second)
	c.granted(pools.Admin)
	c.answers(complete("BEGIN"), complete("COMMIT"), ready('I'))
	c.client, c.server, c.actions = nil, nil, nil
	c.wantInTime("nor is the wait its own", almost, second)
	c.sends(query("select 1")[:3])
	c.wantOverdue("and half a message is nothing", 1, second, goneIdle)
	c.wantAction("its client is closed", Action{Op: CloseClient})
	c.wantNothing("and that is all")
	if !c.s.Ended() {
		t.Error("the session is over")
	}
}

func TestIdleInATransactionRollsItBack(t *testing.T) {
	c := newConversation(t)
	c.sends(query("begin"), query("select 1"))
	c.granted(pools.Admin)
	c.answers(complete("BEGIN"), ready('T'))
	c.wantInTime("what runs is not idle", almost, second)
	c.answers(row("1"), complete("SELECT 1"), ready('T'))
	c.client, c.server, c.actions = nil, nil, nil
	c.wantInTime("the time begins with the answer", almost, second)
	c.wantOverdue("then it is over", 1, second, goneInside)
	c.wantServer("what it did is undone", query("ROLLBACK"))
	c.wantAction("its client is closed", Action{Op: CloseClient})
	c.answers(complete("ROLLBACK"), ready('I'))
	c.wantReleaseAsked("and its server is the next one's")
}

func TestIdleBehindABeginThatNoServerKnowsOf(t *testing.T) {
	c := newConversation(t)
	c.sends(query("begin"))
	c.client = nil
	c.wantInTime("the time begins with the answer", almost, second)
	c.wantOverdue("then it is over", 1, second, goneInside)
	if !c.s.Ended() {
		t.Error("the session is over")
	}
}

func TestAStatementThatRunsForTooLongIsCancelled(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select 1"))
	c.wantInTime("waiting for a server is no running", time.Hour, second)
	c.granted(pools.Admin)
	c.server = nil
	c.wantInTime("the time begins with the sending", almost, second)
	c.wantOverdue("nothing is said yet", 1, second)
	c.wantAction("it is cancelled", Action{Op: CancelServer})
	c.wantInTime("once", time.Hour, Timeouts{Query: time.Second})
	c.s.CancelDone(&c.o, c.now)
	c.answers(failed("57014", "canceling statement due to user request"), ready('I'))
	c.wantClient("the client learns why", join([][]byte{protocol.AppendError(nil, &protocol.Error{Severity: "ERROR", Code: "57014",
		Message: "canceling statement due to query_timeout",
		Detail:  "It ran for longer than 1s, which is lockproxy's setting query_timeout."}), ready('I')}))
	c.wantReleaseAsked("its server is free")
	if at := c.s.Deadline(); !at.IsZero() {
		t.Errorf("and that is all, but Tick is due at %v", at)
	}
}

func TestEachUnitOfAPipelineHasATimeOfItsOwn(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select 1"), query("select 2"))
	c.granted(pools.Admin)
	c.wantInTime("the first", almost, second)
	c.answers(row("1"), complete("SELECT 1"), ready('I'))
	c.wantInTime("the second, from when the first was answered", almost, second)
	c.sends(query("select 3"))
	c.actions = nil
	if !c.passes(1, second) {
		t.Fatal("which what comes behind it does not prolong")
	}
	c.wantAction("it is cancelled", Action{Op: CancelServer})
}

// A server that heeds no cancel request is closed, and its client is told.
func TestAServerThatHeedsNoCancelRequestIsClosed(t *testing.T) {
	for _, locked := range []bool{false, true} {
		c := newConversation(t, func(cfg *Config) { cfg.LockTimeout, cfg.IdleTimeout = 0, 0 })
		text, kind := "select 1", pools.Admin
		if locked {
			text, kind = "select pg_advisory_lock(1)", pools.Lock
		}
		c.sends(query(text))
		c.granted(kind)
		if locked {
			c.answers(row(""), complete("SELECT 1"), ready('I'))
			c.sends(query("select 2"))
		}
		c.client, c.server, c.actions = nil, nil, nil
		c.wantOverdue("it is cancelled", time.Second, second)
		c.wantAction("it is cancelled", Action{Op: CancelServer})
		c.now = c.s.Deadline()
		c.s.Tick(&c.o, c.now)
		c.took()
		e := protocol.Error{Severity: "ERROR", Code: "57014", Message: "canceling statement due to query_timeout",
			Detail: "It ran for longer than 1s, which is lockproxy's setting query_timeout." +
				" The server did not end it within 5s of the cancel request: its connection is closed."}
		if locked {
			e.Severity = "FATAL"
			c.wantClient("a lost lock ends the client", protocol.AppendError(nil, &e))
			c.wantAction("a lost lock ends the client", Action{Op: CloseClient})
		} else {
			c.wantClient("the client goes on", protocol.AppendError(nil, &e), ready('I'))
		}
		c.wantAction("nobody else gets the server", Action{Op: Remove})
		if at := c.s.Deadline(); !at.IsZero() {
			t.Errorf("and that is all, but Tick is due at %v", at)
		}
	}
}

func TestATransactionThatTakesTooLongEndsItsClient(t *testing.T) {
	short := Timeouts{Transaction: time.Second}
	t.Run("in a statement", func(t *testing.T) {
		c := newConversation(t)
		c.sends(query("begin"))
		c.client = nil
		c.wantInTime("the time begins when the server is asked", 500*time.Millisecond, short)
		c.sends(query("select 1"))
		c.wantInTime("waiting for a server does not count", time.Hour, short)
		c.granted(pools.Admin)
		c.answers(complete("BEGIN"), ready('T'))
		c.wantInTime("not yet", 500*time.Millisecond, short)
		c.answers(row("1"), complete("SELECT 1"), ready('T'))
		c.sends(query("select 2"))
		c.client, c.server, c.actions = nil, nil, nil
		c.wantInTime("not yet", 500*time.Millisecond-1, short)
		c.wantOverdue("then it is over", 1, short, goneAtAll)
		c.wantAction("its client is closed", Action{Op: CloseClient})
		c.wantAction("what runs is cancelled", Action{Op: CancelServer})
		c.s.CancelDone(&c.o, c.now)
		c.answers(failed("57014", "canceling statement due to user request"), ready('E'))
		c.wantServer("what it did is undone", query("ROLLBACK"))
		c.answers(complete("ROLLBACK"), ready('I'))
		c.wantReleaseAsked("and its server is the next one's")
	})
	t.Run("one after the other", func(t *testing.T) {
		c := newConversation(t)
		for range 3 {
			c.sends(query("select 1"))
			c.granted(pools.Admin)
			c.wantInTime("each is one of its own", time.Second-1, short)
			c.answers(row("1"), complete("SELECT 1"), ready('I'))
			c.wantInTime("and between them is none", time.Hour, short)
			c.actions = nil
		}
	})
	t.Run("in a session that keeps its server", func(t *testing.T) {
		c := newConversation(t)
		c.sends(query("select pg_advisory_lock(1)"))
		c.granted(pools.Lock)
		c.answers(complete("BEGIN"), row(""), row(""), complete("COMMIT"), ready('I'), row(""), complete("SELECT 1"), ready('I'))
		c.wantInTime("holding a lock is no transaction", time.Hour, short)
		c.sends(query("select 2"))
		c.wantInTime("the time begins with the statement", almost, short)
		c.client = nil
		c.wantOverdue("then it is over", 1, short, goneAtAll)
	})
}
