package session

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// conversation plays the client, the server and the pools of one session, and holds what the session said to each of
// them until a test has looked at it.
type conversation struct {
	t       *testing.T
	s       *Session
	o       Output
	now     time.Time
	client  []byte
	server  []byte
	actions []Action
	srv     *Server
	schema  changes

	redefined Redefinition
}

// changes counts those of a schema.
type changes uint64

func (c *changes) Version() uint64 { return uint64(*c) }
func (c *changes) Changed()        { *c++ }

// catalogOf makes a catalog of functions of the user's, as they were read at some version of them.
func catalogOf(t testing.TB, version string, routines ...Routine) *Catalog {
	t.Helper()
	lock := Routine{OID: 2880, Routine: sql.Routine{Schema: "pg_catalog", Name: "pg_advisory_lock"}}
	catalog, err := NewCatalog([]string{"app.acquire"}, &Definitions{Version: version, Routines: append(routines, lock)})
	if err != nil {
		t.Fatal(err)
	}
	return catalog
}

// maxPrepared is how many statements conversations keep prepared on a server.
const maxPrepared = 200

// newConversation gives a session that has been welcomed and is idle.
func newConversation(t *testing.T, change ...func(*Config)) *conversation {
	t.Helper()
	c := &conversation{t: t, now: time.Unix(1000, 0)}
	catalog := catalogOf(t, "", Routine{OID: 9000, Routine: sql.Routine{Schema: "app", Name: "tenant", Language: "c"}})
	cfg := &Config{
		Catalog: func() *Catalog { return catalog }, Schema: &c.schema, LockTimeout: 30 * time.Second, LockTimeoutName: "pools.lock.lock_timeout (DATABASE_LOCK_TIMEOUT_MS)", IdleTimeout: 30 * time.Second,
		MaxStatement: 1 << 20, MaxPrepared: maxPrepared, MaxBuffer: 64 << 10,
	}
	for _, f := range change {
		f(cfg)
	}
	c.s = New(cfg, &Client{Pid: 7})
	c.s.Start(&c.o, c.now, NewSettings([]Setting{{"server_version", "15"}}))
	c.took()
	c.client, c.actions = nil, nil
	return c
}

// took copies what the step put out. Bytes are the step's; a copy shows one that changes them too early.
func (c *conversation) took() {
	for _, p := range c.o.Server {
		c.server = append(c.server, p...)
	}
	for _, p := range c.o.Client {
		c.client = append(c.client, p...)
	}
	c.actions = append(c.actions, c.o.Actions...)
	c.redefined = max(c.redefined, c.o.Redefined)
}

func (c *conversation) sends(messages ...[]byte) {
	c.s.ClientBytes(&c.o, c.now, join(messages))
	c.took()
}

func (c *conversation) answers(messages ...[]byte) {
	c.s.ServerBytes(&c.o, c.now, join(messages))
	c.took()
}

// granted gives a server of a kind, as new.
func (c *conversation) granted(kind pools.Kind) {
	c.t.Helper()
	c.wantAction("a server was asked for", Action{Op: Checkout, Kind: kind})
	c.srv = NewServer(99, NewSettings([]Setting{{"server_version", "15"}}), c.now)
	c.s.Granted(&c.o, c.now, c.srv, kind)
	c.took()
}

func (c *conversation) wantClient(rule string, messages ...[]byte) {
	c.t.Helper()
	c.want(rule, "the client", &c.client, join(messages))
}

func (c *conversation) wantServer(rule string, messages ...[]byte) {
	c.t.Helper()
	c.want(rule, "the server", &c.server, join(messages))
}

func (c *conversation) want(rule, who string, got *[]byte, want []byte) {
	c.t.Helper()
	if string(*got) != string(want) {
		c.t.Fatalf("%s\n%s got  %s\n    wanted %s", rule, who, spell(*got), spell(want))
	}
	*got = nil
}

func (c *conversation) wantAction(rule string, want Action) {
	c.t.Helper()
	if len(c.actions) == 0 || c.actions[0].Op != want.Op || c.actions[0].Kind != want.Kind || c.actions[0].On != want.On {
		c.t.Fatalf("%s\nactions %+v, wanted first %+v\nserver %s", rule, c.actions, want, spell(c.server))
	}
	c.actions = c.actions[1:]
}

func (c *conversation) wantNothing(rule string) {
	c.t.Helper()
	if len(c.client)+len(c.server)+len(c.actions) > 0 {
		c.t.Fatalf("%s\nclient %s\nserver %s\nactions %+v", rule, spell(c.client), spell(c.server), c.actions)
	}
}

func join(messages [][]byte) (all []byte) {
	for _, m := range messages {
		all = append(all, m...)
	}
	return all
}

// spell writes messages so that people can read them.
func spell(p []byte) string {
	var b strings.Builder
	for len(p) >= protocol.HeadSize {
		kind, size := protocol.Head(p)
		if size == 0 || size > len(p) {
			break
		}
		fmt.Fprintf(&b, "%c(%q) ", kind, p[protocol.HeadSize:size])
		p = p[size:]
	}
	if len(p) > 0 {
		fmt.Fprintf(&b, "+%q", p)
	}
	return b.String()
}

func message(kind byte, body string) []byte {
	return append(appendHead(nil, kind, len(body)), body...)
}

func query(text string) []byte { return message(protocol.Query, text+"\x00") }

func parse(name, text string, types ...uint32) []byte {
	body := binary.BigEndian.AppendUint16([]byte(name+"\x00"+text+"\x00"), uint16(len(types)))
	for _, t := range types {
		body = binary.BigEndian.AppendUint32(body, t)
	}
	return message(protocol.Parse, string(body))
}

func bind(portal, name string) []byte { return bindTo(portal, name, nil) }

func bindTo(portal, name string, formats []uint16, values ...string) []byte {
	body := binary.BigEndian.AppendUint16([]byte(portal+"\x00"+name+"\x00"), uint16(len(formats)))
	for _, f := range formats {
		body = binary.BigEndian.AppendUint16(body, f)
	}
	return message(protocol.Bind, string(body)+string(row(values...)[protocol.HeadSize:])+"\x00\x00")
}

func describe(what byte, name string) []byte {
	return message(protocol.Describe, string(what)+name+"\x00")
}

func execute(portal string) []byte { return message(protocol.Execute, portal+"\x00\x00\x00\x00\x00") }

func syncMessage() []byte { return message(protocol.Sync, "") }

func ready(status byte) []byte { return protocol.AppendReady(nil, status) }

func complete(tag string) []byte { return protocol.AppendComplete(nil, tag) }

func failed(code, text string) []byte {
	return protocol.AppendError(nil, &protocol.Error{Severity: "ERROR", Code: code, Message: text})
}

func row(values ...string) []byte {
	body := binary.BigEndian.AppendUint16(nil, uint16(len(values)))
	for _, v := range values {
		body = binary.BigEndian.AppendUint32(body, uint32(len(v)))
		body = append(body, v...)
	}
	return message(protocol.DataRow, string(body))
}

var timeouts = query("BEGIN;SELECT pg_catalog.set_config( E'idle_in_transaction_session_timeout', E'30000',false);" +
	"SELECT pg_catalog.set_config( E'lock_timeout', E'30000',false);COMMIT")

func TestOrdinaryQueryRunsOnAnAdminBackendForItsTransaction(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select 1"))
	c.granted(pools.Admin)
	c.wantServer("the query goes as it is", query("select 1"))
	c.answers(row("1"), complete("SELECT 1"), ready('I'))
	c.wantClient("the answer passes", row("1"), complete("SELECT 1"), ready('I'))
	c.wantAction("the backend is free with the transaction's end", Action{Op: Release})
	c.wantNothing("and that is all")
}

func TestBeginAloneIsAnsweredAtOnceAndTheNextUnitDecides(t *testing.T) {
	c := newConversation(t)
	c.sends(query("begin"))
	c.wantClient("BEGIN alone is answered at once", complete("BEGIN"), ready('T'))
	c.wantNothing("the next unit decides the pool")
	c.sends(query("select pg_advisory_xact_lock(7)"))
	c.granted(pools.Lock)
	c.wantServer("timeouts and BEGIN go first, in one piece", timeouts, query("begin"), query("select pg_advisory_xact_lock(7)"))
	c.answers(complete("BEGIN"), row("", ""), row(""), complete("COMMIT"), ready('I'), complete("BEGIN"), ready('T'))
	c.wantNothing("their answers are ours")
	c.answers(row(""), complete("SELECT 1"), ready('T'))
	c.wantClient("the lock's answer passes", row(""), complete("SELECT 1"), ready('T'))
	c.wantAction("the transaction holds a lock", Action{Op: Hold, On: true})
	c.sends(query("commit"))
	c.wantServer("the end of a transaction needs nothing of ours", query("commit"))
	c.answers(complete("COMMIT"), ready('I'))
	c.wantClient("committed", complete("COMMIT"), ready('I'))
	c.wantAction("the lock is gone", Action{Op: Hold})
	c.wantAction("so is the session from its backend", Action{Op: Release})
	c.wantNothing("and that is all")
}

func TestBeginCommitNeverNeedsABackend(t *testing.T) {
	c := newConversation(t)
	c.sends(query("START TRANSACTION"), query("commit"))
	c.wantClient("both are answered here", complete("START TRANSACTION"), ready('T'), complete("COMMIT"), ready('I'))
	c.wantNothing("and nothing else happens")
}

func TestSessionLockKeepsItsBackendUntilTheLastUnlock(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select pg_advisory_lock(1)"))
	c.granted(pools.Lock)
	c.server = nil
	c.answers(complete("BEGIN"), row(""), row(""), complete("COMMIT"), ready('I'))
	c.answers(row(""), complete("SELECT 1"), ready('I'))
	c.wantClient("locked", row(""), complete("SELECT 1"), ready('I'))
	c.wantAction("it holds a lock", Action{Op: Hold, On: true})
	c.wantNothing("and keeps its backend")
	c.sends(query("select pg_advisory_unlock(1)"))
	c.wantServer("the unlock runs there, and waits for no lock", query("BEGIN;SET \"lock_timeout\" TO DEFAULT;COMMIT"), query("select pg_advisory_unlock(1)"))
	c.answers(complete("BEGIN"), complete("SET"), complete("COMMIT"), ready('I'), row("t"), complete("SELECT 1"), ready('I'))
	c.wantClient("unlocked", row("t"), complete("SELECT 1"), ready('I'))
	c.wantAction("it holds none", Action{Op: Hold})
	c.wantAction("and lets go", Action{Op: Release})
}

func TestNamedStatementIsPreparedUnderASharedNameAndWhereMissing(t *testing.T) {
	c := newConversation(t)
	c.sends(parse("s1", "select 1"), describe('S', "s1"), syncMessage())
	c.granted(pools.Admin)
	c.wantServer("the name is ours", parse("lockproxy_1", "select 1"), describe('S', "lockproxy_1"), syncMessage())
	answer := join([][]byte{message('1', ""), noParams, message('T', "\x00\x00"), ready('I')})
	c.answers(answer)
	c.wantClient("the answers pass", answer)
	c.wantAction("released", Action{Op: Release})
	c.sends(bind("", "s1"), execute(""), syncMessage())
	c.granted(pools.Admin) // another one
	c.wantServer("it is prepared where it is missing", parseOurs("lockproxy_1", "select 1"), bind("", "lockproxy_1"), execute(""), syncMessage())
	c.answers(parsedOurs, message('2', ""), row("x"), complete("SELECT 1"), ready('I'))
	c.wantClient("the client sees nothing of it", message('2', ""), row("x"), complete("SELECT 1"), ready('I'))
}

func TestPreparingALockStatementDecidesThePoolOfWhatComesNext(t *testing.T) {
	const lock = "select pg_advisory_xact_lock($1)"
	flush := message(protocol.Flush, "")
	for _, test := range []struct {
		rule  string
		begin bool
		end   []byte
		want  pools.Kind
	}{
		{"alone it takes no lock slot", false, syncMessage(), pools.Admin},
		{"as the first unit of a transaction it says where that runs", true, syncMessage(), pools.Lock},
		{"so it does in a batch that goes on", false, flush, pools.Lock},
	} {
		c := newConversation(t)
		if test.begin {
			c.sends(query("begin"))
			c.client = nil
		}
		c.sends(parse("s", lock), describe('S', "s"), test.end)
		c.wantAction(test.rule, Action{Op: Checkout, Kind: test.want})
	}
}

func TestAnErrorAloneLeavesNothingToBeAskedOrReset(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select 1/0"))
	c.granted(pools.Admin)
	c.server = nil
	c.answers(failed("22012", "division by zero"), ready('I'))
	c.wantClient("the error passes", failed("22012", "division by zero"), ready('I'))
	c.wantAction("the backend is as it was", Action{Op: Release})
	c.sends(query("select 1"))
	c.granted(pools.Admin)
	c.server = nil
	c.s.ClientLost(&c.o, c.now)
	c.took()
	c.wantAction("what runs for nobody is cancelled", Action{Op: CancelServer})
	c.answers(failed("57014", "canceling statement due to user request"), ready('I'))
	c.s.CancelDone(&c.o, c.now)
	c.took()
	c.wantAction("and the backend goes back without a reset", Action{Op: Release})
	c.wantNothing("for it holds nothing of the client's")
	if !c.s.Ended() {
		t.Error("the session is over")
	}
}

func TestOurQuestionsAreNotBoundedByTheClientsStatementTimeout(t *testing.T) {
	c := newConversation(t)
	c.s.defaults = NewSettings([]Setting{{"statement_timeout", "1"}})
	c.s.state.settings = c.s.defaults
	c.sends(query("select 1 where pg_try_advisory_lock(1)"))
	c.granted(pools.Lock)
	c.server = nil
	c.answers(complete("BEGIN"), row(""), row(""), row(""), complete("COMMIT"), ready('I'))
	c.answers(row("1"), complete("SELECT 1"), ready('I'))
	c.wantServer("the timeout is off for the question, and then on again", query("SET statement_timeout = 0"), query(askLocks),
		query("SELECT pg_catalog.set_config( E'statement_timeout', E'1',false);"))
}

func TestOurQuestionsAreNotBoundedByARolesStatementTimeout(t *testing.T) {
	c := newConversation(t, withoutTimeouts)
	c.sends(query("select 1 where pg_try_advisory_lock(1)"))
	c.granted(pools.Lock)
	c.srv.BoundsStatements, c.server = true, nil
	c.answers(row("1"), complete("SELECT 1"), ready('I'))
	c.wantServer("the timeout is off for the question, and then the role's again", query("SET statement_timeout = 0"), query(askLocks),
		query("RESET statement_timeout"))
}

func TestAFunctionThatLeavesStatePinsTheSession(t *testing.T) {
	for _, call := range []string{"select tenant('a')", "call app.tenant('a')", "do $$ begin perform app.tenant('a'); end $$"} {
		c := newConversation(t)
		c.sends(query(call))
		c.granted(pools.Admin)
		c.wantAction("what it leaves is nobody else's", Action{Op: Pinned})
	}
}

func TestTheRestOfAMessageForALostServerGoesNowhere(t *testing.T) {
	c := newConversation(t)
	c.sends(query("copy t from stdin"))
	c.granted(pools.Admin)
	c.answers(message(protocol.CopyInResponse, "\x00\x00\x01\x00\x00"))
	line := message(protocol.CopyData, "a line\n")
	c.sends(line[:8])
	c.client, c.server = nil, nil
	c.s.ServerLost(&c.o, c.now)
	c.took()
	c.wantClient("the statement is answered", failed("08006", "the server closed the connection unexpectedly"), ready('I'))
	c.actions = nil
	c.sends(line[8:], query("select 1"))
	c.granted(pools.Admin)
	c.wantServer("the next server gets what is meant for it", query("select 1"))
	c.client, c.actions = nil, nil
	c.answers(complete("SELECT 1"), ready('I'))
	c.wantClient("which answers it: it has no part in the COPY", complete("SELECT 1"), ready('I'))
	c.wantRelease("and is free again")
	c.exchange()
}

func TestTimeoutsAreSwitchedOnceWhereNothingElseIsSet(t *testing.T) {
	c := newConversation(t, func(cfg *Config) { cfg.IdleTimeout = 0 })
	c.sends(query("begin"), query("select pg_advisory_xact_lock(1)"))
	c.granted(pools.Lock)
	c.answers(complete("BEGIN"), row(""), complete("COMMIT"), ready('I'), complete("BEGIN"), ready('T'))
	c.answers(row(""), complete("SELECT 1"), ready('T'))
	c.server = nil
	off := func() []byte {
		c.server = nil
		c.sends(query("select 1"))
		return c.server
	}
	if first := off(); !strings.Contains(string(first), `SET LOCAL "lock_timeout" TO DEFAULT`) {
		t.Fatalf("an ordinary statement is not bounded: %s", spell(first))
	}
	c.answers(message('1', ""), message('2', ""), complete("SET"), message('3', ""), message('3', ""), ready('T'), row("1"), complete("SELECT 1"), ready('T'))
	if next := off(); string(next) != string(query("select 1")) {
		t.Fatalf("nor is the next, and nothing is to be switched: %s", spell(next))
	}
}
