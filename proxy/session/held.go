package session

import "github.com/lockproxy/lockproxy/protocol/sql"

// LastStatement gives the beginning of what the client last had run on the server that it has, for people: in one line of
// at most size bytes, without values. It is "" where it has none or ran nothing there.
func (s *Session) LastStatement(size int) string {
	if s.srv == nil || !s.begun {
		return ""
	}
	return sql.Shorten(s.srv.recent.last(), s.state.dialect, size)
}

// ShowStatement gives the beginning of any server session's statement in the same way.
func ShowStatement(text string, size int) string {
	return sql.Shorten([]byte(text), sql.Dialect{}, size)
}

// LocksOf tells whether the client may hold advisory locks of its session, and of its transaction.
func (s *Session) LocksOf() (session, transaction bool) { return s.held.any(), s.held.xact }
