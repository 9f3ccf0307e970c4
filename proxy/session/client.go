package session

import (
	"slices"
	"strconv"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// clientSide is what has come from the client and is not yet on its way. Each frame is looked at once, in order, as far
// as it must be to know what it is; it then stays in ahead until it is sent.
type clientSide struct {
	view  []byte      // within a step: the bytes that are not yet sent
	kept  []byte      // between steps: the same, in memory of our own
	room  *room       // where that may lie; nil: elsewhere
	ahead queue       // the frames at the beginning of view
	with  *sql.Reader // what the first of them was looked at with
	sized int         // their sizes, added up; beyond view's length where the last is not all here

	stream     int  // bytes still to come of a frame whose beginning is sent
	streamDrop bool // and they go nowhere
	skip       bool // the batch has failed: everything up to Sync is dropped, as a server does
	needsMore  bool // the frame under way must be seen whole

	statements map[string]*statement // prepared by Parse messages and by PREPARE, by the client's names
	unnamed    *statement
}

// maxSmall is the greatest length that servers take of a message that isSmall (libpq.h, PQ_SMALL_MESSAGE_LIMIT): they close the connection
// for a longer one, since PostgreSQL 14.
const maxSmall = 10000

// isSmall tells whether a message's kind is one of those that are never long (postgres.c, SocketBackend; copyfromparse.c, CopyGetData).
func isSmall(kind byte) bool {
	switch kind {
	case protocol.Sync, protocol.Flush, protocol.Describe, protocol.Execute, protocol.Close, protocol.CopyDone, protocol.CopyFail, protocol.Terminate:
		return true
	}
	return false
}

// maxNames bounds the names in a Bind message, in bytes.
const maxNames = 64 << 10

// streamClient hands on the rest of a frame whose beginning is on its way, and gives what follows it.
func (s *Session) streamClient(p []byte) []byte {
	if s.stream == 0 {
		return p
	}
	n := min(s.stream, len(p))
	s.stream -= n
	if !s.streamDrop {
		s.toServer(p[:n:n])
	}
	return p[n:]
}

// keep puts what is left of the client's bytes into memory of our own. What was sent from there stays where it is: the
// outputs may still point to it.
func (s *Session) keep() {
	switch {
	case len(s.view) == 0:
		s.kept = nil
		s.o.spend(s.room)
		s.room = nil
	case len(s.kept) >= len(s.view) && &s.kept[len(s.kept)-1] == &s.view[len(s.view)-1]:
		s.kept = s.view
	case len(s.view) <= len(room{}) && s.room == nil:
		s.room = s.o.newRoom()
		s.kept = s.room[:copy(s.room[:], s.view)]
	default:
		s.kept = append([]byte(nil), s.view...)
	}
	s.view = nil
}

// look reads the next frame, as far as must be known to send it, into ahead. It gives false where more bytes are needed.
func (s *Session) look() bool {
	s.needsMore = false
	if s.sized >= len(s.view) || s.stream > 0 {
		return false
	}
	p := s.view[s.sized:]
	if len(p) < protocol.HeadSize {
		return false
	}
	kind, size := protocol.Head(p)
	if size == 0 || size > 1+maxSmall && isSmall(kind) {
		return s.breaks("invalid message length")
	}
	if s.ahead.len() == 0 {
		s.followCurrent()
		s.with = s.cfg.Catalog().reader
	}
	r := request{kind: kind, size: size}
	body := p[protocol.HeadSize:min(size, len(p))]
	if !s.read(&r, body, len(p) >= size) {
		return false
	}
	s.sized += size
	s.ahead.borrow(&s.o.rings)
	s.ahead.push(r)
	return true
}

// read finds out what a message is. It gives false where it must see more of it, or where it ended the client.
func (s *Session) read(r *request, body []byte, whole bool) bool {
	switch r.kind {
	case protocol.Query, protocol.Parse:
		if r.size > s.cfg.MaxStatement {
			r.flags |= flagTooLong
			return true
		}
	case protocol.Bind:
		return s.readBind(r, body, whole)
	case protocol.FunctionCall:
		return s.readFunctionCall(r, body, whole)
	case protocol.Describe, protocol.Execute, protocol.Close:
	case protocol.CopyData, protocol.CopyFail:
		return true
	case protocol.Sync, protocol.Flush:
		if r.size > protocol.HeadSize {
			r.flags |= flagMalformed
		}
		return true
	case protocol.CopyDone, protocol.Terminate:
		return true // whatever is in them (postgres.c, PostgresMain; copyfromparse.c, CopyGetData)
	default:
		// PostgreSQL's words (postgres.c, SocketBackend).
		return s.breaks("invalid frontend message type " + strconv.Itoa(int(r.kind)))
	}
	if !whole {
		s.needsMore = true
		return false
	}
	ok := false
	switch r.kind {
	case protocol.Query:
		ok = s.readQuery(r, body)
	case protocol.Parse:
		ok = s.readParse(r, body)
	case protocol.Execute:
		ok = s.readExecute(r, body)
	default:
		ok = s.readNamed(r, body)
	}
	if !ok {
		r.flags |= flagMalformed
	}
	return true
}

// breaks ends the client for bytes that no client sends, once what it sent before is answered. It gives false: nothing can be read behind them.
func (s *Session) breaks(message string) bool {
	if !s.isOwed() {
		s.violation(message)
	}
	return false
}

func (s *Session) readQuery(r *request, body []byte) bool {
	text, rest, ok := protocol.CString(body)
	if !ok || len(rest) > 0 {
		return false
	}
	if s.skip {
		return true
	}
	r.prev, s.unnamed = s.unnamed, nil // a simple query destroys it (manual, "Extended Query")
	unit := s.readText(text)
	s.classify(r, &unit)
	if r.lock != 0 || unit.Settings != nil || unit.Prepared != nil || unit.TransactionInside && r.touches.Has(sql.TouchSequence) {
		r.unit = s.o.newUnit()
		*r.unit = unit
		s.useNames(r, &unit, text, true)
	} else if unit.Cluster != nil {
		r.unit = &sql.Unit{Cluster: unit.Cluster}
	}
	return true
}

func (s *Session) readText(text []byte) sql.Unit {
	return s.cfg.Catalog().reader.Read(text, s.state.dialect)
}

// classify notes what running a text does.
func (s *Session) classify(r *request, u *sql.Unit) {
	r.lock, r.touches = u.Lock, u.Touches
	if u.Verb == sql.Prepare && u.Statements == 1 {
		r.lock = 0 // it runs nothing yet
	}
	if u.Touches.Has(sql.TouchDiscardAll) || u.Settings != nil && slices.ContainsFunc(u.Settings, isReset) {
		r.flags |= flagResets
	}
	if u.Copies {
		r.flags |= flagCopies
	}
	if u.Begin != sql.BeginNone || u.TransactionInside {
		r.flags |= flagOpens
	}
	switch {
	case (u.Begin == sql.BeginPlain || u.Begin == sql.BeginReadWrite && s.onPrimary()) && u.Statements == 1:
		r.flags |= flagBegin
	case u.End != sql.EndNone && u.Statements == 1:
		r.flags |= flagEnd
		if u.End == sql.EndCommit {
			r.flags |= flagCommit
		}
	case u.TransactionInside:
		r.flags |= flagCommit
	case u.Touches.Has(sql.TouchDiscardAll) && u.Statements == 1:
		r.flags |= flagDiscardAll
	}
}

// onPrimary tells whether the client was told that its server is no standby (PostgreSQL 14 and later say so).
func (s *Session) onPrimary() bool {
	standby, told := s.state.told.Get("in_hot_standby")
	return told && standby == "off"
}

func isReset(one sql.Setting) bool { return one.Op != sql.OpSet }

// effects tells what running a prepared statement does to locks, if it were run now.
func (s *Session) effects(u *sql.Unit) sql.Effect {
	var r request
	s.classify(&r, u)
	s.useNames(&r, u, nil, false)
	return r.lock
}

func (s *Session) readParse(r *request, body []byte) bool {
	name, rest, ok := protocol.CString(body)
	if !ok {
		return false
	}
	text, types, ok := protocol.CString(rest)
	if !ok || len(types) < 2 || len(types) != 2+4*(int(types[0])<<8|int(types[1])) {
		return false
	}
	if s.skip {
		return true
	}
	st := &statement{name: string(cutName(name)), body: string(rest)}
	st.readWith, st.dialect = s.cfg.Catalog().reader, s.state.dialect
	st.unit = st.readWith.Read(text, st.dialect)
	r.stmt = st
	s.useNames(r, &st.unit, nil, false)
	if st.name == "" {
		r.prev, s.unnamed = s.unnamed, st
		return true
	}
	if r.prev = s.statements[st.name]; r.prev != nil {
		r.flags |= flagTwice
		st.name = string(name) // as it is told that it is taken
		return true
	}
	s.setName(st.name, st)
	return true
}

func (s *Session) readBind(r *request, body []byte, whole bool) bool {
	portal, name, ok := protocol.BindNames(body)
	switch {
	case !ok && whole:
		r.flags |= flagMalformed
		return true
	case !ok:
		if len(body) > maxNames {
			return s.breaks("invalid message format")
		}
		s.needsMore = true
		return false
	case s.skip:
		return true
	}
	r.stmt = s.lookup(name)
	if r.stmt == nil {
		r.flags |= flagUnknown
		return true
	}
	s.readAgain(r.stmt)
	r.lock = s.effects(&r.stmt.unit)
	s.useNames(r, &r.stmt.unit, nil, false)
	if bindsNothing(body[len(portal)+1+len(name)+1:]) {
		r.flags |= flagPlain
	}
	if len(portal) == 0 {
		s.portal = r.stmt
		return true
	}
	if s.portals == nil {
		s.portals = make(map[string]*statement)
	}
	s.portals[string(cutName(portal))] = r.stmt
	return true
}

// maxName is how many bytes a server keeps of the name of a prepared statement or a portal: NAMEDATALEN - 1.
const maxName = 63

// cutName gives a name of the protocol's as the server keeps it and finds it (dynahash.c, hash_create, HASH_STRINGS). SQL's are cut
// where they are read.
func cutName(name []byte) []byte { return name[:min(len(name), maxName)] }

// bindsNothing tells whether the rest of a Bind message, behind its names, has no values, and formats for none or for all:
// what a statement without parameters and results is bound with.
func bindsNothing(p []byte) bool {
	formats := func() bool {
		if len(p) < 2 || p[0] != 0 || p[1] > 1 {
			return false
		}
		p = p[min(len(p), 2+2*int(p[1])):]
		return true
	}
	if !formats() || len(p) < 2 || p[0] != 0 || p[1] != 0 {
		return false
	}
	p = p[2:]
	return formats() && len(p) == 0
}

// lookup finds the prepared statement of a name, or nil.
func (s *Session) lookup(name []byte) *statement {
	if len(name) == 0 {
		return s.unnamed
	}
	return s.statements[string(cutName(name))]
}

// portalOf finds the prepared statement of a portal, or nil.
func (s *Session) portalOf(portal []byte) *statement {
	if len(portal) == 0 {
		return s.portal
	}
	return s.portals[string(cutName(portal))]
}

func (s *Session) readExecute(r *request, body []byte) bool {
	portal, rest, ok := protocol.CString(body)
	if !ok || len(rest) != 4 {
		return false
	}
	if s.skip {
		return true
	}
	st := s.portalOf(portal)
	if st == nil {
		return true
	}
	s.readAgain(st)
	s.classify(r, &st.unit)
	r.stmt, r.unit = st, &st.unit
	s.useNames(r, &st.unit, []byte(st.text()), true)
	return true
}

// readNamed reads Describe and Close. What they name besides statements and portals the server knows best that there is not.
func (s *Session) readNamed(r *request, body []byte) bool {
	if len(body) < 2 {
		return false
	}
	name, rest, ok := protocol.CString(body[1:])
	if !ok || len(rest) != 0 {
		return false
	}
	if s.skip {
		return true
	}
	if body[0] != 'S' {
		if st := s.portalOf(name); st != nil && body[0] == 'P' && r.kind == protocol.Describe {
			s.useNames(r, &st.unit, nil, false)
		}
		return true
	}
	if r.stmt = s.lookup(name); r.stmt == nil {
		r.flags |= flagUnknown
	}
	switch {
	case r.kind == protocol.Close:
		s.forgetStatement(r, name)
	case r.stmt != nil:
		s.useNames(r, &r.stmt.unit, nil, false)
	}
	return true
}

// forgetStatement takes a closed statement off the client's names. Closing one that is not there is no error.
func (s *Session) forgetStatement(r *request, name []byte) {
	if r.prev = r.stmt; len(name) == 0 {
		s.unnamed = nil
	} else {
		delete(s.statements, string(cutName(name)))
	}
	r.reply = replyClosed
}

// undo gives a name the meaning back that it had before a message that the server skipped. The messages in flight from the
// given one on stay as they are.
func (s *Session) undo(r *request, behind int) {
	s.undoNames(r)
	switch {
	case r.kind == protocol.Parse && r.stmt != nil && r.purpose == theirs && !r.has(flagTwice):
		r.stmt.gone = true
		s.renameBefore(behind, r.stmt.name, r.stmt, r.prev)
	case (r.kind == protocol.Close || r.kind == protocol.Query && !r.sent) && r.prev != nil:
		s.renameBefore(behind, r.prev.name, nil, r.prev)
	}
	if s.srv == nil {
		return
	}
	s.srv.leftover = s.srv.leftover || r.has(flagOnce)
	if r.kind == protocol.Parse && r.stmt != nil && s.srv.unnamed.of == r.stmt {
		s.srv.unnamed.of = nil
	}
	if r.shared != nil {
		if r.kind == protocol.Parse {
			s.srv.prepared.drop(r.shared)
		} else {
			s.srv.prepared.put(r.shared)
		}
	}
}

// undoAhead undoes what was looked at and not sent, latest first.
func (s *Session) undoAhead() {
	for i := s.ahead.len() - 1; i >= 0; i-- {
		behind := 0
		if s.srv != nil {
			behind = s.srv.flight.len()
		}
		s.undo(s.ahead.at(i), behind)
	}
}

// lookAgain forgets what was looked at and not sent: what names mean was another matter then.
func (s *Session) lookAgain() {
	s.undoAhead()
	s.ahead.clear()
	s.sized = 0
}

// renameBefore gives a name another meaning as the first message in flight finds it that changes what it means, from the given one
// on; if there is none, what it means now.
func (s *Session) renameBefore(behind int, name string, from, to *statement) {
	for i := behind; s.srv != nil && i < s.srv.flight.len(); i++ {
		if later := s.srv.flight.at(i); later.renames(name) {
			if later.prev == from {
				later.prev = to
			}
			return
		}
	}
	s.rename(name, from, to)
}

// renames tells whether the client's message changes what a name means.
func (r *request) renames(name string) bool {
	switch {
	case r.purpose != theirs:
		return false
	case r.kind == protocol.Parse:
		return r.stmt != nil && r.stmt.name == name && !r.has(flagTwice)
	case r.kind == protocol.Close:
		return r.reply == replyClosed && r.prev != nil && r.prev.name == name
	}
	return r.kind == protocol.Query && name == ""
}

// rename gives a name another meaning, if it still has the one it should have.
func (s *Session) rename(name string, from, to *statement) {
	if to != nil && to.gone {
		to = nil
	}
	if name == "" {
		if s.unnamed == from {
			s.unnamed = to
		}
		return
	}
	if s.statements[name] != from {
		return
	}
	if to == nil {
		delete(s.statements, name)
	} else {
		s.statements[name] = to
	}
}

// setConfig is the oid of set_config, runTexts are those of functions that run a text: query_to_xml and its kind, ts_rewrite, ts_stat (pg_proc.dat).
const setConfig = 2078

var runTexts = map[uint32]bool{2924: true, 2927: true, 2930: true, 3685: true, 3689: true, 3690: true}

func (s *Session) readFunctionCall(r *request, body []byte, whole bool) bool {
	if len(body) < 4 {
		s.needsMore = !whole
		return whole // without a function the server refuses it
	}
	oid := uint32(body[0])<<24 | uint32(body[1])<<16 | uint32(body[2])<<8 | uint32(body[3])
	s.cfg.Catalog().calls(r, oid)
	return true
}

// take takes the oldest frame off and gives its bytes, as far as they are here; the rest will follow them.
func (s *Session) take(drop bool) (request, []byte) {
	r := *s.ahead.front()
	s.ahead.pop()
	n := min(r.size, len(s.view))
	p := s.view[:n:n]
	s.view = s.view[n:]
	s.sized -= r.size
	if r.size > n {
		s.stream, s.streamDrop = r.size-n, drop
		s.sized = 0
	}
	return r, p
}
