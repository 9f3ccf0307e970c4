package sql

import "bytes"

// The class of a byte says what a token that begins with it may be.
const (
	other = iota // an operator's, a comma, or no part of any token
	blank
	letter
	digit
	apostrophe
	quotes
	dollar
	bracket
	comment
	dot
	semicolon
)

var (
	classes = classTable()
	part    = partTable() // may continue a name: scan.l's ident_cont
)

func classTable() (t [256]uint8) {
	for c := range 256 {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80:
			t[c] = letter
		case c >= '0' && c <= '9':
			t[c] = digit
		}
	}
	for _, c := range " \t\n\r\f\v" {
		t[c] = blank
	}
	for _, c := range "()[]" {
		t[c] = bracket
	}
	t['\''], t['"'], t['$'], t['.'] = apostrophe, quotes, dollar, dot
	t['-'], t['/'], t[';'] = comment, comment, semicolon
	return t
}

func partTable() (t [256]bool) {
	for c, class := range classTable() {
		t[c] = class == letter || class == digit || c == '$'
	}
	return t
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// prefixes tells whether the letter that ends at i may be the prefix of a string or of a quoted name.
func prefixes(text []byte, i int) bool { return i < len(text) && (text[i] == '\'' || text[i] == '&') }

// fraction tells whether a dot that ends at i begins a number.
func fraction(text []byte, i int) bool { return i < len(text) && classes[text[i]] == digit }

// prefixed reads what follows a letter that may begin E”, B”, X”, U&” or U&"". The letter alone before a plain
// string (N”) needs nothing: it is a keyword, and then a string.
func (l *lexer) prefixed(i int) bool {
	text, c := l.text, lower(l.text[i])
	switch {
	case text[i+1] == '\'' && c == 'e':
		return l.took(literal, i, l.stringEnd(i+2, true))
	case text[i+1] == '\'' && (c == 'b' || c == 'x'):
		return l.took(literal, i, l.stringEnd(i+2, false))
	case text[i+1] != '&' || c != 'u' || i+2 >= len(text):
		return false
	case text[i+2] == '\'':
		return l.took(literal, i, l.escapeEnd(l.stringEnd(i+3, false)))
	case text[i+2] == '"':
		return l.took(quoted, i, l.escapeEnd(closing(text, i+3, '"')))
	}
	return false
}

// escapeEnd gives the end of the UESCAPE 'c' that follows at i, or i if there is none (parser.c's base_yylex).
func (l *lexer) escapeEnd(i int) int {
	const keyword = "uescape"
	text := l.text
	at := skipBlank(text, i)
	end := at + len(keyword)
	if end >= len(text) || part[text[end]] || !bytes.EqualFold(text[at:end], []byte(keyword)) {
		return i
	}
	if end = skipBlank(text, end); end < len(text) && text[end] == '\'' {
		return closing(text, end+1, '\'')
	}
	return i
}

// skipBlank gives the end of the white space and the comments at i.
func skipBlank(text []byte, i int) int {
	for i < len(text) {
		if classes[text[i]] == blank {
			i++
			continue
		}
		end := commentEnd(text, i)
		if end == i {
			break
		}
		i = end
	}
	return i
}

// closing gives the end of what is quoted with q, whose inside begins at i. A doubled q does not end it.
func closing(text []byte, i int, q byte) int {
	for i < len(text) {
		n := bytes.IndexByte(text[i:], q)
		if n < 0 {
			break
		}
		i += n + 1
		if i >= len(text) || text[i] != q {
			return i
		}
		i++
	}
	return len(text)
}

// stringEnd gives the end of a string whose inside begins at i, with the parts that continue it on later lines.
func (l *lexer) stringEnd(i int, backslash bool) int {
	for {
		if backslash {
			i = closingEscaped(l.text, i)
		} else {
			i = closing(l.text, i, '\'')
		}
		if i >= len(l.text) || classes[l.text[i]] != blank && l.text[i] != '-' {
			return i
		}
		inside := continuation(l.text, i)
		if inside < 0 {
			return i
		}
		i = inside
	}
}

// closingEscaped is closing for strings in which a backslash takes the next byte's meaning away.
func closingEscaped(text []byte, i int) int {
	for ; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '\'':
			if i+1 >= len(text) || text[i+1] != '\'' {
				return i + 1
			}
			i++
		}
	}
	return len(text)
}

// continuation gives where the inside of a string's next part begins: after white space with a line end in it and a
// quote (scan.l: quotecontinue). Line comments count as white space, others do not. -1 if the string does not go on.
func continuation(text []byte, i int) int {
	line := false
	for i < len(text) {
		c := text[i]
		switch {
		case c == '\n' || c == '\r':
			line = true
		case c == '-' && i+1 < len(text) && text[i+1] == '-':
			i = commentEnd(text, i)
			continue
		case c == '\'' && line:
			return i + 1
		case classes[c] != blank:
			return -1
		}
		i++
	}
	return -1
}

// commentEnd gives the end of the comment at i; i if there is none. Comments nest; a line's ends at its line end.
func commentEnd(text []byte, i int) int {
	if i+1 >= len(text) {
		return i
	}
	switch {
	case text[i] == '-' && text[i+1] == '-':
		n := bytes.IndexAny(text[i:], "\n\r")
		if n < 0 {
			return len(text)
		}
		return i + n
	case text[i] == '/' && text[i+1] == '*':
		return nestedEnd(text, i)
	}
	return i
}

func nestedEnd(text []byte, i int) int {
	for open := 0; i+1 < len(text); i++ {
		switch {
		case text[i] == '/' && text[i+1] == '*':
			open++
			i++
		case text[i] == '*' && text[i+1] == '/':
			open--
			i++
			if open == 0 {
				return i + 1
			}
		}
	}
	return len(text)
}

// numberEnd gives the end of the number at i, with letters that touch it.
func numberEnd(text []byte, i int) int {
	i = digitsEnd(text, i)
	if i < len(text) && text[i] == '.' {
		i = digitsEnd(text, i+1)
	}
	if i < len(text) && classes[text[i]] == letter {
		exponent := lower(text[i]) == 'e'
		for i < len(text) && part[text[i]] {
			i++
		}
		signed := i+1 < len(text) && (text[i] == '+' || text[i] == '-') && classes[text[i+1]] == digit
		if exponent && signed && lower(text[i-1]) == 'e' {
			i = digitsEnd(text, i+1)
		}
	}
	return i
}

func digitsEnd(text []byte, i int) int {
	for i < len(text) && classes[text[i]] == digit {
		i++
	}
	return i
}

// dollar reads a parameter, a dollar-quoted string or a lonely dollar.
func (l *lexer) dollar(i int) bool {
	text := l.text
	if i+1 < len(text) && classes[text[i+1]] == digit {
		return l.took(number, i, digitsEnd(text, i+1))
	}
	inside := tagEnd(text, i)
	if inside < 0 {
		return l.took(symbol, i, i+1)
	}
	n := bytes.Index(text[inside:], text[i:inside])
	if n < 0 {
		return l.took(literal, i, len(text))
	}
	return l.took(literal, i, inside+n+inside-i)
}

// tagEnd gives where the inside of the dollar-quoted string at i begins, -1 if none begins there.
func tagEnd(text []byte, i int) int {
	for i++; i < len(text) && text[i] != '$'; i++ {
		if !part[text[i]] {
			return -1
		}
	}
	if i >= len(text) {
		return -1
	}
	return i + 1
}

// AppendLiteral appends a string constant that means the same whatever standard_conforming_strings says (manual,
// "String Constants with C-Style Escapes"). Its encoding is one in which no byte only looks like ASCII.
func AppendLiteral[T string | []byte](dst []byte, value T) []byte {
	dst = append(dst, " E'"...)
	for i := range len(value) {
		if c := value[i]; c == '\'' || c == '\\' {
			dst = append(dst, c)
		}
		dst = append(dst, value[i])
	}
	return append(dst, '\'')
}
