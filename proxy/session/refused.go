package session

import (
	"bytes"
	"slices"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// A session keeps its settings whatever becomes of what they name: a role that it may not take any more, a configuration that was dropped.
// On another server they cannot be put in place any more, and nothing can run without them, but for what sets or resets them.

// puttingSettings is what was sent last to put settings in place.
type puttingSettings struct {
	before  *Settings // those that were in place
	names   []string  // what each statement of it is about
	refused string    // the setting that could not be put in place
}

// settingRefused takes the error of a setting that could not be put in place.
func (s *Session) settingRefused(head *request, e *protocol.Error) {
	s.syncError = e
	p, flight := &s.srv.putting, &s.srv.flight
	p.refused = ""
	if e.Code == protocol.QueryCanceled || head.done >= len(p.names) || flight.len() > 1 && flight.at(1).purpose == forSettings {
		return
	}
	if p.refused = p.names[head.done]; p.refused == "" || s.phase != attached {
		return
	}
	if e.Detail == "" {
		e.Detail = `The session has the setting "` + p.refused + `", which lockproxy puts in place on each server connection, and the server refuses it by now.`
	}
	if e.Hint == "" {
		e.Hint = `SET or RESET "` + p.refused + `" outside of a transaction, or DISCARD ALL.`
	}
}

// busyWith tells whether the server is at a message of that purpose, which everything else is behind.
func (s *Session) busyWith(why purpose) bool {
	return s.srv.flight.len() > 0 && s.srv.flight.front().purpose == why
}

// endsBlock tells whether the unit at hand may end the transaction that has failed with a setting, and run something behind it.
func (s *Session) endsBlock() bool {
	for i := range s.ahead.len() {
		r := s.ahead.at(i)
		if r.has(flagEnd|flagCommit) || r.rollsBack() {
			return true
		}
		if r.ends() {
			break
		}
	}
	return false
}

// mends tells whether the unit at hand does nothing but set or reset what may have been refused.
func (s *Session) mends() bool {
	if s.tx != 'I' || len(s.begin) > 0 || s.state.pins != 0 {
		return false
	}
	runs := false
	for i := range s.ahead.len() {
		r := s.ahead.at(i)
		switch {
		case r.has(flagMalformed):
			return false
		case r.kind == protocol.Query:
			return i == 0 && s.mendsBy(r, queryText(s.view[:min(r.size, len(s.view))]), r.unit)
		case r.kind == protocol.Sync:
			return runs
		case r.kind == protocol.Describe && r.stmt == nil:
		case r.stmt == nil || r.has(flagTooLong|flagTwice) || !s.mendsBy(r, []byte(r.stmt.text()), &r.stmt.unit):
			return false
		case r.kind == protocol.Execute:
			if runs {
				return false
			}
			runs = true
		}
	}
	return false
}

// mendsBy tells whether a text does nothing else.
func (s *Session) mendsBy(r *request, text []byte, u *sql.Unit) bool {
	switch verb := string(bytes.ToLower(sql.FirstWord(text))); {
	case verb == "discard":
		return r.has(flagDiscardAll) || u != nil && u.Statements == 1 && u.Touches.Has(sql.TouchDiscardAll)
	case verb != "set" && verb != "reset" || u == nil || u.Statements != 1:
		return false
	}
	return slices.ContainsFunc(u.Settings, func(one sql.Setting) bool {
		_, has := s.state.settings.Get(one.Name)
		return !one.Local && (has || one.Op == sql.OpResetAll || one.Name == authorization)
	})
}

// changesNow tells whether the unit at hand, which mends, sets or resets a setting.
func (s *Session) changesNow(name string) bool {
	for i := range s.ahead.len() {
		r := s.ahead.at(i)
		u := r.unit
		if r.stmt != nil {
			u = &r.stmt.unit
		}
		if r.has(flagDiscardAll) || u != nil && (u.Touches.Has(sql.TouchDiscardAll) || slices.ContainsFunc(u.Settings, func(one sql.Setting) bool { return alsoSets(one, name) })) {
			return true
		}
		if r.ends() {
			break
		}
	}
	return false
}

// alsoSets tells whether a statement about one setting sets or resets that of the name.
func alsoSets(one sql.Setting, name string) bool {
	return one.Name == name || one.Name == authorization && name == roleSetting || one.Op == sql.OpResetAll && !slices.Contains(identity, name)
}

// putOthers puts in place what was not refused, for a unit that mends. Who the session acts as is not left out unless that is what it changes.
func (s *Session) putOthers() bool {
	p := &s.srv.putting
	value, has := s.state.settings.Get(p.refused)
	if !has || !s.mends() || slices.Contains(identity, p.refused) && !s.changesNow(p.refused) {
		return false
	}
	s.srv.refused = s.srv.refused.With(p.refused, value)
	s.syncError = nil
	s.sendQuery(forSettings, "ROLLBACK")
	s.srv.settings = p.before
	s.putSettings(s.unitWaits())
	return true
}

// mended notes what is still refused behind the unit that was let through. The session has that further, and needs another server.
func (s *Session) mended(erred bool) {
	for _, one := range s.srv.refused.All() {
		value, has := s.state.settings.Get(one.Name)
		gone := !has || value != one.Value || slices.Contains(s.state.touched, one.Name) ||
			s.state.resetAll && !slices.Contains(identity, one.Name)
		if !erred && gone {
			s.srv.refused = s.srv.refused.Without(one.Name)
		}
	}
}
