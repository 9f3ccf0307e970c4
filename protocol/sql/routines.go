package sql

import (
	"bytes"
	"regexp"
	"slices"
	"unicode"
)

// Routine is a function or procedure of the user's, as the database's catalog has it; without a name, what a view, a rule or the like
// does itself.
type Routine struct {
	Schema, Name string
	Language     string
	Extension    bool   // it belongs to one
	Definer      bool   // it runs with its owner's rights
	Temporary    bool   // the search_path that it runs with names the temporary schema
	Body         string // in SQL's or another language's words: with the defaults of its arguments
	Unseen       Unseen
}

// Unseen says how a routine is called without being named.
type Unseen uint8

// By nothing but its name; by whatever writes, as triggers and defaults are; by whatever runs, as in views and policies.
const (
	UnseenNever Unseen = iota
	UnseenWrites
	UnseenAlways
)

// Function is what a routine does to the server session, for its callers.
type Function struct {
	Schema, Name string
	Locks        bool     // it takes or releases advisory locks
	Touches      Touch    // what else it touches
	Settings     []string // settings that it changes for longer than the transaction, in order; "" is one that nothing names
	Texts        Texts    // those of its arguments that it runs
	Sequences    bool     // its body reads what nextval left in the session
	Unseen       Unseen
}

// Matters tells whether a call is worth knowing of.
func (f *Function) Matters() bool {
	return f.Locks || f.Touches != 0 || len(f.Settings) > 0 || f.RunsTexts()
}

// RunsTexts tells whether it runs texts that it is called with.
func (f *Function) RunsTexts() bool { return f.Texts.which != 0 }

// Leaves tells whether a call leaves anything behind but a moved sequence, what it creates, a lock or a notification.
func (f *Function) Leaves() bool {
	return f.Touches&^(TouchAdvance|TouchNotify|TouchCreates) != 0 || len(f.Settings) > 0
}

func (f *Function) equal(g *Function) bool {
	return f.Locks == g.Locks && f.Touches == g.Touches && f.Texts == g.Texts && slices.Equal(f.Settings, g.Settings)
}

// maxCalls bounds how long a chain of routines may be of which each calls the next.
const maxCalls = 20

// Study reads the bodies of routines and gives what each does, in their order. A body that calls another routine does what
// that one does, and one that writes what triggers do. Configured are the lock functions that NewReader is to know besides.
func Study(configured []string, routines []Routine) ([]Function, error) {
	found := make([]Function, len(routines))
	for range maxCalls {
		reader, err := NewReader(configured, found...)
		if err != nil {
			return nil, err
		}
		changed := false
		for i := range routines {
			f := reader.routine(&routines[i])
			changed = changed || !f.equal(&found[i])
			found[i] = f
		}
		if !changed {
			break
		}
	}
	return found, nil
}

var (
	namesLocks     = regexp.MustCompile(`(?i)pg_(try_)?advisory_`)
	namesHolding   = regexp.MustCompile(`(?i)pg_(try_)?advisory_lock`)
	namesShared    = regexp.MustCompile(`\b_SHARED\b|\bGD\b`) // PL/Perl's; PL/Python's and PL/Tcl's
	namesTemporary = regexp.MustCompile(`(?i)pg_temp`)
	readsSequences = regexp.MustCompile(`(?i)\b(curr|last)val"?\s*\(`)
)

// routine finds out what a routine does, as far as it is known what those do that it calls.
func (r *Reader) routine(t *Routine) Function {
	f := Function{Schema: t.Schema, Name: t.Name, Unseen: t.Unseen}
	body := t.Body
	switch t.Language {
	case "c":
		f.Touches = TouchFunction // what it keeps in the server process nobody knows
		if t.Extension {
			known := ofExtensions[t.Name]
			f.Touches, f.Settings, f.Texts = known.Touches, known.Settings, known.Texts
		}
		f.Unseen = UnseenNever // types' and operators' functions keep nothing
		return f
	case "internal":
		body += "()" // it is one of PostgreSQL's own, by another name
	case "sql", "plpgsql":
	default:
		if !t.Extension {
			f.Touches = foreign(body)
		}
	}
	s := scan{reader: r, live: true, body: true, unnamed: t.Unseen != UnseenNever}
	s.lexer.begin([]byte(body), Dialect{})
	s.does(&r.unseen[UnseenAlways])
	s.inside(maxQuoted)
	f.Locks = s.effects != 0 || namesLocks.MatchString(body)
	f.Touches |= s.touches & lasting
	if t.Language == "sql" && s.touches.Has(TouchSchema) {
		f.Touches |= TouchCreates // by SELECT INTO, which in PL/pgSQL is for a variable
	}
	if f.Touches.Has(TouchCreates) && (t.Temporary || namesTemporary.MatchString(body)) {
		f.Touches |= TouchTemp
	}
	if namesHolding.MatchString(body) {
		f.Touches |= TouchHolds
	}
	if f.Settings = s.unit.lastingSettings(); t.Definer && len(f.Settings) > 0 {
		f.Touches |= TouchElevates
	}
	f.Sequences = readsSequences.MatchString(body)
	return f
}

// foreign gives what a body in a language that is not read here may touch: what its functions share within a session, as the manual
// has it ("Global Values in PL/Perl", "Sharing Data" of PL/Python, "Global Data in PL/Tcl"), and whatever it has SQL do.
func foreign(body string) Touch {
	if namesShared.MatchString(body) {
		return TouchDynamic | TouchFunction
	}
	return TouchDynamic
}

// lasting is what a routine may touch that its caller must know of.
const lasting = TouchTemp | TouchListen | TouchHold | TouchLoad | TouchSeed | TouchLinks | TouchFunction | TouchDynamic |
	TouchDefinition | TouchCreates | TouchSequence | TouchAdvance | TouchNotify | TouchHolds | TouchElevates |
	TouchDrop | TouchUnlisten | TouchClose | TouchDiscardOther // what may end such a thing

// lastingSettings gives the names of the settings that are changed for longer than the transaction, in order.
func (u *Unit) lastingSettings() (names []string) {
	for _, one := range u.Settings {
		if !one.Local {
			names = append(names, one.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// maxQuoted is how deep a body is looked into strings in strings.
const maxQuoted = 3

// inside reads the inside of a routine or of a DO block: calls wherever they stand, and statements that change the server
// session. Strings in it may be texts that it runs, or pieces of them.
func (s *scan) inside(quoted int) {
	for s.next() {
		before := s.back(1)
		switch {
		case s.tok.kind == literal && quoted > 0:
			s.quoted(quoted - 1)
		case s.tok.kind == word && s.begins(before):
			s.changes()
		case s.on("execute") && !s.showsWhatItRuns():
			s.touches |= TouchDynamic
		case s.on("hold") && s.is(before, "with"):
			s.touches |= TouchHold
		}
		s.consider()
	}
}

// quoted reads a string in a body. What it does to locks is left to those who ask the server.
func (s *scan) quoted(deeper int) {
	content, _ := s.content(s.tok)
	if len(bytes.TrimSpace(content)) == 0 || !bytes.ContainsFunc(content, notOfAWord) {
		return // a word alone changes nothing: 'set' is what somebody compares with
	}
	inner := scan{reader: s.reader, live: true, body: true, unnamed: s.unnamed}
	inner.lexer.begin(content, s.dialect)
	inner.inside(deeper)
	s.touches |= inner.touches
	s.unit.Settings = append(s.unit.Settings, inner.unit.Settings...)
}

func notOfAWord(c rune) bool { return c != '_' && !unicode.IsLetter(c) && !unicode.IsDigit(c) }

// begins tells whether a statement of a body begins behind the token.
func (s *scan) begins(before token) bool {
	if before.kind == atEnd || s.at(before, ';') || s.at(before, '>') && s.at(s.back(2), '>') {
		return true // the last is the end of a label
	}
	var b nameBuffer
	return before.kind == word && beforeStatements[string(s.name(before, &b))]
}

var beforeStatements = setOf("begin", "atomic", "then", "else", "loop")

// changes reads a statement of a body that changes the server session, or the beginning of one.
func (s *scan) changes() {
	verb := s.verb()
	s.advances(verb)
	switch verb {
	case Set:
		s.set()
		s.computed()
	case Reset:
		n := len(s.unit.Settings)
		s.reset()
		for i := range s.unit.Settings[n:] {
			s.unit.Settings[n+i].Op = OpSet // it may have run, or not
		}
	case Create:
		s.creates()
	case Alter, Drop:
		if verb == Drop {
			s.touches |= TouchDrop
		}
		s.next()
		s.define(verb == Drop)
	case Discard:
		s.touches |= TouchDiscardOther // a function cannot DISCARD ALL
	case Prepare, Deallocate:
		s.touches |= TouchDynamic
	case Listen, Unlisten, Notify, Load, Close:
		s.touches |= simpleTouches[verb]
	case Insert, Update, Delete, Merge, With, Copy:
		s.does(&s.reader.unseen[UnseenWrites])
	case Execute:
		if !s.showsWhatItRuns() {
			s.touches |= TouchDynamic
		}
	}
	s.live = true
}

// computed forgets the name of the setting of the last SET where it is a piece of a name.
func (s *scan) computed() {
	if n := len(s.unit.Settings); n > 0 {
		if one := &s.unit.Settings[n-1]; len(one.Name) > 0 && one.Name[len(one.Name)-1] == '.' {
			one.Name = ""
		}
	}
}

// creates reads CREATE up to the kind of what is created.
func (s *scan) creates() {
	for s.next() && s.tok.kind == word && s.modifies() {
		if s.on("temp") || s.on("temporary") {
			s.touches |= TouchTemp
			return
		}
	}
	s.touches |= TouchCreates
	s.define(false)
}

// showsWhatItRuns tells whether EXECUTE, the last token, is followed by a string that says what it runs: one to which
// nothing is added, or the beginning of a statement that changes data, whatever is added to it.
func (s *scan) showsWhatItRuns() bool {
	l := s.lexer
	if l.next(); l.on("format") {
		l.next()
		l.next()
	}
	if l.tok.kind != literal {
		return false
	}
	content, _ := l.content(l.tok)
	l.next()
	return l.ended() || l.on("into") || l.on("using") || l.on("loop") || changesData(content)
}

// changesData tells whether a text begins a statement that changes data or tables, and evaluates but what it shows.
func changesData(text []byte) bool {
	var l lexer
	l.begin(text, Dialect{})
	l.next()
	switch l.verb() {
	case Insert, Update, Delete, Merge, Copy, Alter, Drop, Inert:
		return true
	case Create:
		l.next()
		return l.on("table") || l.on("index") || l.on("unique")
	}
	return false
}
