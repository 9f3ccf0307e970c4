package session

import (
	"slices"
	"strconv"
	"strings"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// What a session asks its server about itself: what became of settings, locks, names and pins that no text or answer tells of.

// The questions: answered in rows of three columns, of which the first says which question it is.
const askLocks = `SELECT 'l', pg_catalog.count(*), NULL FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory'` +
	` AND granted AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid();`

const askEverySetting = `SELECT 's', name, ` + valueFrom + `setting` + valueTo + ` FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session';`

// askElevated asks how many settings there are that the server session's own user could not put in place, nor lay down: a function
// with its owner's rights has set them.
const askElevated = `SELECT 'e', pg_catalog.count(*), NULL FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session'` +
	` AND context OPERATOR(pg_catalog.=) 'superuser' AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) SESSION_USER);`

// askNames asks for the prepared statements that clients named, and which of those are left that they share.
const askNames = `SELECT 'n', name, statement FROM pg_catalog.pg_prepared_statements WHERE name OPERATOR(pg_catalog.!~) '^` + ourNames + `';` +
	`SELECT 'o', pg_catalog.concat(' ', pg_catalog.string_agg(name, ' ')), NULL FROM pg_catalog.pg_prepared_statements WHERE name OPERATOR(pg_catalog.~) '^` + ourNames + `[0-9]';`

// appendAskSetting asks for one setting: for its value, or, where it may be back at its default, for the value that was
// set. Settings of extensions' (those with a dot) are in no view; they have no default to be back at. Login is the user
// that the server session began as. A session that begins with a role of its own may have put it off (noRole).
func appendAskSetting(dst []byte, name string, reset bool, login string, ownRole bool) []byte {
	dst = append(dst, "SELECT 's',"...)
	dst = sql.AppendLiteral(dst, name)
	switch {
	case name == roleSetting && !ownRole:
		return appendAskUnless(dst, name, noRole)
	case name == authorization:
		return appendAskUnless(dst, name, login)
	case reset && !hidden(name), name == lockTimeout, name == idleTimeout:
		dst = append(dst, ",(SELECT "+valueFrom+"setting"+valueTo+" FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session'"+
			" AND pg_catalog.lower(name) OPERATOR(pg_catalog.=)"...)
		dst = sql.AppendLiteral(dst, name)
		return append(dst, ");"...)
	}
	dst = append(dst, ","+valueFrom+"pg_catalog.current_setting("...)
	dst = sql.AppendLiteral(dst, name)
	return append(dst, ",true)"+valueTo+";"...)
}

// appendAskUnless asks for a setting's value, unless it is that of a session that has not changed it.
func appendAskUnless(dst []byte, name, otherwise string) []byte {
	dst = append(dst, ",CASE WHEN pg_catalog.current_setting("...)
	dst = sql.AppendLiteral(dst, name)
	dst = append(dst, ") OPERATOR(pg_catalog.<>)"...)
	dst = sql.AppendLiteral(dst, otherwise)
	dst = append(dst, " THEN "+valueFrom+"pg_catalog.current_setting("...)
	dst = sql.AppendLiteral(dst, name)
	return append(dst, ")"+valueTo+" END;"...)
}

// ask sends the questions that must be answered before the server could be given back. It gives false when there are
// none.
func (s *Session) ask() bool {
	s.heard = heard{}
	var text []byte
	due := s.srv.dirty && s.now.Sub(s.srv.audited) >= auditEvery
	if s.held.unsure || s.state.opaque || due {
		text = append(text, askLocks...)
		s.heard.asked = true
		s.heard.audit = !s.held.unsure && !s.state.opaque
	}
	if s.state.opaque || due {
		text = append(text, s.known.question...)
	}
	if s.state.pins&askable != 0 && s.state.pinsUnsure || s.state.opaque {
		text = append(text, askPins...)
	}
	if s.state.elevated || s.state.opaque {
		text = append(text, askElevated...)
	}
	if s.heard.named = s.state.opaque && !s.state.pins.Has(pinLetters); s.heard.named {
		text = append(text, askNames...)
	}
	text = s.askSettings(text)
	if text == nil {
		return false
	}
	s.asking = true
	again, bounded := s.boundsStatements()
	bounded = bounded && !s.heard.every && !slices.Contains(s.state.touched, statementTimeout)
	if bounded {
		s.sendQuery(forTimeouts, "SET statement_timeout = 0") // what bounds the client's own statements
	}
	s.sendQuery(forQuestion, string(text))
	if bounded {
		s.sendQuery(forTimeouts, again)
	}
	return true
}

// boundsStatements tells whether statements have a bound on the server, and what puts it in place again.
func (s *Session) boundsStatements() (again string, bounded bool) {
	if timeout, set := s.srv.settings.Get(statementTimeout); set {
		return string(appendSet(nil, statementTimeout, timeout, false)), timeout != "0"
	}
	return "RESET statement_timeout", s.srv.BoundsStatements
}

const statementTimeout = "statement_timeout"

// askAgain is how often a question is asked again that somebody cancelled. Who does so every time may be the server itself
// (statement_timeout of a role).
const askAgain = 3

// askSettings adds the questions about settings. What nothing but RESET touched is back at its default, unless
// something failed or was rolled back meanwhile.
func (s *Session) askSettings(text []byte) []byte {
	st := &s.state
	if !st.unclear && !st.everything && !st.opaque {
		s.settingsReset()
		return text
	}
	if st.opaque || st.everything {
		text = append(text, askEverySetting...)
		s.heard.every = true
		s.touchHidden()
	}
	if st.resetAll {
		for _, set := range []*Settings{st.settings, s.srv.settings} {
			for _, one := range set.All() {
				s.touchName(one.Name)
			}
		}
	}
	login, _ := s.srv.born.Get(authorization)
	ownRole := s.ownDefault(roleSetting)
	for _, name := range st.touched {
		if !s.heard.every || hidden(name) {
			text = appendAskSetting(text, name, st.maybeReset, login, ownRole)
		}
	}
	return text
}

// hidden tells whether no view has the setting: those of extensions, and who the session acts as.
func hidden(name string) bool { return custom(name) || slices.Contains(identity, name) }

// touchHidden adds the settings that no view has to those to be asked by name.
func (s *Session) touchHidden() {
	for _, name := range identity {
		s.touchName(name)
	}
	for _, set := range []*Settings{s.state.settings, s.srv.settings} {
		for _, one := range set.All() {
			if hidden(one.Name) {
				s.touchName(one.Name)
			}
		}
	}
	for _, name := range s.known.settings {
		if hidden(name) {
			s.touchName(name)
		}
	}
}

// settingsReset takes over RESET and RESET ALL: a startup parameter is the session's default, and in place.
func (s *Session) settingsReset() {
	st := &s.state
	if st.resetAll {
		plain := s.defaults
		for _, name := range identity {
			plain = plain.Without(name)
		}
		st.settings, s.srv.settings = s.defaults.Over(st.settings.acting()), plain.Over(s.srv.settings.acting())
	}
	for _, name := range st.touched {
		s.srv.settings = s.srv.settings.Without(name)
		st.settings = st.settings.Without(name)
		if value, ok := s.defaults.Get(name); ok {
			st.settings = st.settings.With(name, value)
			s.srv.settings = s.srv.settings.With(name, value)
		}
	}
	st.settings = st.settings.Over(s.srv.refused)
	if st.resetAll || len(st.touched) > 0 {
		s.settingsAgreed()
	}
	if st.settings.Equal(s.srv.settings) {
		s.srv.settings = st.settings // one set: who the session acts as need not be laid down again
	}
}

// heard is what the server answered so far.
type heard struct {
	unheard  bool // somebody who meant a statement of the client's has cancelled the question, or it cannot be answered with names
	asked    bool // for locks
	audit    bool // and that because it was due, not because of anything that this session did
	every    bool // all settings are told that the server session has
	elevated bool // there are settings that the user may not set
	named    bool // all prepared statements with names of clients' are told
	locks    int
	gone     sql.Touch // pins whose state is not there any more
	here     sql.Touch // pins whose state is there
	names    []Setting // the statements' names and texts
	shared   string    // the names of ours that there are; "" is not told
	version  string    // of the functions
	settings []told
}

// told is a setting as the server told it; without a value it is not set.
type told struct {
	Setting
	set bool
}

// hear takes one row of the answers.
func (s *Session) hear(frame []byte) {
	body := frame[protocol.HeadSize:]
	which, _ := column(body, 0)
	first, _ := column(body, 1)
	second, _ := column(body, 2)
	switch string(which) {
	case "l":
		s.heard.locks, _ = strconv.Atoi(string(first))
	case "f":
		s.heard.version = string(first) + " " + string(second)
	case "p":
		s.heard.pins(string(first), string(second))
	case "e":
		s.heard.elevated = string(first) != "0"
	case "o":
		s.heard.shared = string(first)
	case "n":
		s.heard.names = append(s.heard.names, Setting{string(first), string(second)})
	case "s":
		s.heard.settings = append(s.heard.settings, told{Setting{string(first), heardValue(second)}, second != nil})
	}
}

// answered draws the conclusions once all answers are here. A lock that no session is known to hold is this one's if nobody else
// has used the server since it was last seen to hold none; else it is nobody's.
func (s *Session) answered() {
	s.unheard = 0
	h := s.heard
	s.heard = heard{}
	stray := h.audit && h.locks > 0 && !s.held.any() && !s.alone
	if h.asked && !stray {
		s.held.told(h.locks)
	}
	s.state.pins &^= h.gone
	if h.named { // by then nothing of it need be in a text
		s.pin(h.here)
	}
	if h.elevated {
		s.pin(pinAlone)
	}
	s.state.pinsUnsure = false
	if h.named {
		s.namesGone(h.names)
		s.sharedHeard(h.shared, h.names)
	}
	s.settingsHeard(&h)
	if stray {
		text := "it held " + strconv.Itoa(h.locks) + " advisory locks that no session holds"
		s.settingsAgreed()
		s.do(Action{Op: Stray, Text: text})
		if s.endsWithServer() {
			s.fatal(&protocol.Error{Code: protocol.AdminShutdown, Message: "lockproxy: the server is closed: " + text}, ReasonStrayLock)
			return
		}
		s.remove(ReasonStrayLock, text)
		return
	}
	if h.asked {
		s.srv.audited, s.srv.dirty = s.now, s.held.any() || s.state.pins != 0 // then it is used further
	}
	if h.named {
		s.namesHeard(h.names)
	}
	if h.every && s.alone {
		s.srv.resets = s.known.resets // all that is there is known
	}
	s.settingsAgreed()
	if h.version != "" && h.version != s.known.version && s.cfg.Catalog() == s.known {
		s.redefined()
	}
}

// redefined says that the server has other functions than the catalog. It says so once in a while only: should the server
// that is read be another one, that helps nobody.
func (s *Session) redefined() {
	if s.known.doubt == certain && s.now.Sub(s.srv.differed) >= auditEvery {
		s.srv.differed = s.now
		s.o.Redefined = RedefinedElsewhere
	}
}

// ours tells whether a setting is as we put it in place on a lock backend, and so is not the client's.
func (s *Session) ours(name, value string) bool {
	switch name {
	case lockTimeout:
		return !s.state.ownLock && s.cfg.LockTimeout > 0 && value == milliseconds(s.cfg.LockTimeout)
	case idleTimeout:
		return !s.state.ownIdle && s.cfg.IdleTimeout > 0 && value == milliseconds(s.cfg.IdleTimeout)
	}
	return false
}

// settingsHeard takes over the settings that the server told of: they are what the client wants, and what is in place.
func (s *Session) settingsHeard(h *heard) {
	st, before := &s.state, s.srv.settings
	if h.every {
		st.settings, s.srv.settings = s.defaults, nil
	}
	for _, one := range h.settings {
		if ofTransaction[one.Name] {
			continue
		}
		s.srv.settings = s.srv.settings.take(one)
		name := strings.ToLower(one.Name)
		if one.set && s.ours(name, one.Value) {
			continue
		}
		st.settings = st.settings.take(one)
		if value, own := s.defaults.Get(name); own && (!one.set || isBare(before, name, one.Value)) {
			st.settings = st.settings.With(name, value)
		}
	}
	st.settings = st.settings.Over(s.srv.refused)
}

// isBare tells whether a setting that no view has is at the server's default: it has such a value, and was not in place before,
// as behind DISCARD ALL.
func isBare(before *Settings, name, value string) bool {
	_, wasInPlace := before.Get(name)
	return !wasInPlace && (name == roleSetting && value == noRole || custom(name) && value == "")
}

// ofTransaction are the settings that belong to a transaction, though views may name the session as their source.
var ofTransaction = map[string]bool{"transaction_isolation": true, "transaction_read_only": true, "transaction_deferrable": true}

func (s *Settings) take(t told) *Settings {
	if !t.set {
		return s.Without(t.Name)
	}
	return s.With(t.Name, t.Value)
}
