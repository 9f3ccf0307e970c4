package session

import (
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// Work is what came to its end in one step, for those who count.
type Work struct {
	Received     int                  // bytes that the client sent
	Queries      int                  // the client was told that it may send the next: simple queries, batches of the extended protocol
	Transactions int                  // of the client's, on a server
	Parses       int                  // the client prepared a statement by a Parse message
	ServerParses int                  // and a server was told to
	Binds        int                  // Bind messages that went to a server
	Locks        [LockOutcomes]uint16 // statements that may have waited for an advisory lock
}

// LockOutcome is how a statement came to its end that asked for an advisory lock and was ready to wait for it.
type LockOutcome uint8

const (
	LockTaken      LockOutcome = iota
	LockTimedOut               // lock_timeout
	LockDeadlocked             // PostgreSQL broke a cycle
	LockCanceled               // by the client, or by statement_timeout
	LockFailed                 // for a reason that has nothing to do with waiting

	LockOutcomes // how many there are
)

// String names the outcome as metrics show it.
func (o LockOutcome) String() string {
	return [...]string{"taken", "timeout", "deadlock", "canceled", "failed"}[o]
}

// waits are the effects of functions that wait for a lock.
const waits = sql.SessionAcquire | sql.XactAcquire | sql.Unknown

// countLock notes how a message of the client's ended, if it asked for a lock.
func (s *Session) countLock(r *request, code string) {
	if r.lock&waits == 0 || r.purpose != theirs || r.kind == protocol.Bind || r.kind == protocol.Parse {
		return
	}
	s.o.Locks[lockOutcome(code)]++
}

// lockOutcome tells what an error means for the wait; "" is none.
func lockOutcome(code string) LockOutcome {
	switch code {
	case "":
		return LockTaken
	case protocol.LockNotAvailable:
		return LockTimedOut
	case protocol.DeadlockDetected:
		return LockDeadlocked
	case protocol.QueryCanceled:
		return LockCanceled
	}
	return LockFailed
}
