package session

import (
	"encoding/binary"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// making is how far a statement has come on a server. While the batch that prepares it is under way, only that batch can
// use it: should it fail, the rest of it is skipped, but not what comes behind.
type making struct {
	batch int  // by number
	there bool // its ParseComplete has come
	gone  bool // its Parse message failed, or was skipped
}

// firstBatch is the number of a server's first batch for a session. None has that of a statement whose Parse message has not been sent.
const firstBatch = 1

// usable tells whether a batch may use the statement.
func (m *making) usable(batch int) bool { return m.there || m.batch == batch }

// statement is one that a client prepared, by a Parse message or by SQL's PREPARE.
type statement struct {
	name   string // the client's; "" is the unnamed one
	body   string // the Parse message's body behind the name: text, zero byte, parameter types
	source string // of SQL's PREPARE: the whole statement; "" of a Parse message
	query  int    // how far into that what it prepares begins
	types  int    // and of how many parameters it names the types
	unseen bool   // no text showed that PREPARE
	unit   sql.Unit

	readWith *sql.Reader // its text, for unit
	dialect  sql.Dialect // then

	making
	// Servers share statements under names of ours by key. Another search_path, role or date style gives the same
	// text another meaning, so the session's settings are part of it (PITFALLS, M 3.10.0).
	key         string
	keySettings *Settings
	keyHides    bool
	under       *Settings // those it was prepared under
	alone       string    // tells it from others of the same text where settings that nobody knows gave it its meaning
	executes    string    // the keys of what its text executed when it was parsed, which gave it its columns

	unmade string // the key that it had when it could not be made in order to be shown

	shape *shape // nil: no server has parsed it yet
	own   shape  // of the unnamed statement, where a server first parsed it
	reads reads
}

// reads is whether a statement is known to change nothing.
type reads uint8

const (
	readsUnknown reads = iota
	readsOnly
	readsNot
)

// onlyReads tells whether it is.
func (st *statement) onlyReads() bool {
	if st.reads == readsUnknown {
		st.reads = readsNot
		u := &st.unit
		if u.Lock == 0 && u.Touches == 0 && u.Settings == nil && sql.ReadsOnly([]byte(st.text()), st.dialect) {
			st.reads = readsOnly
		}
	}
	return st.reads == readsOnly
}

// sharedKey gives what sessions that share the statement have in common. One with temporary tables shares nothing: to PostgreSQL
// a plan stays what it is when a temporary table comes to hide another, unless it is the first of the server session
// (plancache.c, RevalidateCachedQuery, compares search paths), and that may have been another client's.
func (s *Session) sharedKey(st *statement) string {
	settings, hides := s.state.settings, s.state.pins.Has(sql.TouchTemp)
	if st.key == "" || st.keySettings != settings || st.keyHides != hides {
		st.key, st.keySettings, st.keyHides = st.source+st.body+settings.planned()+st.alone+st.executes, settings, hides
		if hides {
			st.key += s.hidesBy()
		}
	}
	return st.key
}

// hidesBy is what a session with temporary tables puts behind its keys.
func (s *Session) hidesBy() string {
	return "\x00temp " + strconv.FormatUint(uint64(s.client.Pid), 10)
}

// hasKey tells whether a key is the statement's, or was before the session had temporary tables.
func (s *Session) hasKey(st *statement, key string) bool {
	now := s.sharedKey(st)
	return key == now || st.keyHides && key+s.hidesBy() == now
}

// setApart keeps what a text is about to be parsed as from other sessions, where the settings by which it is read may be others than
// the session's: they were changed for the transaction, or nobody has asked what became of them.
func (s *Session) setApart(st *statement) {
	if st.alone == "" && s.readsOtherwise() {
		st.alone = "\x00" + strconv.FormatUint(uint64(s.client.Pid), 10) + " " + strconv.Itoa(s.batch)
		st.key = ""
	}
}

// keepExecuted notes what the names that a text executes mean as it is about to be parsed: to another session the same words may be of
// other statements, with other columns.
func (s *Session) keepExecuted(st *statement, uses []nameUse) {
	for _, use := range uses {
		if use.op == sql.OpExecute && use.before != nil {
			st.executes += "\x00" + s.sharedKey(use.before)
			st.key = ""
		}
	}
}

func (st *statement) text() string {
	if st.source != "" {
		return st.source
	}
	text, _, _ := strings.Cut(st.body, "\x00")
	return text
}

// parameterTypes gives the types that its Parse message names for its parameters, as a description of them gives theirs.
func (st *statement) parameterTypes() string {
	_, types, _ := strings.Cut(st.body, "\x00")
	return types
}

// namesTypes tells whether PREPARE names the types of all parameters, and they are PostgreSQL's own, which nobody makes others
// (transam.h, FirstNormalObjectId).
func (st *statement) namesTypes() bool {
	const firstNormal = 16384
	if st.types == 0 || len(st.shape.params) != 2+4*st.types {
		return false
	}
	for p := []byte(st.shape.params[2:]); len(p) > 0; p = p[4:] {
		if binary.BigEndian.Uint32(p) >= firstNormal {
			return false
		}
	}
	return true
}

// again gives the body of a Parse message that makes the statement again: with the types that its parameters have, where they are
// known. A server that were to find them out anew might find others by now.
func (st *statement) again() string {
	if !st.shape.known() {
		return st.body
	}
	if st.source != "" {
		padding := strings.Repeat(" ", utf8.RuneCountInString(st.source[:st.query])) // errors count characters
		return padding + st.source[st.query:] + "\x00" + st.shape.params
	}
	text, types, _ := strings.Cut(st.body, "\x00")
	if types == st.shape.params {
		return st.body
	}
	return text + "\x00" + st.shape.params
}

// readAgain has a statement's text read again where functions have changed since. One that is under way is left as it
// was, and what it did is asked.
func (s *Session) readAgain(st *statement) {
	reader := s.cfg.Catalog().reader
	if st.readWith == reader {
		return
	}
	for i := 0; s.srv != nil && i < s.srv.flight.len(); i++ {
		if s.srv.flight.at(i).unit == &st.unit {
			s.state.opaque = true
			return
		}
	}
	st.readWith, st.reads = reader, readsUnknown
	unit := reader.Read([]byte(st.text()), st.dialect)
	if st.source != "" {
		unit = preparedUnit(&unit.Prepared[0])
	}
	st.unit = unit
}

// ourNames begin the names of prepared statements that we make on servers.
const ourNames = "lockproxy_"

// shared is a prepared statement on one server, under a name of ours.
type shared struct {
	making
	parsing
	key        string
	name       string
	prev, next *shared // from the least to the most recently used
}

// preparedStatements are those that one server has under names of ours, at most Config.MaxPrepared of them.
type preparedStatements struct {
	byKey map[string]*shared
	root  shared // of the ring by use: root.next is the one used longest ago
	made  uint64
}

func (p *preparedStatements) find(key string) *shared {
	if last := p.root.prev; last != nil && last.key == key {
		return last
	}
	sh := p.byKey[key]
	if sh != nil {
		p.unlink(sh)
		p.link(sh)
	}
	return sh
}

// oldest gives the one used longest ago, or nil.
func (p *preparedStatements) oldest() *shared {
	if len(p.byKey) == 0 {
		return nil
	}
	return p.root.next
}

// add gives the key a new name, and tells which statement must be closed so that there are no more than most, or nil.
func (p *preparedStatements) add(key string, batch, most int) (sh, evicted *shared) {
	if p.byKey == nil {
		p.byKey = make(map[string]*shared)
		p.root.prev, p.root.next = &p.root, &p.root
	}
	if len(p.byKey) >= most {
		evicted = p.oldest()
		p.drop(evicted)
	}
	p.made++
	sh = &shared{making: making{batch: batch}, key: key, name: ourNames + strconv.FormatUint(p.made, 10)}
	p.put(sh)
	return sh, evicted
}

func (p *preparedStatements) put(sh *shared) {
	p.byKey[sh.key] = sh
	p.link(sh)
}

// drop forgets a statement, if that is still what its key means.
func (p *preparedStatements) drop(sh *shared) {
	if p.byKey[sh.key] != sh {
		return
	}
	delete(p.byKey, sh.key)
	p.unlink(sh)
}

// retire takes a statement out of use: it stays on the server until it is its turn to go, and no text finds it.
func (p *preparedStatements) retire(sh *shared) {
	p.drop(sh)
	sh.key = sh.name // keys have zero bytes in them, and names have none
	p.put(sh)
}

// lacking tells whether some of them are not among the names that there are.
func (p *preparedStatements) lacking(there map[string]bool) bool {
	for _, sh := range p.byKey {
		if !there[sh.name] {
			return true
		}
	}
	return false
}

// clear forgets them all; names are never used again.
func (p *preparedStatements) clear() { p.byKey, p.root = nil, shared{} }

func (p *preparedStatements) link(sh *shared) {
	sh.prev, sh.next = p.root.prev, &p.root
	sh.prev.next, p.root.prev = sh, sh
}

func (p *preparedStatements) unlink(sh *shared) {
	sh.prev.next, sh.next.prev = sh.next, sh.prev
}

// appendParse writes a Parse message for a name and the rest of the body.
func appendParse(dst []byte, name, body string) []byte {
	dst = appendHead(dst, protocol.Parse, len(name)+1+len(body))
	dst = append(dst, name...)
	dst = append(dst, 0)
	return append(dst, body...)
}

func appendCloseStatement(dst []byte, name string) []byte {
	return appendNamed(dst, protocol.Close, name)
}

// appendNamed writes a Describe or Close message for a prepared statement.
func appendNamed(dst []byte, kind byte, name string) []byte {
	dst = appendHead(dst, kind, 1+len(name)+1)
	dst = append(dst, 'S')
	dst = append(dst, name...)
	return append(dst, 0)
}

// appendHead writes a message's kind and length, for a body of so many bytes.
func appendHead(dst []byte, kind byte, body int) []byte {
	return binary.BigEndian.AppendUint32(append(dst, kind), uint32(4+body))
}
