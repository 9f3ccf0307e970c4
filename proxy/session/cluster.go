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
		}
		s.do(a)
	}
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
