package sql

// create reads what follows CREATE. Of all definitions only CREATE TABLE AS, CREATE MATERIALIZED VIEW and the bounds
// of a partition evaluate what stands in them.
func (s *scan) create() {
	s.changesSchema()
	s.stores = s.live
	s.next()
	temporary := false
	for s.tok.kind == word && s.modifies() {
		temporary = temporary || s.on("temp") || s.on("temporary")
		s.next()
	}
	if temporary && s.live {
		s.touches |= TouchTemp
	}
	materialized := s.is(s.back(1), "materialized")
	if !temporary { // a temporary table's callers are its own session's
		s.define(false)
	}
	switch {
	case s.on("table"), s.on("view") && materialized:
		s.createTable(materialized)
	case s.on("function"), s.on("procedure"):
		s.createRoutine()
	default:
		s.administer(Create)
		s.skip()
	}
}

// changesSchema notes that the statement makes or changes an object, if it runs.
func (s *scan) changesSchema() {
	if s.live {
		s.touches |= TouchSchema
	}
}

// modifies tells whether the last token is a word between CREATE and the kind of what is created.
func (s *scan) modifies() bool {
	var b nameBuffer
	return createModifiers[string(s.name(s.tok, &b))]
}

var createModifiers = setOf("or", "replace", "global", "local", "temp", "temporary", "unlogged", "recursive",
	"materialized", "constraint", "unique", "trusted", "procedural", "default", "event")

// define notes a definition of what the last token names the kind of. A caller of functions matters where there are some
// that leave anything; fewer callers never matter.
func (s *scan) define(drop bool) {
	if s.tok.kind != word || !s.live {
		return
	}
	var b nameBuffer
	name := s.name(s.tok, &b)
	if definitions[string(name)] || !drop && s.reader.leaves && callers[string(name)] {
		s.touches |= TouchDefinition
	}
}

var definitions = setOf("function", "procedure", "routine", "aggregate", "extension", "schema", "role", "user", "group",
	"database", "owned")

// callers are what may call functions that no text names.
var callers = setOf("table", "view", "trigger", "rule", "policy", "domain", "operator", "cast", "index")

// createTable reads CREATE TABLE from its name on, as far as an AS that is followed by a query. A materialized view keeps the
// query, to evaluate it at each REFRESH.
func (s *scan) createTable(keeps bool) {
	live := s.live
	s.live = false
	for !s.ended() && s.next() {
		switch {
		case s.depth == 0 && s.on("as"):
			s.live, s.stores = live, s.stores && (keeps || !live)
			if s.is(s.peek(), "execute") {
				s.next()
				s.execute(live)
			}
			s.rest()
			return
		case s.depth == 0 && s.on("values") && s.is(s.back(1), "for"):
			s.live = live
		}
		s.consider()
	}
}

// createRoutine reads CREATE FUNCTION from its name on. In a body BEGIN ATOMIC ... END semicolons end statements of
// the body; its END alone stands after a semicolon, CASE's never does.
func (s *scan) createRoutine() {
	s.live = false
	atomic := false
	for atomic || !s.ended() {
		if !s.next() {
			return
		}
		before := s.back(1)
		switch {
		case s.depth == 0 && s.on("atomic") && s.is(before, "begin"):
			atomic = true
		case atomic && s.on("end") && (s.at(before, ';') || s.is(before, "atomic")):
			atomic = false
		}
		s.consider()
	}
}

// alter reads what follows ALTER. Tables and domains have rows, for which new defaults and conditions are evaluated;
// SET DEFAULT is for rows to come.
func (s *scan) alter() {
	s.changesSchema()
	s.stores = s.live
	s.next()
	s.define(false)
	if !s.on("table") && !s.on("domain") {
		s.administer(Alter)
		s.skip()
		return
	}
	for !s.ended() && s.next() {
		switch {
		case s.on("default") && s.is(s.back(1), "set"):
			s.live = false
		case s.depth == 0 && s.at(s.tok, ','):
			s.live = true
		case s.tok.kind == word && s.numbers():
			s.touches |= TouchAdvance // each row gets a number
		}
		s.consider()
	}
}

// numbers tells whether a new column of the last token's type has a sequence (parse_utilcmd.c, transformColumnDefinition).
func (s *scan) numbers() bool {
	var b nameBuffer
	return numbering[string(s.name(s.tok, &b))]
}

var numbering = setOf("smallserial", "serial2", "serial", "serial4", "bigserial", "serial8", "identity")
