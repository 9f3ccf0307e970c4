package sql

// AppendSets appends a text that does nothing but set settings, by SET or by queries of set_config alone, with literals in place of its
// parameters: it can be run as a simple query wherever that is to be done again. It gives false, and dst as it was, where the text does
// anything else, or where a value is NULL or of a type that is not known to be a text.
func AppendSets(dst, text []byte, d Dialect, values Values) (_ []byte, ok bool) {
	r := setsReader{out: dst, values: values}
	r.begin(text, d)
	for r.next(); r.tok.kind != atEnd; r.next() {
		switch {
		case r.at(r.tok, ';'):
			continue
		case r.on("set"):
			ok = r.set()
		case r.on("select"):
			ok = r.query()
		default:
			ok = false
		}
		if !ok {
			return dst, false
		}
	}
	return append(r.out, r.source[r.copied:]...), ok
}

// setsReader reads such a text and copies it.
type setsReader struct {
	lexer
	values Values
	out    []byte
	copied int32 // so much of the source is in out, in words of the literals' own
}

// set reads what follows SET.
func (r *setsReader) set() bool {
	r.next()
	if r.on("constraints") || r.on("transaction") || r.on("session") && r.is(r.peek(), "characteristics") {
		return false
	}
	for !r.ended() {
		r.next()
	}
	return true
}

// query reads what follows SELECT: calls of set_config, maybe with a name each.
func (r *setsReader) query() bool {
	for {
		if r.next(); !r.config() {
			return false
		}
		if r.on("as") {
			if r.next(); r.tok.kind != word && r.tok.kind != quoted {
				return false
			}
			r.next()
		}
		if !r.at(r.tok, ',') {
			return r.ended()
		}
	}
}

// config reads a call of set_config, and the token after it.
func (r *setsReader) config() bool {
	if r.on("pg_catalog") {
		if r.next(); !r.at(r.tok, '.') {
			return false
		}
		r.next()
	}
	if !r.on("set_config") {
		return false
	}
	if r.next(); !r.at(r.tok, '(') {
		return false
	}
	for range 2 { // the name and the value
		if r.next(); !r.text1() || !r.at(r.tok, ',') {
			return false
		}
	}
	if r.next(); !r.on("true") && !r.on("false") && r.tok.kind != literal {
		return false
	}
	r.next()
	closed := r.at(r.tok, ')')
	r.next()
	return closed
}

// text1 reads a literal or a parameter with its casts, and the token after it.
func (r *setsReader) text1() bool {
	t, binary := r.tok, false
	switch {
	case t.kind == literal:
	case t.kind == number && r.text[t.start] == '$':
		n, ok := parseInteger(r.text[t.start+1:t.end], false)
		if !ok || r.values == nil {
			return false
		}
		value, isBinary, ok := r.values.Value(int(n))
		if binary = isBinary; !ok || r.dialect.Encoding != Plain && anyHigh(value) {
			return false
		}
		r.out = AppendLiteral(append(r.out, r.source[r.copied:t.start]...), value)
		r.copied = t.end
	default:
		return false
	}
	for r.next(); r.at(r.tok, ':'); r.next() {
		if r.next(); !r.at(r.tok, ':') {
			return false
		}
		if r.next(); r.tok.kind != word || binary && !r.on("text") && !r.on("varchar") {
			return false // which gives the bytes a meaning of their own
		}
	}
	return true
}
