package session

import (
	"bytes"
	"slices"
	"strings"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// A transaction that asks for its first lock when the lock pool is full cannot wait for room there: it has a server of the admin pool, and
// others may wait for that. But one that has done nothing yet can begin anew, and wait with nothing in its hands. Pools of
// applications make such transactions: many ask whether the connection is alive first, with a SELECT 1 (SQLAlchemy's
// pool_pre_ping). And applications bound the wait for the lock first, or say for whom they act, be it by a schema of his own
// (django-tenants): that is done again with the BEGIN.

// canStartOver tells whether the transaction under way has done nothing, and nothing of it is on its way.
func (s *Session) canStartOver() bool {
	return s.fresh > 0 && s.tx == 'T' && !s.open && !s.skip && !s.goodbye && s.srv.flight.len() == 0 && s.ahead.len() > 0 &&
		s.state.pins == 0 && !s.held.any()
}

// stayFresh notes what a message does to a transaction that can begin anew so far.
func (s *Session) stayFresh(r *request) {
	unit := r.unit
	if r.stmt != nil {
		unit = &r.stmt.unit
	}
	switch {
	case unit == nil || !s.setsForItself(unit):
		if !s.doesNothing(r) {
			s.fresh = 0
		}
	case r.kind == protocol.Query:
		s.doAgain(bytes.TrimRight(s.view[protocol.HeadSize:r.size], "\x00"))
	case r.kind == protocol.Execute:
		s.doAgain([]byte(r.stmt.text()))
	}
}

// maxBegin bounds, in bytes, what is remembered to begin a transaction anew.
const maxBegin = 4 << 10

// doAgain has a text done again with the BEGIN, should the transaction begin anew.
func (s *Session) doAgain(text []byte) {
	if s.fresh == 0 || s.fresh+len(text) > maxBegin {
		s.fresh = 0
		return
	}
	all := append(append(s.begin[:s.fresh], "\n;"...), text...)
	s.begin, s.fresh = all[:0], len(all)
}

// setsForItself tells whether a text is a SET that can be done again elsewhere without anybody's notice: no server reports the setting, no text
// is read otherwise by it, and it says neither who acts nor how the transaction runs.
func (s *Session) setsForItself(u *sql.Unit) bool {
	const settings = sql.TouchSettings | sql.TouchLocalSettings | sql.TouchLockTimeout | sql.TouchIdleTimeout
	if u.Statements != 1 || u.Verb != sql.Set || u.Touches&^settings != 0 || len(u.Settings) != 1 {
		return false
	}
	one := u.Settings[0]
	_, reported := s.state.told.Get(one.Name)
	return one.Op == sql.OpSet && one.Name != "" && !reported && !reading[one.Name] && !slices.Contains(identity, one.Name) &&
		!strings.HasPrefix(one.Name, "transaction_")
}

// startOver ends the transaction here. Its BEGIN is sent with the unit at hand, as if it had come just now.
func (s *Session) startOver() {
	s.begin, s.beginAs = s.begin[:s.fresh], nil
	s.fresh, s.anew, s.startsOver, s.begun = 0, true, true, true
	s.settingsAgreed() // what was set is undone
	s.sendQuery(forEnd, "ROLLBACK")
}

// readsCommitted tells whether a transaction sees what others commit while it runs, as far as its BEGIN and the client's settings say: when
// its first statement ran is of no matter then.
func (s *Session) readsCommitted(begin []byte) bool {
	_, own := s.state.settings.Get("default_transaction_isolation")
	return !own && !containsFold(begin, "repeatable") && !containsFold(begin, "serializable")
}

func containsFold(text []byte, word string) bool {
	for i := 0; i+len(word) <= len(text); i++ {
		if bytes.EqualFold(text[i:i+len(word)], []byte(word)) {
			return true
		}
	}
	return false
}

// doesNothing tells whether a message only asks whether the server is alive, or belongs to a batch that does.
func (s *Session) doesNothing(r *request) bool {
	body := s.view[min(protocol.HeadSize, len(s.view)):min(r.size, len(s.view))]
	switch r.kind {
	case protocol.Query:
		return r.unit == nil && r.touches == 0 && isPing(bytes.TrimRight(body, "\x00"))
	case protocol.Parse, protocol.Execute:
		return r.stmt != nil && isPing(r.stmt.text())
	case protocol.Bind: // of a portal without a name
		return r.stmt != nil && len(body) > 0 && body[0] == 0 && isPing(r.stmt.text())
	case protocol.Describe:
		return r.stmt == nil || isPing(r.stmt.text())
	case protocol.Close:
		return r.reply == replyClosed
	}
	return r.kind == protocol.Sync || r.kind == protocol.Flush
}

// isPing tells whether a text is the SELECT of one number and nothing else.
func isPing[T string | []byte](text T) bool {
	const verb = "select"
	at := 0
	skip := func(which func(byte) bool) (some bool) {
		began := at
		for at < len(text) && which(text[at]) {
			at++
		}
		return at > began
	}
	skip(isSpace)
	for i := range len(verb) {
		if at >= len(text) || text[at]|0x20 != verb[i] {
			return false
		}
		at++
	}
	if !skip(isSpace) || !skip(isDigit) {
		return false
	}
	skip(func(c byte) bool { return c == ';' || isSpace(c) })
	return at == len(text)
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
