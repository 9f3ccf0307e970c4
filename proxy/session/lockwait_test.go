package session

import (
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
)

// tookTooLong is what PostgreSQL says when lock_timeout is over.
func tookTooLong(fields string) []byte {
	return message(protocol.ErrorResponse, "SERROR\x00VERROR\x00C55P03\x00Mcanceling statement due to lock timeout\x00"+fields+
		"Fpostgres.c\x00L3000\x00RProcessInterrupts\x00\x00")
}

// explained is the same with what lockproxy adds.
func explained(detail string) []byte {
	return message(protocol.ErrorResponse, "SERROR\x00VERROR\x00C55P03\x00Mcanceling statement due to lock timeout\x00"+
		"Fpostgres.c\x00L3000\x00RProcessInterrupts\x00D"+detail+"\x00H"+
		"Hold the lock for a shorter time, or wait longer: pools.lock.lock_timeout (DATABASE_LOCK_TIMEOUT_MS) is 30s.\x00\x00")
}

// waiting gives a session whose client waits for a lock.
func waiting(t *testing.T, text string) *conversation {
	t.Helper()
	c := newConversation(t, func(cfg *Config) { cfg.Explains, cfg.WaitNotice = true, 5*time.Second })
	c.sends(query(text))
	c.granted(pools.Lock)
	c.answers(complete("BEGIN"), complete("SET"), complete("SET"), complete("COMMIT"), ready('I'))
	c.client, c.server, c.actions = nil, nil, nil
	return c
}

func (c *conversation) explains(e *Explanation) {
	c.s.Explained(&c.o, c.now, c.s.explains, e)
	c.took()
}

func TestAnErrorIsKeptBackUntilItIsExplained(t *testing.T) {
	c := waiting(t, "SELECT pg_advisory_lock(hashtext('a'))")
	c.answers(tookTooLong(""))
	c.wantClient("nothing is said yet")
	c.wantAction("the surroundings are asked", Action{Op: Explain, On: true})
	c.answers(ready('I'))
	c.wantClient("nor what comes behind it")
	c.explains(&Explanation{Lock: `advisory lock "a"`, Holder: "It is held by b."})
	c.wantClient("it is told with what was found out, and what came behind it",
		explained(`It waited for advisory lock "a". It is held by b.`), ready('I'))
}

func TestAnErrorThatNobodyCanExplainIsTheServers(t *testing.T) {
	c := waiting(t, "SELECT pg_advisory_lock(1)")
	c.answers(tookTooLong(""), ready('I'))
	c.explains(&Explanation{Lock: "advisory lock 1"})
	c.wantClient("its bytes are as they were", tookTooLong(""), ready('I'))
}

func TestAnErrorAboutAnotherWaitIsNotKeptBack(t *testing.T) {
	c := waiting(t, "SELECT pg_advisory_xact_lock(1); LOCK TABLE t")
	c.answers(complete("SELECT 1"))
	c.client = nil
	c.answers(tookTooLong(""))
	c.wantClient("the lock of another statement", tookTooLong(""))
	c = waiting(t, "SELECT pg_advisory_lock(id) FROM t")
	c.answers(tookTooLong(""))
	c.wantClient("the text hides the key", tookTooLong(""))
	c = waiting(t, "SELECT pg_advisory_lock(1)")
	row := tookTooLong("Wwhile locking tuple (0,1) in relation \"t\"\x00")
	c.answers(row)
	c.wantClient("the wait was for a row", row)
}

func TestAServerThatIsLostWhileItsErrorIsKeptBack(t *testing.T) {
	c := waiting(t, "SELECT pg_advisory_lock(1)")
	c.answers(tookTooLong(""), ready('I'))
	c.s.ServerLost(&c.o, c.now)
	c.took()
	c.wantClient("what it said goes to the client, and that it is lost: a lock may have been there", tookTooLong(""), ready('I'),
		protocol.AppendError(nil, protocol.Fatal("57P01", "the server closed the connection unexpectedly")))
	c.explains(&Explanation{Lock: "advisory lock 1", Holder: "Nobody."})
	c.wantClient("the explanation comes too late")
}

func TestAClientThatLeavesWhileItsErrorIsKeptBack(t *testing.T) {
	c := waiting(t, "SELECT pg_advisory_lock(1)")
	c.answers(tookTooLong(""), ready('I'))
	c.s.ClientLost(&c.o, c.now)
	c.took()
	c.actions = nil
	c.s.CancelDone(&c.o, c.now)
	c.took()
	c.explains(&Explanation{})
	if c.server == nil {
		t.Error("its server is not cleaned")
	}
}

func TestMuchBehindAnErrorIsNotKeptBack(t *testing.T) {
	c := waiting(t, "SELECT pg_advisory_lock(1)")
	c.answers(tookTooLong(""))
	notice := message(protocol.NoticeResponse, "SNOTICE\x00Mx\x00\x00")
	for n := 0; n <= maxAnswer; n += len(notice) << 10 {
		var many [][]byte
		for range 1 << 10 {
			many = append(many, notice)
		}
		c.answers(many...)
	}
	if len(c.client) < maxAnswer {
		t.Errorf("the client has %d bytes", len(c.client))
	}
}

func TestANoticeComesOnceAfterTheTime(t *testing.T) {
	c := waiting(t, "SELECT pg_advisory_lock(1)")
	if at := c.s.Deadline(); !at.Equal(c.now.Add(5 * time.Second)) {
		t.Fatalf("the next look is due at %v", at.Sub(c.now))
	}
	c.now = c.now.Add(5 * time.Second)
	c.s.Tick(&c.o, c.now)
	c.took()
	c.wantAction("the surroundings are asked", Action{Op: Explain})
	c.explains(&Explanation{Waits: true, Key: LockKey{Object: 1, Sub: 1}, Lock: "advisory lock 1", Holder: "It is held."})
	c.wantClient("a notice", protocol.AppendError(nil, &protocol.Error{Severity: "NOTICE", Code: "00000",
		Message: "still waiting for advisory lock 1 after 5s", Detail: "It is held."}))
	if at := c.s.Deadline(); !at.IsZero() {
		t.Errorf("another look is due at %v", at)
	}
	c.answers(row("\x00"), complete("SELECT 1"), ready('I'))
	c.explains(&Explanation{Waits: true, Lock: "advisory lock 1"})
	c.client = nil
	c.explains(&Explanation{Waits: true, Lock: "advisory lock 1"})
	c.wantClient("it does not wait any more")
}
