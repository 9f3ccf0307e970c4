package session

import (
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// What nextval left in a server session (currval, lastval) cannot be moved to another, and nearly no application asks for
// it once its transaction is over: to keep a server for everyone who inserts a row would be session pooling. So a session
// keeps its server for that only in a database some of whose clients were seen to ask. Until then a server waits a moment for
// the client's next unit, a few times; and whoever asks gets that server back, if it is idle, and has the right answer if nobody
// else moved a sequence there meanwhile, else "not yet defined in this session"; never the value of somebody else.

// linger is how long a session's server waits for the client's next units, which may ask for what nextval left: applications
// that do ask do so at once (PDO::lastInsertId), or when they have looked up a sequence's name (DBD::Pg). The first few
// times that a session moves a sequence show what sort it is.
type linger struct {
	due   bool // the transaction that ended moved sequences
	times int8
	until time.Time // zero: it does not wait
}

// maxLingers is how often a session that does not ask makes its server wait.
const maxLingers = 3

// lingers tells whether the server stays a moment longer.
func (s *Session) lingers() bool {
	l := &s.linger
	if l.due && l.times < maxLingers && !s.draining && s.cfg.Linger > 0 {
		l.until = s.now.Add(s.cfg.Linger)
		l.times++
	}
	l.due = false
	return s.now.Before(l.until) && (len(s.view) == 0 || s.staysFor()) && s.srv != nil
}

// staysFor tells whether the client's next unit runs on the server at hand, as far as it is here: one that asks for what
// nextval left, or one that any server of its pool would do for. A lock statement, or a BEGIN, which may be a lock
// statement's, goes its own way.
func (s *Session) staysFor() bool {
	own := s.kind == pools.Lock
	for i := 0; i < s.ahead.len() || s.look(); i++ {
		r := s.ahead.at(i)
		if r.asksSequences() {
			return true
		}
		own = own || r.has(flagBegin) || s.takesLocks(r)
		if r.ends() || s.phase != attached {
			return !own
		}
	}
	return s.ahead.len() == 0 // there is but a part of a message
}

// asksSequences tells whether a message asks for what nextval left, or makes or uses a statement that does.
func (r *request) asksSequences() bool {
	return r.touches.Has(sql.TouchSequence) || r.stmt != nil && r.stmt.unit.Touches.Has(sql.TouchSequence)
}

// Seeks tells whether the unit that wants a server asks for what nextval left for this session, which is on the server that
// Seeking knows, if it is anywhere. From within a step.
func (s *Session) Seeks() bool {
	if s.linger.times == 0 {
		return false // it has moved none
	}
	for i := range s.ahead.len() {
		if s.ahead.at(i).asksSequences() {
			return true
		}
	}
	return false
}

// Seeking tells whether an idle server has what nextval left for this session.
func (s *Session) Seeking(v *Server) bool { return v.advanced == s.client }

// advances notes that a statement may move sequences.
func (s *Session) advances() {
	s.state.advanced, s.linger.due = true, true
	s.srv.advanced = s.client
	if s.cfg.SequencesRead != nil && s.cfg.SequencesRead() {
		s.pin(sql.TouchSequence)
	}
}

// sequencesFor makes ready for a text that asks for what nextval left.
func (s *Session) sequencesFor(r *request, inBatch bool) {
	if !s.mayAskForOthers(r) || s.tx == 'E' && !s.rolledBack {
		return
	}
	s.do(Action{Op: ReadsSequences})
	if s.srv.advanced == s.client {
		s.pin(sql.TouchSequence)
		return
	}
	const discard = "DISCARD SEQUENCES"
	s.srv.advanced = nil
	if inBatch {
		s.runInBatch([]byte(discard), forStatement)
	} else {
		s.sendQuery(forBegin, discard)
	}
}

// mayAskForOthers tells whether a message asks for what nextval left and may find what it left for others. What it left in the same transaction
// is there.
func (s *Session) mayAskForOthers(r *request) bool {
	return r.touches.Has(sql.TouchSequence) && !r.has(flagOwnSequences) && !s.state.advanced && !s.state.pins.Has(sql.TouchSequence)
}

// asker gives the message of the next unit that may ask for what nextval left for others, as far as it is here; nil: there is none.
func (s *Session) asker() *request {
	for i := range s.ahead.len() {
		r := s.ahead.at(i)
		if (r.kind == protocol.Execute || r.kind == protocol.Query) && s.mayAskForOthers(r) {
			return r
		}
		if r.ends() {
			break
		}
	}
	return nil
}

// sequencesAhead makes ready for a message of a batch that is about to begin: within it, whatever ran before a statement makes a transaction
// block to some (xact.c, CheckTransactionBlock).
func (s *Session) sequencesAhead(r *request) {
	if r.kind == protocol.Execute && s.tx != 'E' {
		s.sequencesFor(r, false)
		r.flags |= flagOwnSequences
	}
}

// sequencesDiscarded takes over what the client's DISCARD SEQUENCES did.
func (s *Session) sequencesDiscarded() {
	s.srv.advanced = nil
	s.state.pins &^= sql.TouchSequence
}
