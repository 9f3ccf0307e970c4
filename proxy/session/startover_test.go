package session

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
)

func full() *protocol.Error {
	return &protocol.Error{Severity: "ERROR", Code: protocol.TooManyConnections, Message: "full"}
}

// findsTheLockPoolFull has a transaction be refused the promotion that its lock takes.
func (c *conversation) findsTheLockPoolFull() {
	c.t.Helper()
	c.wantAction("it asks for room", Action{Op: Promote})
	c.s.PromotionRefused(&c.o, c.now, full())
	c.took()
}

// givesUp has it end on the server that it has, which reports that what it had set is undone.
func (c *conversation) givesUp(reports ...[]byte) {
	c.t.Helper()
	c.wantServer("it gives up what it has", query("ROLLBACK"))
	c.answers(complete("ROLLBACK"), join(reports), ready('I'))
	c.wantAction("with the server", Action{Op: Release})
}

// SQLAlchemy's pool_pre_ping: the first statement of the transaction that takes the lock is a SELECT 1.
func TestATransactionThatHasDoneNothingWaitsForTheLockPool(t *testing.T) {
	lock := query("select pg_advisory_xact_lock(7)")
	for _, one := range []struct {
		begin string
		does  [][]byte
		anew  bool
	}{
		{"begin", [][]byte{query("SELECT 1;")}, true},
		{"BEGIN ISOLATION LEVEL READ COMMITTED", [][]byte{parse("", "select 1"), bind("", ""), execute(""), syncMessage()}, true},
		{"begin", [][]byte{query("select 1"), query("select 2")}, true},
		{"begin", [][]byte{query("select 1"), query("select now()")}, false},
		{"begin", [][]byte{query("select 1"), query("SET work_mem = DEFAULT")}, false},
		{"begin", [][]byte{query("select 1"), query("SET transaction_isolation = serializable")}, false},
		{"begin", [][]byte{query("select 1"), query("SET LOCAL transaction_read_only = on; SET jit = off")}, false},
		{"begin", [][]byte{query("SAVEPOINT a"), query("INSERT INTO t VALUES (1)")}, false},
		{"begin", [][]byte{query("select 1"), query("SET LOCAL lock_timeout = 7; SELECT now()")}, false},
		{"begin", [][]byte{query("select 1"), query("SET LOCAL DateStyle = German")}, false},
		{"begin", [][]byte{query("select 1"), query("SET LOCAL SESSION AUTHORIZATION app")}, false},
		{"begin", [][]byte{query("select 1"), query("SELECT set_config('app.user', who(), true)")}, false},
		{"begin", [][]byte{query("select 1 from t")}, false},
		{"begin", [][]byte{parse("", "select 1"), bind("c", ""), execute("c"), syncMessage()}, false},
		{"start transaction isolation level Repeatable Read", [][]byte{query("select 1")}, false},
	} {
		c := newConversation(t, func(cfg *Config) { cfg.LockTimeout, cfg.IdleTimeout = 0, 0 })
		c.sends(query(one.begin))
		c.sends(one.does...)
		c.granted(pools.Admin)
		c.answers(complete("BEGIN"), ready('T'))
		if one.does[0][0] == protocol.Query {
			for range one.does {
				c.answers(columns, row("1"), selected, ready('T'))
			}
		} else {
			c.answers(parsed, bound, row("1"), selected, ready('T'))
		}
		c.client, c.server, c.actions = nil, nil, nil
		c.sends(lock)
		c.findsTheLockPoolFull()
		if !one.anew {
			c.wantServer("it has done something, and fails", query(failing))
			continue
		}
		c.givesUp()
		c.again(pools.Lock)
		c.wantServer("and begins anew", query(one.begin), lock)
		c.answers(complete("BEGIN"), ready('T'), columns, row(""), selected, ready('T'))
		c.wantClient("of which the client sees nothing", columns, row(""), selected, ready('T'))
	}
}

// An application bounds its wait for the lock, or says for whom it acts, in the transaction that takes it.
func TestATransactionThatHasOnlyBoundItselfWaitsForTheLockPool(t *testing.T) {
	set := complete("SET")
	for _, sets := range [][]string{{"SET LOCAL lock_timeout = '7s'"}, {"set local statement_timeout to 5;", "SET LOCAL app.tenant = 'a' -- whose"},
		{"SET search_path = 'a', 'public'", "SET LOCAL work_mem = '1MB'"}} {
		for _, extended := range []bool{false, true} {
			c := newConversation(t, func(cfg *Config) { cfg.LockTimeout = 30 * time.Second })
			c.sends(query("BEGIN"))
			again := "BEGIN"
			for i, text := range sets {
				again += "\n;" + text
				answers := [][]byte{set, ready('T')}
				if extended {
					c.sends(parse("", text), bind("", ""), execute(""), syncMessage())
					answers = [][]byte{parsed, bound, set, ready('T')}
				} else {
					c.sends(query(text))
				}
				if i == 0 {
					c.granted(pools.Admin)
					c.answers(complete("BEGIN"), ready('T'))
				}
				c.answers(answers...)
			}
			c.client, c.server, c.actions = nil, nil, nil
			lock := query("select pg_advisory_xact_lock(7)")
			c.sends(lock)
			c.findsTheLockPoolFull()
			c.givesUp()
			c.server = nil
			c.again(pools.Lock)
			if !bytes.HasSuffix(c.server, join([][]byte{query(again), lock})) {
				t.Errorf("it does not begin anew: %q", c.server)
			}
		}
	}
}

// What failed is not done again, though a savepoint has undone it.
func TestATransactionInWhichSomethingFailedDoesNotBeginAnew(t *testing.T) {
	c := newConversation(t)
	c.sends(query("BEGIN"), query("SAVEPOINT a"))
	c.granted(pools.Admin)
	c.answers(complete("BEGIN"), ready('T'), complete("SAVEPOINT"), ready('T'))
	c.sends(query("SET LOCAL work_mem = 'much'"))
	c.answers(failed("22023", "invalid value"), ready('E'))
	c.sends(query("ROLLBACK TO a"))
	c.answers(complete("ROLLBACK"), ready('T'))
	if c.s.canStartOver() || c.s.fresh != 0 {
		t.Error("it could begin anew")
	}
}

// pgjdbc sends its BEGIN in a batch with what follows it, others in a text.
func TestATransactionThatBeganWithWhatItSetsWaitsForTheLockPool(t *testing.T) {
	set, lock := "SELECT set_config('app.a', 'b', true)", query("select pg_advisory_xact_lock(7)")
	for _, one := range []struct {
		sends, answers [][]byte
		again          string
	}{
		{[][]byte{parse("", "BEGIN"), bind("", ""), execute(""), parse("", set), bind("", ""), describe('P', ""), execute(""), syncMessage()},
			[][]byte{parsed, bound, complete("BEGIN"), parsed, bound, columns, row("b"), selected, ready('T')}, "BEGIN\n;" + set},
		{[][]byte{parse("", "BEGIN"), bind("", ""), execute(""), parse("", "SAVEPOINT a"), bind("", ""), execute(""), syncMessage()},
			[][]byte{parsed, bound, complete("BEGIN"), parsed, bound, complete("SAVEPOINT"), ready('T')}, "BEGIN\n;SAVEPOINT a"},
		{[][]byte{query("BEGIN; SET LOCAL app.a = 'b'")}, [][]byte{complete("BEGIN"), complete("SET"), ready('T')}, "BEGIN; SET LOCAL app.a = 'b'"},
		{[][]byte{query("START TRANSACTION ISOLATION LEVEL SERIALIZABLE; SET LOCAL app.a = 'b'")}, [][]byte{complete("START TRANSACTION"), complete("SET"), ready('T')}, ""},
		{[][]byte{parse("", "INSERT INTO t VALUES (1)"), bind("", ""), execute(""), parse("", "BEGIN"), bind("", ""), execute(""), syncMessage()},
			[][]byte{parsed, bound, complete("INSERT 0 1"), parsed, bound, complete("BEGIN"), ready('T')}, ""},
	} {
		c := newConversation(t, func(cfg *Config) { cfg.LockTimeout, cfg.IdleTimeout = 0, 0 })
		c.sends(one.sends...)
		c.granted(pools.Admin)
		c.answers(one.answers...)
		c.client, c.server, c.actions = nil, nil, nil
		c.sends(lock)
		c.findsTheLockPoolFull()
		if one.again == "" {
			c.wantServer("it has done something, and fails", query(failing))
			continue
		}
		c.givesUp()
		c.again(pools.Lock)
		c.wantServer("and begins anew", query(one.again), lock)
		c.answers(complete("BEGIN"), ready('T'), columns, row(""), selected, ready('T'))
		c.wantClient("of which the client sees nothing", columns, row(""), selected, ready('T'))
	}
}

// Where it gets no room in the lock pool either, what it has set is undone, of which the client is told, unless there is a savepoint behind it.
func TestATransactionThatBeganAnewInVainHasSetNothing(t *testing.T) {
	name := func(value string) []byte { return protocol.AppendParameterStatus(nil, "application_name", value) }
	for _, saved := range []bool{false, true} {
		c := newConversation(t)
		c.srv = NewServer(99, NewSettings([]Setting{{"server_version", "15"}, {"application_name", "before"}}), c.now)
		c.s.state.told, c.s.state.agreed = c.srv.Reported, c.srv.Reported
		sets := [][]byte{query("BEGIN"), query("SET application_name = 'within'")}
		answers := [][]byte{complete("BEGIN"), ready('T'), complete("SET"), name("within"), ready('T')}
		if saved {
			sets, answers = append(sets, query("SAVEPOINT a")), append(answers, complete("SAVEPOINT"), ready('T'))
		}
		c.actions = nil
		c.sends(sets...)
		c.again(pools.Admin)
		c.answers(answers...)
		c.actions = nil
		c.sends(query("select pg_advisory_xact_lock(7)"))
		c.findsTheLockPoolFull()
		c.answers(complete("ROLLBACK"), name("before"), ready('I'))
		c.client = nil
		c.s.Refused(&c.o, c.now, full())
		c.took()
		want := [][]byte{protocol.AppendError(nil, full()), name("before"), ready('E')}
		if saved {
			want = [][]byte{protocol.AppendError(nil, full()), ready('E')}
		}
		c.wantClient("it has failed", want...)
	}
}

// Drivers prepare a statement first, within the transaction, and bind it once they know its types: pgx behind a Sync, asyncpg behind a Flush.
func TestATransactionThatPreparesItsLockWaitsForTheLockPool(t *testing.T) {
	for _, end := range [][]byte{syncMessage(), message(protocol.Flush, "")} {
		c := newConversation(t, func(cfg *Config) { cfg.LockTimeout, cfg.IdleTimeout = 0, 0 })
		c.sends(query("BEGIN"), query("SELECT 1"))
		c.granted(pools.Admin)
		c.answers(complete("BEGIN"), ready('T'), columns, row("1"), selected, ready('T'))
		c.client, c.server, c.actions = nil, nil, nil
		prepares := [][]byte{parse("", "select pg_advisory_xact_lock(7)"), describe('S', ""), end}
		c.sends(prepares...)
		c.findsTheLockPoolFull()
		c.givesUp()
		c.again(pools.Lock)
		c.wantServer("and begins anew", append([][]byte{query("BEGIN")}, prepares...)...)
		c.answers(complete("BEGIN"), ready('T'), parsed, message(protocol.ParameterDescription, "\x00\x00"), columns)
		c.wantClient("of which the client sees nothing", parsed, message(protocol.ParameterDescription, "\x00\x00"), columns)
	}
}

// A pool of the application's leaves its connections in transactions that have only set something: others need their servers.
func TestATransactionThatHasDoneNothingGivesWay(t *testing.T) {
	again := query("BEGIN\n;SET search_path = 'a'")
	for _, one := range []struct {
		then    []byte
		sends   [][]byte // nil: it is answered without a server
		answers [][]byte
		told    [][]byte
	}{
		{query("SELECT 1 FROM t"), [][]byte{again, query("SELECT 1 FROM t")},
			[][]byte{complete("BEGIN"), complete("SET"), ready('T'), columns, row("1"), selected, ready('T')}, [][]byte{columns, row("1"), selected, ready('T')}},
		{query("COMMIT"), [][]byte{again, query("COMMIT")}, [][]byte{complete("BEGIN"), complete("SET"), ready('T'), complete("COMMIT"), ready('I')}, [][]byte{complete("COMMIT"), ready('I')}},
		{query("ROLLBACK"), nil, nil, [][]byte{complete("ROLLBACK"), ready('I')}},
	} {
		c := newConversation(t, func(cfg *Config) { cfg.LockTimeout, cfg.IdleTimeout = 0, 0 })
		c.sends(query("BEGIN"), query("SET search_path = 'a'"))
		c.granted(pools.Admin)
		c.answers(complete("BEGIN"), ready('T'), complete("SET"))
		if c.now = c.now.Add(givesWayAfter); c.s.MayGiveWay(c.now) {
			t.Fatal("it may give way before the server has answered")
		}
		if c.answers(ready('T')); c.s.MayGiveWay(c.now) {
			t.Fatal("it may give way at once")
		}
		if c.now = c.now.Add(givesWayAfter); !c.s.MayGiveWay(c.now) {
			t.Fatal("it may not give way")
		}
		c.client, c.server, c.actions = nil, nil, nil
		c.s.GiveWay(&c.o, c.now)
		c.took()
		c.wantServer("it ends what it has begun", query("ROLLBACK"))
		c.answers(failed("57014", "canceling statement due to user request"), ready('E')) // somebody's cancel request
		c.givesUp()
		c.wantNothing("the client hears nothing")
		if c.sends(one.then); one.sends != nil {
			c.again(pools.Admin)
			c.wantServer("it begins anew", one.sends...)
			c.answers(one.answers...)
		}
		c.wantClient("of which the client sees nothing", one.told...)
	}
}

// Whoever has done something, or bounds how long he may idle, keeps his server.
func TestATransactionThatMayNotBeginAnewDoesNotGiveWay(t *testing.T) {
	for _, text := range []string{"SELECT 1", "INSERT INTO t VALUES (1)", "SET LOCAL idle_in_transaction_session_timeout = '5s'", "SELECT now()", "SET DateStyle = German"} {
		c := newConversation(t)
		c.sends(query("BEGIN"), query(text))
		c.granted(pools.Admin)
		c.answers(complete("BEGIN"), ready('T'), complete(text[:6]), ready('T'))
		if c.s.MayGiveWay(c.now.Add(time.Hour)) {
			t.Errorf("%s may give way", text)
		}
	}
}

// What a transaction would do again is not remembered without bound, nor is a BEGIN of any length.
func TestLittleIsRememberedToBeginATransactionAnew(t *testing.T) {
	long := strings.Repeat(" ", maxBegin/3)
	for _, begin := range []string{"BEGIN", "BEGIN" + strings.Repeat(long, 9)} {
		c := newConversation(t)
		c.sends(query(begin))
		for i := range 6 {
			if c.sends(query("SET LOCAL app.tenant = 'a'" + long)); i == 0 {
				c.granted(pools.Admin)
				c.answers(complete("BEGIN"), ready('T'))
			}
			c.answers(complete("SET"), ready('T'))
		}
		if c.s.fresh != 0 {
			t.Errorf("a transaction could begin anew that has %d bytes to do again", c.s.fresh)
		}
		if got := cap(c.s.begin); got > 2*maxBegin {
			t.Errorf("%d bytes are kept", got)
		}
		c.sends(query("COMMIT"))
		c.answers(complete("COMMIT"), ready('I'))
		if got := cap(c.s.begin); got > keptBegin {
			t.Errorf("%d bytes are kept beyond the transaction", got)
		}
	}
}

func TestWhatIsSetAgainWithTheBegin(t *testing.T) {
	for text, want := range map[string]bool{
		"SET search_path = a": true, "SET SCHEMA 'a'": true, "SET LOCAL search_path TO a, b": true, "SET work_mem = '1MB'": true, "SET app.tenant = 'a'": true,
		"SET statement_timeout = 5": true, "SET search_path TO DEFAULT": false, "RESET search_path": false, "SET application_name = 'b'": true,
		"SET LOCAL application_name = 'b'": true, "SET TIME ZONE 'UTC'": false, "SET ROLE a": true, "SET LOCAL ROLE NONE": true, "SET SESSION AUTHORIZATION a": false,
		"SET seed = 0.5": false, "SET LOCAL DateStyle = German": false, "SET SESSION jit = off": true,
		"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE": false, "SET transaction_read_only = on": false, "SET CONSTRAINTS ALL DEFERRED": true,
		"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, DEFERRABLE": false, "SET jit = off; SET LOCAL ROLE a;": true,
		"SET jit = off; SELECT 1": false, "SET jit = off; SELECT set_config('app.a', 'b', true), set_config('app.b', 'c', true), now()": false,
		"SET CONSTRAINTS ALL DEFERRED; SELECT set_config('app.a', 'b', true), set_config('app.b', 'c', true)": true,
		"SET TRANSACTION READ WRITE": true, "SET LOCAL transaction_read_only = off": false, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY": true,
		"SET TRANSACTION SNAPSHOT '1'": false, "SAVEPOINT a": true, "RELEASE SAVEPOINT a; SAVEPOINT b": true, "ROLLBACK TO a": true, "ROLLBACK WORK TO SAVEPOINT a;": true,
		"ROLLBACK": false, "SAVEPOINT a; SELECT 1": false, "SAVEPOINT a; COMMIT": false, "release": true,
		"SELECT set_config('jit', 'off', true)": true, "select pg_catalog.set_config('role', 'a'::text, true) AS role, set_config('app.b', '', 'true');": true,
		"SELECT set_config('jit', 'off', false)": true, "SELECT set_config('app.user_id', 42::text, true)": true, "SELECT set_config('seed', '0.5', true)": false, "SELECT set_config('datestyle', 'German', true)": false,
		"SELECT set_config('jit', 'off', true) FROM t": false, "SELECT set_config('jit', 'off', true) WHERE f()": false, "SELECT set_config('jit', NULL, true)": false,
		"SELECT set_config('jit', current_user, true)": false, "SELECT set_config('a.b', 'c', true), pg_advisory_xact_lock(7)": false,
		"SELECT set_config('transaction_isolation', 'serializable', true)": false, "SELECT set_config('session_authorization', 'a', true)": false, "": false,
	} {
		c := newConversation(t)
		c.sends(query("BEGIN"), query("SELECT 1"))
		c.granted(pools.Admin)
		unit := c.s.known.reader.Read([]byte(text), c.s.state.dialect)
		if got := mayBeAgain(&unit) && c.s.doAgain([]byte(text), nil); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

// PostgREST says for whom it acts, and what it was asked, before each query; row-level security goes by it. Values come as parameters.
func TestWhatIsSetByParametersIsSetAgainWithTheBegin(t *testing.T) {
	const text = "select set_config('role', $1, true), set_config($2, $3::text, true) AS claims"
	one := func(name string, types []uint32, portal string, formats []uint16, values ...string) [][]byte {
		return [][]byte{parse(name, text, types...), bindTo(portal, name, formats, values...), describe('P', portal), execute(portal), syncMessage()}
	}
	texts := []uint32{25, 0, 25}
	long := strings.Repeat("x", maxBegin)
	for _, each := range []struct {
		name  string
		sends [][]byte
		again string
	}{
		{"text", one("", nil, "", nil, "app", "request.jwt.claims", `{"a": "it's"}`), `select set_config('role',  E'app', true), set_config( E'request.jwt.claims',  E'{"a": "it''s"}'::text, true) AS claims`},
		{"binary", one("", texts, "", []uint16{1}, "app", "app.a", `\`), `select set_config('role',  E'app', true), set_config( E'app.a',  E'\\'::text, true) AS claims`},
		{"a type of its own", one("", []uint32{25, 25, 1082}, "", nil, "app", "app.a", "1-2-3"), ""},
		{"by which texts are read", one("", texts, "", nil, "app", "DateStyle", "German"), ""},
		{"a portal that stays", one("", texts, "c", nil, "app", "app.a", "b"), ""},
		{"long", one("", texts, "", nil, "app", "app.a", long), ""},
	} {
		c := newConversation(t, func(cfg *Config) { cfg.LockTimeout, cfg.IdleTimeout = 0, 0 })
		c.sends(query("BEGIN"))
		c.sends(each.sends...)
		c.granted(pools.Admin)
		c.answers(complete("BEGIN"), ready('T'), parsed, bound, columns, row("app", "x"), selected, protocol.AppendParameterStatus(nil, "is_superuser", "off"), ready('T'))
		if each.again == "" {
			if c.s.fresh != 0 {
				t.Errorf("%s: it could begin anew", each.name)
			}
			continue
		}
		c.client, c.server, c.actions = nil, nil, nil
		lock := query("select pg_advisory_xact_lock(7)")
		c.sends(lock)
		c.findsTheLockPoolFull()
		c.givesUp(protocol.AppendParameterStatus(nil, "is_superuser", "on"))
		c.server = nil
		c.again(pools.Lock)
		c.wantServer("and begins anew", query("BEGIN\n;"+each.again), lock)
		c.answers(complete("BEGIN"), columns, row("app", "x"), selected, protocol.AppendParameterStatus(nil, "is_superuser", "off"), ready('T'), columns, row(""), selected, ready('T'))
		c.wantClient("of which the client sees nothing", columns, row(""), selected, ready('T'))
		c.sends(query("COMMIT"))
		c.answers(complete("COMMIT"), protocol.AppendParameterStatus(nil, "is_superuser", "on"), ready('I'))
		c.wantClient("it does of what is over", complete("COMMIT"), protocol.AppendParameterStatus(nil, "is_superuser", "on"), ready('I'))
	}
}
