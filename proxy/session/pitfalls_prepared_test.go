package session

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
)

// prepares runs a batch that prepares a statement, on a server that has not seen its text.
func (c *conversation) prepares(name, text, ours string, grant func(pools.Kind)) {
	c.t.Helper()
	c.sends(parse(name, text), syncMessage())
	grant(pools.Admin)
	c.wantServer("prepared under a name of ours", parseOurs(ours, text), syncMessage())
	c.answers(parsedOurs, ready('I'))
	c.wantClient("done", parsed, ready('I'))
	c.wantRelease("free")
}

// afterPREPARE gives the conversation of a client that has run SQL's PREPARE.
func afterPREPARE(t *testing.T, text string) *conversation {
	c := newConversation(t)
	c.sends(query(text))
	c.granted(pools.Admin)
	c.answers(complete("PREPARE"), ready('I'), noParams, columns, ready('I'))
	c.client, c.server, c.actions = nil, nil, nil
	return c
}

// uses runs a prepared statement.
func (c *conversation) uses(name string, grant func(pools.Kind), server ...[]byte) {
	c.t.Helper()
	c.sends(bind("", name), execute(""), syncMessage())
	grant(pools.Admin)
	c.wantServer("the server's name takes the client's place", append(server, execute(""), syncMessage())...)
	if len(server) > 1 {
		c.answers(parsedOurs)
	}
	c.answers(bound, row("1"), selected, ready('I'))
	c.wantClient("and the client sees nothing of it", bound, row("1"), selected, ready('I'))
	c.wantRelease("free")
}

// C#647, M 3.10.0: a Parse that failed was taken for done.
func TestAFailedParseIsForgotten(t *testing.T) {
	c := newConversation(t)
	bad := failed("42P01", `relation "t" does not exist`)
	c.sends(parse("a", "select from t"), syncMessage())
	c.granted(pools.Admin)
	c.server = nil
	c.answers(bad, ready('I'))
	c.wantClient("the server's error", bad, ready('I'))
	c.wantRelease("free")
	c.prepares("a", "select from t", "lockproxy_2", c.again) // the table is there now
	c.uses("a", c.again, bind("", "lockproxy_2"))
}

// D#876, D#887, D#913: the error of a Parse that the pooler had put in left answers for the next client.
func TestTheErrorOfAParseOfOursIsTheBatchsOneError(t *testing.T) {
	c := newConversation(t)
	c.prepares("a", "select from t", "lockproxy_1", c.granted)
	c.sends(bind("", "a"), execute(""), syncMessage())
	c.granted(pools.Admin) // another server, and the table is gone
	c.wantServer("it is prepared there", parseOurs("lockproxy_1", "select from t"), bind("", "lockproxy_1"), execute(""), syncMessage())
	bad := failed("42P01", `relation "t" does not exist`)
	c.answers(bad, ready('I'))
	c.wantClient("one error, one ReadyForQuery", bad, ready('I'))
	c.wantRelease("nothing is left")
	c.exchange()
	c.uses("a", c.again, parseOurs("lockproxy_2", "select from t"), bind("", "lockproxy_2"))
}

// M 3.3.4: the client was gone between Parse and Sync, and the cache said prepared.
func TestAClientGoneBeforeItsSyncLeavesTheTruthAboutItsParse(t *testing.T) {
	for _, works := range []bool{true, false} {
		c := newConversation(t)
		c.sends(parse("a", "select 1"), flushNow)
		c.granted(pools.Admin)
		c.server = nil
		c.s.ClientLost(&c.o, c.now)
		c.took()
		c.wantServer("the batch is brought to its end, and not to its effect", describe('S', nobody), syncMessage())
		c.wantAction("what runs is cancelled", Action{Op: CancelServer})
		c.s.CancelDone(&c.o, c.now)
		c.took()
		next := newConversation(t)
		next.srv = c.srv
		if works {
			c.answers(parsedOurs, failed("26000", "unknown"), ready('I'))
			c.wantRelease("free")
			next.prepareKnown()
		} else {
			c.answers(failed("57014", "cancelled"), ready('I'))
			c.wantRelease("free")
			next.prepares("b", "select 1", "lockproxy_2", next.again)
		}
	}
}

func (c *conversation) prepareKnown() {
	c.t.Helper()
	c.sends(parse("b", "select 1"), syncMessage())
	c.again(pools.Admin)
	c.wantServer("the server has it", syncMessage())
	c.answers(ready('I'))
	c.wantClient("so it is prepared", parsed, ready('I'))
}

// M 3.3.5: the Close that evicts overtook a Bind that was still to be sent. M 3.5.3: the bound was exceeded.
func TestEvictionAtTheBoundComesBehindWhatWasSentBefore(t *testing.T) {
	c := newConversation(t)
	var want, answers [][]byte
	c.sends(parse("first", "select 0"), bind("", "first"), flushNow)
	c.granted(pools.Admin)
	c.server = nil
	c.answers(parsedOurs, bound)
	for i := 1; i <= maxPrepared; i++ {
		c.sends(parse(fmt.Sprint("s", i), fmt.Sprint("select ", i)))
		if i == maxPrepared {
			want = append(want, closing('S', "lockproxy_1"))
			answers = append(answers, closed)
		}
		want = append(want, parseOurs(fmt.Sprint("lockproxy_", i+1), fmt.Sprint("select ", i)))
		answers = append(answers, parsedOurs)
	}
	c.sends(bind("", "first"), syncMessage())
	want = append(want, closing('S', "lockproxy_2"), parseOurs("lockproxy_202", "select 0"), bind("", "lockproxy_202"), syncMessage())
	c.wantServer("the one used longest ago goes when there is one too many, and comes back when it is needed", want...)
	if n := len(c.srv.prepared.byKey); n != maxPrepared {
		t.Errorf("%d statements are prepared, %d are the bound", n, maxPrepared)
	}
	c.client = nil
	c.answers(answers...)
	c.answers(closed, parsedOurs, bound, ready('I'))
	var seen [][]byte
	for range maxPrepared {
		seen = append(seen, parsed)
	}
	c.wantClient("the client sees its own answers", append(seen, bound, ready('I'))...)
	c.wantRelease("in step")
}

// An error before an eviction was reached undoes it: the server skipped the Close as well.
func TestAnEvictionThatTheServerSkippedDidNotHappen(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select 1"))
	c.granted(pools.Admin)
	c.answers(row("1"), selected, ready('I'))
	for i := range maxPrepared {
		c.srv.prepared.add(fmt.Sprintf("select %d\x00\x00\x00", i), 0, maxPrepared)
	}
	c.client, c.server, c.actions = nil, nil, nil
	c.sends(parse("", "select 1/0"), bind("", ""), execute(""), parse("new", "select new"), syncMessage())
	c.again(pools.Admin)
	c.wantServer("one goes for the new one", parse("", "select 1/0"), bind("", ""), execute(""),
		closing('S', "lockproxy_1"), parseOurs("lockproxy_201", "select new"), syncMessage())
	zero := failed("22012", "division by zero")
	c.answers(parsed, bound, zero, ready('I'))
	c.wantClient("the error comes first", parsed, bound, zero, ready('I'))
	c.wantRelease("in step")
	if c.srv.prepared.find("select 0\x00\x00\x00") == nil {
		t.Error("the statement that was to go is still on the server")
	}
	if c.srv.prepared.find("select new\x00\x00\x00") != nil || len(c.srv.prepared.byKey) != maxPrepared {
		t.Error("the new one is not")
	}
}

// M 3.1.7, B#972, M 3.10.0: DEALLOCATE ALL and DISCARD ALL left names in the pooler's maps.
func TestDiscardingAllForgetsEveryName(t *testing.T) {
	for _, text := range []string{"DEALLOCATE ALL", "deallocate prepare all", "DISCARD ALL"} {
		c := newConversation(t)
		c.prepares("a", "select 1", "lockproxy_1", c.granted)
		c.sends(query("set work_mem = '1MB'")) // so that there is something to discard
		c.again(pools.Admin)
		c.answers(complete("SET"), ready('I'))
		c.server = nil
		if c.s.asking {
			c.answers(row("s", "work_mem", "1MB"), selected, ready('I'))
		}
		c.client, c.server, c.actions = nil, nil, nil
		c.sends(query(text))
		c.again(pools.Admin)
		tag := strings.ToUpper(strings.Replace(text, "prepare ", "", 1))
		c.answers(complete(tag), ready('I'))
		c.wantClient(text, complete(tag), ready('I'))
		c.client, c.server, c.actions = nil, nil, nil
		c.sends(bind("", "a"), syncMessage())
		c.again(pools.Admin)
		c.wantServer(text+" forgets the name", bind("", "a"), syncMessage())
		c.answers(failed("26000", "unknown"), ready('I'))
		c.actions = nil
		c.sends(parse("a", "select 2"), syncMessage())
		c.again(pools.Admin)
		if c.s.statements["a"] == nil || c.s.ahead.len() != 0 {
			t.Errorf("%s frees the name", text)
		}
	}
}

// M 3.10.0: one plan for the same text under another search_path, or another role.
func TestTheSameTextUnderOtherSettingsIsAnotherStatement(t *testing.T) {
	for _, setting := range []Setting{{"search_path", "tenant"}, {"role", "bob"}, {"datestyle", "German"}} {
		c := newConversation(t)
		c.prepares("a", "select from t", "lockproxy_1", c.granted)
		other := newConversation(t)
		other.s.defaults = NewSettings([]Setting{setting})
		other.s.state.settings = other.s.defaults
		other.sends(parse("a", "select from t"), syncMessage())
		c.takenBy(other, pools.Admin)
		other.wantServer("it is not shared", putting(setting.Name, setting.Value),
			parseOurs("lockproxy_2", "select from t"), syncMessage())
	}
}

// C#734, D#306, D#863 (lib/pq): the unnamed statement was gone when the next batch ran on another backend.
func TestTheUnnamedStatementLivesOnAcrossBatches(t *testing.T) {
	c := newConversation(t)
	c.sends(parse("", "select 1"), describe('S', ""), syncMessage())
	c.granted(pools.Admin)
	c.server = nil
	c.answers(parsed, noParams, columns, ready('I'))
	c.client, c.actions = nil, nil
	c.uses("", c.again, bind("", ""))                              // the same backend, and nobody was there meanwhile
	c.uses("", c.granted, parseOurs("", "select 1"), bind("", "")) // another
	other := newConversation(t)
	other.sends(query("select 2")) // destroys it (manual, "Extended Query")
	c.takenBy(other, pools.Admin)
	other.answers(row("2"), selected, ready('I'))
	c.uses("", c.again, parseOurs("", "select 1"), bind("", ""))
	c.sends(query("select 3"), bind("", ""), syncMessage())
	c.again(pools.Admin)
	c.wantServer("the client's own query destroys it too, and nobody else's is in its place", query("select 3"),
		closing('S', ""), bind("", ""), syncMessage())
	unknown := failed("26000", "unnamed prepared statement does not exist")
	c.answers(row("3"), selected, ready('I'), closed, unknown, ready('I'))
	c.wantClient("as the server says", row("3"), selected, ready('I'), unknown, ready('I'))
}

// An unnamed statement whose batch failed before it is as it was before.
func TestAnUnnamedStatementThatWasSkippedIsTheOneBefore(t *testing.T) {
	c := newConversation(t)
	c.sends(parse("", "select 1"), syncMessage())
	c.granted(pools.Admin)
	c.answers(parsed, ready('I'))
	c.client, c.server, c.actions = nil, nil, nil
	c.sends(bind("", "gone"), parse("", "select 2"), syncMessage())
	c.again(pools.Admin)
	c.answers(failed("26000", "the server's words"), ready('I'))
	c.client, c.server, c.actions = nil, nil, nil
	c.sends(bind("", ""), execute(""), syncMessage())
	c.granted(pools.Admin)
	c.wantServer("it was never described", parse("", "select 1"), bind("", ""), execute(""), syncMessage())
}

// A batch that got no backend, or that we refused, did nothing to names: latest first, each is what it was. Only what it closed first is
// closed, as a server does it: closing cannot fail.
func TestARefusedBatchLeavesNamesAsTheyWere(t *testing.T) {
	c := newConversation(t)
	c.prepares("a", "select 1", "lockproxy_1", c.granted)
	c.prepares("b", "select 6", "lockproxy_2", c.again)
	c.sends(closing('S', "b"), parse("", "select 3"), closing('S', "a"), parse("a", "select 2"), parse("", "select 4"), syncMessage())
	c.wantAction("a server was asked for", Action{Op: Checkout})
	c.s.Refused(&c.o, c.now, canceled())
	c.took()
	c.client = nil
	if c.s.statements["a"] == nil || c.s.statements["a"].text() != "select 1" || c.s.unnamed != nil || c.s.statements["b"] != nil {
		t.Error("a batch without a backend changed names")
	}
	c.sends(bind("", "gone"), parse("b", "select 5"), closing('S', "a"), parse("a", "select 2"), syncMessage())
	c.again(pools.Admin)
	c.server, c.client = nil, nil
	c.answers(failed("26000", "unknown"), ready('I'))
	c.client = nil
	c.wantRelease("in step")
	c.prepares("b", "select 5", "lockproxy_5", c.again)
	c.uses("a", c.again, bind("", "lockproxy_1"))
}

// Another client's name that was to be closed by a batch which failed before it came to that is still there: the next batch has to wait
// for what became of the first.
func TestANameThatAFailedBatchWasToCloseIsStillThere(t *testing.T) {
	c := newConversation(t)
	c.sends(query("prepare q as select 1"))
	c.granted(pools.Admin)
	c.answers(complete("PREPARE"), ready('I'), noParams, columns, ready('I'))
	c.wantAction("released", Action{Op: Release})
	other := newConversation(t)
	other.sends(parse("x", "selec"), bind("c", "q"), syncMessage(), bind("", "q"), syncMessage())
	c.takenBy(other, pools.Admin)
	other.wantServer("the first batch alone", parseOurs("lockproxy_1", "selec"), closing('S', "q"), bind("c", "q"), syncMessage())
	bad := failed("42601", "syntax error")
	other.answers(bad, ready('I'))
	other.wantAction("the first is over", Action{Op: Release})
	other.again(pools.Admin)
	other.wantServer("and then the second, which closes it", closing('S', "q"), bind("", "q"), syncMessage())
}

// ALTER SYSTEM, VACUUM and their kind take whatever ran before them in a batch for a transaction block: what SQL prepared is made by running
// PREPARE, ahead of it.
func TestWhatSQLPreparedIsMadeAheadOfABatch(t *testing.T) {
	c := afterPREPARE(t, "prepare q as select 1")
	c.srv = NewServer(98, c.srv.Reported, c.now) // which lacks it
	theirs := [][]byte{parse("", "alter system reset work_mem"), describe('S', "q"), bind("", ""), execute(""), syncMessage()}
	c.sends(theirs...)
	c.again(pools.Admin)
	ahead, _, found := bytes.Cut(c.server, theirs[0])
	if !found || !bytes.HasSuffix(ahead, syncMessage()) {
		t.Errorf("the server gets %s", spell(c.server))
	}
}

// Two names of one text are one statement to a server, also where nobody knows by which settings it is read: were it made twice, what becomes
// of the first would be forgotten, should the batch fail.
func TestTwoNamesOfOneTextAreMadeOnce(t *testing.T) {
	const text = "select now()"
	c := newConversation(t)
	c.prepares("a", text, "lockproxy_1", c.granted)
	c.srv = NewServer(98, c.srv.Reported, c.now) // which lacks it
	c.sends(parse("", "alter table t drop column c"), bind("", ""), execute(""), parse("b", text), bind("", "a"), execute(""), syncMessage())
	c.again(pools.Admin)
	if n := bytes.Count(c.server, []byte(text)); n != 1 {
		t.Errorf("it is made %d times: %s", n, spell(c.server))
	}
	c.answers(parsed, bound, failed("42703", "column does not exist"), ready('I'))
	if n := len(c.srv.prepared.byKey); n != 0 || c.srv.prepared.find(c.s.sharedKey(c.s.statements["a"])) != nil {
		t.Errorf("the server is taken to have %d statements that it skipped", n)
	}
}

// C#611 (pgbench): the same name prepared twice is the client's error.
func TestANameIsPreparedOnce(t *testing.T) {
	c := newConversation(t)
	c.prepares("a", "select 1", "lockproxy_1", c.granted)
	c.sends(parse("a", "select 2"), syncMessage())
	c.again(pools.Admin)
	c.wantServer("the server is to say so", takenFor("select 2"), syncMessage())
	c.answers(closed, parsed, failed("42P05", `prepared statement "lockproxy_taken" already exists`), ready('I'))
	c.wantClient("by the client's name", failed("42P05", `prepared statement "a" already exists`), ready('I'))
	c.wantRelease("in step")
	c.uses("a", c.again, bind("", "lockproxy_1"))
}

// takenFor is what is sent for a Parse message of a name that is taken.
func takenFor(text string) []byte {
	const taken = "lockproxy_taken"
	return join([][]byte{closing('S', taken), parse(taken, ""), parse(taken, text)})
}

// A name that SQL's PREPARE took is taken for Parse as well: the server says so.
func TestANameThatPREPARETookIsTaken(t *testing.T) {
	c := afterPREPARE(t, "prepare a as select 1")
	c.sends(parse("a", "select 2"), syncMessage())
	c.again(pools.Admin)
	c.wantServer("under a name that is taken, too", takenFor("select 2"), syncMessage())
	c.answers(closed, parsed, failed("42P05", `prepared statement "lockproxy_taken" already exists`), ready('I'))
	c.wantClient("by the client's name", failed("42P05", `prepared statement "a" already exists`), ready('I'))
	c.actions = nil
	c.sends(bind("", "a"), execute(""), syncMessage())
	c.again(pools.Admin)
	c.wantServer("and the name means what it meant", bind("", "a"), execute(""), syncMessage())
}

// O#477: a table was changed, and "cached plan must not change result type" was all that anybody heard of its statements.
func TestAStatementWhoseResultChangedIsPreparedAnew(t *testing.T) {
	c := newConversation(t)
	c.prepares("a", "select * from t", "lockproxy_1", c.granted)
	c.sends(bind("", "a"), execute(""), syncMessage())
	c.again(pools.Admin)
	c.server = nil
	changed := failed(protocol.FeatureNotSupported, "cached plan must not change result type")
	c.answers(changed, ready('I'))
	c.wantClient("the server's words", changed, ready('I'))
	c.wantRelease("in step")
	c.sends(closing('S', "a"), syncMessage())
	c.client = nil
	c.prepares("a", "select * from t", "lockproxy_2", c.again)
	c.uses("a", c.again, bind("", "lockproxy_2"))
	if n := len(c.srv.prepared.byKey); n != 2 {
		t.Errorf("%d statements are known to be on the server, which has 2", n)
	}
}

// The regression suite's plancache.sql: a statement of ours that failed between its Parse and its Close was in the way of all
// that came after it, for every client.
func TestAStatementForOnceThatFailedIsInNobodysWay(t *testing.T) {
	c := afterPREPARE(t, "prepare p as select * from t")
	c.sends(query("execute p"))
	c.granted(pools.Admin)
	once := join([][]byte{parse("lockproxy_once", "prepare p as select * from t"), bind("lockproxy_once", "lockproxy_once"), execute("lockproxy_once"),
		message(protocol.Close, "Plockproxy_once\x00"), closing('S', "lockproxy_once"), describe('S', "p"), syncMessage()})
	c.wantServer("another server is told first", once)
	gone := failed("42P01", `relation "t" does not exist`)
	c.answers(message('1', ""), message('2', ""), gone, ready('I'))
	c.wantServer("one stands in that fails, for something may be wrong with the text before", closing('S', "p"),
		parse("p", "SELECT pg_catalog.int4in(pg_catalog.textout('lockproxy: cannot be made'))"), syncMessage(), query("execute p"))
	c.answers(closed, parsed, ready('I'), failed("22P02", `invalid input syntax for type integer: "lockproxy: cannot be made"`), ready('I'))
	c.wantClient("the client hears why", gone, ready('I'))
	c.actions = nil
	c.sends(query("execute p"))
	c.again(pools.Admin)
	c.wantServer("what was left is closed first", closing('S', "p"), closing('S', "lockproxy_once"), once)
}

// psycopg 3 prepares a text that it sees often, an EXECUTE as well: that was made again on another server ahead of what it executes, had
// no columns there, and "cached plan must not change result type" was the answer.
func TestAnEXECUTEIsMadeAgainBehindWhatItExecutes(t *testing.T) {
	c := afterPREPARE(t, "prepare p as select * from t")
	c.prepares("e", "execute p", "lockproxy_1", c.again)
	c.client, c.server, c.actions = nil, nil, nil
	c.sends(bind("", "e"), execute(""), syncMessage())
	c.granted(pools.Admin)
	c.wantServer("another server is told both, in their order", parse("lockproxy_once", "prepare p as select * from t"), bind("lockproxy_once", "lockproxy_once"),
		execute("lockproxy_once"), message(protocol.Close, "Plockproxy_once\x00"), closing('S', "lockproxy_once"), describe('S', "p"),
		parse("lockproxy_1", "execute p"), describe('S', "lockproxy_1"), message(protocol.Flush, ""))
}
