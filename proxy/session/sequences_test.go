package session

import (
	"strings"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/pools"
)

// inserts has a session insert a row, and gives its server.
func inserts(t *testing.T, change ...func(*Config)) *conversation {
	c := newConversation(t, change...)
	c.sends(query("insert into t values (1)"))
	c.granted(pools.Admin)
	c.answers(complete("INSERT 0 1"), ready('I'))
	c.client, c.server = nil, nil
	return c
}

func lingering(c *Config) { c.Linger = time.Second / 10 }

func TestWhatNextvalLeftIsAskedOfTheServerThatHasIt(t *testing.T) {
	c := inserts(t)
	c.wantRelease("to insert a row keeps no server")
	c.sends(query("select lastval()"))
	c.again(pools.Admin)
	c.wantServer("nobody else moved a sequence there", query("select lastval()"))
	c.wantAction("the surroundings hear of it", Action{Op: ReadsSequences})
	c.wantAction("and from now on the server stays", Action{Op: Pinned})
}

// A client had the number of another's row (the regression suite's sequence.sql, PDO::lastInsertId).
func TestWhatNextvalLeftForOthersIsNobodyElses(t *testing.T) {
	for _, message := range [][]byte{query("select lastval()"), join([][]byte{parse("", "select lastval()"), bind("", ""), execute(""), syncMessage()})} {
		c := inserts(t)
		other := newConversation(t)
		other.sends(message)
		c.srv.advanced = c.s.client
		c.takenBy(other, pools.Admin)
		// Ahead of a batch, not within it: PostgreSQL 18 takes what follows another statement there to be in a transaction block.
		if got := spell(other.server); !containsInOrder(got, "DISCARD SEQUENCES", "select lastval()") || strings.Count(got, "DISCARD") > 1 {
			t.Errorf("the server got %s", got)
		}
	}
}

// A transaction that has failed must be over before anything can be made ready, and whether it has must be known.
func TestWhatNextvalLeftForOthersIsNobodyElsesBehindAFailedTransaction(t *testing.T) {
	for _, message := range [][]byte{
		query("rollback; select lastval()"),
		join([][]byte{parse("", "rollback"), bind("", ""), execute(""), parse("", "select lastval()"), bind("", ""), execute(""), syncMessage()}),
	} {
		c := inserts(t)
		other := newConversation(t)
		other.sends(query("begin; select 1/0"))
		c.srv.advanced = c.s.client
		c.takenBy(other, pools.Admin)
		other.server = nil
		other.sends(message)
		other.wantNothing("whether the transaction has failed is not known yet")
		other.answers(complete("BEGIN"), failed("22012", "division by zero"), ready('E'))
		if got := spell(other.server); !containsInOrder(got, "rollback", "DISCARD SEQUENCES", "lastval()") && !containsInOrder(got, "ROLLBACK", "DISCARD SEQUENCES", "lastval()") &&
			!containsInOrder(got, "rollback", "lastval()", "DISCARD SEQUENCES", "E(") {
			t.Errorf("the server got %s", got)
		}
	}
}

func TestInTheSameTransactionNothingIsToBeDone(t *testing.T) {
	c := newConversation(t)
	c.sends(query("begin"), query("insert into t values (1)"), query("select lastval()"), query("commit"))
	c.granted(pools.Admin)
	c.answers(complete("BEGIN"), ready('T'), complete("INSERT 0 1"), ready('T'), row("1"), selected, ready('T'), complete("COMMIT"), ready('I'))
	c.client, c.server = nil, nil
	c.wantRelease("what was asked for was there")
}

func TestWhereClientsAskAServerStaysWithWhomMovedASequence(t *testing.T) {
	c := inserts(t, func(c *Config) { c.SequencesRead = func() bool { return true } })
	c.wantAction("it may be asked", Action{Op: Pinned})
	c.wantNothing("and is kept")
	c.sends(query("discard sequences"))
	c.answers(complete("DISCARD SEQUENCES"), ready('I'))
	c.client, c.server = nil, nil
	c.wantRelease("until there is nothing to ask")
}

func TestAServerWaitsAMomentForTheQuestion(t *testing.T) {
	c := inserts(t, lingering)
	c.wantNothing("it waits")
	c.sends(query("select lastval()"))
	c.wantServer("and is asked", query("select lastval()"))

	c = inserts(t, lingering)
	c.sends(query("begin"))
	c.client = nil
	c.wantRelease("what may take a lock goes its own way")

	c = inserts(t, lingering)
	c.sends(query("select 1"))
	c.wantServer("a lookup in between", query("select 1"))
	c.answers(row("1"), selected, ready('I'))
	c.client, c.server = nil, nil
	c.sends(query("select lastval()"))
	c.wantServer("does not take it away", query("select lastval()"))

	c = inserts(t, lingering)
	if due := c.s.Deadline(); !due.Equal(c.now.Add(time.Second / 10)) {
		t.Errorf("it waits until %v", due)
	}
	c.now = c.now.Add(time.Second / 10)
	c.s.Tick(&c.o, c.now)
	c.took()
	c.wantRelease("the moment is over")
	if !c.s.Deadline().IsZero() {
		t.Error("it still waits")
	}
	for range maxLingers {
		c.actions = nil
		c.sends(query("insert into t values (2)"))
		c.again(pools.Admin)
		c.answers(complete("INSERT 0 1"), ready('I'))
		c.now = c.now.Add(time.Second / 10)
		c.s.Tick(&c.o, c.now)
		c.took()
	}
	c.server, c.client, c.actions = nil, nil, nil
	c.sends(query("insert into t values (3)"))
	c.again(pools.Admin)
	c.server = nil
	c.answers(complete("INSERT 0 1"), ready('I'))
	c.client = nil
	c.wantRelease("a client that does not ask makes it wait only a few times")
}

// containsInOrder tells whether the parts stand in the text one after the other.
func containsInOrder(text string, parts ...string) bool {
	for _, part := range parts {
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return true
}

// What follows a nextval was looked at while its server stayed, and was no message: the session went on with the server that it had let go.
func TestAServerThatStaysGoesWithASessionThatEnds(t *testing.T) {
	c := inserts(t, lingering)
	c.s.defaults = NewSettings([]Setting{{"work_mem", "1MB"}})
	c.sends(message('?', "Sname"))
	c.wantAction("the session ends", Action{Op: CloseClient})
}
