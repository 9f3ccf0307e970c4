package sql

import (
	"bytes"
	"strings"
)

// candidate looks at the last token, a name of the length and first byte of one that matters.
func (s *scan) candidate() {
	var b nameBuffer
	name := s.name(s.tok, &b)
	switch {
	case s.tok.kind == word && string(name) == "into":
		s.into()
		return
	case s.tok.kind == word && string(name) == "default":
		if s.updates {
			s.touches |= TouchAdvance
		}
		return
	case temporarySchema(name):
		if s.at(s.peek(), '.') {
			s.touches |= TouchTemp
		}
		return
	}
	if s.stores && (leaves(name) || s.reader.runsTexts(name)) {
		s.touches |= TouchDefinition
	}
	if !s.live {
		return
	}
	if string(name) == "pg_settings" {
		s.view()
		return
	}
	if touch := touchingNames[string(name)]; touch != 0 {
		s.touches |= touch
		return
	}
	own := lockFunctions[string(name)]
	touch := touchingFunctions[string(name)]
	config := string(name) == "set_config"
	if own == 0 && touch == 0 && !config && len(s.reader.users[string(name)]) == 0 || !s.at(s.peek(), '(') {
		return
	}
	var sb nameBuffer
	schema, before := s.qualifier(&sb)
	if !s.called(before) {
		return
	}
	if len(schema) == 0 || string(schema) == "pg_catalog" {
		switch {
		case own != 0:
			if len(schema) == 0 && len(s.reader.users[string(name)]) > 0 {
				s.usersDo(nil, name)
				own |= Unknown // which of them it is, the search path and the types of the arguments tell
			}
			s.call(own, lockNames[string(name)])
			return
		case config:
			s.openSetting()
		}
		s.touches |= touch
	}
	s.touches |= touch & TouchLinks // dblink may be in any schema
	s.callUser(schema, name)
}

// leaves tells whether PostgreSQL's own function of that name leaves something in the session: what it is stored in does when it is
// evaluated.
func leaves(name []byte) bool {
	return string(name) == "set_config" || string(name) == "setseed" || lockFunctions[string(name)]&(SessionAcquire|SessionTry) != 0
}

// callUser notes a call of what may be a function of the user's.
func (s *scan) callUser(schema, name []byte) {
	if s.usersDo(schema, name) {
		s.call(Unknown, s.reader.users[string(name)][0].Name)
	}
}

// usersDo notes what functions of the user's of that name do besides locks, and tells whether one takes any. One without a schema may
// be in any, by the search path.
func (s *scan) usersDo(schema, name []byte) (locks bool) {
	list := s.reader.users[string(name)]
	for i := range list {
		if f := &list[i]; f.Schema == "" || len(schema) == 0 || f.Schema == string(schema) {
			locks = locks || f.Locks
			s.does(f)
			if f.RunsTexts() {
				s.runs(f.Texts)
			}
		}
	}
	return locks
}

// does notes what a function does besides locks.
func (s *scan) does(f *Function) {
	s.touches |= f.Touches
	for _, name := range f.Settings {
		s.setting(Setting{Name: name})
	}
}

// view looks whether pg_settings is updated: a rule has set_config run then, for names that the text need not tell.
func (s *scan) view() {
	var b nameBuffer
	if _, before := s.qualifier(&b); s.is(before, "update") || s.is(before, "only") {
		s.touches |= TouchDynamic
	}
}

// temporarySchema tells whether a schema is a session's own: pg_temp, or pg_temp_ and a number.
func temporarySchema(name []byte) bool {
	after, ok := bytes.CutPrefix(name, []byte("pg_temp"))
	if !ok || len(after) == 0 {
		return ok
	}
	for _, c := range after[1:] {
		ok = ok && c >= '0' && c <= '9'
	}
	return ok && after[0] == '_'
}

// qualifier gives the schema that stands before the last token, "" if none does, and the token before all of it. A
// database's name may stand before the schema's.
func (s *scan) qualifier(b *nameBuffer) (schema []byte, before token) {
	dotted := func(n int) bool {
		k := s.back(n + 1).kind
		return s.at(s.back(n), '.') && (k == word || k == quoted)
	}
	switch {
	case !dotted(1):
		return nil, s.back(1)
	case !dotted(3):
		return s.name(s.back(2), b), s.back(3)
	}
	return s.name(s.back(2), b), s.back(5)
}

// called tells whether a name before a parenthesis is a function's, by the token before the name. Where an operand
// has just ended the name is an alias with a list of columns.
func (s *scan) called(before token) bool {
	switch before.kind {
	case literal, number, quoted:
		return s.body
	case operator:
		return true
	case word:
		return s.calledAfter(before)
	case symbol:
		switch s.text[before.start] {
		case ')', ']':
			return s.body
		case ':':
			// A cast, and no slice or := of PL/pgSQL.
			return before.start == 0 || s.text[before.start-1] != ':'
		case ',':
			return !s.columnsOfQuery()
		}
	}
	return true
}

// calledAfter is called for a word: after a keyword that wants an operand the name is a function's.
func (s *scan) calledAfter(before token) bool {
	var b nameBuffer
	keyword := string(s.name(before, &b))
	switch keyword {
	case "as", "into", "with", "recursive", "references":
		return false
	case "cursor", "open":
		return !s.body
	}
	return s.body || operandKeywords[keyword]
}

// operandKeywords are the keywords of SQL after which an operand may stand, with or without other keywords between. Most
// are reserved, so that they are no alias or table themselves.
var operandKeywords = setOf("all", "and", "any", "asymmetric", "between", "both", "by", "call", "case", "check",
	"content", "default", "distinct", "document", "else", "escape", "except", "fetch", "first", "for", "from", "groups",
	"having", "ilike", "in", "intersect", "is", "join", "key", "lateral", "leading", "like", "limit", "next", "not",
	"offset", "on", "or", "overlaps", "passing", "placing", "range", "ref", "returning", "row", "rows", "select",
	"similar", "some", "symmetric", "then", "to", "trailing", "union", "using", "value", "values", "variadic", "version",
	"when", "where", "zone")

func setOf(words ...string) map[string]bool {
	set := make(map[string]bool, len(words))
	for _, w := range words {
		set[w] = true
	}
	return set
}

// columnsOfQuery tells whether what follows is the list of columns of a query in WITH: names alone, then AS and a
// parenthesis, maybe with [NOT] MATERIALIZED between.
func (s *scan) columnsOfQuery() bool {
	l := s.lexer
	l.next()
	for {
		if !l.next() || l.tok.kind != word && l.tok.kind != quoted || !l.next() {
			return false
		}
		if l.at(l.tok, ')') {
			break
		}
		if !l.at(l.tok, ',') {
			return false
		}
	}
	if !l.next() || !l.on("as") || !l.next() {
		return false
	}
	return l.at(l.tok, '(') || l.on("not") || l.on("materialized") && l.at(l.peek(), '(')
}

// call notes a call of a lock function.
func (s *scan) call(e Effect, name string) {
	s.effects |= e
	s.unit.Calls++
	if s.calls != nil && len(*s.calls) < maxLockCalls {
		*s.calls = append(*s.calls, LockCall{
			Function: name, Effect: e, Shared: strings.HasSuffix(name, "_shared"),
			Statement: s.unit.Statements - 1, arguments: s.source[s.peek().end:],
		})
	}
	if s.unit.Calls == 1 {
		s.push(frame{from: s.peek().end})
	}
}

// push opens a frame for the parenthesis that comes next; false if there is no room.
func (s *scan) push(f frame) bool {
	if s.open == len(s.frames) {
		return false
	}
	f.depth = int32(s.depth)
	s.frames[s.open] = f
	s.open++
	return true
}

// closeFrame looks whether the last token, a closing parenthesis, is the end of a call that was waited for.
func (s *scan) closeFrame() {
	f := s.frames[s.open-1]
	if int(f.depth) != s.depth {
		return
	}
	s.open--
	if f.setting {
		s.closeSetting(f.name)
	} else {
		s.unit.Key = Span{int(f.from), int(s.tok.start)}
	}
}

// into looks whether INTO creates a table, and a temporary one. INSERT and MERGE name a table there, which may be called
// temp.
func (s *scan) into() {
	if before := s.back(1); s.is(before, "insert") || s.is(before, "merge") {
		return
	}
	s.changesSchema()
	l := s.lexer
	if l.next(); l.on("local") || l.on("global") {
		l.next()
	}
	if s.live && (l.on("temp") || l.on("temporary")) {
		s.touches |= TouchTemp
	}
}
