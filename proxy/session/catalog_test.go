package session

import (
	"strings"
	"testing"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// library is a conversation whose database's functions can change.
type library struct {
	*conversation
	catalog *Catalog
}

func newLibrary(t *testing.T, version string, routines ...Routine) *library {
	l := &library{catalog: catalogOf(t, version, routines...)}
	l.conversation = newConversation(t, func(c *Config) { c.Catalog = func() *Catalog { return l.catalog } })
	return l
}

// setsTenant is a function that sets app.tenant.
var setsTenant = Routine{OID: 9001, Routine: sql.Routine{Schema: "app", Name: "tenant", Language: "sql",
	Body: "select set_config('app.tenant', 'x', false)"}}

func (l *library) reconsiders() {
	l.s.Reconsider(&l.o, l.now)
	l.took()
}

func (l *library) wantRedefined(rule string, want Redefinition) {
	l.t.Helper()
	if l.redefined != want {
		l.t.Fatalf("%s: redefined %d, want %d", rule, l.redefined, want)
	}
	l.redefined = NotRedefined
}

// wantAsked wants a question that holds the texts, and takes it off.
func (l *library) wantAsked(rule string, texts ...string) {
	l.t.Helper()
	for _, text := range texts {
		if !strings.Contains(string(l.server), text) {
			l.t.Fatalf("%s: the server was not asked %s but %s", rule, text, spell(l.server))
		}
	}
	l.server = nil
}

const (
	askTenant = "current_setting( E'app.tenant',true)"
	askAll    = "FROM pg_catalog.pg_settings"
)

func TestACallTouchesTheSettingsOfItsFunctionAndPinsNobody(t *testing.T) {
	for name, call := range map[string][]byte{
		"query": query("select app.tenant()"), "function call": message(protocol.FunctionCall, "\x00\x00\x23\x29\x00\x00\x00\x00\x00\x01"),
	} {
		l := newLibrary(t, "1", setsTenant)
		l.sends(call)
		l.granted(pools.Admin)
		l.wantServer(name, call)
		l.answers(ready('I'))
		l.tellsSetting("app.tenant", "x")
		l.client = nil
		l.wantRelease("its name is known")
	}
}

func TestADefinitionIsToldWithItsTransactionsEndAndItsServerKept(t *testing.T) {
	l := newLibrary(t, "1")
	l.sends(query("begin"), query("create function app.tenant() returns text language sql as 'x'"))
	l.granted(pools.Admin)
	l.answers(complete("BEGIN"), ready('T'), complete("CREATE FUNCTION"), ready('T'))
	l.wantRedefined("nobody else sees it yet", NotRedefined)
	l.sends(query("commit and chain"))
	l.answers(complete("COMMIT"), ready('T'))
	l.wantRedefined("committed, though the transaction goes on", RedefinedHere)
	l.sends(query("commit"))
	l.answers(complete("COMMIT"))
	l.wantRedefined("with the first sign of its end", RedefinedHere)
	l.server, l.client = nil, nil
	l.catalog = l.catalog.Doubted()
	l.answers(ready('I'))
	l.wantRedefined("and the last", RedefinedHere)
	l.wantClient("it is answered", ready('I'))
	l.wantNothing("the server is kept until it is known what there is")
	l.sends(query("select app.tenant()"))
	l.wantServer("where it goes on", query("select app.tenant()"))
	l.answers(row("x"), selected, ready('I'))
	l.client = nil
	l.wantNothing("and is still kept")
	l.catalog = catalogOf(t, "2", setsTenant)
	l.reconsiders()
	l.wantAsked("what may have been left", askAll, askTenant, askLocks, askPins[:40])
	l.answers(row("l", "0"), row("f", "2", "0 "), row("p", "0", "0 0"), row("s", "app.tenant", "x"), selected, ready('I'))
	l.wantRelease("then it is free")
	l.sends(query("select 1"))
	l.granted(pools.Admin)
	l.wantServer("and the setting is its caller's", putting("app.tenant", "x"), query("select 1"))
}

func TestADefinitionWhoseServerIsLostMayHaveBeenMade(t *testing.T) {
	l := newLibrary(t, "1")
	l.sends(query("create function f() returns int language sql as ''"))
	l.granted(pools.Admin)
	l.s.ServerLost(&l.o, l.now)
	l.took()
	l.wantRedefined("nobody knows", RedefinedHere)
}

func TestAUnitIsLookedAtAgainWhereFunctionsChangedWhileItWaited(t *testing.T) {
	l := newLibrary(t, "1")
	unit := [][]byte{parse("", "select app.tenant()"), bind("", ""), execute(""), syncMessage()}
	l.sends(unit...)
	l.catalog = catalogOf(t, "2", setsTenant)
	l.granted(pools.Admin)
	l.wantServer("as it is", unit...)
	l.answers(parsed, bound, row("x"), selected, ready('I'))
	l.tellsSetting("app.tenant", "x")
	l.client = nil
	l.wantRelease("asked for what it left")
}

func TestAUnitThatTurnsOutToLockRunsInTheLockPool(t *testing.T) {
	l := newLibrary(t, "1")
	l.sends(query("select app.locks()"))
	locks := Routine{OID: 9002, Routine: sql.Routine{Schema: "app", Name: "locks", Language: "sql", Body: "select pg_advisory_lock(1)"}}
	l.catalog = catalogOf(t, "2", locks)
	l.granted(pools.Admin)
	l.wantAction("its slot moves", Action{Op: Promote})
}

func TestStatementsPreparedBeforeAChangeAreReadAgain(t *testing.T) {
	l := newLibrary(t, "1")
	l.sends(parse("s", "select app.tenant()"), syncMessage())
	l.granted(pools.Admin)
	l.answers(parsed, noParams, columns, ready('I'))
	l.wantAction("nothing has run", Action{Op: Release})
	l.client, l.server = nil, nil
	l.catalog = catalogOf(t, "2", setsTenant)
	l.sends(bind("", "s"), execute(""), syncMessage())
	l.again(pools.Admin)
	l.answers(bound, row("x"), selected, ready('I'))
	l.wantAsked("it calls a function that sets something now", askTenant)
}

func TestWhatRanWhileFunctionsChangedIsAsked(t *testing.T) {
	l := newLibrary(t, "1")
	l.sends(query("begin"), query("select app.tenant()"))
	l.granted(pools.Admin)
	l.answers(complete("BEGIN"), ready('T'), row("x"), selected, ready('T'))
	l.catalog = l.catalog.Doubted()
	l.sends(query("commit"))
	l.answers(complete("COMMIT"), ready('I'))
	l.server, l.client = nil, nil
	l.wantNothing("it waits for what is being read")
	l.catalog = catalogOf(t, "2", setsTenant)
	l.reconsiders()
	l.wantAsked("by the names that are known now", askAll, askTenant)
}

func TestNothingIsAskedWhereNothingChangedAfterAll(t *testing.T) {
	l := newLibrary(t, "1")
	l.sends(query("select 1"))
	l.granted(pools.Admin)
	before := l.catalog
	l.catalog = l.catalog.Doubted()
	l.answers(row("1"), selected, ready('I'))
	l.server, l.client = nil, nil
	l.catalog = before
	l.reconsiders()
	l.wantRelease("as ever")
}

func TestEveryUnitIsAskedAboutWhileFunctionsCannotBeRead(t *testing.T) {
	l := newLibrary(t, "1")
	l.catalog = l.catalog.Unreadable()
	l.sends(query("select whatever()"))
	l.granted(pools.Admin)
	l.server = nil
	l.answers(row("1"), selected, ready('I'))
	l.wantAsked("anything", askAll)
}

func TestFunctionsThatChangedElsewhereAreFoundByTheAudit(t *testing.T) {
	l := newLibrary(t, "1")
	l.sends(query("select app.tenant()"))
	l.granted(pools.Admin)
	l.now = l.now.Add(2 * auditEvery)
	l.server = nil
	l.answers(row("x"), selected, ready('I'))
	l.wantAsked("now and then", askLocks, "'f'")
	l.client = nil
	l.answers(row("l", "0"), row("f", "2", "0 "), selected, ready('I'))
	l.wantRedefined("another answer", RedefinedElsewhere)
	l.wantNothing("its server is kept")
	l.catalog = catalogOf(t, "2", setsTenant).After(1)
	l.reconsiders()
	l.wantAsked("nobody else has used it since it was known what is there", askTenant)
	l.answers(row("l", "0"), row("f", "2", "0 "), row("p", "0", "0 0"), row("s", "app.tenant", "x"), selected, ready('I'))
	l.wantRelease("so that this is its caller's")
	other := newLibrary(t, "1")
	other.catalog = l.catalog
	other.sends(query("select 1"))
	l.takenBy(other.conversation, pools.Admin)
	other.wantServer("and is known", query("BEGIN"), query(`SET "app"."tenant" TO DEFAULT;COMMIT`), query("select 1"))
}

func TestAServerThatOthersUsedBeforeAChangeElsewhereWasSeenIsReset(t *testing.T) {
	l := newLibrary(t, "1")
	l.exchangeFirst()
	l.sends(query("select 2"))
	l.again(pools.Admin)
	l.answers(row("2"), selected, ready('I'))
	l.client, l.server, l.actions = nil, nil, nil
	l.catalog = catalogOf(t, "2", setsTenant).After(1)
	l.sends(query("select 3"))
	l.again(pools.Admin)
	l.wantServer("it is as new before it is used", query("DISCARD ALL"), query("select 3"))
	l.answers(complete("DISCARD ALL"), ready('I'), row("3"), selected, ready('I'))
	l.wantClient("which nobody sees", row("3"), selected, ready('I'))
	l.wantRelease("once")
	l.exchange()
}

// exchangeFirst is an ordinary transaction on a new server.
func (l *library) exchangeFirst() {
	l.t.Helper()
	l.sends(query("select 1"))
	l.granted(pools.Admin)
	l.answers(row("1"), selected, ready('I'))
	l.client, l.server, l.actions = nil, nil, nil
}

func TestOneServerReportsAChangeElsewhereOnceInAWhile(t *testing.T) {
	l := newLibrary(t, "1")
	for range 3 {
		l.exchangeFirst()
		l.now = l.now.Add(auditEvery)
		for i, want := range []Redefinition{RedefinedElsewhere, NotRedefined} {
			l.sends(query("do ''"))
			l.again(pools.Admin)
			l.answers(complete("DO"), ready('I'))
			l.answers(row("l", "0"), row("f", "9"), row("p", "0", "0 0"), selected, ready('I'))
			l.wantRedefined([]string{"at first", "then not at once again"}[i], want)
			l.reconsiders()
			l.client, l.server, l.actions = nil, nil, nil
		}
	}
}

func TestWhatABlockLeftIsFoundWhereItIs(t *testing.T) {
	l := newLibrary(t, "1")
	l.sends(query("do 'whatever'"))
	l.granted(pools.Admin)
	l.answers(complete("DO"), ready('I'))
	l.wantAsked("temporary tables, channels, cursors", askPins[:40])
	l.client = nil
	l.answers(row("l", "0"), row("f", "1"), row("p", "1", "0 0"), selected, ready('I'))
	l.wantAction("there is a temporary table", Action{Op: Pinned})
	l.wantNothing("so that it stays")
}

func TestACatalogTellsWhetherSequencesAreRead(t *testing.T) {
	reads := Routine{OID: 9003, Routine: sql.Routine{Name: "f", Language: "sql", Body: "select lastval()"}}
	if !catalogOf(t, "1", reads).Sequences() || catalogOf(t, "1", setsTenant).Sequences() {
		t.Error("a body that reads them does")
	}
	c, err := NewCatalog(nil, &Definitions{Sequences: true})
	if err != nil || !c.Sequences() {
		t.Error("a default that reads them does")
	}
}

func TestTheQuestionCountsCallersOfWhatMattersAlone(t *testing.T) {
	called := setsTenant
	called.Callers, called.CallersSum = 2, 1234
	c := catalogOf(t, "7", called, Routine{OID: 9004, Callers: 5, CallersSum: 5, Routine: sql.Routine{Name: "g", Language: "sql"}})
	if !strings.HasSuffix(c.question, "refobjid IN (9001));") || c.version != "7 2 1234" {
		t.Errorf("%s answered %q", c.question, c.version)
	}
	if c := catalogOf(t, "7"); !strings.HasSuffix(c.question, ",NULL;") || c.version != "7 " {
		t.Errorf("%s answered %q", c.question, c.version)
	}
}

func TestWhatATransactionDefinedAndDroppedAgainIsAskedAbout(t *testing.T) {
	l := newLibrary(t, "1")
	l.sends(query("begin; create function f() returns int language sql as ''; select f(); drop function f; commit"))
	l.granted(pools.Admin)
	l.answers(complete("BEGIN"), complete("CREATE FUNCTION"), row("x"), selected, complete("DROP FUNCTION"), complete("COMMIT"), ready('I'))
	l.server, l.client = nil, nil
	l.reconsiders()
	l.wantAsked("though no catalog ever has it", askAll)
}

func TestADefinitionIsToldBeforeItsFirstAnswer(t *testing.T) {
	l := newLibrary(t, "1")
	l.sends(query("create function f() returns int language sql as ''"))
	l.granted(pools.Admin)
	l.answers(complete("CREATE FUNCTION"))
	l.wantRedefined("others see it already", RedefinedHere)
}

func TestAStatementThatLocksByNowIsGrantedALockBackend(t *testing.T) {
	l := newLibrary(t, "1")
	l.sends(parse("s", "select app.locks()"), syncMessage())
	l.granted(pools.Admin)
	l.answers(parsed, noParams, columns, ready('I'))
	l.client, l.server, l.actions = nil, nil, nil
	locks := Routine{OID: 9002, Routine: sql.Routine{Schema: "app", Name: "locks", Language: "sql", Body: "select pg_advisory_lock(1)"}}
	l.catalog = catalogOf(t, "2", locks)
	l.sends(bind("", "s"), message(protocol.Flush, "")) // its Execute will follow
	l.granted(pools.Lock)
}

func TestWhatOthersMayHaveLeftIsNobodys(t *testing.T) {
	l := newLibrary(t, "1")
	l.exchangeFirst()
	l.sends(query("select 2"))
	l.again(pools.Admin)
	l.server = nil
	l.catalog = catalogOf(t, "2", setsTenant).After(1)
	l.answers(row("2"), selected, ready('I'))
	l.client = nil
	l.wantRelease("it is not asked for, and goes before the next session")
}

func TestAServerThatIsResetReportsWhatItReportsThen(t *testing.T) {
	l := newLibrary(t, "1")
	l.exchangeFirst()
	l.srv.Reported = l.srv.Reported.With("application_name", "another's")
	l.catalog = catalogOf(t, "2").After(1)
	l.sends(query("select 3"))
	l.again(pools.Admin)
	l.server = nil
	l.wantNothing("what was another's goes with the reset")
	l.answers(complete("DISCARD ALL"), protocol.AppendParameterStatus(nil, "application_name", "its own"), ready('I'))
	l.wantClient("as it is then", protocol.AppendParameterStatus(nil, "application_name", "its own"))
}
