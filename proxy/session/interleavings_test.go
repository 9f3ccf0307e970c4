package session

import (
	"strings"
	"testing"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
)

// What the simulation found (test/sim).

func (c *conversation) cancels() {
	c.s.Cancel(&c.o, c.now)
	c.took()
}

func (c *conversation) cancelDone() {
	c.s.CancelDone(&c.o, c.now)
	c.took()
}

func (c *conversation) cancelAstray() {
	c.s.CancelAstray(&c.o, c.now)
	c.took()
}

func (c *conversation) loses() {
	c.s.ServerLost(&c.o, c.now)
	c.took()
}

func TestCancelIsSentWhenItCanHitNothingOfOurs(t *testing.T) {
	c := newConversation(t)
	c.sends(query("begin"))
	c.sends(query("select pg_advisory_xact_lock(7)"))
	c.client = nil
	c.granted(pools.Lock)
	c.server = nil
	c.cancels()
	c.wantNothing("the settings and the BEGIN before the query are not to fail")
	c.answers(complete("BEGIN"), row("", ""), row(""), complete("COMMIT"), ready('I'), complete("BEGIN"))
	c.wantNothing("the BEGIN is not done")
	c.answers(ready('T'))
	c.wantAction("now the query is what it hits", Action{Op: CancelServer})
	c.wantNothing("and once")
}

func TestCancelWithNothingOfTheClientsLeftIsForgotten(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select pg_advisory_lock(1) from t"))
	c.granted(pools.Lock)
	c.answers(complete("BEGIN"), row(""), row(""), complete("COMMIT"), ready('I'))
	c.answers(row(""), complete("SELECT 1"), ready('I'))
	c.client, c.server, c.actions = nil, nil, nil
	c.cancels()
	c.wantNothing("our own question runs, which nobody waits for")
}

func TestCancelOfALostServerDoesNotFreeTheNextForMore(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select 1"))
	c.granted(pools.Admin)
	c.cancels()
	c.wantAction("the query runs", Action{Op: CancelServer})
	c.loses()
	c.client, c.server, c.actions = nil, nil, nil
	c.sends(query("select 2"), query("select 3"))
	c.granted(pools.Admin)
	c.wantServer("both go at once", query("select 2"), query("select 3"))
	c.cancels()
	c.wantAction("the second query runs", Action{Op: CancelServer})
	c.cancelDone() // the first one's
	c.sends(query("select 4"))
	c.wantNothing("a cancel request is still under way")
	c.cancelDone()
	c.wantServer("what follows can not be hit any more", query("select 4"))
}

func TestErrorIsNotWrittenIntoAnAnswerThatBreaksOff(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select 1"))
	c.granted(pools.Admin)
	answer := message(protocol.RowDescription, "\x00\x01?column?\x00")
	c.answers(answer[:9])
	c.client, c.server, c.actions = nil, nil, nil
	c.loses()
	if len(c.client) > 0 {
		t.Errorf("the client would take %q for the rest of a message", c.client)
	}
	c.wantAction("all that can be said is that it ends", Action{Op: CloseClient})
}

func TestOwnAnswersWaitForTheEndOfAMessage(t *testing.T) {
	c := newConversation(t)
	c.sends(parse("", "select 1"), bind("", ""), describe('P', ""), message(protocol.Close, "Ss1\x00"), syncMessage())
	c.granted(pools.Admin)
	c.answers(parsed, bound)
	c.client = nil
	answer := message(protocol.RowDescription, "\x00\x01?column?\x00")
	c.answers(answer[:9])
	c.wantClient("as far as it is here", answer[:9])
	c.answers(answer[9:])
	c.wantClient("CloseComplete comes behind it", answer[9:], message('3', ""))
}

func TestClientThatLeavesBehindItsBeginHasItRolledBack(t *testing.T) {
	c := newConversation(t)
	c.sends(query("begin"), parse("", "select 1"), bind("", ""), parse("", "select pg_advisory_xact_lock(7)"))
	c.sends(message(protocol.Flush, ""))
	c.client = nil
	c.granted(pools.Lock)
	c.server = nil
	c.s.ClientLost(&c.o, c.now)
	c.took()
	c.server, c.actions = nil, nil
	c.answers(complete("BEGIN"), row("", ""), row(""), complete("COMMIT"), ready('I'), complete("BEGIN"), ready('T'))
	if c.s.srv != nil && c.s.srv.flight.len() == 0 {
		c.wantServer("the transaction is not the next client's", query("ROLLBACK"))
	}
	for _, a := range c.actions {
		if a.Op == Release {
			t.Error("a backend was given back within a transaction")
		}
	}
}

func TestSettingWhoseValueDiedWithItsServerEndsTheClient(t *testing.T) {
	c := newConversation(t)
	c.sends(query("set work_mem = '8MB'"))
	c.granted(pools.Admin)
	c.answers(complete("SET"), ready('I'))
	c.wantClient("the client relies on it", complete("SET"), ready('I'))
	c.loses()
	c.wantClient("and must know that it is gone", protocol.AppendError(nil,
		protocol.Fatal(protocol.AdminShutdown, "the server closed the connection unexpectedly")))
}

func TestWhatFollowsAResetFindsTheStartupSettingsInPlace(t *testing.T) {
	mode := func(cfg *Config) { cfg.SessionMode = true }
	c := newConversation(t, mode)
	c.s.defaults = NewSettings([]Setting{{"application_name", "x"}})
	c.s.state.settings = c.s.defaults
	c.sends(query("select 1"))
	c.granted(pools.Admin)
	c.answers(complete("BEGIN"), row("x"), complete("COMMIT"), ready('I'), complete("SELECT 1"), ready('I'))
	c.client, c.server = nil, nil
	c.sends(query("discard all"), query("select 2"))
	c.wantServer("one after the other", query("discard all"))
	c.answers(complete("DISCARD ALL"), ready('I'))
	c.wantServer("they go first", query("BEGIN;SELECT pg_catalog.set_config( E'application_name', E'x',false);COMMIT"), query("select 2"))
}

func TestPromotionRefusedAfterItsBatchHasFailedRefusesNothing(t *testing.T) {
	c := newConversation(t)
	c.sends(parse("", "select boom()"), bind("", ""), execute(""), message(protocol.Flush, ""))
	c.granted(pools.Admin)
	c.server = nil
	c.sends(parse("", "select pg_advisory_xact_lock(7)"), bind("", ""), execute(""), syncMessage())
	c.actions, c.server = nil, nil
	c.answers(message('1', ""), message('2', ""), failed("22012", "division by zero"))
	c.client, c.server = nil, nil
	c.s.PromotionRefused(&c.o, c.now, &protocol.Error{Severity: "ERROR", Code: protocol.TooManyConnections})
	c.took()
	c.wantServer("the batch failed before; its end is all that is left of it", syncMessage())
	c.answers(ready('I'))
	c.wantClient("one error was enough", ready('I'))
}

func TestAnswerThatHadItsErrorGetsNoSecondOneWhenItsServerIsLost(t *testing.T) {
	c := newConversation(t)
	c.sends(query("begin"), query("select boom()"))
	c.granted(pools.Admin)
	c.answers(complete("BEGIN"), ready('T'), failed("22012", "division by zero"))
	c.client = nil
	c.loses()
	c.wantClient("no unit has two errors", ready('E'))
}

func TestDeallocateWaitsUntilItIsKnownWhatIsThere(t *testing.T) {
	c := newConversation(t)
	c.sends(query("begin"), parse("s1", "select 1"), syncMessage(), query("deallocate s1"))
	c.granted(pools.Admin)
	c.wantServer("the batch may fail before its Parse", query("begin"), parseOurs("lockproxy_1", "select 1"), syncMessage())
	c.answers(complete("BEGIN"), ready('T'), parsedOurs, ready('T'))
	if !strings.Contains(string(c.server), "deallocate s1") {
		t.Errorf("after the batch the server got %s", spell(c.server))
	}
}

func TestWhatFollowsADeallocateFindsNoStatement(t *testing.T) {
	c := newConversation(t)
	c.sends(parse("s1", "select 1"), syncMessage())
	c.granted(pools.Admin)
	c.answers(parsedOurs, ready('I'))
	c.client, c.server, c.actions = nil, nil, nil
	c.sends(query("begin"), query("select 1"))
	c.granted(pools.Admin)
	c.answers(complete("BEGIN"), ready('T'), row("1"), complete("SELECT 1"), ready('T'))
	c.server = nil
	c.sends(query("deallocate all"), bind("", "s1"), execute(""), syncMessage())
	c.wantServer("what names mean is known when it has run", query("deallocate all"))
	c.answers(complete("DEALLOCATE ALL"), ready('T'))
	if strings.Contains(string(c.server), "lockproxy_") {
		t.Errorf("the server got %s, which uses a statement that is gone", spell(c.server))
	}
}

func TestResetOfOneStartupSettingLeavesTheOthersReports(t *testing.T) {
	c := newConversation(t)
	c.s.defaults = NewSettings([]Setting{{"timezone", "x"}, {"application_name", "y"}})
	c.sends(parse("", "set timezone = 'z'"), bind("", ""), execute(""), parse("", "reset application_name"), bind("", ""),
		execute(""), syncMessage())
	c.granted(pools.Admin)
	c.answers(message('1', ""), message('2', ""), complete("SET"), message('1', ""), message('2', ""), complete("RESET"))
	c.answers(message('1', ""), message('2', ""), complete("SET"), message('3', ""), message('3', "")) // ours
	c.client = nil
	report := protocol.AppendParameterStatus(nil, "TimeZone", "z")
	c.answers(report)
	c.wantClient("it was set, and not reset", report)
}

func TestWhatEndsACopyFromAfarLeavesTheSyncBehindItToBeAnswered(t *testing.T) {
	c := newConversation(t)
	c.sends(parse("", "copy t from stdin"), bind("", ""), execute(""), message(protocol.Flush, ""))
	c.granted(pools.Admin)
	c.answers(message('1', ""), message('2', ""))
	c.server, c.client, c.actions = nil, nil, nil
	c.s.ClientLost(&c.o, c.now) // the batch is ended with a message that fails
	c.took()
	c.actions = nil
	c.answers(message(protocol.CopyInResponse, "\x00\x00\x00"), failed("57014", "canceling statement"), ready('I'))
	for _, a := range c.actions {
		if a.Op == Remove {
			t.Errorf("its answer was taken for one to nothing: %s", a.Text)
		}
	}
}

func TestSettingBehindADiscardInThePipelineIsNotForgottenWithTheRest(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select 1"), query("discard all"), query("set timezone = 'x'"))
	c.granted(pools.Admin)
	c.server = nil
	c.answers(row("1"), complete("SELECT 1"), ready('I'), complete("DISCARD ALL"), ready('I'), complete("SET"), ready('I'))
	c.wantServer("the next client is not to find it there", query("SELECT 's', E'timezone',"+asked("pg_catalog.current_setting( E'timezone',true)")+";"))
}

func TestTimeoutThatTheClientSwitchesOffStaysOffWherePoolsHaveNone(t *testing.T) {
	c := newConversation(t, func(cfg *Config) { cfg.LockTimeout = 0 })
	c.s.defaults = NewSettings([]Setting{{"lock_timeout", "5s"}})
	c.s.state.settings = c.s.defaults
	c.sends(query("set lock_timeout = 0"))
	c.granted(pools.Admin)
	c.answers(complete("BEGIN"), row("5s"), complete("COMMIT"), ready('I'))
	c.answers(complete("SET"), ready('I'))
	c.answers(row("s", "lock_timeout", "0"), complete("SELECT 1"), ready('I'))
	if value, _ := c.s.state.settings.Get("lock_timeout"); value != "0" {
		t.Errorf("the client's next transaction would wait %q for a lock, and is to wait without end", value)
	}
}

// pipelined gives a conversation in a transaction whose session has s1 prepared.
func pipelined(t *testing.T) *conversation {
	c := newConversation(t)
	c.sends(query("begin"), parse("s1", "select 1"), syncMessage())
	c.granted(pools.Admin)
	c.answers(complete("BEGIN"), ready('T'), parsedOurs, ready('T'))
	c.client, c.server, c.actions = nil, nil, nil
	return c
}

func TestCloseLookedAtBringsNoDeallocatedNameBack(t *testing.T) {
	c := pipelined(t)
	c.sends(query("deallocate s1"), bind("", "s1"), execute(""), message(protocol.Close, "Ss1\x00"), syncMessage())
	c.server = nil
	c.answers(message('1', ""), ready('T'), complete("DEALLOCATE"), ready('T'))
	if strings.Contains(string(c.server), "lockproxy_1") {
		t.Errorf("the server got %s, which uses a statement that is gone", spell(c.server))
	}
}

func TestNameThatCouldNotBeMadeForSqlIsMadeAgain(t *testing.T) {
	c := pipelined(t)
	c.sends(query("select boom()"))
	c.answers(failed("22012", "division by zero"), ready('E'))
	c.server = nil
	c.sends(query("execute s1"))
	c.wantServer("nothing can be made in a failed transaction, nor used", query("execute s1"))
	c.answers(failed("25P02", "current transaction is aborted"), ready('E'))
	c.sends(query("rollback"))
	c.answers(complete("ROLLBACK"), ready('I'))
	c.server, c.actions = nil, nil
	c.sends(query("execute s1"))
	c.again(pools.Admin)
	c.wantServer("it is made known then, and compared", parseOurs("s1", "select 1"), syncMessage())
	c.answers(parsedOurs, ready('I'))
	c.wantServer("it is what it was", query("execute s1"))
}

func TestSettingsOfExtensionsAreAskedByNameWhereAnythingMayHaveChanged(t *testing.T) {
	c := newConversation(t)
	c.s.state.settings = NewSettings([]Setting{{"app.tenant", "x"}})
	c.sends(query("do 'begin perform 1; end'"))
	c.granted(pools.Admin)
	c.answers(complete("BEGIN"), ready('T'), row("x"), complete("COMMIT"), ready('I'))
	c.server = nil
	c.answers(complete("DO"), ready('I'))
	if !strings.Contains(string(c.server), "current_setting( E'app.tenant',true)") {
		t.Errorf("the server was asked %s", spell(c.server))
	}
}

// A server answers what goes before a statement in the same batch only with the batch: a cancel that waited for that would
// wait for the statement that it is to end.
func TestCancelReachesAStatementThatIsPreparedAgainInItsBatch(t *testing.T) {
	c := newConversation(t)
	c.prepares("a", "select from slow", "lockproxy_1", c.granted)
	c.actions = nil
	c.sends(bind("", "a"), execute(""), syncMessage())
	c.granted(pools.Admin)
	c.wantServer("it is made in the same round trip", parseOurs("lockproxy_1", "select from slow"), bind("", "lockproxy_1"), execute(""), syncMessage())
	c.cancels()
	c.wantAction("the cancel goes at once", Action{Op: CancelServer})
	c.cancelDone()
	c.answers(parsedOurs, message('2', ""), failed("57014", "canceling statement due to user request"), ready('I'))
	c.wantClient("and is the answer", message('2', ""), failed("57014", "canceling statement due to user request"), ready('I'))
}

// The next statement waits until the cancel request before it has reached the server; a cancel request for it came meanwhile,
// and did nothing.
func TestCancelOfWhatIsHeldBackBehindACancelEndsIt(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select pg_sleep(9)"))
	c.granted(pools.Admin)
	c.cancels()
	c.answers(failed("57014", "canceling statement due to user request"), ready('I'))
	c.sends(query("select pg_sleep(8)"))
	c.cancels()
	c.client, c.server, c.actions = nil, nil, nil
	c.cancelDone()
	c.wantAction("the server is free", Action{Op: Release})
	c.wantClient("and the statement is answered as one that ran", failed("57014", "canceling statement due to user request"), ready('I'))
	c.sends(query("select 1"))
	c.again(pools.Admin)
	c.wantServer("the one after it runs", query("select 1"))
}

// lib/pq begins so; a lock statement that follows must find the lock pool.
func TestBeginReadWriteWaitsForTheNextUnitOnAPrimary(t *testing.T) {
	c := newConversation(t)
	c.s.state.told = NewSettings([]Setting{{"in_hot_standby", "off"}})
	c.sends(query("BEGIN READ WRITE"))
	c.wantClient("answered at once", complete("BEGIN"), ready('T'))
	c.sends(query("select pg_advisory_xact_lock(1)"))
	c.wantAction("the next unit decides", Action{Op: Checkout, Kind: pools.Lock})
	c = newConversation(t)
	c.s.state.told = NewSettings([]Setting{{"in_hot_standby", "on"}})
	c.sends(query("BEGIN READ WRITE"))
	c.wantAction("a standby refuses it itself", Action{Op: Checkout, Kind: pools.Admin})
}

// What is left of a COPY that has failed is nothing that a cancel request could be for, nor is what comes behind it.
func TestACancelRequestFindsNothingInWhatIsLeftOfACopy(t *testing.T) {
	c := newConversation(t)
	c.sends(query("BEGIN"), query("COPY t FROM STDIN"))
	c.granted(pools.Admin)
	c.answers(complete("BEGIN"), ready('T'), copyStarts)
	done := message(protocol.CopyDone, "")
	c.sends(message(protocol.CopyData, "bad\n"), done[:2])
	c.answers(failed("22P04", "missing data"), ready('E'))
	c.client, c.server, c.actions = nil, nil, nil
	c.s.Cancel(&c.o, c.now)
	c.took()
	c.sends(done[2:], query("ABORT"))
	c.wantServer("it is passed on, and the next statement", done, query("ABORT"))
	c.answers(complete("ROLLBACK"), ready('I'))
	c.wantClient("and answered", complete("ROLLBACK"), ready('I'))
}

// An empty query is the one that a failed block does not refuse: its client must hear that the settings are not in place, and nothing of
// what is in place there for others.
func TestAnEmptyQueryIsToldThatItsSettingsFailed(t *testing.T) {
	c := newConversation(t)
	c.sets("set app.x = '1'", "SET", "app.x", "1", c.granted)
	c.sends(query("BEGIN"), query(""))
	c.client = nil
	c.wantAction("a server was asked for", Action{Op: Checkout, Kind: pools.Admin})
	others := NewServer(98, NewSettings([]Setting{{"server_version", "15"}, {"application_name", "another's"}}), c.now)
	c.s.Granted(&c.o, c.now, others, pools.Admin)
	c.took()
	c.server = nil
	canceled, empty := failed("57014", "canceling statement due to user request"), message(protocol.EmptyQueryResponse, "")
	c.answers(complete("BEGIN"), ready('T'), canceled, ready('E'), failed("25P02", "aborted"), ready('E'), empty, ready('E'))
	c.wantClient("it hears why its transaction has failed", canceled, ready('E'))
}
