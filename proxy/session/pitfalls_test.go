package session

import (
	"strings"
	"testing"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
)

// What broke in other poolers, as conversations: each test is named after the rule that holds here, and cites where it
// did not. B is pgbouncer/pgbouncer, C postgresml/pgcat, D pgdogdev/pgdog, G multigres/multigres, M ozontech/pg_doorman,
// O yandex/odyssey, S supabase/supavisor.

// Answers of a server that hold nothing that matters here.
var (
	parsed      = message(protocol.ParseComplete, "")
	bound       = message(protocol.BindComplete, "")
	closed      = message(protocol.CloseComplete, "")
	noData      = message(protocol.NoData, "")
	noParams    = message(protocol.ParameterDescription, "\x00\x00")
	columns     = message(protocol.RowDescription, "\x00\x00")
	copyStarts  = message(protocol.CopyInResponse, "\x00\x00\x00")
	copyDone    = message(protocol.CopyDone, "")
	flushNow    = message(protocol.Flush, "")
	goodbye     = message(protocol.Terminate, "")
	selected    = complete("SELECT 1")
	callOfLock  = message(protocol.FunctionCall, "\x00\x00\x0b\x40\x00\x00\x00\x00\x00\x01") // oid 2880
	emptyResult = message(protocol.FunctionCallResponse, "\x00\x00\x00\x00")
)

// parseOurs is how a server is made to prepare a statement under a name of ours, and parsedOurs what it says to that. Its
// columns are for us alone.
func parseOurs(name, text string) []byte {
	return join([][]byte{parse(name, text), describe('S', name)})
}

var parsedOurs = join([][]byte{parsed, noParams, columns})

func copyData(text string) []byte { return message(protocol.CopyData, text) }

func closing(what byte, name string) []byte {
	return message(protocol.Close, string(what)+name+"\x00")
}

// again gives the session the server that it had before.
func (c *conversation) again(kind pools.Kind) {
	c.t.Helper()
	c.wantAction("a server was asked for", Action{Op: Checkout, Kind: kind})
	c.s.Granted(&c.o, c.now, c.srv, kind)
	c.took()
}

// takenBy gives a session that another client has begun the server that this one has released.
func (c *conversation) takenBy(other *conversation, kind pools.Kind) {
	other.srv = c.srv
	other.again(kind)
}

func (c *conversation) wantRelease(rule string) {
	c.t.Helper()
	c.wantAction(rule, Action{Op: Release})
	c.wantNothing("and that is all")
}

// exchange is an ordinary transaction on the server that the session had, which shows that both are in step.
func (c *conversation) exchange() {
	c.t.Helper()
	c.sends(query("select 1"))
	c.again(pools.Admin)
	c.wantServer("the next query goes as it is", query("select 1"))
	c.answers(row("1"), selected, ready('I'))
	c.wantClient("and has its own answer", row("1"), selected, ready('I'))
	c.wantRelease("so the backend is free again")
}

// B#1023, B#1025: a Sync in the middle of a COPY was counted, and the backend never given back.
func TestSyncDuringCopyIsNotWaitedFor(t *testing.T) {
	c := newConversation(t)
	c.sends(query("copy t from stdin"))
	c.granted(pools.Admin)
	c.server = nil
	c.answers(copyStarts)
	c.wantClient("the COPY begins", copyStarts)
	c.sends(copyData("1\n"), syncMessage(), copyDone)
	c.wantServer("all of it goes to the server, which ignores the Sync", copyData("1\n"), syncMessage(), copyDone)
	c.answers(complete("COPY 1"), ready('I'))
	c.wantClient("one answer", complete("COPY 1"), ready('I'))
	c.wantRelease("nothing more is awaited")
	c.exchange()
}

// B#1023 again, as libpq does it: Sync goes with the Execute, before anybody knows that it is a COPY.
func TestSyncSentBeforeTheCopyBeganIsNotWaitedFor(t *testing.T) {
	c := newConversation(t)
	c.sends(parse("", "copy t from stdin"), bind("", ""), execute(""), syncMessage())
	c.granted(pools.Admin)
	c.server = nil
	c.answers(parsed, bound, copyStarts)
	c.wantClient("the COPY begins", parsed, bound, copyStarts)
	c.wantNothing("and the backend stays")
	c.sends(copyData("1\n"), copyDone, syncMessage())
	c.wantServer("the Sync behind the COPY ends the batch", copyData("1\n"), copyDone, syncMessage())
	c.answers(complete("COPY 1"), ready('I'))
	c.wantClient("one answer", complete("COPY 1"), ready('I'))
	c.wantRelease("nothing more is awaited")
	c.exchange()
}

// B#1023 once more: nobody but the server knows which Sync messages a COPY has read before it failed.
func TestSyncsOfACopyThatFailedAreAskedFor(t *testing.T) {
	bad := failed("22P02", "invalid input syntax")
	question := join([][]byte{syncMessage(), closing('S', nobody), syncMessage()})
	for ignored, want := range [][]byte{join([][]byte{ready('I'), ready('I')}), ready('I'), nil} {
		c := newConversation(t)
		c.sends(parse("", "copy t from stdin"), bind("", ""), execute(""), syncMessage())
		c.granted(pools.Admin)
		c.answers(parsed, bound, copyStarts)
		c.sends(copyData("x\n"), syncMessage())
		c.client, c.server = nil, nil
		c.answers(bad)
		c.wantClient("the error comes at once", bad)
		c.sends(parse("a", "select 1"), syncMessage())
		c.wantServer("it is asked before anything that it might skip", question)
		for range 2 - ignored {
			c.answers(ready('I'))
		}
		c.answers(ready('I'), closed, ready('I'))
		c.wantClient("each that was not ignored is answered", want)
		if ignored == 2 {
			c.wantServer("the batch has failed: its end is all that is left of it", syncMessage())
			c.answers(ready('I'))
			c.wantClient("which is answered", ready('I'))
		} else {
			c.wantAction("the backend is free meanwhile", Action{Op: Release})
			c.again(pools.Admin)
			c.wantServer("what follows is another batch", parseOurs("lockproxy_1", "select 1"), syncMessage())
			c.answers(parsedOurs, ready('I'))
			c.wantClient("and is answered", parsed, ready('I'))
		}
		c.wantRelease("nothing more is awaited")
	}
}

// A message that no COPY takes, when it is not known whether the COPY has failed already.
func TestWhatFailsACopyIsNotRunBehindOneThatHasFailed(t *testing.T) {
	bad := failed("22P02", "invalid input syntax")
	for _, simple := range []bool{true, false} {
		c := newConversation(t)
		if simple {
			c.sends(query("copy t from stdin"))
			c.granted(pools.Admin)
			c.answers(copyStarts)
		} else {
			c.sends(parse("", "copy t from stdin"), bind("", ""), execute(""), flushNow)
			c.granted(pools.Admin)
			c.answers(parsed, bound, copyStarts)
		}
		c.sends(copyData("x\n"), syncMessage())
		c.client, c.server = nil, nil
		c.sends(query("select 1"))
		c.wantServer("a message of its kind", message(protocol.Query, ""), syncMessage(), closing('S', nobody), syncMessage())
		if c.answers(bad); simple {
			c.answers(ready('I'))
			c.wantClient("the COPY had failed", bad, ready('I'))
		} else {
			c.wantClient("the COPY had failed", bad)
		}
		c.answers(ready('I'), failed("08P01", "invalid message format"), ready('I'), ready('I'), closed, ready('I'))
		c.wantClient("the Sync behind it", ready('I'))
		c.wantAction("the backend is free meanwhile", Action{Op: Release})
		c.again(pools.Admin)
		c.wantServer("and the query is one", query("select 1"))
		c.answers(row("1"), selected, ready('I'))
		c.wantClient("that is answered", row("1"), selected, ready('I'))
		c.wantRelease("nothing more is awaited")
	}
}

// B#1470, B#1471: what a client still sent of a COPY that had failed left the backend active for ever.
func TestCopyDataBehindTheCopysErrorGoesNowhere(t *testing.T) {
	c := newConversation(t)
	c.sends(query("copy t from stdin"))
	c.granted(pools.Admin)
	c.answers(copyStarts)
	c.sends(copyData("x\n"))
	c.client, c.server = nil, nil
	bad := failed("22P02", "invalid input syntax")
	c.answers(bad, ready('I'))
	c.wantClient("the COPY fails", bad, ready('I'))
	c.wantRelease("and the backend is free")
	c.sends(copyData("y\n"), copyData("z\n"), copyDone)
	c.wantNothing("the rest of the COPY is discarded, as a server does")
	c.exchange()
}

// B#1470 within a batch: the rest is dropped up to the Sync, which is answered.
func TestCopyDataBehindTheErrorOfABatchIsDroppedUpToSync(t *testing.T) {
	for _, early := range []bool{true, false} {
		c := newConversation(t)
		c.sends(parse("", "copy t from stdin"), bind("", ""), execute(""))
		c.sends(flushNow)
		c.granted(pools.Admin)
		c.answers(parsed, bound, copyStarts)
		c.sends(copyData("x\n"))
		c.client, c.server = nil, nil
		bad := failed("22P02", "invalid input syntax")
		if early { // the error comes before the client has sent the rest
			c.answers(bad)
			c.sends(copyData("y\n"), copyDone, syncMessage())
			c.wantServer("a Sync alone brings the server back", syncMessage())
		} else {
			c.sends(copyData("y\n"), copyDone, syncMessage())
			c.wantServer("all of it was on its way", copyData("y\n"), copyDone, syncMessage())
			c.answers(bad)
		}
		c.answers(ready('I'))
		c.wantClient("one error, one ReadyForQuery", bad, ready('I'))
		c.wantRelease("and the backend is free")
		c.exchange()
	}
}

// B#1555: answers given in the server's place came out of turn, and a backend out of step went to the next client.
func TestParseAndCloseMixedAreAnsweredInOrder(t *testing.T) {
	c := newConversation(t)
	c.sends(parse("a", "select 1"), closing('S', "a"), parse("a", "select 1"), closing('S', "none"), bind("", "a"), execute(""), syncMessage())
	c.granted(pools.Admin)
	c.wantServer("one Parse does", parseOurs("lockproxy_1", "select 1"), bind("", "lockproxy_1"), execute(""), syncMessage())
	c.wantNothing("nothing is answered before its turn")
	c.answers(parsedOurs)
	c.wantClient("what is ours follows what is the server's", parsed, closed, parsed, closed)
	c.answers(bound, row("1"), selected, ready('I'))
	c.wantClient("and the rest passes", bound, row("1"), selected, ready('I'))
	c.wantRelease("the backend is in step")
}

// A Close message that lockproxy answers leaves nothing to wait for: what comes behind it in its batch goes on.
func TestWhatFollowsAnAnswerOfOursGoesOnWhenNothingIsUnderWay(t *testing.T) {
	c := newConversation(t)
	c.sends(closing('S', ""), query("select 1/0"), parse("", "select 1"), bind("", ""), execute(""), syncMessage())
	c.granted(pools.Admin)
	c.wantClient("the Close has nothing before it", closed)
	bad := failed("22012", "division by zero")
	c.wantServer("and the query goes on", query("select 1/0"), parse("", "select 1"), bind("", ""), execute(""), syncMessage())
	c.answers(bad, ready('I'), parsed, bound, row("1"), selected, ready('I'))
	c.wantClient("all is answered", bad, ready('I'), parsed, bound, row("1"), selected, ready('I'))
	c.wantRelease("and the backend is free")
}

// M 3.0.1 to 3.1.8: a ParseComplete of the pooler's own came before what it should follow, and after an error.
func TestOurParseCompleteComesInItsTurnAndNeverBehindAnError(t *testing.T) {
	c := newConversation(t)
	c.sends(parse("a", "select 1"), syncMessage())
	c.granted(pools.Admin)
	c.answers(parsedOurs, ready('I'))
	c.wantAction("released", Action{Op: Release})
	c.client, c.server = nil, nil
	other := newConversation(t)
	batch := [][]byte{parse("b", "select 2"), describe('S', "b"), parse("c", "select 1"), bind("", "c"), execute(""), syncMessage()}
	other.sends(batch...)
	c.takenBy(other, pools.Admin)
	other.wantServer("the known text is not parsed again", parse("lockproxy_2", "select 2"), describe('S', "lockproxy_2"),
		bind("", "lockproxy_1"), execute(""), syncMessage())
	other.answers(parsed)
	other.wantClient("its turn comes behind the Describe", parsed)
	other.answers(noParams, columns)
	other.wantClient("now", noParams, columns, parsed)
	other.answers(bound, row("1"), selected, ready('I'))
	other.wantClient("and the rest", bound, row("1"), selected, ready('I'))
	other.wantRelease("in step")

	third := newConversation(t)
	third.sends(bind("", ""), parse("d", "select 1"), syncMessage())
	c.takenBy(third, pools.Admin)
	third.answers(failed("26000", "server's words"), ready('I'))
	got := spell(third.client)
	if strings.Contains(got, `1("")`) || strings.Count(got, "E(") != 1 || strings.Count(got, "Z(") != 1 {
		t.Errorf("behind the error nothing but ReadyForQuery is answered: %s", got)
	}
}

// S#1061, S#1172: the backend was given back at the first ReadyForQuery though more Syncs had been sent.
func TestABackendIsKeptUntilEverySyncIsAnswered(t *testing.T) {
	c := newConversation(t)
	unit := [][]byte{parse("", "select 1"), bind("", ""), execute(""), syncMessage()}
	answer := join([][]byte{parsed, bound, row("1"), selected, ready('I')})
	c.sends(join(unit), join(unit), join(unit))
	c.granted(pools.Admin)
	c.wantServer("all three go", join(unit), join(unit), join(unit))
	for range 2 {
		c.answers(answer)
		c.wantClient("answered", answer)
		c.wantNothing("and the backend is not free")
	}
	c.answers(answer)
	c.wantClient("answered", answer)
	c.wantRelease("now it is")
}

// S#1079: a pipe that begins with Sync.
func TestSyncAloneIsAnsweredWithoutABackend(t *testing.T) {
	c := newConversation(t)
	c.sends(syncMessage(), syncMessage())
	c.wantClient("there is nothing to wait for", ready('I'), ready('I'))
	c.wantNothing("and nothing to ask")
	c.sends(syncMessage(), query("select 1"))
	c.wantClient("the Sync first", ready('I'))
	c.granted(pools.Admin)
	c.wantServer("then the query", query("select 1"))
	c.answers(row("1"), selected, ready('I'))
	c.wantClient("with its answer", row("1"), selected, ready('I'))
	c.wantRelease("in step")
}

// S#1176: in a pipe across transactions a BEGIN landed in somebody else's transaction.
func TestAPipeAcrossTransactionsStaysOnOneBackend(t *testing.T) {
	c := newConversation(t)
	whole := [][]byte{query("begin"), query("insert into t values (1)"), query("commit"), query("begin"), query("select 2"), query("commit")}
	c.sends(whole...)
	c.wantClient("BEGIN alone is answered at once", complete("BEGIN"), ready('T'))
	c.granted(pools.Admin)
	c.wantServer("everything goes to one backend in its order", whole...)
	c.answers(complete("BEGIN"), ready('T'), complete("INSERT 0 1"), ready('T'), complete("COMMIT"), ready('I'))
	c.wantClient("the first transaction", complete("INSERT 0 1"), ready('T'), complete("COMMIT"), ready('I'))
	c.wantNothing("between them it is not given back")
	c.answers(complete("BEGIN"), ready('T'), row("2"), selected, ready('T'), complete("COMMIT"), ready('I'))
	c.wantClient("the second", complete("BEGIN"), ready('T'), row("2"), selected, ready('T'), complete("COMMIT"), ready('I'))
	c.wantRelease("now it is")
}

// S#1176: a Bind whose statement is not there.
func TestBindWithoutItsParseIsTheClientsErrorAlone(t *testing.T) {
	c := newConversation(t)
	c.sends(bind("", "gone"), execute(""), syncMessage())
	c.granted(pools.Admin)
	c.wantServer("which finds it", bind("", "gone"), execute(""), syncMessage())
	unknown := failed("26000", `prepared statement "gone" does not exist`)
	c.answers(unknown, ready('I'))
	c.wantClient("and says so", unknown, ready('I'))
	c.wantRelease("the backend is in step")
	c.exchange()
}

// D#1338: closing a portal dropped the statement of the same name.
func TestClosingAPortalKeepsTheStatementOfThatName(t *testing.T) {
	c := newConversation(t)
	c.sends(parse("a", "select 1"), bind("a", "a"), closing('P', "a"), bind("", "a"), execute(""), syncMessage())
	c.granted(pools.Admin)
	c.wantServer("the portal is closed, the statement used on", parseOurs("lockproxy_1", "select 1"), bind("a", "lockproxy_1"),
		closing('P', "a"), bind("", "lockproxy_1"), execute(""), syncMessage())
	c.answers(parsedOurs, bound, closed, bound, row("1"), selected, ready('I'))
	c.wantClient("and everything is the server's answer", parsed, bound, closed, bound, row("1"), selected, ready('I'))
	c.wantRelease("in step")
}

// M 1.8.3 (#38): what a client had sent while it waited was kept after the refusal, and answered the next request.
func TestARefusedUnitLeavesNothingBehind(t *testing.T) {
	c := newConversation(t)
	c.sends(parse("a", "select 1"), bind("", "a"), execute(""))
	c.sends(syncMessage(), query("select 2"))
	c.wantAction("a server was asked for", Action{Op: Checkout})
	busy := &protocol.Error{Severity: "ERROR", Code: protocol.TooManyConnections, Message: "busy"}
	c.s.Refused(&c.o, c.now, busy)
	c.took()
	c.wantClient("the whole batch has one answer", protocol.AppendError(nil, busy), ready('I'))
	c.granted(pools.Admin)
	c.wantServer("the next unit goes alone", query("select 2"))
	c.answers(row("2"), selected, ready('I'))
	c.wantClient("and is answered by what it asked", row("2"), selected, ready('I'))
	c.wantRelease("in step")
	c.sends(bind("", "a"), execute(""), syncMessage())
	c.again(pools.Admin)
	c.wantServer("its Parse was not done", bind("", "a"), execute(""), syncMessage())
}

// A part of a batch behind the refusal, which has not come yet, is skipped to its Sync.
func TestTheRestOfARefusedBatchIsSkippedToItsSync(t *testing.T) {
	c := newConversation(t)
	c.sends(parse("", "select 1"), flushNow)
	c.wantAction("a server was asked for", Action{Op: Checkout})
	busy := &protocol.Error{Severity: "ERROR", Code: protocol.TooManyConnections, Message: "busy"}
	c.s.Refused(&c.o, c.now, busy)
	c.took()
	c.wantClient("the error, and no ReadyForQuery yet", protocol.AppendError(nil, busy))
	c.sends(bind("", ""), execute(""), flushNow)
	c.wantNothing("what follows is skipped")
	c.sends(syncMessage())
	c.wantClient("up to the Sync", ready('I'))
	c.wantNothing("without a backend")
}

// M 3.2.4 (asyncpg): batches that end with Flush, answered as far as they go.
func TestFlushBringsTheAnswersOfWhatWasSent(t *testing.T) {
	c := newConversation(t)
	c.sends(parse("a", "select 1"), describe('S', "a"), flushNow)
	c.granted(pools.Admin)
	c.wantServer("a Flush goes through", parse("lockproxy_1", "select 1"), describe('S', "lockproxy_1"), flushNow)
	c.answers(parsed, noParams, columns)
	c.wantClient("answered", parsed, noParams, columns)
	c.sends(parse("b", "select 1"), flushNow)
	c.wantServer("the server has it", flushNow)
	c.wantClient("so the answer is ours, and at once", parsed)
	c.sends(bind("", "b"), execute(""), syncMessage())
	c.wantServer("the batch goes on where it began", bind("", "lockproxy_1"), execute(""), syncMessage())
	c.answers(bound, row("1"), selected, ready('I'))
	c.wantClient("answered", bound, row("1"), selected, ready('I'))
	c.wantRelease("at its end the backend is free")
}

// M 3.10.7: FunctionCall was not forwarded, and pgjdbc's large objects hung.
func TestFunctionCallPassesAndIsAUnit(t *testing.T) {
	c := newConversation(t)
	call := message(protocol.FunctionCall, "\x00\x00\x03\xb9\x00\x00\x00\x00\x00\x01")
	c.sends(call)
	c.granted(pools.Admin)
	c.wantServer("as it is", call)
	c.answers(emptyResult, ready('I'))
	c.wantClient("with its answer", emptyResult, ready('I'))
	c.wantRelease("and its end")
}

// A FunctionCall of a lock function takes a lock, by its oid.
func TestFunctionCallOfALockFunctionHoldsItsBackend(t *testing.T) {
	c := newConversation(t)
	c.sends(callOfLock)
	c.granted(pools.Lock)
	c.wantServer("behind the timeouts", timeouts, callOfLock)
	c.answers(complete("BEGIN"), row(""), row(""), complete("COMMIT"), ready('I'), emptyResult, ready('I'))
	c.wantClient("locked", emptyResult, ready('I'))
	c.wantAction("the session holds a lock", Action{Op: Hold, On: true})
	c.wantNothing("and its backend")
}

// B#52: a simple SET and an extended batch in one packet.
func TestSetAndABatchInOnePacketAreTwoUnits(t *testing.T) {
	c := newConversation(t)
	c.sends(query("set application_name = 'x'"), parse("", "select 1"), bind("", ""), execute(""), syncMessage())
	c.granted(pools.Admin)
	c.wantServer("both at once", query("set application_name = 'x'"), parse("", "select 1"), bind("", ""), execute(""), syncMessage())
	c.answers(complete("SET"), ready('I'), parsed, bound, row("1"), selected, ready('I'))
	c.wantClient("both answered", complete("SET"), ready('I'), parsed, bound, row("1"), selected, ready('I'))
}

// O#564: behind a BEGIN that was put off came rows without their description.
func TestADeferredBeginIsAnsweredWholeInTheExtendedProtocol(t *testing.T) {
	c := newConversation(t)
	c.sends(parse("", "begin"), describe('S', ""), bind("", ""), describe('P', ""), execute(""), syncMessage())
	c.wantClient("as a server answers it", parsed, noParams, noData, bound, noData, complete("BEGIN"), ready('T'))
	c.wantNothing("without one")
	c.sends(parse("a", "select 1"), describe('S', "a"), bind("", "a"), describe('P', ""), execute(""), syncMessage())
	c.granted(pools.Admin)
	c.wantServer("BEGIN goes first", query("begin"), parse("lockproxy_1", "select 1"), describe('S', "lockproxy_1"),
		bind("", "lockproxy_1"), describe('P', ""), execute(""), syncMessage())
	c.answers(complete("BEGIN"), ready('T'), parsed, noParams, columns, bound, columns, row("1"), selected, ready('T'))
	c.wantClient("its own answer is ours, the rest the client's", parsed, noParams, columns, bound, columns, row("1"), selected, ready('T'))
}

// An error in the middle of a pipe: the batch is skipped to its Sync, the next one runs.
func TestAnErrorSkipsItsBatchAndNoOther(t *testing.T) {
	c := newConversation(t)
	c.sends(parse("a", "select 1/0"), bind("", "a"), execute(""), parse("b", "select 3"), syncMessage(),
		parse("c", "select 2"), bind("", "c"), execute(""), syncMessage())
	c.granted(pools.Admin)
	c.server = nil
	zero := failed("22012", "division by zero")
	c.answers(parsedOurs, bound, zero, ready('I'), parsedOurs, bound, row("2"), selected, ready('I'))
	c.wantClient("each its own", parsed, bound, zero, ready('I'), parsed, bound, row("2"), selected, ready('I'))
	c.wantRelease("in step")
	c.sends(bind("", "b"), syncMessage())
	c.again(pools.Admin)
	c.wantServer("what was skipped did not happen", bind("", "b"), syncMessage())
	c.answers(failed("26000", "unknown"), ready('I'))
	c.client = nil
	c.wantRelease("in step")
	c.sends(parse("b", "select 3"), syncMessage())
	c.again(pools.Admin)
	c.wantServer("so the name is free, and the server lacks the statement", parseOurs("lockproxy_4", "select 3"), syncMessage())
}

// D#848, O#1221: Terminate inside a transaction hung the client's task and its backend.
func TestTerminateInsideATransactionRollsBack(t *testing.T) {
	c := newConversation(t)
	c.sends(query("begin"), query("select 1"))
	c.granted(pools.Admin)
	c.answers(complete("BEGIN"), ready('T'), row("1"), selected, ready('T'))
	c.client, c.server = nil, nil
	c.sends(goodbye)
	c.wantServer("the transaction ends", query("ROLLBACK"))
	c.wantAction("the client may go", Action{Op: CloseClient})
	c.answers(complete("ROLLBACK"), ready('I'))
	c.wantRelease("and the backend is free")
	if !c.s.Ended() {
		t.Error("the session is not over")
	}
}

// pgx sends what it copies without waiting for the server to take it.
func TestACopyWhoseServerIsLostEndsWithIt(t *testing.T) {
	for _, rest := range [][][]byte{{copyData("y\n"), copyDone}, {copyDone}, {}} {
		for _, begun := range []bool{true, false} {
			c := newConversation(t)
			c.sends(query("begin"), query("copy t from stdin"), copyData("x\n"))
			c.granted(pools.Admin)
			c.answers(complete("BEGIN"), ready('T'))
			if begun {
				c.answers(copyStarts)
			}
			c.sends(rest...)
			c.client, c.server, c.actions = nil, nil, nil
			c.s.ServerLost(&c.o, c.now)
			c.took()
			c.wantClient("the statement is answered, once", failed("08006", "the server closed the connection unexpectedly"), ready('E'))
			c.client, c.actions = nil, nil
			c.sends(copyData("z\n"), copyDone)
			c.wantNothing("what is still sent of the COPY is discarded")
			c.sends(query("rollback"))
			c.wantClient("the transaction is over", complete("ROLLBACK"), ready('I'))
			c.exchange()
		}
	}
}
