package session

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
)

// SQLAlchemy's pool_pre_ping: the first statement of the transaction that takes the lock is a SELECT 1.
func TestATransactionThatHasDoneNothingWaitsForTheLockPool(t *testing.T) {
	full := func() *protocol.Error {
		return &protocol.Error{Severity: "ERROR", Code: protocol.TooManyConnections, Message: "full"}
	}
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
		{"begin", [][]byte{query("select 1"), query("SET work_mem = '1MB'; SET jit = off")}, false},
		{"begin", [][]byte{query("select 1"), query("SET LOCAL lock_timeout = 7; SELECT now()")}, false},
		{"begin", [][]byte{query("select 1"), query("SET LOCAL DateStyle = German")}, false},
		{"begin", [][]byte{query("select 1"), query("SET LOCAL ROLE app")}, false},
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
		c.wantAction("it asks for room", Action{Op: Promote})
		c.s.PromotionRefused(&c.o, c.now, full())
		c.took()
		if !one.anew {
			c.wantServer("it has done something, and fails", query(failing))
			continue
		}
		c.wantServer("it gives up what it has", query("ROLLBACK"))
		c.answers(complete("ROLLBACK"), ready('I'))
		c.wantAction("with the server", Action{Op: Release})
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
			c.wantAction("it asks for room", Action{Op: Promote})
			c.s.PromotionRefused(&c.o, c.now, &protocol.Error{Severity: "ERROR", Code: protocol.TooManyConnections, Message: "full"})
			c.took()
			c.wantServer("it gives up what it has", query("ROLLBACK"))
			c.answers(complete("ROLLBACK"), ready('I'))
			c.wantAction("with the server", Action{Op: Release})
			c.server = nil
			c.again(pools.Lock)
			if !bytes.HasSuffix(c.server, join([][]byte{query(again), lock})) {
				t.Errorf("it does not begin anew: %q", c.server)
			}
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
	}
}

func TestWhatIsSetAgainWithTheBegin(t *testing.T) {
	s := newConversation(t).s
	s.state.told = NewReported([]Setting{{"application_name", "a"}})
	for text, want := range map[string]bool{
		"SET search_path = a": true, "SET SCHEMA 'a'": true, "SET LOCAL search_path TO a, b": true, "SET work_mem = '1MB'": true, "SET app.tenant = 'a'": true,
		"SET statement_timeout = 5": true, "SET search_path TO DEFAULT": false, "RESET search_path": false, "SET application_name = 'b'": false,
		"SET LOCAL application_name = 'b'": false, "SET TIME ZONE 'UTC'": false, "SET ROLE a": false, "SET SESSION AUTHORIZATION a": false, "SET seed = 0.5": false,
		"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE": false, "SET transaction_read_only = on": false, "SET CONSTRAINTS ALL DEFERRED": false,
		"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, DEFERRABLE": false, "SET jit = off; SET jit = on": false, "SELECT set_config('jit', 'off', true)": false,
	} {
		unit := s.cfg.Catalog().reader.Read([]byte(text), s.state.dialect)
		if got := s.setsForItself(&unit); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}
