package session

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// A startup parameter is its session's default: RESET, RESET ALL and SET ... TO DEFAULT give it back. On a shared server the
// default is another one. So behind a statement that resets a startup parameter goes a SET of ours that puts it in place, in
// the same text, or in the same batch; nobody hears of it. DISCARD ALL alone runs alone, and what comes behind it waits. All this
// holds as well for what a session has kept of its Beginning.

// added is what was put into the text of a simple query.
type added struct {
	places []addition // in the order of the text
	next   int        // the place that comes next
	left   int        // statements of ours whose ends come before the client's next
	held   []byte     // the end of the client's last statement: a server tells it once all is committed (postgres.c, exec_simple_query)
}

// addition is a few statements of ours in a text of the client's.
type addition struct {
	index      int // of the client's statement that they follow
	statements int
	at, size   int // where they begin, and their size, in characters
}

// behind takes the end of the client's statement of that index.
func (a *added) behind(index int) {
	if a != nil && a.next < len(a.places) && a.places[a.next].index == index {
		a.left = a.places[a.next].statements
		a.next++
	}
}

// ours tells whether what is answered now is a statement of ours.
func (a *added) ours() bool { return a != nil && a.left > 0 }

// released gives what was held until the last statement of ours has ended.
func (a *added) released() []byte {
	if a.left > 0 {
		return nil
	}
	held := a.held
	a.held = nil
	return held
}

// ends tells whether the statement that ends is one of ours.
func (a *added) ends() bool {
	if !a.ours() {
		return false
	}
	a.left--
	return true
}

// ownDefaults gives the startup parameters that a change of a setting gives back, who the session acts as last.
func (s *Session) ownDefaults(one sql.Setting) (list []Setting) {
	if one.Op == sql.OpSet {
		return nil
	}
	for _, own := range s.defaults.All() {
		if !slices.Contains(identity, own.Name) && (one.Op == sql.OpResetAll || one.Name == own.Name) {
			list = append(list, own)
		}
	}
	for _, name := range slices.Backward(identity) {
		value, own := s.defaults.Get(name)
		if own && (one.Name == name || one.Name == authorization && name == roleSetting) {
			list = append(list, Setting{name, value})
		}
	}
	return list
}

// ownDefault tells whether the session has a default of its own for a setting.
func (s *Session) ownDefault(name string) bool {
	_, own := s.defaults.Get(name)
	return own
}

// resetsOwn tells whether a message gives startup parameters their defaults.
func (s *Session) resetsOwn(r *request) bool {
	return s.defaults != nil && r.has(flagResets) && r.unit != nil
}

// withDefaults gives a simple query with the session's own defaults behind what resets them. The result is p itself where
// there is nothing to add.
func (s *Session) withDefaults(r *request, p []byte) []byte {
	if !s.resetsOwn(r) {
		return p
	}
	text := p[protocol.HeadSize:]
	var out []byte
	from := 0
	for _, one := range slices.SortedStableFunc(slices.Values(r.unit.Settings), func(a, b sql.Setting) int { return a.End - b.End }) {
		if one.Local && s.tx != 'T' && r.unit.Statements == 1 {
			continue // it does nothing, and PostgreSQL says so
		}
		list := s.ownDefaults(one)
		if len(list) == 0 || one.End < from {
			continue
		}
		ours := ""
		for _, own := range list {
			ours += ";" + string(appendOwn(nil, own, one.Local))
		}
		if r.added == nil {
			r.added = &added{}
		}
		r.added.places = append(r.added.places, addition{index: one.Index, statements: len(list), at: s.characters(text[:one.End]), size: s.characters([]byte(ours))})
		out = append(append(out, text[from:one.End]...), ours...)
		from = one.End
	}
	if r.added == nil {
		return p
	}
	out = append(out, text[from:]...)
	return append(appendHead(nil, protocol.Query, len(out)), out...)
}

// sendDefaults does the same behind an Execute message.
func (s *Session) sendDefaults(r *request) {
	if s.defaults == nil || !r.has(flagResets) || r.unit == nil || s.aborted() {
		return
	}
	list := s.defaults.All()
	switch {
	case !r.touches.Has(sql.TouchDiscardAll):
		list = nil
		for _, one := range r.unit.Settings {
			list = append(list, s.ownDefaults(one)...)
		}
	case s.discardsNext():
		return // which is refused behind anything else in its batch (xact.c, PreventInTransactionBlock)
	}
	local := len(r.unit.Settings) > 0 && r.unit.Settings[0].Local
	for _, own := range list {
		s.runInBatch(appendOwn(nil, own, local), forStatement)
	}
}

// discardsNext tells whether the next that is executed in the batch, as far as it is here, is a DISCARD ALL.
func (s *Session) discardsNext() bool {
	for i := 1; i < s.ahead.len(); i++ {
		switch r := s.ahead.at(i); r.kind {
		case protocol.Execute:
			return r.touches.Has(sql.TouchDiscardAll)
		case protocol.Query, protocol.FunctionCall, protocol.Sync:
			return false
		}
	}
	return false
}

// touchDefaults notes that the startup parameters are put in place behind a DISCARD ALL, which stands whatever becomes of them.
func (s *Session) touchDefaults() {
	for _, own := range s.defaults.All() {
		s.touchName(own.Name)
		s.state.unclear = true
	}
}

// appendOwn puts a startup parameter in place: by SET, which is no query, before which a transaction's snapshot would be taken;
// but SET writes a list of names in its own way.
func appendOwn(dst []byte, one Setting, local bool) []byte {
	names := []string{one.Value}
	if quotedLists[one.Name] {
		if names = identifiers(one.Value); written(names) != one.Value {
			return bytes.TrimSuffix(appendSet(dst, one.Name, one.Value, local), []byte{';'})
		}
	}
	dst = appendSetName(dst, one.Name, local)
	dst = append(dst, " TO"...)
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = sql.AppendLiteral(dst, name)
	}
	return dst
}

// quotedLists are the settings that are lists of names, each of which SET takes for one (guc_tables.c, GUC_LIST_QUOTE).
var quotedLists = map[string]bool{
	"search_path": true, "temp_tablespaces": true, "session_preload_libraries": true, "local_preload_libraries": true,
}

// identifiers reads a list of names (varlena.c, SplitIdentifierString), written as PostgreSQL writes it: another one need not
// be read.
func identifiers(text string) (list []string) {
	for name := range strings.SplitSeq(text, ", ") {
		if inside, ok := strings.CutPrefix(name, `"`); ok {
			name = strings.ReplaceAll(strings.TrimSuffix(inside, `"`), `""`, `"`)
		}
		list = append(list, name)
	}
	return list
}

// written writes a list of names as SET does (guc_funcs.c, flatten_set_variable_args).
func written(names []string) string {
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		if plainName.MatchString(name) {
			b.WriteString(name)
		} else {
			b.WriteString(`"` + strings.ReplaceAll(name, `"`, `""`) + `"`)
		}
	}
	return b.String()
}

var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// characters counts those of a text as the client wrote it.
func (s *Session) characters(text []byte) int {
	if encoding, _ := s.state.told.Get("client_encoding"); strings.EqualFold(encoding, "UTF8") {
		return utf8.RuneCount(text)
	}
	return len(text)
}

// tellOriginal tells the client an error or a notice about a text that was added to.
func (s *Session) tellOriginal(a *added, frame []byte) {
	at := len(s.o.scratch)
	s.o.scratch = a.original(s.o.scratch, frame)
	s.toClient(s.o.since(at))
}

// original writes an ErrorResponse or a NoticeResponse about a text that was added to: where in the client's text it is.
func (a *added) original(dst, frame []byte) []byte {
	var body []byte
	for _, field := range bytes.SplitAfter(frame[protocol.HeadSize:], []byte{0}) {
		if len(field) > 1 && field[0] == 'P' {
			if n, err := strconv.Atoi(string(field[1 : len(field)-1])); err == nil {
				field = append(strconv.AppendInt([]byte{'P'}, int64(a.before(n-1)+1), 10), 0)
			}
		}
		body = append(body, field...)
	}
	return append(appendHead(dst, frame[0], len(body)), body...)
}

// before gives how many of the client's characters stand before the n-th of the text that was sent.
func (a *added) before(n int) int {
	for _, one := range a.places {
		if n > one.at {
			n = max(one.at, n-one.size)
		}
	}
	return n
}
