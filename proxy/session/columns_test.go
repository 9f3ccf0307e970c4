package session

import (
	"testing"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
)

// The columns of prepared statements (O#477).

// wider is what a server says of a statement after somebody added a column.
var wider = message(protocol.RowDescription, "\x00\x01b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x17\x00\x04\xff\xff\xff\xff\x00\x00")

var changedError = protocol.AppendError(nil, resultChanged())

const insertsRow = "insert into t values (1) returning *"

// elsewhere has a statement prepared, on a server that is not granted again.
func elsewhere(t *testing.T, text string) *conversation {
	c := newConversation(t)
	c.prepares("a", text, "lockproxy_1", c.granted)
	return c
}

func TestAQueryWhoseColumnsChangedIsRunForNobody(t *testing.T) {
	c := elsewhere(t, "select * from t")
	c.sends(bind("", "a"), execute(""), syncMessage())
	c.granted(pools.Admin)
	c.wantServer("what changes nothing goes in the same round trip", parseOurs("lockproxy_1", "select * from t"), bind("", "lockproxy_1"), execute(""), syncMessage())
	c.sends(query("select 2"))
	c.answers(parsed, noParams, wider)
	c.wantClient("the client hears of it", changedError)
	c.answers(bound, row("1", "2"), selected)
	c.wantNothing("and of nothing else, nor does anything follow")
	c.answers(ready('I'))
	c.wantClient("the batch is over", ready('I'))
	c.wantAction("in step", Action{Op: Release})
	c.again(pools.Admin)
	c.wantServer("the next unit follows", query("select 2"))
	c.answers(row("2"), selected, ready('I'))
	c.client = nil
	c.wantRelease("in step")
	c.sends(bind("", "a"), execute(""), syncMessage())
	c.again(pools.Admin)
	c.wantServer("now it is known without a question", describe('S', nobody), syncMessage())
	c.answers(failed("26000", "unknown"), ready('I'))
	c.wantClient("and so it stays", changedError, ready('I'))
	c.wantRelease("in step")
	c.sends(closing('S', "a"), syncMessage())
	c.client = nil
	c.sends(parse("a", "select * from t"), syncMessage())
	c.again(pools.Admin)
	c.wantServer("a new one has the new columns", syncMessage())
	c.answers(ready('I'))
	c.wantClient("as it is prepared already", parsed, ready('I'))
	c.wantRelease("in step")
	c.uses("a", c.again, bind("", "lockproxy_1"))
}

func TestAQueryWhoseColumnsChangedFailsItsTransaction(t *testing.T) {
	c := elsewhere(t, "select * from t")
	c.sends(query("begin"), query("select 1"))
	c.granted(pools.Admin)
	c.answers(complete("BEGIN"), ready('T'), row("1"), selected, ready('T'))
	c.client, c.server = nil, nil
	c.sends(bind("", "a"), execute(""), syncMessage(), query("commit"))
	c.server = nil
	c.answers(parsed, noParams, wider, bound, row("1", "2"), selected, ready('T'))
	c.wantClient("the error", changedError)
	c.wantServer("the transaction fails before anything follows", query(failing), query("commit"))
	c.answers(failed("3B001", "no such savepoint"), ready('E'))
	c.wantClient("and it has, with one error", ready('E'))
	c.answers(complete("ROLLBACK"), ready('I'))
	c.wantClient("as directly", complete("ROLLBACK"), ready('I'))
	c.wantRelease("in step")
}

func TestAnErrorOfWhatIsRunForNobodyIsNobodys(t *testing.T) {
	c := elsewhere(t, "select 1 / a from t")
	c.sends(bind("", "a"), execute(""), syncMessage())
	c.granted(pools.Admin)
	c.server = nil
	c.answers(parsed, noParams, wider, bound, failed("22012", "division by zero"), ready('I'))
	c.wantClient("one error", changedError, ready('I'))
	c.wantRelease("in step")
}

func TestABatchThatGoesOnFailsWhenItsColumnsChanged(t *testing.T) {
	c := elsewhere(t, "select * from t")
	c.sends(bind("", "a"), execute(""), flushNow)
	c.granted(pools.Admin)
	c.server = nil
	c.sends(parse("n", "insert into t values (1)"))
	c.wantServer("what may have an effect waits; what was sent is on its way", flushNow)
	c.answers(parsed, noParams, wider, bound, row("1", "2"), selected)
	c.wantClient("the error", changedError)
	c.wantServer("the server's batch fails too", describe('S', nobody))
	c.answers(failed("26000", "unknown"))
	c.sends(bind("", "n"), execute(""), syncMessage())
	c.wantServer("the rest of it is dropped", syncMessage())
	c.answers(ready('I'))
	c.wantClient("up to its end", ready('I'))
	c.wantRelease("in step")
	if c.s.statements["n"] != nil {
		t.Error("what came behind the error was prepared")
	}
}

func TestWhatHasAnEffectWaitsForItsColumns(t *testing.T) {
	for _, changed := range []bool{false, true} {
		c := elsewhere(t, insertsRow)
		c.sends(bind("", "a"), execute(""), syncMessage())
		c.granted(pools.Admin)
		c.wantServer("it is described first", parseOurs("lockproxy_1", insertsRow), flushNow)
		c.cancels()
		c.wantNothing("a cancel hits nothing of ours")
		if !changed {
			c.answers(parsedOurs)
			c.wantServer("its columns are what they were", bind("", "lockproxy_1"), execute(""), syncMessage())
			c.wantAction("and the cancel is not lost", Action{Op: CancelServer})
			continue
		}
		c.answers(parsed, noParams, wider)
		c.wantServer("nothing is run", describe('S', nobody), syncMessage())
		c.answers(failed("26000", "unknown"), ready('I'))
		c.wantClient("and the client hears why", changedError, ready('I'))
	}
}

func TestWhatGivesNoRowsIsNotDescribedAgain(t *testing.T) {
	c := newConversation(t)
	c.sends(parse("a", "insert into t values (1)"), describe('S', "a"), syncMessage())
	c.granted(pools.Admin)
	c.wantServer("the client's own Describe tells us as well", parse("lockproxy_1", "insert into t values (1)"), describe('S', "lockproxy_1"), syncMessage())
	c.answers(parsed, noParams, noData, ready('I'))
	c.actions = nil
	c.sends(bind("", "a"), execute(""), syncMessage())
	c.granted(pools.Admin)
	c.wantServer("it never will", parse("lockproxy_1", "insert into t values (1)"), bind("", "lockproxy_1"), execute(""), syncMessage())
}

func TestDescribeTellsTheParametersOfAStatementWhoseColumnsChanged(t *testing.T) {
	c := elsewhere(t, "select * from t")
	c.sends(describe('S', "a"), syncMessage())
	c.granted(pools.Admin)
	c.wantServer("it waits", parseOurs("lockproxy_1", "select * from t"), flushNow)
	c.answers(parsed, noParams, wider)
	c.wantServer("then the server fails", describe('S', "lockproxy_1"), describe('S', nobody), syncMessage())
	c.answers(noParams, wider, failed("26000", "unknown"), ready('I'))
	c.wantClient("as PostgreSQL answers it", noParams, changedError, ready('I'))
}

func TestExecuteOfAPreparedStatementWhoseColumnsChangedFails(t *testing.T) {
	c := newConversation(t)
	c.sends(query("prepare a as select * from t"))
	c.granted(pools.Admin)
	c.wantServer("SQL's own are described as well", query("prepare a as select * from t"), describe('S', "a"), syncMessage())
	c.answers(complete("PREPARE"), ready('I'), noParams, columns, ready('I'))
	c.client, c.actions = nil, nil
	c.sends(query("execute a"))
	c.granted(pools.Admin)
	c.server = nil
	c.answers(parsed, bound, complete("PREPARE"), closed, closed, noParams, wider, ready('I'))
	c.wantServer("nothing is run", query(failing))
	c.answers(failed("25P01", "no transaction"), ready('I'))
	c.wantClient("the client hears why", changedError, ready('I'))
	c.wantRelease("in step")
}

// A Parse means what its text means now: not what it meant before somebody changed the schema.
func TestAParseAfterTheSchemaChangedIsANewOne(t *testing.T) {
	c := newConversation(t)
	c.prepares("a", "select * from t", "lockproxy_1", c.granted)
	c.schema.Changed()
	c.sends(parse("b", "select * from t"), describe('S', "b"), syncMessage())
	c.again(pools.Admin)
	c.wantServer("the old one goes", closing('S', "lockproxy_1"), parse("lockproxy_2", "select * from t"), describe('S', "lockproxy_2"), syncMessage())
	c.answers(closed, parsed, noParams, wider, ready('I'))
	c.wantClient("the new columns", parsed, noParams, wider, ready('I'))
	c.wantRelease("in step")
	c.sends(bind("", "a"), execute(""), syncMessage())
	c.again(pools.Admin)
	c.wantServer("the old statement is known to have others", describe('S', nobody), syncMessage())
	c.answers(failed("26000", "unknown"), ready('I'))
	c.wantClient("an error", changedError, ready('I'))
	c.wantRelease("in step")
	c.schema.Changed()
	c.sends(bind("", "a"), execute(""), syncMessage())
	c.again(pools.Admin)
	c.wantServer("unless that may have been undone", closing('S', "lockproxy_2"), parseOurs("lockproxy_3", "select * from t"),
		bind("", "lockproxy_3"), execute(""), syncMessage())
}

func TestWhatMayChangeTheSchemaCountsWhenItRunsAndWhenItIsOver(t *testing.T) {
	for _, text := range []string{"alter table t add b int", "do 'begin end'", "create temp table t (b text)", "select app.tenant(1)", "discard temp"} {
		c := newConversation(t)
		c.sends(query("begin"), query(text))
		c.granted(pools.Admin)
		running := c.schema
		c.answers(complete("BEGIN"), ready('T'), complete("OK"), ready('T'))
		c.sends(query("rollback to s"))
		back := c.schema
		c.answers(complete("ROLLBACK"), ready('T'))
		c.sends(query("rollback"))
		c.answers(complete("ROLLBACK"), ready('I'))
		if running == 0 || back == running || c.schema == back {
			t.Errorf("%s: counted %d when it ran, %d when it was undone, %d when it was over", text, running, back, c.schema)
		}
	}
	c := newConversation(t)
	c.sends(query("begin"), query("insert into t values (1)"))
	c.granted(pools.Admin)
	c.answers(complete("BEGIN"), ready('T'), complete("INSERT 0 1"), ready('T'))
	c.loses()
	if c.schema != 0 {
		t.Error("an INSERT counts")
	}
}

// What the server itself finds out was changed where lockproxy did not see it.
func TestAChangeThatTheServerTellsOfCounts(t *testing.T) {
	c := newConversation(t)
	c.prepares("a", "select * from t", "lockproxy_1", c.granted)
	before := c.schema
	c.sends(bind("", "a"), execute(""), syncMessage())
	c.again(pools.Admin)
	c.answers(changedError, ready('I'))
	if c.schema == before {
		t.Error("other servers' statements are taken for good")
	}
}

func TestColumnsAreToldApartByNamesAndTypes(t *testing.T) {
	describe := func(name, table, kind, modifier, format string) []byte {
		return []byte("\x00\x01" + name + "\x00" + table + "\x00\x01" + kind + "\x00\x04" + modifier + format)
	}
	base := printOf(describe("a", "\x00\x00\x00\x01", "\x00\x00\x00\x17", "\xff\xff\xff\xff", "\x00\x00"))
	for _, c := range []struct {
		rule string
		body []byte
		same bool
	}{
		{"another table of the same columns is none", describe("a", "\x00\x00\x00\x02", "\x00\x00\x00\x17", "\xff\xff\xff\xff", "\x00\x00"), true},
		{"nor is another format", describe("a", "\x00\x00\x00\x01", "\x00\x00\x00\x17", "\xff\xff\xff\xff", "\x00\x01"), true},
		{"another name", describe("b", "\x00\x00\x00\x01", "\x00\x00\x00\x17", "\xff\xff\xff\xff", "\x00\x00"), false},
		{"another type", describe("a", "\x00\x00\x00\x01", "\x00\x00\x00\x19", "\xff\xff\xff\xff", "\x00\x00"), false},
		{"another length", describe("a", "\x00\x00\x00\x01", "\x00\x00\x00\x17", "\x00\x00\x00\x0a", "\x00\x00"), false},
		{"no column", []byte("\x00\x00"), false},
	} {
		if got := printOf(c.body); got == 0 || got == noColumns || (got == base) != c.same {
			t.Errorf("%s: %x and %x", c.rule, base, got)
		}
	}
	for n := range []byte("\x00\x01a\x00\x00\x00") {
		printOf([]byte("\x00\x01a\x00\x00\x00")[:n]) // whatever a server sends
	}
}

func TestComparingAStatementThatIsThereAllocatesNothing(t *testing.T) {
	c := newConversation(t)
	c.prepares("a", "select * from t", "lockproxy_1", c.granted)
	c.sends(query("begin"), query("select 1"))
	c.again(pools.Admin)
	c.answers(complete("BEGIN"), ready('T'), row("1"), selected, ready('T'))
	r := &request{kind: protocol.Bind, stmt: c.s.statements["a"]}
	if n := testing.AllocsPerRun(100, func() { c.s.compared(r) }); n > 0 {
		t.Errorf("%v allocations for a Bind", n)
	}
}

// TestTooManyValuesInPieces: that a statement cannot be made again must not be found before that its values are too many.
func TestTooManyValuesInPieces(t *testing.T) {
	c := newConversation(t)
	c.sends(parse("a", "select currval('sq')"), describe('S', "a"), syncMessage())
	c.granted(pools.Admin)
	c.answers(parsedOurs, noParams, columns, ready('I'))
	c.client, c.server = nil, nil
	c.wantRelease("free")
	c.sends(query("begin"), query("select 1"))
	c.granted(pools.Admin)
	c.answers(complete("BEGIN"), ready('T'), row("1"), selected, ready('T'))
	c.client, c.server = nil, nil
	whole := message(protocol.Bind, "\x00a\x00\x00\x00\x00\x01\x00\x00\x00\x05value\x00\x00")
	c.sends(whole[:15])
	c.wantNothing("not all values are here")
	c.sends(whole[15:], syncMessage())
	c.wantServer("what is wrong with them is known", describe('S', nobody), syncMessage())
	c.answers(failed("26000", "unknown"), ready('E'))
	c.wantClient("and told", failed("08P01", `bind message supplies 1 parameters, but prepared statement "a" requires 0`), ready('E'))
}
