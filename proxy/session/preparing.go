package session

import (
	"github.com/lockproxy/lockproxy/protocol"
)

// A named statement goes to a server under a name that sessions share, once; the unnamed one goes as it is.

// sendParse sends a Parse message: the unnamed statement as it is, a named one under a name that sessions share, or
// not at all where the server has it.
func (s *Session) sendParse() {
	s.o.Parses++
	if s.ahead.front().has(flagTwice) {
		s.sendTwice()
		return
	}
	st := s.ahead.front().stmt
	st.making = making{batch: s.batch}
	st.under = s.state.settings
	s.setApart(st)
	s.keepExecuted(st, s.ahead.front().names)
	s.namesFor(s.ahead.front(), true)
	r, p := s.take(false)
	if r.stmt.name == "" {
		s.toServer(p)
		s.holdsUnnamed(r.stmt)
		s.pushed(r)
		return
	}
	key := s.sharedKey(r.stmt)
	sh := s.currentShared(key)
	if sh != nil {
		r.stmt.shape = sh.shape
	}
	switch known := sh != nil; {
	case known && (s.tx == 'E' || s.opens || s.tx == 'T' && s.unitsAhead > 0):
		// The transaction has failed, or may have: then the server is to say so.
		s.parseOnce(r)
		return
	case known:
		r.reply = replyParsed
		s.pushed(r)
		return
	}
	r.shared = s.prepare(key, r.stmt)
	s.pushed(r)
	if next := &s.ahead; next.len() == 0 || next.front().kind != protocol.Describe || next.front().stmt != r.stmt {
		s.describeOurs(r.shared.name, r.shared.shape, forStatement)
	}
}

// currentShared finds what the server has prepared for a key, if that means what the text means now. Else it is closed.
func (s *Session) currentShared(key string) *shared {
	sh := s.srv.prepared.find(key)
	if now := s.cfg.Schema.Version(); sh == nil || sh.version == now && (sh.shape.version == now || !sh.shape.takesValues()) {
		return sh
	}
	s.closeShared(sh)
	return nil
}

// closeShared closes a shared statement on the server.
func (s *Session) closeShared(sh *shared) {
	at := len(s.o.scratch)
	s.o.scratch = appendCloseStatement(s.o.scratch, sh.name)
	s.toServer(s.o.since(at))
	s.pushed(request{kind: protocol.Close, purpose: forStatement, shared: sh})
	s.srv.prepared.drop(sh)
}

// parseOnce has the server parse a text that it has prepared already, for its answer.
func (s *Session) parseOnce(r request) {
	const ours = ourNames + "once"
	at := len(s.o.scratch)
	s.o.scratch = appendParse(s.o.scratch, ours, r.stmt.body)
	s.o.scratch = appendCloseStatement(s.o.scratch, ours)
	s.toServer(s.o.since(at))
	s.pushed(r)
	s.pushed(request{kind: protocol.Close, purpose: forStatement})
}

// sendTwice sends a Parse message for a name that is taken. The server is to find that out itself, after whatever else
// may be wrong with it, so it goes under a name that is.
func (s *Session) sendTwice() {
	const taken = ourNames + "taken"
	r, _ := s.take(false)
	at := len(s.o.scratch)
	b := appendCloseStatement(s.o.scratch, taken) // an error may have come before it was made
	b = appendParse(b, taken, "\x00\x00\x00")     // of nothing, which no server refuses
	s.o.scratch = appendParse(b, taken, r.stmt.body)
	s.toServer(s.o.since(at))
	s.srv.taken = true
	s.pushed(request{kind: protocol.Close, purpose: forStatement})
	s.pushed(request{kind: protocol.Parse, purpose: forStatement})
	s.pushed(r)
}

// holdsUnnamed notes what the server's unnamed statement is from now on.
func (s *Session) holdsUnnamed(st *statement) {
	v := &s.srv.unnamed
	v.of, v.making, v.parsing = st, making{batch: s.batch}, s.parsingNow(st)
}

func (s *Session) pushed(r request) {
	if !s.open {
		s.unitBegins() // a unit begins with what is prepared for it
	}
	switch {
	case r.kind == protocol.Bind && r.purpose == theirs:
		s.o.Binds++
	case r.kind == protocol.Parse && r.reply == replyNone:
		s.o.ServerParses++
	}
	s.srv.flight.push(r)
	s.open, s.flushed = true, false
}

// prepare has the server prepare a statement under a name of ours. The caller notes the Parse message's answer.
func (s *Session) prepare(key string, st *statement) *shared {
	sh, evicted := s.srv.prepared.add(key, s.batch, s.cfg.MaxPrepared)
	sh.parsing = s.parsingNow(st)
	at := len(s.o.scratch)
	if evicted != nil {
		s.o.scratch = appendCloseStatement(s.o.scratch, evicted.name)
		s.pushed(request{kind: protocol.Close, purpose: forStatement, shared: evicted})
	}
	s.o.scratch = appendParse(s.o.scratch, sh.name, st.again())
	s.toServer(s.o.since(at))
	return sh
}

// serverName gives the name that a client's statement has on the server, and has it prepared there if need be.
func (s *Session) serverName(st *statement) string {
	if st.source != "" {
		s.makeRoom(forStatement)
		s.tellName(st.name, st, forStatement)
		return st.name
	}
	if st.name == "" {
		if s.srv.unnamed.of != st {
			at := len(s.o.scratch)
			s.o.scratch = appendParse(s.o.scratch, "", st.again())
			s.toServer(s.o.since(at))
			s.holdsUnnamed(st)
			s.pushed(request{kind: protocol.Parse, purpose: forStatement, stmt: st})
			if h := s.srv.unnamed.shape; h != st.shape {
				s.describeOurs("", h, forStatement)
			}
		}
		return ""
	}
	sh := s.fitting(st)
	if sh == nil {
		s.setApart(st)
		sh = s.fitting(st) // which another name may have had made since
	}
	if sh != nil {
		return sh.name
	}
	sh = s.prepare(s.sharedKey(st), st)
	s.pushed(request{kind: protocol.Parse, purpose: forStatement, shared: sh})
	s.describeOurs(sh.name, sh.shape, forStatement)
	return sh.name
}

// fitting finds what the server has prepared for a statement, and closes what does not fit it any more.
func (s *Session) fitting(st *statement) *shared {
	sh := s.srv.prepared.find(s.sharedKey(st))
	if sh != nil && !s.fits(&sh.parsing, st) {
		s.closeShared(sh)
		return nil
	}
	return sh
}

func (s *Session) sendDescribe() {
	st := s.ahead.front().stmt
	if st == nil {
		s.sendAsIs(true)
		return
	}
	s.namesFor(s.ahead.front(), true)
	if s.lacks(st) && st.shape.print == noColumns { // in a failed transaction it could not be told
		r, _ := s.take(false)
		r.reply, r.shape = replyDescribed, st.shape
		s.pushed(r)
		return
	}
	name := s.serverName(st)
	r, _ := s.take(false)
	if p := s.parsedAs(st, st.source != ""); p != nil && !p.shape.known() {
		r.shape = p.shape
	}
	at := len(s.o.scratch)
	s.o.scratch = appendNamed(s.o.scratch, protocol.Describe, name)
	s.toServer(s.o.since(at))
	s.pushed(r)
}
