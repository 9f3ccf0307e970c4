package session

import (
	"time"

	"github.com/lockproxy/lockproxy/protocol"
)

// Cancel requests: what they may end, and what they must not hit.

// Cancel takes a cancel request of the client's. It ends a wait in a queue, or the statement under way, or nothing.
func (s *Session) Cancel(o *Output, now time.Time) {
	s.step(o, now)
	defer s.finish()
	switch {
	case s.goodbye:
	case s.phase == queueing:
		s.do(Action{Op: Leave})
		s.phase = resting
		s.answerUnit(canceled())
	case s.phase == promoting && !s.toMove:
		s.do(Action{Op: Leave})
		s.phase = attached
		s.refuseWaiting(canceled())
	case s.phase == attached && !s.runsForClient() && s.waits():
		s.cancelNext = true
	case s.phase == attached:
		s.cancelRunning()
	}
}

// waits tells whether the client has sent something that is held back, because of an earlier cancel request for one.
func (s *Session) waits() bool { return len(s.kept) > 0 || len(s.view) > 0 || s.ahead.len() > 0 }

func canceled() *protocol.Error {
	return &protocol.Error{Severity: "ERROR", Code: protocol.QueryCanceled,
		Message: "canceling statement due to user request"}
}

// CancelDone answers CancelServer: the server has got the signal, and what runs from now on is safe from it.
func (s *Session) CancelDone(o *Output, now time.Time) {
	s.step(o, now)
	defer s.finish()
	s.cancelOver()
}

// CancelAstray answers CancelServer where nobody knows what became of the request: it may still arrive, and hit whatever runs on the
// server then. The session may keep the server, as who cancels on a direct connection does; nobody else is to have it.
func (s *Session) CancelAstray(o *Output, now time.Time) {
	s.step(o, now)
	defer s.finish()
	s.endangered = s.endangered || s.cancelling
	s.cancelOver()
}

func (s *Session) cancelOver() {
	if s.strayCancels > 0 {
		s.strayCancels--
		return
	}
	s.cancelling = false
}

// cancelRunning cancels what runs for the client: at once, or when the server has answered what it was sent of ours
// in units before. That takes no time, and failed it would leave the client without its settings or its BEGIN.
func (s *Session) cancelRunning() {
	s.cancelDue = false
	switch {
	case s.phase != attached || !s.runsForClient() || s.cancelling:
	case !s.theirTurn():
		s.cancelDue = true
	default:
		s.cancelling = true
		s.do(Action{Op: CancelServer})
	}
}

// theirTurn tells whether what the server is at is the client's. What goes before it in the same batch is answered only
// with the batch, so that waiting for that would be waiting for the statement; if the cancel hits it the batch has failed,
// as it would have.
func (s *Session) theirTurn() bool {
	for i := range s.srv.flight.len() {
		r := s.srv.flight.at(i)
		if r.purpose == theirs {
			return true
		}
		if r.ends() {
			return false
		}
	}
	return false
}

// runsForClient tells whether the server has anything of the client's under way, or will in a moment.
func (s *Session) runsForClient() bool { return s.underWay() != nil }

// underWay gives the client's first message that the server has, or that is waiting for what is made for it; nil: there is none.
func (s *Session) underWay() *request {
	if r := s.srv.flight.firstOfClient(); r != nil {
		return r
	}
	if s.ahead.len() > 0 && s.ahead.front().has(flagAwaits) {
		return s.ahead.front()
	}
	return nil
}

// waitsForLock tells whether what is under way may be waiting for an advisory lock.
func (s *Session) waitsForLock() bool {
	return s.srv.flight.any(func(r *request) bool { return r.lock != 0 })
}
