package sql

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
	"unicode/utf8"
)

// LockCall is one call of a function that takes or releases advisory locks.
type LockCall struct {
	Function  string // its name, without the schema
	Effect    Effect
	Shared    bool
	Statement int // which of the text calls it, from 0; empty ones do not count

	arguments []byte // what stands behind the opening parenthesis
}

// maxLockCalls bounds the calls that are looked at in one text.
const maxLockCalls = 16

// LockCalls adds to a list the calls of lock functions that Read counts in a text, the first few of them. They hold parts
// of the text.
func (r *Reader) LockCalls(list *[]LockCall, text []byte, d Dialect) {
	s := scan{reader: r, calls: list}
	s.lexer.begin(text, d)
	for s.statement() {
	}
}

// LockKey is an advisory lock's key as pg_locks shows it. Sub is 1 for a bigint, whose upper half is the class, and 2 for
// two integers (manual, "pg_locks").
type LockKey struct {
	Class, Object uint32
	Sub           uint16
}

// String gives the key as the lock functions take it.
func (k LockKey) String() string {
	if k.Sub == 2 {
		return strconv.Itoa(int(int32(k.Class))) + ", " + strconv.Itoa(int(int32(k.Object)))
	}
	return strconv.FormatInt(int64(uint64(k.Class)<<32|uint64(k.Object)), 10)
}

// Values are what the parameters of a statement stand for.
type Values interface {
	// Value gives that of parameter n, from 1, as it was bound. Ok is false where it is NULL or not known.
	Value(n int) (value []byte, binary, ok bool)
}

// AppendName appends the application's words for the lock that is asked for, as many bytes as dst has room for: the text
// that is hashed, the numbers that are given, or else how the key is made. Of a function that is not PostgreSQL's own it
// is the call. Where the text and the values tell which key that is, known is true.
func (c *LockCall) AppendName(dst []byte, d Dialect, values Values) (name []byte, key LockKey, known bool) {
	r := keyReader{values: values, name: dst, foreign: c.Effect&Unknown != 0}
	r.begin(c.arguments, d)
	if r.foreign {
		r.put(c.Function)
		r.put("(")
	}
	keys, n, known := r.arguments()
	if r.foreign {
		r.put(")")
		return r.name, LockKey{}, false
	}
	switch {
	case known && n == 1:
		key = LockKey{uint32(uint64(keys[0]) >> 32), uint32(keys[0]), 1}
	case known && n == 2 && fitsInteger(keys[0]) && fitsInteger(keys[1]):
		key = LockKey{uint32(keys[0]), uint32(keys[1]), 2}
	default:
		return r.name, LockKey{}, false
	}
	return r.name, key, true
}

func fitsInteger(n int64) bool { return n >= math.MinInt32 && n <= math.MaxInt32 }

// keyReader reads the arguments of a lock function, as far as they are numbers, strings, parameters and hashes of them.
type keyReader struct {
	lexer
	values  Values
	name    []byte
	foreign bool // the function is not PostgreSQL's own: its arguments may be anything
}

// operand is what an expression comes to: a number, a text, or a parameter of which its use will tell.
type operand struct {
	kind   operandKind
	number int64
	text   []byte // of a hash: what was hashed
	binary bool   // the text is a parameter in binary
}

type operandKind uint8

const (
	ofText operandKind = iota
	ofNumber
	ofHash
	ofParameter
)

// nesting bounds how deep expressions are followed.
const nesting = 8

// arguments reads the arguments up to the closing parenthesis, and puts their names. Known tells that all are integers
// that are known; keys holds the first two.
func (r *keyReader) arguments() (keys [2]int64, n int, known bool) {
	known = true
	if r.next(); r.at(r.tok, ')') {
		return keys, 0, true
	}
	for {
		before, ok := r.lexer, false
		v, read := r.expression(nesting)
		if read = read && (r.at(r.tok, ',') || r.at(r.tok, ')')); read {
			var key int64
			if key, ok = v.integer(); n < len(keys) {
				keys[n] = key
			}
			r.putOperand(&v)
		} else {
			r.lexer = before
			r.copyExpression()
		}
		known = known && ok
		if n++; !r.at(r.tok, ',') || r.tok.kind == atEnd {
			return keys, n, known && r.tok.kind != atEnd
		}
		r.put(", ")
		r.next()
	}
}

// expression reads an operand with its casts, and the token after it.
func (r *keyReader) expression(deep int) (v operand, ok bool) {
	if deep == 0 {
		return v, false
	}
	if v, ok = r.primary(deep); !ok {
		return v, false
	}
	for r.at(r.tok, ':') {
		if r.next(); !r.at(r.tok, ':') {
			return v, false
		}
		r.next()
		if v, ok = r.cast(v); !ok {
			return v, false
		}
	}
	return v, true
}

func (r *keyReader) primary(deep int) (v operand, ok bool) {
	t := r.tok
	switch {
	case t.kind == literal:
		if c := r.text[t.start]; c != '\'' && c != '$' && lower(c) != 'e' {
			return v, false
		}
		v.text, _ = r.content(t)
		r.next()
		return v, true
	case t.kind == number && r.text[t.start] == '$':
		return r.parameter()
	case t.kind == number:
		return r.digits(false)
	case r.at(t, '-'):
		if r.next(); r.tok.kind != number || r.text[r.tok.start] == '$' {
			return v, false
		}
		return r.digits(true)
	case r.at(t, '('):
		r.next()
		if v, ok = r.expression(deep - 1); !ok || !r.at(r.tok, ')') {
			return v, false
		}
		r.next()
		return v, true
	case t.kind == word || t.kind == quoted:
		return r.call(deep)
	}
	return v, false
}

func (r *keyReader) digits(negative bool) (v operand, ok bool) {
	t := r.text[r.tok.start:r.tok.end]
	n, ok := parseInteger(t, negative)
	r.next()
	return operand{kind: ofNumber, number: n}, ok
}

// parseInteger reads decimal digits. It allocates nothing.
func parseInteger(digits []byte, negative bool) (n int64, ok bool) {
	if len(digits) == 0 || len(digits) > len("9223372036854775808") {
		return 0, false
	}
	u := uint64(0)
	for _, c := range digits {
		if classes[c] != digit {
			return 0, false
		}
		u = 10*u + uint64(c-'0')
	}
	if negative {
		return -int64(u), u <= 1<<63
	}
	return int64(u), u < 1<<63
}

func (r *keyReader) parameter() (v operand, ok bool) {
	n, err := strconv.Atoi(string(r.text[r.tok.start+1 : r.tok.end]))
	r.next()
	if err != nil || r.values == nil {
		return v, false
	}
	v.kind = ofParameter
	v.text, v.binary, ok = r.values.Value(n)
	return v, ok
}

// builtin reads a name that may say that it is PostgreSQL's own.
func (r *keyReader) builtin() string {
	var b nameBuffer
	name := string(r.lexer.name(r.tok, &b))
	r.next()
	if name == "pg_catalog" && r.at(r.tok, '.') {
		r.next()
		name = string(r.lexer.name(r.tok, &b))
		r.next()
	}
	return name
}

// call reads CAST(... AS type), hashtext(...) or hashtextextended(...).
func (r *keyReader) call(deep int) (v operand, ok bool) {
	name := r.builtin()
	if name != "cast" && name != "hashtext" && name != "hashtextextended" || !r.at(r.tok, '(') {
		return v, false
	}
	r.next()
	if v, ok = r.expression(deep - 1); !ok {
		return v, false
	}
	switch name {
	case "cast":
		if !r.on("as") {
			return v, false
		}
		r.next()
		v, ok = r.cast(v)
	case "hashtext":
		if v.text, ok = v.hashable(); ok {
			v.kind, v.number = ofHash, int64(hashText(v.text))
		}
	default:
		if v.text, ok = v.hashable(); !ok || !r.at(r.tok, ',') {
			return v, false
		}
		r.next()
		var seed operand
		if seed, ok = r.expression(deep - 1); ok {
			var n int64
			n, ok = seed.integer()
			v.kind, v.number = ofHash, hashTextExtended(v.text, n)
		}
	}
	ok = ok && r.at(r.tok, ')')
	r.next()
	return v, ok
}

// cast reads the name of a type, and makes the operand one of it.
func (r *keyReader) cast(v operand) (operand, bool) {
	name := r.builtin()
	switch name {
	case "text", "varchar":
		if r.at(r.tok, '(') { // a length, which may cut
			return v, false
		}
		if v.kind == ofNumber || v.kind == ofHash {
			return operand{text: strconv.AppendInt(nil, v.number, 10)}, true
		}
		v.kind = ofText
		return v, true
	case "int8", "bigint", "int4", "int", "integer":
		n, ok := v.integer()
		if v.number = n; v.kind != ofHash {
			v.kind = ofNumber
		}
		return v, ok && (name == "int8" || name == "bigint" || fitsInteger(n))
	}
	return v, false
}

// hashable gives the text that is hashed.
func (v *operand) hashable() ([]byte, bool) {
	return v.text, v.kind == ofText || v.kind == ofParameter
}

// integer gives the number that the operand is, or is converted to where an integer is wanted.
func (v *operand) integer() (int64, bool) {
	switch {
	case v.kind == ofNumber || v.kind == ofHash:
		return v.number, true
	case v.binary && len(v.text) == 8:
		return int64(binary.BigEndian.Uint64(v.text)), v.kind == ofParameter
	case v.binary && len(v.text) == 4:
		return int64(int32(binary.BigEndian.Uint32(v.text))), v.kind == ofParameter
	case v.binary || len(v.text) > 20:
		return 0, false
	}
	digits, negative := bytes.CutPrefix(v.text, []byte("-"))
	return parseInteger(digits, negative)
}

// put appends to the name, as much as there is room for.
func (r *keyReader) put(text string) {
	r.name = append(r.name, text[:min(len(text), cap(r.name)-len(r.name))]...)
}

func (r *keyReader) putBytes(p []byte) {
	r.name = append(r.name, p[:min(len(p), cap(r.name)-len(r.name))]...)
}

func (r *keyReader) putOperand(v *operand) {
	switch n, ok := v.integer(); {
	case v.kind == ofNumber, v.kind == ofParameter && v.binary && ok && !(r.foreign && printable(v.text)):
		var b [20]byte
		r.putBytes(strconv.AppendInt(b[:0], n, 10))
	case v.binary && !printable(v.text):
		r.put(`\x`)
		r.put(hex.EncodeToString(v.text[:min(len(v.text), cap(r.name))]))
	default:
		r.putBytes(v.text)
	}
}

func printable(p []byte) bool {
	for _, c := range p {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return utf8.Valid(p)
}

// copyExpression puts an argument as it is written, with the values of its parameters, and reads the token after it.
func (r *keyReader) copyExpression() {
	begin, end := r.tok.start, r.tok.start
	for open := 0; r.tok.kind != atEnd; {
		t := r.tok
		switch {
		case r.at(t, '('), r.at(t, '['):
			open++
		case open == 0 && (r.at(t, ')') || r.at(t, ']') || r.at(t, ',')):
			return
		case r.at(t, ')'), r.at(t, ']'):
			open--
		}
		if t.start > end && t.start > begin {
			r.put(" ")
		}
		end = t.end
		r.copyToken()
	}
}

// copyToken puts a token, and reads the next.
func (r *keyReader) copyToken() {
	if t := r.tok; t.kind != number || r.text[t.start] != '$' {
		r.putBytes(r.source[t.start:t.end])
		r.next()
		return
	}
	v, ok := r.parameter()
	if !ok {
		r.put("?")
		return
	}
	r.putOperand(&v)
}
