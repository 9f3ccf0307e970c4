package sql

import (
	"unicode/utf16"
	"unicode/utf8"
)

// nameSize is the longest name in bytes: NAMEDATALEN - 1. Longer ones are cut.
const nameSize = 63

// nameBuffer has room for one name.
type nameBuffer [nameSize + utf8.UTFMax]byte

// name gives the name that the token stands for: folded or unquoted, and cut. It lies in b.
func (l *lexer) name(t token, b *nameBuffer) []byte {
	text := l.text[t.start:t.end]
	switch {
	case t.kind == word:
		n := 0
		for ; n < len(text) && n <= nameSize; n++ {
			b[n] = lower(text[n])
			if text[n] >= 0x80 {
				b[n] = l.source[int(t.start)+n]
			}
		}
		return cut(b[:n])
	case t.kind != quoted:
		return b[:0]
	case text[0] == '"':
		return l.unquoted(t, b)
	}
	return l.unescaped(t, b)
}

// unquoted gives the name in "...", where a doubled quote is one.
func (l *lexer) unquoted(t token, b *nameBuffer) []byte {
	n := 0
	for i := t.start + 1; i < t.end && n <= nameSize; i++ {
		if l.text[i] == '"' {
			i++
			if i >= t.end {
				break
			}
		}
		b[n] = l.source[i]
		n++
	}
	return cut(b[:n])
}

// unescaped gives the name in U&"..." (parser.c: str_udeescape). One that is not valid gives what can be read of it.
func (l *lexer) unescaped(t token, b *nameBuffer) []byte {
	text, escape := l.source[t.start+3:t.end], byte('\\')
	if last := len(text) - 1; last > 0 && text[last] == '\'' {
		escape = text[last-1]
	}
	n, high := 0, rune(0)
	for i := 0; i < len(text) && n <= nameSize; {
		c := text[i]
		switch {
		case c == '"' && (i+1 >= len(text) || text[i+1] != '"'):
			return cut(b[:n])
		case c == '"' || c == escape && i+1 < len(text) && text[i+1] == escape:
			b[n] = c
			n++
			i += 2
		case c != escape:
			b[n] = c
			n++
			i++
		default:
			r, size := codePoint(text[i+1:])
			i += 1 + size
			if high != 0 {
				r, high = utf16.DecodeRune(high, r), 0
			} else if utf16.IsSurrogate(r) {
				high = r
				continue
			}
			n += utf8.EncodeRune(b[n:], r)
		}
	}
	return cut(b[:n])
}

// codePoint reads the XXXX or +XXXXXX of an escape, and gives the number of its bytes.
func codePoint(p []byte) (rune, int) {
	from, to := 0, 4
	if len(p) > 0 && p[0] == '+' {
		from, to = 1, 7
	}
	r := rune(0)
	for i := from; i < to; i++ {
		if i >= len(p) || hexValue(p[i]) < 0 {
			return utf8.RuneError, i
		}
		r = r<<4 | hexValue(p[i])
	}
	return r, to
}

func hexValue(c byte) rune {
	switch c = lower(c); {
	case c >= '0' && c <= '9':
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10
	}
	return -1
}

// cut cuts a name that is too long, between characters of UTF-8 (src/backend/utils/mb/mbutils.c: pg_mbcliplen).
func cut(name []byte) []byte {
	if len(name) <= nameSize {
		return name
	}
	n := nameSize
	for n > 0 && n > nameSize-utf8.UTFMax && name[n]&0xc0 == 0x80 {
		n--
	}
	return name[:n]
}

// content gives what a string literal holds. It is a part of the source if the literal is dollar-quoted (offset tells
// where it lies), else a new slice, and offset is -1. Unicode escapes are left as they are.
func (l *lexer) content(t token) (inside []byte, offset int) {
	text := l.text[t.start:t.end]
	if text[0] == '$' {
		from := tagEnd(text, 0)
		to := max(from, len(text)-from)
		return l.source[int(t.start)+from : int(t.start)+to], int(t.start) + from
	}
	backslash := l.dialect.BackslashQuotes && text[0] == '\'' || lower(text[0]) == 'e'
	inside = make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		// Outside of the quotes: the prefix, or what stands between two parts.
		if text[i] == '-' {
			i = commentEnd(text, i) - 1
		}
		if text[i] != '\'' {
			continue
		}
		inside, i = l.inside(inside, t, i+1, backslash)
	}
	return inside, -1
}

// inside appends the inside of a part of the literal t from i on, and gives where its closing quote is.
func (l *lexer) inside(dst []byte, t token, i int, backslash bool) ([]byte, int) {
	text, source := l.text[t.start:t.end], l.source[t.start:t.end]
	for ; i < len(text); i++ {
		switch {
		case text[i] == '\'' && (i+1 >= len(text) || text[i+1] != '\''):
			return dst, i
		case text[i] == '\'':
			i++
			dst = append(dst, '\'')
		case text[i] == '\\' && backslash && i+1 < len(text):
			var size int
			dst, size = appendEscaped(dst, source[i+1:])
			i += size
		default:
			dst = append(dst, source[i])
		}
	}
	return dst, i
}

// appendEscaped appends what the escape means whose bytes after the backslash p begins with, and gives their number.
// (Manual, "String Constants with C-Style Escapes".)
func appendEscaped(dst, p []byte) ([]byte, int) {
	c := p[0]
	switch c {
	case 'b':
		return append(dst, '\b'), 1
	case 'f':
		return append(dst, '\f'), 1
	case 'n':
		return append(dst, '\n'), 1
	case 'r':
		return append(dst, '\r'), 1
	case 't':
		return append(dst, '\t'), 1
	case 'v':
		return append(dst, '\v'), 1
	case 'x', 'u', 'U':
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
		v, n := escapedNumber(p[1:], digits, 16)
		switch {
		case n == 0:
			return append(dst, c), 1
		case c == 'x':
			return append(dst, byte(v)), 1 + n
		}
		return utf8.AppendRune(dst, v), 1 + n
	}
	if v, n := escapedNumber(p, 3, 8); n > 0 {
		return append(dst, byte(v)), n
	}
	return append(dst, c), 1
}

// escapedNumber reads at most the number of digits, to that base.
func escapedNumber(p []byte, digits int, base rune) (v rune, n int) {
	for n < digits && n < len(p) {
		d := hexValue(p[n])
		if d < 0 || d >= base {
			break
		}
		v = v*base + d
		n++
	}
	return v, n
}
