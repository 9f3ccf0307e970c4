package session

import (
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
)

// What a server's last words mean before its connection ends.

var lastWords = protocol.AppendError(nil, protocol.Fatal("57P01", "terminating connection due to administrator command"))

func withoutTimeouts(cfg *Config) { cfg.LockTimeout, cfg.IdleTimeout = 0, 0 }

// A server's locks are free before its connection ends, which takes a while where it has much to put away.
func TestWhoLosesALockIsToldBeforeTheServersConnectionEnds(t *testing.T) {
	for _, text := range []string{"select pg_advisory_lock(1)", "begin; select pg_advisory_xact_lock(1)"} {
		c := newConversation(t, withoutTimeouts)
		c.sends(query(text))
		c.granted(pools.Lock)
		if text[0] == 'b' {
			c.answers(complete("BEGIN"), row(""), selected, ready('T'))
		} else {
			c.answers(row(""), selected, ready('I'))
		}
		c.client, c.server, c.actions = nil, nil, nil
		c.answers(lastWords)
		c.wantClient("it is told at once", lastWords)
		c.wantAction("and its connection ends", Action{Op: CloseClient})
		c.wantNothing("the server's slot is taken until its own has")
		c.s.ServerLost(&c.o, c.now)
		c.took()
		c.wantAction("then it is free", Action{Op: Remove})
		c.wantNothing("and that is all")
		if !c.s.Ended() {
			t.Error("the session is over")
		}
	}
}

func TestAServerThatHasSaidItsLastWordsIsNobodyElses(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select 1"))
	c.granted(pools.Admin)
	c.client, c.server = nil, nil
	c.answers(row("1"), selected, ready('I'), lastWords)
	c.wantClient("they concern nobody", row("1"), selected, ready('I'))
	c.sends(query("select 2"))
	c.wantNothing("and it is asked nothing more")
	c.s.ServerLost(&c.o, c.now)
	c.took()
	c.wantAction("it is not released", Action{Op: Remove})
	c.again(pools.Admin)
	c.wantServer("what came meanwhile goes to another", query("select 2"))
	if at := c.s.Deadline(); !at.IsZero() {
		t.Errorf("which has all the time it wants, but Tick is due at %v", at)
	}
}

// The end of a server's connection gets lost with its machine.
func TestAServerWhoseEndIsNeverHeardOfIsGivenUp(t *testing.T) {
	c := newConversation(t)
	c.sends(query("select 1"))
	c.granted(pools.Admin)
	c.client, c.server = nil, nil
	c.answers(lastWords)
	c.wantNothing("its connection ends in a moment")
	c.now = c.s.Deadline()
	c.s.Tick(&c.o, c.now)
	c.took()
	c.wantAction("or is closed", Action{Op: Remove})
	c.wantClient("and the client is told", failed("57P01", "terminating connection due to administrator command"), ready('I'))
}

// A server that hangs must not keep its slot from everybody else.
func TestAnAuditThatIsNotAnsweredIsGivenUp(t *testing.T) {
	c := newConversation(t)
	c.s = NewAudit(c.s.cfg)
	c.srv = NewServer(99, nil, c.now.Add(-time.Hour))
	c.srv.dirty = true
	c.s.Granted(&c.o, c.now, c.srv, pools.Admin)
	c.took()
	if len(c.server) == 0 {
		t.Fatal("it asks nothing")
	}
	c.server = nil
	c.now = c.s.Deadline()
	c.s.Tick(&c.o, c.now)
	c.took()
	c.wantAction("its server is closed", Action{Op: Remove})
	if !c.s.Ended() {
		t.Error("and it is over")
	}
}

// A direct connection would have had a server process of its own.
func TestALoginDoesNotWaitForAServerThatHangs(t *testing.T) {
	c := newConversation(t)
	c.s = New(c.s.cfg, &Client{Settings: NewSettings([]Setting{{"work_mem", "1MB"}})})
	c.s.Start(&c.o, c.now, nil)
	c.took()
	c.wantAction("what to say to it is not known", Action{Op: Checkout})
	c.srv = NewServer(99, NewSettings([]Setting{{"server_version", "15"}}), c.now.Add(-time.Hour))
	c.s.Granted(&c.o, c.now, c.srv, pools.Admin)
	c.took()
	c.now = c.s.Deadline()
	c.s.Tick(&c.o, c.now)
	c.took()
	c.wantAction("the server that was idle for long does not answer", Action{Op: Remove})
	c.granted(pools.Admin)
	if at := c.s.Deadline(); !at.IsZero() {
		t.Errorf("a new one has answered just now, but Tick is due at %v", at)
	}
	c.client = nil
	c.answers(complete("BEGIN"), ready('T'), row("1MB"), selected, complete("COMMIT"), ready('I'))
	if len(c.client) == 0 {
		t.Error("the client is not welcomed")
	}
}
