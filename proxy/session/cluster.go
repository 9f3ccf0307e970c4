package session

import "github.com/lockproxy/lockproxy/protocol/sql"

// tellOthers has heard of it who may be in the way of a statement about a database or a role, or may rely on what it was.
func (s *Session) tellOthers(u *sql.Unit) {
	if u == nil {
		return
	}
	for _, op := range u.Cluster {
		a := Action{Op: Redefault, Database: op.Database, Role: op.Role}
		if op.Vacates {
			a.Op = Vacate
		} else {
			if s.state.redefaults == nil {
				s.state.redefaults = new([]Action)
			}
			*s.state.redefaults = append(*s.state.redefaults, a)
		}
		s.do(a)
	}
}

// tellOthersAgain does so once the transaction is over: who connected meanwhile may have begun with what was before.
func (s *Session) tellOthersAgain() {
	if s.state.redefaults == nil {
		return
	}
	for _, a := range *s.state.redefaults {
		s.do(a)
	}
	s.state.redefaults = nil
}

// Status tells what the client is doing: its transaction's status, as it was told last, and whether it waits for an answer.
func (s *Session) Status() (tx byte, busy bool) {
	return s.tx, s.ahead.len() > 0 || s.srv != nil && s.srv.flight.len() > 0 || s.phase == starting
}

// Prepared gives how many statements the client has prepared.
func (s *Session) Prepared() int {
	n := len(s.statements)
	if s.unnamed != nil {
		n++
	}
	return n
}
