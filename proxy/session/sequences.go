package session

import "github.com/lockproxy/lockproxy/protocol/sql"

// What nextval left in a server session (currval, lastval) cannot be moved to another, and nearly no application asks for
// it once its transaction is over: to keep a server for everyone who inserts a row would be session pooling. So a session
// keeps its server for that only in a database some of whose clients were seen to ask. Until then whoever asks has the
// right answer if nobody else moved a sequence on that server meanwhile, else "not yet defined in this session"; never
// the value of somebody else.

// advances notes that a statement may move sequences.
func (s *Session) advances() {
	s.state.advanced = true
	s.srv.advanced = s.client
	if s.cfg.SequencesRead != nil && s.cfg.SequencesRead() {
		s.pin(sql.TouchSequence)
	}
}

// sequencesFor makes ready for a text that asks for what nextval left. What it left in the same transaction is there.
func (s *Session) sequencesFor(r *request, inBatch bool) {
	if !r.touches.Has(sql.TouchSequence) || s.state.advanced || s.state.pins.Has(sql.TouchSequence) || s.tx == 'E' {
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

// sequencesDiscarded takes over what the client's DISCARD SEQUENCES did.
func (s *Session) sequencesDiscarded() {
	s.srv.advanced = nil
	s.state.pins &^= sql.TouchSequence
}
