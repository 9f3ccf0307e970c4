package sql

// shape is how the output list of a SELECT is read: column by column, a second time, since only lock statements of one
// statement need it.
type shape struct {
	lexer
	columns [8]Effect
	count   int // of columns so far
	calls   int // how many of them are a call of a lock function
	foreign bool
}

// shape tells whether the calls that were found are each an output column of one plain SELECT without FROM, or the one
// function of SELECT * FROM, and which. Nothing else is evaluated once for each row, and shown unchanged.
func (s *scan) shape() ([8]Effect, bool) {
	h := shape{lexer: lexer{text: s.text, source: s.source, dialect: s.dialect, pos: int(s.first)}}
	h.next()
	h.next()
	if h.at(h.tok, '*') {
		if !h.table() {
			return [8]Effect{}, false
		}
	} else if !h.list() {
		return [8]Effect{}, false
	}
	// A function that returns a set has every other column evaluated once more, after the last row.
	if h.calls != s.unit.Calls || h.count > 1 && h.foreign {
		return [8]Effect{}, false
	}
	return h.columns, true
}

// table reads SELECT * FROM call [AS] alias.
func (h *shape) table() bool {
	if h.next(); !h.on("from") {
		return false
	}
	h.next()
	e, ok := h.lockCall()
	if !ok || !h.label() || !h.ended() {
		return false
	}
	return h.column(e)
}

// list reads the output list up to the end of the statement.
func (h *shape) list() bool {
	for {
		if !h.item() {
			return false
		}
		if h.ended() {
			return true
		}
		h.next()
	}
}

// item reads an output column, and the comma or the end after it.
func (h *shape) item() bool {
	before := h.lexer
	open := 0
	for h.at(h.tok, '(') {
		h.next()
		open++
	}
	e, ok := h.lockCall()
	if !ok {
		h.lexer = before
		return h.expression() && h.column(0)
	}
	for ; open > 0; open-- {
		if !h.at(h.tok, ')') {
			return false
		}
		h.next()
	}
	return h.label() && (h.ended() || h.at(h.tok, ',')) && h.column(e)
}

func (h *shape) column(e Effect) bool {
	if e != 0 {
		h.calls++
		if h.count >= len(h.columns) {
			return false
		}
		h.columns[h.count] = e
	}
	h.count++
	return true
}

// lockCall reads a call of one of PostgreSQL's lock functions, and the token after it.
func (h *shape) lockCall() (e Effect, ok bool) {
	var b nameBuffer
	var schema nameBuffer
	var within []byte
	for h.tok.kind == word || h.tok.kind == quoted {
		name := h.name(h.tok, &b)
		h.next()
		if h.at(h.tok, '.') {
			within = append(schema[:0], name...)
			h.next()
			continue
		}
		e = lockFunctions[string(name)]
		if e == 0 || !h.at(h.tok, '(') || len(within) > 0 && string(within) != "pg_catalog" {
			return 0, false
		}
		return e, h.arguments(e)
	}
	return 0, false
}

// arguments reads the arguments of a call of that effect, and the token after them. It is false if they are such that no
// lock function takes them: none, by name, VARIADIC, a number or a string that is no bigint.
func (h *shape) arguments(e Effect) bool {
	inside := h.depth
	start := true // of an argument
	for h.next() {
		if h.depth < inside {
			break
		}
		if h.depth == inside {
			// The commas, and => between a name and its value.
			if h.at(h.tok, '>') && h.at(h.back(1), '=') || h.at(h.tok, '=') && h.at(h.back(1), ':') {
				return false
			}
			if start && (h.on("variadic") || h.alone() && !bigint(h.text[h.tok.start:h.tok.end])) {
				return false
			}
		}
		start = h.depth == inside && (h.at(h.tok, ',') || start && h.at(h.tok, '-'))
		h.noteCall()
	}
	none := h.at(h.back(1), '(')
	h.next()
	return none == (e == UnlockAll)
}

// alone tells whether the last token is a number or a string, and a whole argument.
func (h *shape) alone() bool {
	if h.tok.kind != number && h.tok.kind != literal || h.text[h.tok.start] == '$' {
		return false
	}
	next := h.peek()
	return h.at(next, ',') || h.at(next, ')')
}

// bigint tells whether the text is a number that fits into a bigint, maybe in quotes.
func bigint(text []byte) bool {
	const largest = "9223372036854775807"
	if len(text) > 2 && text[0] == '\'' {
		text = text[1 : len(text)-1]
		if text[0] == '-' {
			text = text[1:]
		}
	}
	for _, c := range text {
		if classes[c] != digit {
			return false
		}
	}
	return len(text) > 0 && (len(text) < len(largest) || len(text) == len(largest) && string(text) <= largest)
}

// label reads the column's name, if there is one.
func (h *shape) label() bool {
	if h.on("as") {
		h.next()
		if h.tok.kind != word && h.tok.kind != quoted {
			return false
		}
		h.next()
		return true
	}
	if h.on("isnull") || h.on("notnull") {
		return false // operators after their operand
	}
	if h.tok.kind == word || h.tok.kind == quoted {
		h.next()
	}
	return true
}

// expression reads a column without lock calls, and the comma or the end after it. It is false at what makes more columns
// or other rows of it.
func (h *shape) expression() bool {
	outside := h.depth
	if h.at(h.tok, '(') {
		outside--
	}
	for first := true; ; first = false {
		switch {
		case h.ended(), h.depth == outside && h.at(h.tok, ','):
			return !first
		case h.at(h.tok, '*') && (first || h.at(h.back(1), '.')):
			return false
		case h.tok.kind == word && h.depth == outside && h.clause():
			return false
		}
		h.noteCall()
		h.next()
	}
}

// clause tells whether the last token begins a clause after the output list.
func (h *shape) clause() bool {
	var b nameBuffer
	return clauses[string(h.name(h.tok, &b))]
}

var clauses = setOf("distinct", "from", "into", "where", "group", "having", "window", "union", "intersect", "except",
	"order", "limit", "offset", "fetch", "for")

// noteCall notes that the last token is a parenthesis after the name of a function that may return a set.
func (h *shape) noteCall() {
	before := h.back(1)
	if !h.at(h.tok, '(') || before.kind != word && before.kind != quoted {
		return
	}
	var b nameBuffer
	if !scalars[string(h.name(before, &b))] {
		h.foreign = true
	}
}

// scalars are the functions, types and keywords before a parenthesis that are known not to return a set.
var scalars = setOf("abs", "all", "and", "any", "array", "bit", "case", "cast", "char", "char_length", "clock_timestamp",
	"coalesce", "concat", "current_database", "current_setting", "decode", "else", "encode", "exists", "extract", "format",
	"greatest", "hashtext", "hashtextextended", "in", "least", "left", "length", "lower", "max", "md5", "min", "not", "now",
	"nullif", "numeric", "or", "pg_backend_pid", "random", "right", "row", "select", "sha224", "sha256", "sha384",
	"sha512", "statement_timestamp", "substr", "substring", "then", "timestamp", "timestamptz", "txid_current", "upper",
	"varchar", "version", "when")
