package sim

import (
	"strconv"
	"strings"
)

// The small language that scripted servers understand: what scripted applications and the sessions themselves say. It
// is PostgreSQL's as far as it goes; anything else is a failure of the simulation.

// verb says what a statement does.
type verb uint8

const (
	vSelect verb = iota + 1
	vInsert
	vBegin
	vCommit
	vRollback
	vSavepoint
	vRollbackTo
	vReleaseSavepoint
	vSet
	vResetAll
	vShow
	vDiscardAll
	vPrepare
	vExecute
	vDeallocate
	vDeallocateAll
	vListen
	vUnlisten
	vCopyIn
	vCopyOut
	vDo
	vAskLocks
	vAskSettings
	vAskSetting
	vAskActing
	vAskPins
	vAskNames
	vAskShared
	vAskElevated
	vAskVersion
	vAskCurrent
)

// statement is one statement of a text.
type statement struct {
	verb    verb
	text    string
	name    string     // of a savepoint, a setting, a prepared statement or a channel
	value   operand    // of SET and INSERT
	local   bool       // SET LOCAL
	reset   bool       // SET ... TO DEFAULT, RESET
	columns []call     // of a SELECT's output, or the one call of a DO
	where   *call      // of a SELECT
	rows    int        // that a SELECT goes through
	params  int        // the highest $n
	inner   *statement // of PREPARE
}

// call is one output column: a function with its arguments, or, without a name, its only argument.
type call struct {
	fn   string
	args []operand
}

// operand is a constant, a parameter, or the number of the row.
type operand struct {
	text  string
	null  bool
	param int // from 1; 0: none
	row   bool
}

// exits tells whether a failed transaction takes the statement (postgres.c, IsTransactionExitStmt).
func (s *statement) exits() bool {
	return s.verb == vCommit || s.verb == vRollback || s.verb == vRollbackTo
}

// hasRows tells whether the statement gives rows.
func (s *statement) hasRows() bool {
	switch s.verb {
	case vSelect, vShow, vAskLocks, vAskSettings, vAskSetting, vAskActing, vAskPins, vAskNames, vAskShared, vAskElevated, vAskVersion, vAskCurrent:
		return true
	}
	return false
}

// word is one token: kind 'w' a word in lower case or a quoted identifier, 's' a string, 'n' a number, '$' a
// parameter, else the character itself; 0 at the end.
type word struct {
	kind byte
	text string
}

// cut cuts a text into tokens; false: it has some that no statement here has.
func cut(text string) (list []word, ok bool) {
	for i := 0; i < len(text); {
		start := i
		switch c := text[i]; {
		case c == ' ' || c == '\n':
			i++
		case c == '\'' || (c == 'E' || c == 'e') && i+1 < len(text) && text[i+1] == '\'':
			if c != '\'' {
				i++
			}
			value, n := quotedString(text[i:], c != '\'')
			if n == 0 {
				return nil, false
			}
			list, i = append(list, word{'s', value}), i+n
		case c == '"':
			n := strings.IndexByte(text[i+1:], '"')
			if n < 0 {
				return nil, false
			}
			list, i = append(list, word{'w', text[i+1 : i+1+n]}), i+n+2
		case letter(c):
			for i < len(text) && (letter(text[i]) || digit(text[i])) {
				i++
			}
			list = append(list, word{'w', strings.ToLower(text[start:i])})
		case digit(c) || c == '$':
			for i++; i < len(text) && (digit(text[i]) || text[i] == '.'); i++ {
			}
			kind := byte('n')
			if c == '$' {
				kind, start = '$', start+1
			}
			list = append(list, word{kind, text[start:i]})
		default:
			list, i = append(list, word{c, text[i : i+1]}), i+1
		}
	}
	return list, true
}

func letter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }

func digit(c byte) bool { return c >= '0' && c <= '9' }

// quotedString reads a string constant and gives its size; 0: it does not end.
func quotedString(text string, escapes bool) (value string, size int) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\'' && i+1 < len(text) && text[i+1] == '\'', c == '\\' && escapes && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		case c == '\'':
			return b.String(), i + 1
		default:
			b.WriteByte(c)
		}
	}
	return "", 0
}

// understand reads a text. It gives false for one that PostgreSQL would call a syntax error, and what is not
// understood at all for the simulation to fail with.
func understand(text string) (list []*statement, ok bool, unknown string) {
	words, ok := cut(text)
	if !ok {
		return nil, false, ""
	}
	for len(words) > 0 {
		n := 0
		for n < len(words) && words[n].kind != ';' {
			n++
		}
		if n > 0 {
			r := reader{words: words[:n]}
			s := r.statement()
			switch {
			case r.syntax:
				return nil, false, ""
			case s == nil || !r.ended():
				return nil, false, text
			}
			s.text = text
			list = append(list, s)
		}
		words = words[min(n+1, len(words)):]
	}
	return list, true, ""
}

// reader reads one statement.
type reader struct {
	words  []word
	syntax bool // it is one that PostgreSQL would not take either
	params int
}

func (r *reader) ended() bool { return len(r.words) == 0 }

func (r *reader) peek() word {
	if r.ended() {
		return word{}
	}
	return r.words[0]
}

func (r *reader) next() word {
	w := r.peek()
	if !r.ended() {
		r.words = r.words[1:]
	}
	return w
}

// take takes the words if they are next.
func (r *reader) take(words ...string) bool {
	if len(r.words) < len(words) {
		return false
	}
	for i, want := range words {
		if r.words[i].text != want || r.words[i].kind == 's' {
			return false
		}
	}
	r.words = r.words[len(words):]
	return true
}

// name reads a name with its dots.
func (r *reader) name() string {
	name := r.next().text
	for r.peek().kind == '.' {
		r.next()
		name += "." + r.next().text
	}
	return name
}

// plain are the statements that are told by their first words and end with a name, if with anything.
var plain = []struct {
	words string
	verb  verb
	named bool
}{
	{"begin", vBegin, false}, {"start transaction", vBegin, false}, {"commit", vCommit, false}, {"end", vCommit, false},
	{"rollback to savepoint", vRollbackTo, true}, {"rollback", vRollback, false}, {"abort", vRollback, false},
	{"savepoint", vSavepoint, true}, {"release savepoint", vReleaseSavepoint, true}, {"reset all", vResetAll, false},
	{"show", vShow, true}, {"discard all", vDiscardAll, false}, {"deallocate all", vDeallocateAll, false},
	{"deallocate", vDeallocate, true}, {"execute", vExecute, true}, {"listen", vListen, true},
	{"unlisten *", vUnlisten, false}, {"copy t from stdin", vCopyIn, false},
}

func (r *reader) statement() *statement {
	for _, p := range plain {
		if r.take(strings.Fields(p.words)...) {
			s := &statement{verb: p.verb}
			if p.named {
				s.name = r.name()
			}
			return s
		}
	}
	switch {
	case r.take("selec"):
		r.syntax = true
		return nil
	case r.take("select"):
		return r.selection()
	case r.take("insert", "into", "t", "values", "("):
		s := &statement{verb: vInsert, value: r.operand(), params: r.params}
		r.take(")")
		s.params = r.params
		return s
	case r.take("reset"):
		return &statement{verb: vSet, name: r.name(), reset: true}
	case r.take("set"):
		return r.setting()
	case r.take("prepare"):
		s := &statement{verb: vPrepare, name: r.name()}
		r.take("as")
		if s.inner = r.statement(); s.inner == nil {
			return nil
		}
		return s
	case r.take("copy", "(", "select"):
		s := r.selection()
		if s == nil || !r.take(")", "to", "stdout") {
			return nil
		}
		s.verb = vCopyOut
		return s
	case r.take("do"):
		return r.block()
	}
	return nil
}

func (r *reader) setting() *statement {
	s := &statement{verb: vSet, local: r.take("local"), name: r.name()}
	if !r.take("to") && !r.take("=") {
		return nil
	}
	if s.reset = r.take("default"); !s.reset {
		s.value = r.operand()
	}
	return s
}

// block reads DO 'begin perform f(...); end'.
func (r *reader) block() *statement {
	words, ok := cut(r.next().text)
	inner := reader{words: words}
	if !ok || !inner.take("begin", "perform") {
		return nil
	}
	c, ok := inner.call()
	if !ok || !inner.take(";", "end") {
		return nil
	}
	return &statement{verb: vDo, columns: []call{c}, rows: 1}
}

// selection reads what follows SELECT. The questions that sessions ask have shapes of their own.
func (r *reader) selection() *statement {
	if s := r.question(); s != nil {
		return s
	}
	s := &statement{verb: vSelect, rows: 1}
	if r.take("pg_catalog", ".", "int4in", "(", "pg_catalog", ".", "textout", "(") { // of proxy/session/tellnames.go
		s.columns = []call{{fn: "int4in", args: []operand{r.operand()}}}
		if !r.take(")", ")") {
			return nil
		}
		return s
	}
	for {
		c, ok := r.call()
		if !ok {
			return nil
		}
		if s.columns = append(s.columns, c); !r.take(",") {
			break
		}
	}
	if r.take("from", "generate_series", "(", "1", ",") {
		s.rows, _ = strconv.Atoi(r.next().text)
		if !r.take(")", "k") {
			return nil
		}
	}
	if r.take("where") {
		c, ok := r.call()
		if !ok {
			return nil
		}
		s.where = &c
	}
	s.params = r.params
	return s
}

// The questions of proxy/session/locks.go, behind SELECT, as they are cut: a change there is to be noticed here.
const (
	questionLocks = "l , pg_catalog . count ( * ) , null from pg_catalog . pg_locks where locktype operator ( pg_catalog . = )" +
		" advisory and granted and pid operator ( pg_catalog . = ) pg_catalog . pg_backend_pid ( )"
	bytesOf         = "pg_catalog . encode ( pg_catalog . convert_to ( "
	inTheEnd        = " , pg_catalog . getdatabaseencoding ( ) ) , escape )"
	questionSetting = "s , %s , ( select " + bytesOf + "setting" + inTheEnd + " from pg_catalog . pg_settings where source operator ( pg_catalog . = ) session" +
		" and pg_catalog . lower ( name ) operator ( pg_catalog . = ) %s )"
	questionActing   = "s , %s , case when pg_catalog . current_setting ( %s ) operator ( pg_catalog . < > ) "
	questionPins     = "p , ( select pg_catalog . count ( * ) from pg_catalog . pg_depend where refclassid operator ( pg_catalog . = ) "
	questionNames    = "n , name , statement from pg_catalog . pg_prepared_statements where name operator ( pg_catalog . ! ~ ) ^lockproxy_"
	questionShared   = "o , pg_catalog . concat (   , pg_catalog . string_agg ( name ,   ) ) , null from pg_catalog . pg_prepared_statements where name operator ( pg_catalog . ~ ) ^lockproxy_[0-9]"
	questionElevated = "e , pg_catalog . count ( * ) , null from pg_catalog . pg_settings where source operator ( pg_catalog . = ) session and context "
	questionVersion  = "f , pg_catalog . concat ( ( select pg_catalog . concat ( pg_catalog . count ( * ) , "
	questionCurrent  = "s , %s , " + bytesOf + "pg_catalog . current_setting ( %s , true )" + inTheEnd
	questionSettings = "s , name , " + bytesOf + "setting" + inTheEnd + " from pg_catalog . pg_settings where source operator ( pg_catalog . = ) session"
)

func (r *reader) question() *statement {
	if r.peek().kind != 's' || len(r.words) < 14 {
		return nil
	}
	texts := make([]string, len(r.words))
	for i, w := range r.words {
		texts[i] = w.text
	}
	s := &statement{rows: 1, columns: make([]call, 3)}
	switch text := strings.Join(texts, " "); {
	case strings.HasPrefix(text, strings.ReplaceAll(questionActing, "%s", r.words[2].text)):
		s.verb, s.name = vAskActing, r.words[2].text
	case strings.HasPrefix(text, questionVersion):
		s.verb = vAskVersion
	case strings.HasPrefix(text, questionPins):
		s.verb = vAskPins
	case text == questionNames:
		s.verb = vAskNames
	case strings.HasPrefix(text, questionElevated):
		s.verb = vAskElevated
	case text == questionShared:
		s.verb = vAskShared
	case text == strings.ReplaceAll(questionSetting, "%s", r.words[2].text):
		s.verb, s.name = vAskSetting, r.words[2].text
	case text == strings.ReplaceAll(questionCurrent, "%s", r.words[2].text):
		s.verb, s.name = vAskCurrent, r.words[2].text
	case text == questionLocks:
		s.verb = vAskLocks
	case text == questionSettings:
		s.verb = vAskSettings
	default:
		return nil
	}
	r.words = nil
	return s
}

// call reads an output column.
func (r *reader) call() (c call, ok bool) {
	if k := r.peek().kind; k != 'w' || r.peek().text == "null" || r.peek().text == "k" {
		c.args = []operand{r.operand()}
		return c, true
	}
	c.fn = strings.TrimPrefix(r.name(), "pg_catalog.")
	if !r.take("(") {
		return c, false
	}
	for !r.take(")") {
		if r.ended() {
			return c, false
		}
		c.args = append(c.args, r.operand())
		r.take(",")
	}
	return c, true
}

func (r *reader) operand() operand {
	switch w := r.next(); {
	case w.kind == '$':
		n, _ := strconv.Atoi(w.text)
		r.params = max(r.params, n)
		return operand{param: n}
	case w.kind == 'w' && w.text == "null":
		return operand{null: true}
	case w.kind == 'w' && w.text == "k":
		return operand{row: true}
	default:
		return operand{text: w.text}
	}
}
