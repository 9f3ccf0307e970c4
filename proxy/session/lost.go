package session

import (
	"time"

	"github.com/lockproxy/lockproxy/protocol"
)

// ServerLost takes the end of the server's connection.
func (s *Session) ServerLost(o *Output, now time.Time) {
	s.step(o, now)
	defer s.finish()
	if s.srv == nil {
		return
	}
	if s.giveUpExplaining(); s.srv == nil {
		return
	}
	s.lost(s.lastWords())
}

// dies takes a server's FATAL. It is asked nothing more, and is nobody else's; its connection ends in a moment, or its time is over. Its locks
// may be somebody else's before that (ipc.c, proc_exit): who holds one is told now.
func (s *Session) dies(frame []byte) {
	s.last = append([]byte(nil), frame...)
	s.deadline = s.now.Add(cleanWithin)
	if s.goodbye || s.phase == starting || !s.endsWithServer() && !s.held.xact {
		return
	}
	s.toClient(s.last)
	s.do(Action{Op: CloseClient, Reason: ReasonServerLost, Text: s.lastWords().Message})
	s.leave()
}

// lost takes the loss of the server, or gives it up, and tells the client why.
func (s *Session) lost(why *protocol.Error) {
	if s.phase == promoting {
		s.do(Action{Op: Leave})
		s.phase = attached
	}
	switch {
	case s.goodbye:
		s.remove(ReasonServerLost, why.Message)
		s.end()
	case s.phase == starting:
		s.fatal(why, ReasonServerLost)
	case s.endsWithServer() || s.held.xact || s.rest > 0:
		// The lock is gone, and somebody else may have it already: the client must know at once (ROUTING.md, "When
		// things go wrong"). So with whatever else lived there alone, as do settings whose values nobody had the time to
		// ask for, and with an answer that breaks off in the middle.
		if s.last == nil && s.overtime == 0 {
			why.Code = protocol.AdminShutdown
		}
		s.endWith(why)
	case why.Code == protocol.ProtocolViolation, why.Code == protocol.InternalError:
		s.endWith(why) // the client's own doing
	default:
		s.survive(why)
	}
}

// endWith ends the client with its server: in the server's own words where it had any.
func (s *Session) endWith(why *protocol.Error) {
	if s.last == nil {
		s.fatal(why, ReasonServerLost)
		return
	}
	if !s.midMessage() {
		s.toClient(s.last)
	}
	s.farewell(ReasonServerLost, why.Message)
}

// lastWords gives the server's own FATAL, or what to say in its place.
func (s *Session) lastWords() *protocol.Error {
	if s.last != nil {
		e := protocol.ReadError(s.last[protocol.HeadSize:])
		return &e
	}
	return &protocol.Error{Code: protocol.ConnectionFailure, Message: "the server closed the connection unexpectedly"}
}

// survive has the client outlive its server: it gets the error for all that it is owed an answer to, or for what it
// asks next, and finds itself in a failed transaction if it was in one.
func (s *Session) survive(e *protocol.Error) {
	e.Severity = "ERROR"
	inside := s.tx != 'I'
	flight := s.srv.flight
	s.srv.flight = queue{}
	asked := s.answerLost(&flight, e)
	s.remove(ReasonServerLost, e.Message)
	if s.tx == 'I' && (asked || !inside) {
		return
	}
	if !asked {
		s.owed = e
	}
	s.abandon()
}

// answerLost answers the client's messages in flight with the error. It tells whether there were any.
func (s *Session) answerLost(flight *queue, e *protocol.Error) (asked bool) {
	s.lookAgain()
	closes := s.closesAlone(flight)
	for i := flight.len() - 1; i >= 0; i-- {
		if !closes[i] {
			s.undo(flight.at(i), flight.len())
		}
	}
	commit, open := false, false // of the unit at hand
	for i := range flight.len() {
		r := flight.at(i)
		if r.purpose != theirs {
			continue
		}
		if closes[i] {
			s.reply(protocol.AppendCloseComplete)
			continue
		}
		asked, open = true, open || !isCopyEnd(r.kind)
		commit = commit || r.has(flagCommit)
		if r.ends() {
			s.answerLostUnit(e, commit)
			commit, open, s.erred = false, false, false
		}
	}
	if open || s.open {
		if !s.erred {
			s.tellError(e) // the batch goes on: the rest is dropped up to its Sync
		}
		s.lostInside()
		s.skip = true
		asked = true
	}
	return asked
}

// closesAlone tells which messages in flight are a Close that is answered here with nothing of its unit before it: it needs
// no server, and cannot fail.
func (s *Session) closesAlone(flight *queue) []bool {
	closes := make([]bool, flight.len())
	alone := !s.erred
	for i := range closes {
		r := flight.at(i)
		closes[i] = alone && r.reply == replyClosed
		alone = r.ends() || alone && (r.purpose != theirs || closes[i])
	}
	return closes
}

// answerLostUnit gives a unit's answer: the error, unless it has had one, and where the client stands now.
func (s *Session) answerLostUnit(e *protocol.Error, commit bool) {
	if commit {
		s.tx = 'I'
		if s.last == nil {
			e = &protocol.Error{Severity: "ERROR", Code: protocol.TransactionResolutionUnknown,
				Message: "the server closed the connection; whether the transaction was committed is unknown"}
		}
	} else {
		s.lostInside()
	}
	if !s.erred {
		s.tellError(e)
	}
	s.tellReady()
}

func (s *Session) lostInside() {
	if s.tx == 'T' {
		s.tx = 'E'
	}
}
