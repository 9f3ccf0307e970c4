package session

import (
	"strconv"
	"strings"

	"github.com/lockproxy/lockproxy/protocol"
)

// A server that lacks a statement is told it when it is used. That may fail, where the statement itself would not have
// failed, or not yet: what a server finds wrong with a Bind or Describe before it looks at the statement is found first.

// sendBind sends a Bind message with the server's name of the statement in place of the client's.
func (s *Session) sendBind() {
	st := s.ahead.front().stmt
	if st == nil {
		s.sendAsIs(true) // there is none: the server will say so
		return
	}
	s.namesFor(s.ahead.front(), true)
	asks := asksPids(st.unit.Touches, st.unit.Lock) && st.body != "" && !s.aborted() // in a failed transaction none can be prepared
	name := ""
	if asks {
		name = s.pidStatement(st)
	} else {
		name = s.serverName(st)
	}
	r, p := s.take(false)
	portal, theirs, _ := protocol.BindNames(p[protocol.HeadSize:])
	at := len(s.o.scratch)
	s.o.scratch = appendHead(s.o.scratch, protocol.Bind, r.size-protocol.HeadSize+len(name)-len(theirs))
	s.o.scratch = append(append(s.o.scratch, portal...), 0)
	s.o.scratch = append(append(s.o.scratch, name...), 0)
	s.toServer(s.o.since(at))
	values := p[protocol.HeadSize+len(portal)+1+len(theirs)+1:]
	if asks {
		values = s.bindWithServerPids(values)
	}
	s.toServer(values)
	if namesLocks(r.lock) {
		s.nameLocks(r.lock, []byte(st.text()), st.dialect, valuesOf(values))
	}
	if len(portal) > 0 {
		s.opensCursor(r)
	}
	s.pushed(r)
}

// opensCursor notes what the portal does that a Bind message makes. One with a name is a cursor as well, which FETCH and MOVE run
// (manual, "DECLARE", Notes; portalcmds.c, PerformPortalFetch), whose texts and answers do not show what that does.
func (s *Session) opensCursor(r request) {
	s.held.ran(r.lock, false)
	if u := &r.stmt.unit; u.Touches != 0 {
		s.touch(&request{touches: u.Touches, unit: u})
		s.schemaTouched(u.Touches)
	}
}

// lacks tells whether the server lacks a statement whose parameters are known, or has it with other columns.
func (s *Session) lacks(st *statement) bool {
	if !st.shape.known() || st.shape.params == "" {
		return false
	}
	p := s.parsedAs(st, st.source != "")
	return p == nil || !s.fits(p, st)
}

// comesInPieces tells whether the values of a Bind message are to be looked at, and the rest of them is still to come. What is
// too long to be kept goes as it comes.
func (s *Session) comesInPieces(r *request) bool {
	return r.size > len(s.view) && r.size <= s.cfg.MaxBuffer && s.checksValues(r)
}

// checksValues tells whether what is wrong with the values of a Bind message would not be found first.
func (s *Session) checksValues(r *request) bool {
	return r.kind == protocol.Bind && r.stmt != nil && !r.has(flagChecked) && !s.copying.in && s.lacks(r.stmt)
}

// bindsWell sees to it that what is wrong with the values of a Bind message is found first. It gives false where that was
// known, and the message is answered.
func (s *Session) bindsWell(r *request) bool {
	if !s.checksValues(r) {
		return true
	}
	r.flags |= flagChecked
	if s.refuseCount(r.stmt) {
		return false
	}
	s.checkValues(r.stmt)
	return true
}

// refuseCount refuses a Bind message with more or fewer values than the statement has parameters (postgres.c,
// exec_bind_message). It gives false for the right number.
func (s *Session) refuseCount(st *statement) bool {
	_, values, ok := s.bindValues()
	if !ok || string(values[:2]) == st.shape.params[:2] {
		return false
	}
	s.begun = true
	s.refuseNext(&protocol.Error{Severity: "ERROR", Code: protocol.ProtocolViolation,
		Message: "bind message supplies " + countIn(string(values[:2])) + ` parameters, but prepared statement "` + st.name + `" requires ` + countIn(st.shape.params)})
	return true
}

// countIn reads the count that a list begins with.
func countIn(list string) string { return strconv.Itoa(int(list[0])<<8 | int(list[1])) }

// bindValues gives the Bind message at hand from its parameters' formats on, and from its values on. It gives false where it is
// not all here.
func (s *Session) bindValues() (formats, values []byte, ok bool) {
	r := s.ahead.front()
	if r.size > len(s.view) {
		return nil, nil, false
	}
	p := s.view[protocol.HeadSize:r.size]
	portal, name, ok := protocol.BindNames(p)
	if !ok {
		return nil, nil, false
	}
	formats = p[len(portal)+1+len(name)+1:]
	_, values, ok = int16s(formats)
	return formats, values, ok && len(values) >= 2
}

// checkValues binds the values to nothing but parameters of the same types, where the statement was prepared under other
// settings or with another schema, and may not be possible by now: what is wrong with a value is found first.
func (s *Session) checkValues(st *statement) {
	formats, values, ok := s.bindValues()
	if !ok || st.under.planned() == s.state.settings.planned() && !s.typesMayDiffer(st) {
		return
	}
	n := int(values[0])<<8 | int(values[1])
	rest := values[2:]
	for range n {
		if len(rest) < 4 {
			return
		}
		size := int(int32(uint32(rest[0])<<24 | uint32(rest[1])<<16 | uint32(rest[2])<<8 | uint32(rest[3])))
		if rest = rest[4:]; size > len(rest) {
			return
		}
		rest = rest[max(size, 0):]
	}
	if n == 0 || n > maxChecked {
		return
	}
	var list []string
	for i := range n {
		list = append(list, "$"+strconv.Itoa(i+1))
	}
	portal, _, _ := protocol.BindNames(s.view[protocol.HeadSize:])
	values = formats[:len(formats)-len(rest)]
	at := len(s.o.scratch)
	b := appendCloseStatement(s.o.scratch, once)
	b = appendParse(b, once, "SELECT "+strings.Join(list, ",")+"\x00"+st.shape.params)
	b = appendHead(b, protocol.Bind, len(portal)+1+len(once)+1+len(values)+2)
	b = append(append(append(append(b, portal...), 0), once...), 0)
	b = append(append(b, values...), 0, 0)
	b = appendHead(b, protocol.Close, 1+len(portal)+1)
	b = append(append(append(b, 'P'), portal...), 0)
	s.o.scratch = appendCloseStatement(b, once)
	s.toServer(s.o.since(at))
	s.begun = true
	for _, kind := range []byte{protocol.Close, protocol.Parse, protocol.Bind, protocol.Close, protocol.Close} {
		s.pushed(request{kind: kind, purpose: forStatement, flags: flagOnce})
	}
}

// maxChecked bounds the parameters that are looked at in advance: a query has at most 1664 columns.
const maxChecked = 1600
