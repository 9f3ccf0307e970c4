package sql

import (
	"bytes"
	"slices"
)

// Texts says which arguments of a function are texts of SQL, or parts of them, that it runs.
type Texts struct {
	which uint8 // a bit for each, the first one's is 1
	of    uint8 // how many arguments such a call has; 0: whatever number
}

// textsOf are PostgreSQL's own functions that do. They run queries alone, whose functions may do anything. table_to_xml and the like
// run none but of tables and views, and what is called there is known.
var textsOf = map[string]Texts{
	"query_to_xml": {which: 1}, "query_to_xmlschema": {which: 1}, "query_to_xml_and_xmlschema": {which: 1},
	"ts_stat": {which: 1}, "ts_rewrite": {which: 1 << 1, of: 2},
}

// textsOfExtensions are those of tablefunc and xml2.
var textsOfExtensions = map[string]Texts{
	"crosstab": {which: 1 | 1<<1}, "crosstab2": {which: 1}, "crosstab3": {which: 1}, "crosstab4": {which: 1},
	"connectby": {which: 1 | 1<<1 | 1<<2 | 1<<3}, "xpath_table": {which: 1 | 1<<1 | 1<<2 | 1<<4},
}

// runsTexts tells whether a function of that name does, in whatever schema.
func (r *Reader) runsTexts(name []byte) bool {
	return slices.ContainsFunc(r.users[string(name)], func(f Function) bool { return f.RunsTexts() })
}

// Bounds of what is read of a call: its arguments, and the tokens of one that holds no text.
const (
	maxArguments = 8
	maxSkipped   = 64
)

// runs looks at a call, whose name is the last token, of a function that runs texts. They are read as bodies are; one that is put
// together may do anything. In a body they are read wherever they stand.
func (s *scan) runs(t Texts) {
	r := argumentReader{lexer: s.lexer}
	r.next()
	r.inside = r.depth
	n := 0
	for more := true; more; n++ {
		if n == maxArguments {
			r.lost = true
			break
		}
		more = r.argument(n, t.which)
	}
	if t.of > 0 && n != int(t.of) && !r.lost {
		return // it is another function of that name
	}
	for _, text := range r.texts[:r.count] {
		if !s.body {
			s.scanBody(text)
		}
	}
	if r.lost || r.unknown {
		s.touches |= TouchDynamic
		if !s.unnamed {
			s.setting(Setting{})
		}
	}
}

// argumentReader reads the arguments of a call, behind its parenthesis.
type argumentReader struct {
	lexer
	inside  int                 // how deep the parenthesis is
	texts   [maxArguments]token // the constants among those that are texts
	count   int
	unknown bool // a text is no constant
	lost    bool // the end was not found
}

// argument reads the next one, and the comma or parenthesis behind it; false if it is the last. Which tells which are texts. By name it
// may be any.
func (r *argumentReader) argument(n int, which uint8) (more bool) {
	isText := which>>n&1 != 0
	r.next()
	if named := r.lexer; r.tok.kind == word || r.tok.kind == quoted {
		if named.next(); (named.at(named.tok, '=') || named.at(named.tok, ':')) && named.next() && (named.at(named.tok, '>') || named.at(named.tok, '=')) {
			named.next()
			r.lexer, isText = named, true
		}
	}
	if isText && !r.constant() {
		r.unknown = true
	}
	r.lost = r.lost || !r.skip(r.inside, true)
	return !r.lost && r.at(r.tok, ',')
}

// skip reads on to the end of parentheses so deep, or to a comma in them; false if that is too far.
func (r *argumentReader) skip(inside int, comma bool) bool {
	for range maxSkipped {
		if r.depth < inside || comma && r.depth == inside && r.at(r.tok, ',') {
			return true
		}
		if !r.next() {
			break
		}
	}
	return false
}

// constant reads a constant up to what is behind it, and notes a string; false if there is anything else.
func (r *argumentReader) constant() bool {
	switch t := r.tok; {
	case t.kind == literal:
		if !r.note() {
			return false
		}
		r.castToText()
	case t.kind == number && r.text[t.start] != '$', r.on("true"), r.on("false"), r.on("null"):
		r.next()
	case r.on("format"):
		if !r.formatted() {
			return false
		}
	default:
		return false
	}
	return r.at(r.tok, ',') || r.at(r.tok, ')')
}

// formatted reads format('...', ...) where nothing but names of tables and constants is put into the string.
func (r *argumentReader) formatted() bool {
	if r.next(); !r.at(r.tok, '(') || !r.next() || r.tok.kind != literal {
		return false
	}
	content, _ := r.content(r.tok)
	if !putsNames(content) || !r.note() {
		return false
	}
	if r.castToText(); !r.at(r.tok, ',') || !r.skip(r.inside+1, false) {
		return false
	}
	return r.next()
}

// note notes the string that is the last token, and reads on; false if it cannot be read (U&, B, X).
func (r *argumentReader) note() bool {
	if c := r.text[r.tok.start]; c != '\'' && c != '$' && lower(c) != 'e' {
		return false
	}
	r.texts[r.count] = r.tok
	r.count++
	return r.next()
}

// castToText reads ::text, as PostgreSQL shows a constant that it has parsed.
func (l *lexer) castToText() {
	if l.at(l.tok, ':') && l.next() && l.at(l.tok, ':') && l.next() && l.on("text") {
		l.next()
	}
}

// putsNames tells whether a format puts nothing in that could be the name of a function: constants, and names that are not followed by
// what could be a call's parenthesis.
func putsNames(format []byte) bool {
	for {
		_, after, found := bytes.Cut(format, []byte("%"))
		if !found {
			return true
		}
		if len(after) == 0 || bytes.IndexByte([]byte("IL%"), after[0]) < 0 {
			return false
		}
		kind := after[0]
		format = after[1:]
		next := bytes.TrimLeft(format, " \t\r\n")
		if kind == 'I' && len(next) > 0 && !bytes.HasPrefix(next, []byte(".%I")) && bytes.IndexByte([]byte("(/-.\""), next[0]) >= 0 {
			return false
		}
		if kind != '%' && len(format) > 0 && part[format[0]] {
			return false
		}
	}
}
