package sql

// scan is one reading of one text.
type scan struct {
	lexer
	reader  *Reader
	unit    Unit
	live    bool  // the server evaluates what stands here
	stores  bool  // it keeps it, to evaluate it some other time
	updates bool  // the statement is an UPDATE
	body    bool  // this is the inside of a DO block
	unnamed bool  // it is that of what nothing names where it runs
	control bool  // a transaction begins or ends in this text
	shown   bool  // the first statement is a plain SELECT: its rows may tell of locks
	first   int32 // where the first statement begins
	effects Effect
	touches Touch // of the statement
	frames  [4]frame
	open    int         // frames in use
	calls   *[]LockCall // the calls that are found; nil: nobody asks
}

// frame is a call whose arguments are being read.
type frame struct {
	depth   int32 // of its parenthesis
	setting bool  // set_config; else a lock function
	name    token // of set_config: the literal that names the setting
	from    int32 // of a lock function: where its arguments begin
}

// statement reads a statement with its semicolon; false at the end of the text.
func (s *scan) statement() bool {
	for {
		if !s.next() {
			return false
		}
		if !s.ended() {
			break
		}
	}
	s.live, s.stores, s.effects, s.touches = true, false, 0, 0
	verb, from := s.verb(), s.tok.start
	s.unit.Statements++
	if s.unit.Statements == 1 {
		s.unit.Verb, s.first = verb, from
		s.shown = verb == Select && s.on("select")
	}
	settings := len(s.unit.Settings)
	s.dispatch(verb)
	for i := settings; i < len(s.unit.Settings); i++ {
		if one := &s.unit.Settings[i]; one.Op != OpSet {
			one.Index, one.End = s.unit.Statements-1, int(s.back(1).end)
		}
	}
	s.looksOnly(verb, from)
	if s.reader.hidden {
		s.unseen(verb)
	}
	s.unit.Lock |= s.effects
	s.unit.Touches |= s.touches
	return true
}

// looksOnly forgets of a statement that keeps nothing that it asks for the server's process id: to look at it, or to compare with it, is
// not to count on it. From is where the statement begins.
func (s *scan) looksOnly(verb Verb, from int32) {
	if s.touches.Has(TouchPid) && (verb == Select || verb == Delete || verb == With && !s.withChanges(from)) {
		s.touches &^= TouchPid
	}
}

// withChanges tells whether a WITH changes data, or makes a table.
func (s *scan) withChanges(from int32) bool {
	l := lexer{text: s.text, source: s.source, dialect: s.dialect, pos: int(from)}
	for l.next() && !l.ended() {
		if l.tok.kind == word && changesRows(&l) {
			return true
		}
	}
	return false
}

// unseen notes what functions do that a statement may call without naming them.
func (s *scan) unseen(verb Verb) {
	switch verb {
	case Begin, Commit, Rollback, RollbackTo, Savepoint, Release, Set, Reset, Show, Prepare, Deallocate, Discard, Listen,
		Unlisten, Notify, Load:
		return
	case Select, Declare, Fetch, Move, Close:
	default:
		s.does(&s.reader.unseen[UnseenWrites])
	}
	s.does(&s.reader.unseen[UnseenAlways])
}

// dispatch reads the rest of the statement, after its verb.
func (s *scan) dispatch(verb Verb) {
	s.advances(verb)
	switch verb {
	case Select, Insert, Update, Delete, Merge, With, Other:
		s.rest()
	case Copy:
		s.unit.Copies = true
		s.rest()
	case Call:
		s.touches |= TouchDynamic
		s.rest()
	case Do:
		s.touches |= TouchDynamic
		s.do()
	case Begin:
		s.beginTransaction()
	case Commit, Rollback:
		s.finishTransaction(verb)
	case Set:
		s.set()
	case Reset:
		s.reset()
	case Prepare:
		s.prepare()
	case Execute:
		s.execute(true)
	case Deallocate:
		s.deallocate()
	case Discard:
		s.discard()
	case Declare:
		s.declare()
	case Explain:
		s.explain()
	case Create:
		s.create()
	case Alter:
		s.alter()
	case Drop:
		s.touches |= TouchDrop | TouchSchema
		s.next()
		s.define(true)
		s.administer(Drop)
		s.skip()
	default:
		s.touches |= simpleTouches[verb]
		s.skip()
	}
}

// advances notes that a statement with that verb may move sequences that it does not name: by the default of a column, or by what it runs.
// An UPDATE does if it says DEFAULT.
func (s *scan) advances(verb Verb) {
	s.updates = verb == Update
	switch verb {
	case With, Insert, Merge, Copy, Call, Do:
		s.touches |= TouchAdvance
	}
}

// simpleTouches are those of commands that need no other look.
var simpleTouches = [Other + 1]Touch{
	Listen:   TouchListen,
	Notify:   TouchNotify,
	Unlisten: TouchUnlisten,
	Close:    TouchClose,
	Load:     TouchLoad,
}

// skip reads the rest of a statement that evaluates nothing of its text.
func (s *scan) skip() {
	s.live = false
	s.rest()
}

// rest reads to the end of the statement. Semicolons in parentheses, as in CREATE RULE, do not end it.
func (s *scan) rest() {
	if s.ended() {
		return
	}
	for {
		s.skim(&s.reader.wanted)
		if !s.next() || s.ended() {
			return
		}
		s.consider()
	}
}

// consider looks at the last token, as a part of an expression.
func (s *scan) consider() {
	t := s.tok
	switch t.kind {
	case word:
		if s.reader.wanted.has(s.text[t.start], int(t.end-t.start)) {
			s.candidate()
		}
	case quoted:
		// What is written with Unicode escapes has another length than the name.
		if s.text[t.start] != '"' || s.wantedQuoted(t.start+1, t.end-1) {
			s.candidate()
		}
	case symbol, operator:
		if s.open > 0 && s.text[t.start] == ')' {
			s.closeFrame()
		}
	}
}

// wantedQuoted tells whether a name between quotes is worth a look.
func (s *scan) wantedQuoted(from, to int32) bool {
	return to > from && s.reader.wanted.has(s.text[from], int(to-from))
}

// finish settles what the whole text alone can tell.
func (s *scan) finish() {
	u := &s.unit
	if u.Statements != 1 {
		u.Begin, u.End = BeginNone, EndNone
		u.TransactionInside = s.control
	}
	if u.Calls != 1 {
		u.Key = Span{}
	}
	if u.Calls > 0 && u.Statements == 1 && s.shown && u.Lock&Unknown == 0 {
		u.Columns, u.Simple = s.shape()
	}
}
