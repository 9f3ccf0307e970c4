package session

import (
	"slices"
	"strconv"
	"strings"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// locks is what the session holds of advisory locks, counted as PostgreSQL counts them: one taken twice needs two
// releases. Where results do not tell, the server is asked.
type locks struct {
	depth  int  // of session-level locks, from results
	some   bool // the server says that there are some; how deep is not known
	unsure bool // there may be some, or fewer than depth: the server is to be asked
	xact   bool // the transaction may hold locks of its own
	shown  bool // what was said last by Hold
}

const (
	sessionLevel = sql.SessionAcquire | sql.SessionTry | sql.SessionRelease | sql.UnlockAll | sql.Unknown
	takesSession = sql.SessionAcquire | sql.SessionTry | sql.Unknown
	takesXact    = sql.XactAcquire | sql.XactTry | sql.Unknown
)

// any tells whether the session may hold session-level locks.
func (l *locks) any() bool { return l.depth > 0 || l.some || l.unsure }

// ran notes that a statement with such effects came to its end. Counted tells that its rows were counted already.
func (l *locks) ran(effects sql.Effect, counted bool) {
	if effects&sessionLevel != 0 && !counted {
		l.doubt(effects)
	}
	if effects&takesXact != 0 && (!counted || effects&sql.XactAcquire != 0) {
		l.xact = true
	}
}

// doubt notes that a statement with such effects may or may not have had them.
func (l *locks) doubt(effects sql.Effect) {
	if effects&takesSession != 0 || l.any() && effects&sessionLevel != 0 {
		l.unsure = true
	}
}

// count takes one result of a lock function. Value is nil for NULL: these functions are strict, and did nothing.
func (l *locks) count(effect sql.Effect, value []byte) {
	yes := len(value) == 1 && (value[0] == 't' || value[0] == 1)
	switch effect {
	case sql.SessionAcquire:
		if value != nil {
			l.depth++
		}
	case sql.SessionTry:
		if yes {
			l.depth++
		}
	case sql.XactTry:
		l.xact = l.xact || yes
	case sql.SessionRelease:
		if yes {
			l.release()
		}
	case sql.UnlockAll:
		*l = locks{xact: l.xact, shown: l.shown}
	}
}

func (l *locks) release() {
	if l.depth--; l.depth < 0 || l.some {
		l.depth = max(l.depth, 0)
		l.unsure = true
	}
}

// told takes the server's word for how many session-level locks there are.
func (l *locks) told(rows int) {
	if rows == 0 {
		*l = locks{xact: l.xact, shown: l.shown}
		return
	}
	l.some = l.some || l.unsure || l.depth == 0
	l.unsure = false
}

// countRow counts the results of a DataRow that passes by.
func (s *Session) countRow(r *request, frame []byte) {
	for i := range r.unit.Columns {
		effect := r.unit.Columns[i]
		if effect == 0 {
			continue
		}
		value, ok := column(frame[protocol.HeadSize:], i)
		if !ok {
			s.held.doubt(r.lock)
			return
		}
		s.held.count(effect, value)
	}
}

// column gives a column's value in the body of a DataRow: nil for NULL. It gives false where there is none.
func column(body []byte, i int) (value []byte, ok bool) {
	if len(body) < 2 || i >= int(body[0])<<8|int(body[1]) {
		return nil, false
	}
	for p := body[2:]; len(p) >= 4; i-- {
		n := int(int32(uint32(p[0])<<24 | uint32(p[1])<<16 | uint32(p[2])<<8 | uint32(p[3])))
		p = p[4:]
		if n > len(p) {
			return nil, false
		}
		if i == 0 {
			if n < 0 {
				return nil, true
			}
			return p[:n:n], true
		}
		p = p[max(n, 0):]
	}
	return nil, false
}

// counts tells whether a message's results are counted row by row.
func (r *request) counts() bool { return r.unit != nil && r.unit.Simple && r.lock != 0 }

// The questions: answered in rows of three columns, of which the first says which question it is.
const askLocks = `SELECT 'l', pg_catalog.count(*), NULL FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory'` +
	` AND granted AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid();`

const askEverySetting = `SELECT 's', name, setting FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session';`

// askPins asks what of the session's state on its server is still there: objects in the temporary schema, channels that it
// listens to, cursors that outlive transactions.
const askPins = `SELECT 'p', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_depend WHERE refclassid OPERATOR(pg_catalog.=)` +
	` 'pg_catalog.pg_namespace'::pg_catalog.regclass AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()),` +
	` pg_catalog.concat((SELECT pg_catalog.count(*) FROM pg_catalog.pg_listening_channels()), ' ',` +
	` (SELECT pg_catalog.count(*) FROM pg_catalog.pg_cursors WHERE is_holdable));`

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
	dst = appendLiteral(dst, name)
	switch {
	case name == roleSetting && !ownRole:
		return appendAskUnless(dst, name, noRole)
	case name == authorization:
		return appendAskUnless(dst, name, login)
	case reset && !hidden(name), name == lockTimeout, name == idleTimeout:
		dst = append(dst, ",(SELECT setting FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session'"+
			" AND pg_catalog.lower(name) OPERATOR(pg_catalog.=)"...)
		dst = appendLiteral(dst, name)
		return append(dst, ");"...)
	}
	dst = append(dst, ",pg_catalog.current_setting("...)
	dst = appendLiteral(dst, name)
	return append(dst, ",true);"...)
}

// appendAskUnless asks for a setting's value, unless it is that of a session that has not changed it.
func appendAskUnless(dst []byte, name, otherwise string) []byte {
	dst = append(dst, ",CASE WHEN pg_catalog.current_setting("...)
	dst = appendLiteral(dst, name)
	dst = append(dst, ") OPERATOR(pg_catalog.<>)"...)
	dst = appendLiteral(dst, otherwise)
	dst = append(dst, " THEN pg_catalog.current_setting("...)
	dst = appendLiteral(dst, name)
	return append(dst, ") END;"...)
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
	if s.heard.named = s.state.opaque; s.heard.named {
		text = append(text, askNames...)
	}
	text = s.askSettings(text)
	if text == nil {
		return false
	}
	s.asking = true
	timeout, bounded := s.srv.settings.Get(statementTimeout)
	bounded = bounded && timeout != "0" && !s.heard.every && !slices.Contains(s.state.touched, statementTimeout)
	if bounded {
		s.sendQuery(forTimeouts, "SET statement_timeout = 0") // the client's is for its own statements
	}
	s.sendQuery(forQuestion, string(text))
	if bounded {
		s.sendQuery(forTimeouts, string(appendSet(nil, statementTimeout, timeout, false)))
	}
	return true
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
	_, ownRole := s.client.Settings.Get(roleSetting)
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
		plain := s.client.Settings
		for _, name := range identity {
			plain = plain.Without(name)
		}
		st.settings, s.srv.settings = s.client.Settings.over(st.settings.acting()), plain.over(s.srv.settings.acting())
	}
	for _, name := range st.touched {
		s.srv.settings = s.srv.settings.Without(name)
		st.settings = st.settings.Without(name)
		if value, ok := s.client.Settings.Get(name); ok {
			st.settings = st.settings.With(name, value)
			s.srv.settings = s.srv.settings.With(name, value)
		}
	}
	if st.resetAll || len(st.touched) > 0 {
		s.settingsAgreed()
	}
	if st.settings.Equal(s.srv.settings) {
		s.srv.settings = st.settings // one set: who the session acts as need not be laid down again
	}
}

// heard is what the server answered so far.
type heard struct {
	canceled bool // by somebody who meant a statement of the client's
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
		s.heard.settings = append(s.heard.settings, told{Setting{string(first), string(second)}, second != nil})
	}
}

// pins takes the answer to askPins: how many temporary objects there are, and how many channels and cursors.
func (h *heard) pins(objects, others string) {
	channels, cursors, _ := strings.Cut(others, " ")
	for pin, count := range map[sql.Touch]string{sql.TouchTemp: objects, sql.TouchListen: channels, sql.TouchHold: cursors} {
		if count == "0" {
			h.gone |= pin
		} else {
			h.here |= pin
		}
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
		st.settings, s.srv.settings = s.client.Settings, nil
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
		if value, own := s.client.Settings.Get(name); own && (!one.set || isBare(before, name, one.Value)) {
			st.settings = st.settings.With(name, value)
		}
	}
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

// showHold says whether the session holds advisory locks, when that has changed.
func (s *Session) showHold() {
	holds := s.held.any() || s.held.xact
	if holds != s.held.shown {
		s.held.shown = holds
		s.do(Action{Op: Hold, On: holds})
	}
}
