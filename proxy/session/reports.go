package session

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// What a server says of its session's settings (ParameterStatus), and what the client hears of it.

// reported takes a ParameterStatus: what the server says of a setting of its session.
func (s *Session) reported(frame []byte) (visible bool) {
	name, rest, ok1 := protocol.CString(frame[protocol.HeadSize:])
	value, _, ok2 := protocol.CString(rest)
	if !ok1 || !ok2 {
		s.outOfStep("a malformed ParameterStatus")
		return false
	}
	s.srv.Reported = s.srv.Reported.With(string(name), string(value))
	if s.srv.flight.len() > 0 && s.srv.flight.front().purpose != theirs {
		return false
	}
	lower := strings.ToLower(string(name))
	for _, reset := range s.state.resetting {
		if reset < lower { // servers report by the alphabet (guc.c, ReportChangedGUCOptions)
			s.tellDefault(reset)
		}
	}
	if slices.Contains(s.state.resetting, lower) || s.srv.flight.len() > 0 && s.resetsOne(s.srv.flight.front(), lower) {
		s.tellDefault(lower)
		return false
	}
	before := s.state.told
	if s.state.told = before.With(string(name), string(value)); s.state.told == before {
		return false // a reset that the client was not told of is undone
	}
	if s.srv.flight.len() > 0 && !s.srv.flight.front().touches.Has(saysSettings) {
		// No SET to be seen: a function did it, or the end of a transaction undid it.
		s.touchReported(lower)
	}
	return true
}

// tellCut tells a client that begins that the name which its startup message gives it is longer than a server keeps (guc.c,
// parse_and_validate_value; scansup.c, truncate_identifier).
func (s *Session) tellCut(reported *Settings) {
	name, _ := s.client.Settings.Get("application_name")
	if len(name) <= maxName {
		return
	}
	end := maxName
	if encoding, _ := reported.Get("server_encoding"); encoding == "UTF8" {
		for !utf8.RuneStart(name[end]) {
			end--
		}
	}
	s.notice(protocol.NameTooLong, `identifier "`+name+`" will be truncated to "`+name[:end]+`"`, "")
}

// superuserStatus is a setting that nobody sets: it follows from who the session acts as.
const superuserStatus = "is_superuser"

// touchReported notes a setting that changed without a text that says so. Some are reported and cannot be set: they follow
// from who the session acts as, or are the server's (guc_tables.c, GUC_REPORT).
func (s *Session) touchReported(name string) {
	switch name {
	case superuserStatus, authorization:
		s.touchName(authorization)
		s.touchName(roleSetting)
	case "server_version", "server_encoding", "integer_datetimes", "in_hot_standby":
		return
	default:
		s.touchName(name)
	}
	// A function set it, or a rollback undid it; or the server's configuration was read again, which is nobody's setting.
	s.state.unclear, s.state.maybeReset = true, true
}

// saysSettings are the touches of texts that show that they change settings.
const saysSettings = sql.TouchSettings | sql.TouchLocalSettings | sql.TouchDynamic | sql.TouchRollbackTo | sql.TouchDiscardAll

// noteResets remembers which startup parameters a DISCARD ALL gave the server's defaults. The server reports them with its
// ReadyForQuery.
func (s *Session) noteResets() {
	for _, one := range s.defaults.All() {
		if s.state.resetting = append(s.state.resetting, one.Name); slices.Contains(identity, one.Name) {
			s.state.resetting = append(s.state.resetting, superuserStatus)
		}
	}
}

// resetsOne tells whether running a message gives a startup parameter its default. Before PostgreSQL 14 servers report what it
// is meanwhile.
func (s *Session) resetsOne(r *request, name string) (resets bool) {
	if !s.ownDefault(name) || !r.has(flagResets) || s.erred {
		return false // what is reported behind an error is what a rollback gave back
	}
	if r.unit == nil {
		return r.touches.Has(sql.TouchDiscardAll)
	}
	for _, one := range r.unit.Settings {
		if one.Name == name && one.Op == sql.OpSet {
			resets = false
		}
		resets = resets || slices.ContainsFunc(s.ownDefaults(one), func(own Setting) bool { return own.Name == name })
	}
	return resets
}

// tellDefault tells the client what a reset means for a startup parameter: its value is the session's default, which
// is put in place again before it matters.
func (s *Session) tellDefault(name string) {
	value, _ := s.state.welcomed.Get(name)
	if told, _ := s.state.told.Get(name); told == value {
		return
	}
	s.state.told = s.state.told.With(name, value)
	at := len(s.o.scratch)
	s.o.scratch = protocol.AppendParameterStatus(s.o.scratch, reportedName(name), value)
	s.toClient(s.o.since(at))
}
