package session

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
)

// Cancel requests, clients that leave, and what neither may do to whoever has the backend next.

// M 3.6.5: a client that left in the middle of a large DataRow lost the frame's end, and the slot.
func TestAClientThatLeavesInTheMiddleOfARowLeavesTheBackendInStep(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select big"))
	c.granted(pools.Admin)
	big := row(strings.Repeat("x", 4000))
	c.answers(big[:1000])
	c.wantClient("a row passes piece by piece", big[:1000])
	c.s.ClientLost(&c.o, c.now)
	c.took()
	c.wantAction("what runs is cancelled", Action{Op: CancelServer})
	c.server = nil
	c.answers(big[1000:3000])
	c.answers(big[3000:], failed("57014", "canceling statement due to user request"), ready('I'))
	c.wantNothing("until the request has arrived the backend is not free")
	c.s.CancelDone(&c.o, c.now)
	c.took()
	c.wantRelease("now it is")
}

// B#38, B#245, C#297, D#1505, O a9ec09e1: a cancel request arrived after the backend had been given to somebody else.
func TestABackendIsNotFreeWhileACancelRequestIsUnderWay(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select pg_sleep(9)"))
	c.granted(pools.Admin)
	c.s.Cancel(&c.o, c.now)
	c.took()
	c.wantAction("the request is forwarded", Action{Op: CancelServer})
	c.client, c.server = nil, nil
	c.answers(row(""), selected, ready('I'))
	c.wantClient("the statement was faster", row(""), selected, ready('I'))
	c.wantNothing("but its backend is still in danger")
	c.sends(query("select 2"))
	c.wantNothing("so even the client's own next statement waits")
	c.s.CancelDone(&c.o, c.now)
	c.took()
	c.wantAction("then the backend is free", Action{Op: Release})
	c.again(pools.Admin)
	c.wantServer("and the next statement runs on any", query("select 2"))
	c.answers(row("2"), selected, ready('I'))
	c.wantClient("unharmed", row("2"), selected, ready('I'))
	c.wantRelease("and the backend is free")
}

var endangered = Action{Op: Remove, Reason: ReasonCancel, Text: "a cancel request may still reach it"}

func TestABackendThatACancelRequestMayStillReachIsNobodyElses(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select pg_sleep(9)"))
	c.granted(pools.Admin)
	c.cancels()
	c.answers(row(""), selected, ready('I'))
	c.wantClient("the statement was faster", row(""), selected, ready('I'))
	c.actions, c.server = nil, nil
	c.cancelAstray()
	c.wantAction("it is closed", endangered)
	c.sends(query("select 2"))
	c.again(pools.Admin)
	c.wantServer("the client goes on with another", query("select 2"))
	c.answers(row("2"), selected, ready('I'))
	c.wantClient("unharmed", row("2"), selected, ready('I'))
	c.wantRelease("which is in no danger")
}

func TestASessionKeepsAnEndangeredBackendForAsLongAsItNeedsIt(t *testing.T) {
	c := newConversation(t)
	c.sends(query("begin"), query("select pg_sleep(9)"))
	c.granted(pools.Admin)
	c.answers(complete("BEGIN"), ready('T'))
	c.cancels()
	c.actions = nil
	c.cancelAstray()
	c.answers(failed("57014", "canceling statement due to user request"), ready('E'))
	c.sends(query("rollback"))
	c.answers(complete("ROLLBACK"), ready('I'))
	c.wantAction("then it is closed", endangered)
	if c.s.Ended() {
		t.Error("the client lost it")
	}
}

func TestABackendThatALeaversCancelRequestMayStillReachIsClosed(t *testing.T) {
	c := newConversation(t)
	c.sends(query("create temp table t (a int)"))
	c.granted(pools.Admin)
	c.actions = nil
	c.s.ClientLost(&c.o, c.now)
	c.took()
	c.wantAction("what runs is cancelled", Action{Op: CancelServer})
	c.answers(complete("CREATE TABLE"), ready('I'))
	c.actions = nil
	c.cancelAstray()
	c.answers(complete("DISCARD ALL"), ready('I'))
	c.wantAction("it is closed", endangered)
}

// The requests of one client may be under way to several backends; which is known of first is not said.
func TestACancelRequestToABackendThatIsGoneDoesNotHideOneThatIsAstray(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select pg_sleep(9)"))
	c.granted(pools.Admin)
	c.cancels()
	c.loses()
	c.actions = nil
	c.sends(query("select pg_sleep(9)"))
	c.again(pools.Admin)
	c.cancels()
	c.answers(row(""), selected, ready('I'))
	c.actions = nil
	c.cancelAstray()
	c.cancelDone()
	c.wantAction("it is closed", endangered)
}

// O#1430, O#1432: any number of parallel cancel requests.
func TestOneCancelRequestIsUnderWayAtATime(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select pg_sleep(9)"))
	c.granted(pools.Admin)
	c.server = nil
	for range 100 {
		c.s.Cancel(&c.o, c.now)
		c.took()
	}
	c.wantAction("the request is forwarded", Action{Op: CancelServer})
	c.wantNothing("once")
}

// B#6: a cancel must end the wait for a backend. B#141: a ReadyForQuery too many put clients one result behind.
func TestCancelEndsTheWaitForABackendWithOneAnswer(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select 1"))
	c.wantAction("a server was asked for", Action{Op: Checkout})
	c.s.Cancel(&c.o, c.now)
	c.took()
	gone := protocol.AppendError(nil, canceled())
	c.wantClient("57014, as from a server", gone, ready('I'))
	c.wantAction("and it waits no more", Action{Op: Leave})
	c.s.Cancel(&c.o, c.now)
	c.took()
	c.wantNothing("a cancel request that comes to nothing is not answered")
	c.sends(query("select 2"))
	c.granted(pools.Admin)
	c.wantServer("the session lives on", query("select 2"))
}

// B#298: a cancel request while the pooler itself ran SET.
func TestCancelNeverHitsWhatWeRunOurselves(t *testing.T) {
	c := newConversation(t)
	c.s.defaults = NewSettings([]Setting{{"work_mem", "1MB"}})
	c.s.state.settings = c.s.defaults
	c.sends(parse("", "select 1")) // no unit yet
	c.sends(flushNow)
	c.granted(pools.Admin)
	c.wantServer("the settings go first", putting("work_mem", "1MB"), parse("", "select 1"), flushNow)
	c.answers(complete("BEGIN"), ready('T'), row("1MB"), complete("COMMIT"), ready('I'), parsed)
	c.wantClient("unseen", parsed)
	c.s.Cancel(&c.o, c.now)
	c.took()
	c.wantNothing("nothing of the client's runs, so nothing is cancelled")
}

// A message that a server ignores must be through before its backend is free: the next client's would be its rest.
func TestABackendIsNotFreeInTheMiddleOfAMessage(t *testing.T) {
	c := newConversation(t)
	surplus := copyData(strings.Repeat("x", 1000))
	c.sends(query("select 1"), surplus[:100])
	c.granted(pools.Admin)
	c.wantServer("it goes on its way", query("select 1"), surplus[:100])
	c.answers(row("1"), selected, ready('I'))
	c.wantClient("the query is answered", row("1"), selected, ready('I'))
	c.wantNothing("the backend waits for the rest")
	c.sends(surplus[100:])
	c.wantServer("here it is", surplus[100:])
	c.wantRelease("now the backend is free")

	c = newConversation(t)
	c.sends(query("select 1"), surplus[:100])
	c.granted(pools.Admin)
	c.answers(row("1"), selected, ready('I'))
	c.s.ClientLost(&c.o, c.now)
	c.took()
	c.wantAction("nobody can send the rest", Action{Op: Remove})
}

// What runs for a client that is sent away, or that left in the middle of a message, is not to go on for nobody.
func TestWhatRunsIsCancelledWhenItsClientIsSentAway(t *testing.T) {
	for why, end := range map[string]func(*conversation){
		"lockproxy ends": func(c *conversation) { c.s.Stop(&c.o, c.now) },
		"it left in the middle of a message": func(c *conversation) {
			c.sends(copyData("a message that will never be whole")[:10])
			c.s.ClientLost(&c.o, c.now)
		},
	} {
		c := newConversation(t)
		c.sends(query("select pg_sleep(9)"))
		c.granted(pools.Admin)
		end(c)
		c.took()
		var ops []Op
		for _, a := range c.actions {
			ops = append(ops, a.Op)
		}
		if len(ops) < 2 || ops[0] != CancelServer || ops[len(ops)-1] != Remove || !c.s.Ended() {
			t.Errorf("%s: %+v", why, c.actions)
		}
	}
}

// A server reads what a client ends with when it has answered what came before.
func TestWhatCameBeforeTheEndOfAClientIsAnswered(t *testing.T) {
	for _, last := range [][]byte{goodbye, message('?', ""), {protocol.Query, 0, 0, 0, 3}} {
		c := newConversation(t)
		c.sends(query("select 1"), query("select 2"), last)
		c.granted(pools.Admin)
		c.server = nil
		c.answers(row("1"), selected, ready('I'))
		c.wantClient("the first", row("1"), selected, ready('I'))
		c.wantNothing("the other is not answered yet")
		c.answers(row("2"), selected, ready('I'))
		if want := join([][]byte{row("2"), selected, ready('I')}); !bytes.HasPrefix(c.client, want) || (len(c.client) > len(want)) == bytes.Equal(last, goodbye) {
			t.Errorf("%q: the client is told %q", last, c.client)
		}
		if !slices.ContainsFunc(c.actions, func(a Action) bool { return a.Op == CloseClient }) {
			t.Errorf("%q: %+v", last, c.actions)
		}
	}

	c := newConversation(t)
	c.sends(query("select 1"), goodbye)
	c.granted(pools.Admin)
	c.s.ClientLost(&c.o, c.now)
	c.took()
	c.server = nil
	c.wantNothing("nor is it cancelled when he hangs up")
	c.answers(row("1"), selected, ready('I'))
	c.client = nil
	c.wantRelease("it ran to its end")

	c = newConversation(t)
	c.sends(query("select pg_advisory_xact_lock(1)"), goodbye)
	c.granted(pools.Lock)
	c.answers(complete("BEGIN"), row(""), selected, row(""), selected, complete("COMMIT"), ready('I'))
	c.s.ClientLost(&c.o, c.now)
	c.took()
	c.wantAction("what waits for a lock is", Action{Op: CancelServer})
}

// A batch without its Sync is not committed for a client that left: on a direct connection it is rolled back.
func TestABatchWithoutItsSyncIsNotCommittedForAClientThatLeft(t *testing.T) {
	for _, terminates := range []bool{true, false} {
		c := newConversation(t)
		c.sends(parse("", "insert into t values (1)"), bind("", ""), execute(""), flushNow)
		c.granted(pools.Admin)
		c.answers(parsed, bound, complete("INSERT 0 1"))
		c.server = nil
		if terminates {
			c.sends(goodbye)
		} else {
			c.s.ClientLost(&c.o, c.now)
			c.took()
		}
		c.wantServer("it fails before the Sync", describe('S', nobody), syncMessage())
		c.client, c.actions = nil, nil
		if !terminates {
			c.s.CancelDone(&c.o, c.now)
		}
		c.answers(failed("26000", "unknown"), ready('I'))
		c.wantRelease("in step")
	}
}

// Its temporary table is gone with the server: it must not go on as if it were there.
func TestAStrayLockOnAServerThatASessionIsPinnedToEndsTheSession(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select 1"))
	c.granted(pools.Admin)
	c.answers(row("1"), selected, ready('I'))
	c.now = c.now.Add(auditEvery)
	c.client, c.actions = nil, nil
	c.sends(query("create temp table x (a int)"))
	c.again(pools.Admin)
	c.answers(complete("CREATE TABLE"), ready('I'))
	c.client, c.actions = nil, nil
	c.answers(row("l", "1", ""), row("p", "1", "0 0"), selected, ready('I'))
	const text = "it held 1 advisory locks that no session holds"
	c.wantClient("it is told", protocol.AppendError(nil, protocol.Fatal(protocol.AdminShutdown, "lockproxy: the server is closed: "+text)))
	c.wantAction("the lock is told of", Action{Op: Stray, Text: text})
	if !c.s.Ended() {
		t.Error("the session goes on")
	}
}
