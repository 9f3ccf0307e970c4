package session

import (
	"github.com/lockproxy/lockproxy/protocol"
)

// attach takes a granted server into use: the session's settings and its BEGIN go before the unit.
func (s *Session) attach() {
	s.phase = attached
	s.takesOver()
	s.keepDefaults()
	s.state.transactionOver()
	s.state.otherwise, s.state.otherPath = false, false
	s.tie()
	if s.goodbye {
		s.deadline = s.now.Add(cleanWithin) // for an audit, whose server may not answer
		return
	}
	if s.with != s.known.reader {
		s.lookAgain() // what it calls may be another matter now
		if s.lookThroughUnit(); s.phase != attached {
			return
		}
	}
	s.renew()
	s.dropForeign()
	s.putSettings(s.unitWaits())
	if len(s.begin) > 0 {
		s.sendBegin()
	}
}

// sendBegin sends the BEGIN that was answered: in the portal that it was executed in, which is there until the transaction
// ends, unless the unit puts another in its place.
func (s *Session) sendBegin() {
	if s.beginAs == nil || *s.beginAs == "" && s.replacesPortal() {
		s.sendQuery(forBegin, string(s.begin))
	} else {
		s.runAs(*s.beginAs, s.begin, forBegin)
		s.syncOurs(forBegin)
	}
	if s.failed {
		// Aborts any transaction (xact.c, RollbackToSavepoint), as the one was that is lost.
		s.sendQuery(forBegin, `ROLLBACK TO SAVEPOINT "lockproxy: the transaction was lost"`)
		s.mayFail()
	}
	s.fresh = 0
	if !s.failed && len(s.begin) <= maxBegin && s.readsCommitted(s.begin) {
		s.fresh = int32(len(s.begin))
	}
	if s.anew {
		s.anew = false
		unit := s.known.reader.Read(s.begin, s.state.dialect)
		s.touch(&request{unit: &unit, touches: unit.Touches})
	}
	s.settleBegin()
}

// replacesPortal tells whether the unit at hand binds the unnamed portal, or is a simple query, before it uses a portal.
func (s *Session) replacesPortal() bool {
	at := 0
	for i := range s.ahead.len() {
		r := s.ahead.at(i)
		switch r.kind {
		case protocol.Query:
			return true
		case protocol.Bind:
			portal, _, ok := protocol.BindNames(s.view[min(at+protocol.HeadSize, len(s.view)):])
			if ok && len(portal) == 0 && r.stmt != nil {
				return true
			}
		case protocol.Describe, protocol.Execute, protocol.Close:
			if r.stmt == nil || r.kind == protocol.Execute {
				return false
			}
		}
		at += r.size
	}
	return false
}

// takesOver notes how the granted server and the catalog stand.
func (s *Session) takesOver() {
	s.known = s.cfg.Catalog()
	s.alone, s.srv.dirty = !s.srv.dirty, true
	s.srv.refused = nil
}

// renew resets a server on which functions may have run of which nobody knew: whose what they left is cannot be told. Where somebody
// else's texts ran that nobody read it resets the settings: they may have set some that no view shows.
func (s *Session) renew() {
	if s.srv.resets != s.known.resets {
		s.srv.resets = s.known.resets
		if s.srv.recent.next > 0 {
			s.sendQuery(forSettings, "DISCARD ALL")
			s.srv.forget()
			s.srv.hidden = nil
		}
	}
	if s.srv.hidden != nil && s.srv.hidden != s.client {
		s.sendQuery(forSettings, "RESET ALL")
		s.srv.settings = s.srv.settings.only(identity)
		s.srv.hidden = nil
	}
}

// tie pins the session from the start where the pool mode says so.
func (s *Session) tie() {
	if s.cfg.SessionMode && !s.goodbye {
		s.pin(pinSession)
	}
}

// sendQuery sends a simple query of ours.
func (s *Session) sendQuery(why purpose, text string) {
	at := len(s.o.scratch)
	s.o.scratch = appendHead(s.o.scratch, protocol.Query, len(text)+1)
	s.o.scratch = append(append(s.o.scratch, text...), 0)
	s.toServer(s.o.since(at))
	s.srv.flight.push(request{kind: protocol.Query, purpose: why})
	s.srv.unnamed.of = nil // a simple query destroys it
	s.unitsAhead++
}
