package sql

// AppendAgain appends a text that can be run again in another transaction, with literals in place of its parameters: as a simple query, behind
// what it came behind. It does nothing but begin, set settings, by SET or by queries of set_config alone, or keep savepoints. Settings is how
// many it sets. Ok is false where the text does anything else, or a value is NULL or of a type that is not known to be a text; nothing is
// appended then.
func AppendAgain(dst, text []byte, d Dialect, values Values) (_ []byte, settings int, ok bool) {
	r := againReader{out: dst, values: values}
	r.begin(text, d)
	for r.next(); r.tok.kind != atEnd; r.next() {
		if r.at(r.tok, ';') {
			continue
		}
		if ok = r.statement(); !ok {
			break
		}
	}
	if !ok {
		return dst, 0, false
	}
	return append(r.out, r.source[r.copied:]...), r.settings, true
}

// againReader reads such a text and copies it.
type againReader struct {
	lexer
	values   Values
	out      []byte
	copied   int32 // so much of the source is in out
	settings int
}

// statement reads a statement, and the token that ends it.
func (r *againReader) statement() bool {
	switch {
	case r.on("select"):
		return r.query()
	case r.on("begin") || r.on("start"):
		return r.mode()
	case r.on("set"):
		r.next()
		switch {
		case r.on("session") && r.is(r.peek(), "characteristics"):
			return false
		case r.on("transaction"):
			return r.mode()
		case !r.on("constraints"):
			r.settings++
		}
	case r.on("rollback"):
		if r.next(); r.on("work") || r.on("transaction") {
			r.next()
		}
		if !r.on("to") {
			return false
		}
	case !r.on("savepoint") && !r.on("release"):
		return false
	}
	for !r.ended() {
		r.next()
	}
	return true
}

// mode reads how a transaction runs. It gives false where it matters when that began to read.
func (r *againReader) mode() bool {
	for r.next(); !r.ended(); r.next() {
		if r.on("snapshot") || r.on("repeatable") || r.on("serializable") {
			return false
		}
	}
	return true
}

// query reads what follows SELECT: calls of set_config, maybe with a name each.
func (r *againReader) query() bool {
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
func (r *againReader) config() bool {
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
	r.settings++
	for range 2 { // the name and the value
		if r.next(); !r.constant() || !r.at(r.tok, ',') {
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

// constant reads a literal, a number or a parameter with its casts, and the token after it.
func (r *againReader) constant() bool {
	t, binary := r.tok, false
	switch {
	case t.kind == literal, t.kind == number && r.text[t.start] != '$':
	case t.kind == number:
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
