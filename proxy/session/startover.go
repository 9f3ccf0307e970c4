package session

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// A transaction that asks for its first lock when the lock pool is full cannot wait for room there: it has a server of the admin pool, and
// others may wait for that. But one that has done nothing yet can begin anew, and wait with nothing in its hands. Pools of
// applications make such transactions: many ask whether the connection is alive first, with a SELECT 1 (SQLAlchemy's
// pool_pre_ping). And applications bound the wait for the lock first, or say for whom they act, be it by a schema of his own
// (django-tenants), by a role (PostgREST) or by what row-level security asks for; some keep a savepoint ahead of each statement
// (pgjdbc's autosave), or begin with one (Django's atomic). All that is done again with the BEGIN.
//
// One that has set something has no need of its server while its client is at something else either, and pools of applications leave
// their connections in such ones (HikariCP with a schema and without autocommit). Where others wait it gives the server back, and
// goes on with what the client says next as behind a BEGIN that was answered and not sent.

// givesWayAfter is how long a client is given to go on with a transaction that it has just begun.
const givesWayAfter = time.Second

// MayGiveWay tells whether the session has a server of the admin pool that it has no need of: its transaction has done nothing yet but
// set something, and its client is at something else. Who has asked whether the server is alive is about to use it, and keeps it.
func (s *Session) MayGiveWay(now time.Time) bool {
	return s.canGiveWay() && now.Sub(s.quiet) >= givesWayAfter
}

func (s *Session) canGiveWay() bool {
	return s.phase == attached && s.kind == pools.Admin && s.mayStartOver() && s.setSomething() && !s.state.ownIdle &&
		s.ahead.len() == 0 && len(s.view) == 0 && s.stream == 0
}

// GiveWay has the session give that server back, where others wait for one.
func (s *Session) GiveWay(o *Output, now time.Time) {
	s.step(o, now)
	defer s.finish()
	if s.canGiveWay() {
		s.startOver()
	}
}

// canStartOver tells whether the transaction under way can begin anew with the unit at hand.
func (s *Session) canStartOver() bool { return s.mayStartOver() && s.ahead.len() > 0 }

// mayStartOver tells whether the transaction under way has done nothing, and nothing of it is on its way.
func (s *Session) mayStartOver() bool {
	return s.didNothing() && !s.open && !s.skip && !s.goodbye && s.srv.flight.len() == 0
}

// didNothing tells whether the transaction under way has done nothing, and the session has nothing on its server that would be lost.
func (s *Session) didNothing() bool {
	return s.fresh > 0 && s.tx == 'T' && s.state.pins == 0 && !s.held.any()
}

// unbegun stands for the length of a BEGIN that may come: in a batch with what follows it, as pgjdbc's do.
const unbegun = -1

// setSomething tells whether a transaction that can begin anew would do more again than its BEGIN.
func (s *Session) setSomething() bool { return bytes.Contains(s.begin[:s.fresh], []byte(behindBegin)) }

// behindBegin stands ahead of each text that is done again behind a BEGIN.
const behindBegin = "\n;"

// beginsFresh notes that a unit is sent in which a transaction begins that can begin anew.
func (s *Session) beginsFresh(r *request) {
	begins := r.has(flagOpens) || r.stmt != nil && r.stmt.unit.Begin != sql.BeginNone
	if begins && s.tx == 'I' && len(s.begin) == 0 && s.state.pins == 0 && s.srv.flight.firstOfClient() == nil && s.readsCommitted(nil) {
		s.fresh, s.again = unbegun, 0
	}
}

// stayFresh notes what a message does to a transaction that can begin anew so far.
func (s *Session) stayFresh(r *request) {
	unit := r.unit
	if r.stmt != nil {
		unit = &r.stmt.unit
	}
	stays := s.doesNothing(r)
	if !stays && (unit == nil || mayBeAgain(unit)) {
		switch r.kind {
		case protocol.Query:
			stays = r.size <= len(s.view) && s.queryAgain(bytes.TrimRight(s.view[protocol.HeadSize:r.size], "\x00"), unit)
		case protocol.Bind: // of a portal without a name
			formats, _, here := s.bindValues()
			stays = here && s.view[protocol.HeadSize] == 0 && r.stmt != nil && r.stmt.takesTexts() && s.doAgain([]byte(r.stmt.text()), valuesOf(formats))
		case protocol.Execute:
			stays = s.isDone()
		}
	}
	if !stays {
		s.fresh = 0
	}
}

// queryAgain has the text of a simple query done again. Of most their first letters tell that they cannot be.
func (s *Session) queryAgain(text []byte, unit *sql.Unit) bool {
	if text = bytes.TrimLeft(text, " \t\r\n"); unit == nil && len(text) > 3 {
		switch [3]byte{text[0] | 0x20, text[1] | 0x20, text[2] | 0x20} {
		case [3]byte{'s', 'a', 'v'}, [3]byte{'r', 'e', 'l'}, [3]byte{'r', 'o', 'l'}, [3]byte{'s', 'e', 't'}:
		default:
			if text[0] != '/' && text[0] != '-' { // a comment's
				return false
			}
		}
	}
	return s.doAgain(text, nil) && s.isDone()
}

const (
	maxBegin  = 16 << 10 // bounds, in bytes, what is remembered to begin a transaction anew
	keptBegin = 1 << 10  // and the memory for it that stays with the client
)

// doAgain puts behind the BEGIN what is to be done again with it, should the transaction begin anew, once a text has run that can be run
// again. It gives false where it cannot be, or that would be noticed.
func (s *Session) doAgain(text []byte, values sql.Values) bool {
	s.again = 0
	all := s.begin[:0]
	if s.fresh > 0 {
		all = append(s.begin[:s.fresh], behindBegin...)
	}
	all, settings, ok := sql.AppendAgain(all, text, s.state.dialect, values)
	if !ok || len(all) > maxBegin {
		return false
	}
	unit := s.known.reader.Read(all[max(s.fresh, 0):], s.state.dialect)
	if !mayBeAgain(&unit) || len(unit.Settings) != settings || slices.ContainsFunc(unit.Settings, noticed) {
		return false
	}
	s.begin, s.again = all[:0], int32(len(all))-max(s.fresh, 0)
	return true
}

// isDone notes that it has run.
func (s *Session) isDone() bool {
	some := s.again > 0
	s.fresh, s.again = max(s.fresh, 0)+s.again, 0
	return some
}

// mayBeAgain tells whether a text may be one that can be run again, as far as was read of it.
func mayBeAgain(u *sql.Unit) bool {
	const touches = sql.TouchSettings | sql.TouchLocalSettings | sql.TouchLockTimeout | sql.TouchIdleTimeout | sql.TouchRollbackTo
	switch u.Verb {
	case sql.Begin, sql.Set, sql.Savepoint, sql.Release, sql.RollbackTo:
	case sql.Select:
		if len(u.Settings) == 0 {
			return false
		}
	default:
		return false
	}
	return u.Touches&^touches == 0 && u.Lock == 0
}

// noticed tells whether somebody would notice that a change is made again elsewhere: texts are read by the setting, or it says how the
// transaction runs or who logged in.
func noticed(one sql.Setting) bool {
	return one.Op != sql.OpSet || one.Name == "" || reading[one.Name] || one.Name == authorization || strings.HasPrefix(one.Name, "transaction_")
}

// takesTexts tells whether the types that a Parse message names for its parameters are texts.
func (st *statement) takesTexts() bool {
	types := st.parameterTypes()
	for p := []byte(types[min(2, len(types)):]); len(p) >= 4; p = p[4:] {
		switch binary.BigEndian.Uint32(p) {
		case 0, 25, 705, 1043: // not named, text, unknown, varchar (pg_type.dat)
		default:
			return false
		}
	}
	return st.source == ""
}

// startOver ends the transaction here. Its BEGIN is sent with the unit at hand, as if it had come just now.
func (s *Session) startOver() {
	s.begin, s.beginAs = s.begin[:s.fresh], nil
	s.fresh, s.again, s.anew, s.startsOver, s.begun = 0, 0, true, true, true
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

// doesNothing tells whether a message only asks whether the server is alive, belongs to a batch that does, or prepares what may never run: a
// server that lacks it is told it when it is used.
func (s *Session) doesNothing(r *request) bool {
	body := s.view[min(protocol.HeadSize, len(s.view)):min(r.size, len(s.view))]
	switch r.kind {
	case protocol.Query:
		return r.unit == nil && r.touches == 0 && isPing(bytes.TrimRight(body, "\x00"))
	case protocol.Execute:
		return r.stmt != nil && isPing(r.stmt.text())
	case protocol.Bind: // of a portal without a name
		return r.stmt != nil && len(body) > 0 && body[0] == 0 && isPing(r.stmt.text())
	case protocol.Close:
		return r.reply == replyClosed
	}
	return r.kind == protocol.Parse || r.kind == protocol.Describe || r.kind == protocol.Sync || r.kind == protocol.Flush
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
