package sql

// kind is the kind of a token.
type kind uint8

const (
	atEnd    kind = iota // the text is at its end; also what was before its start
	word                 // a keyword or an unquoted name
	quoted               // a quoted name: "...", or U&"..." with its UESCAPE
	literal              // a string of any sort, with its continuations
	number               // a number, or a parameter
	symbol               // one byte of anything else
	operator             // a closing parenthesis after which an operand follows: OPERATOR(...), DISTINCT ON (...)
)

// token is a part of the text. Texts are shorter than 2 GiB, as messages are.
type token struct {
	kind       kind
	start, end int32
}

// depths is how deep parentheses are remembered.
const depths = 64

// lexer splits a text into tokens, as src/backend/parser/scan.l does. Operators come as single symbols, which is all
// that is needed: a comment may begin within a run of operator characters.
type lexer struct {
	text       []byte // what tokens are found in: where bytes only look like ASCII, a copy without them
	source     []byte // what was sent
	dialect    Dialect
	pos        int      // of the first byte that was not read
	depth      int      // of open parentheses and brackets
	expectant  uint64   // by depth: the parenthesis there is one after whose end an operand follows
	tok        token    // the last token
	past       [8]token // the last ones, by tokensRead
	tokensRead uint8
}

// wanted says of names by first byte and length (a bit; 63 stands for longer ones as well) which are worth a look.
type wanted [256]uint64

// has tells whether a name of n bytes that begins with c is worth a look. Most are not.
func (w *wanted) has(c byte, n int) bool { return w[c]>>min(uint(n), nameSize)&1 != 0 }

// begin makes l, which is empty, read that text.
func (l *lexer) begin(text []byte, d Dialect) {
	l.text, l.source, l.dialect = d.Encoding.mask(text), text, d
}

// next reads a token; false at the end.
func (l *lexer) next() bool {
	text, i := l.text, l.pos
	for i < len(text) {
		c := text[i]
		class := classes[c]
		if class == blank {
			i++
			continue
		}
		if class == letter {
			end := i + 1
			for end < len(text) && part[text[end]] {
				end++
			}
			if end-i == 1 && prefixes(text, end) && l.prefixed(i) {
				return true
			}
			return l.took(word, i, end)
		}
		switch class {
		case digit:
			return l.took(number, i, numberEnd(text, i))
		case apostrophe:
			return l.took(literal, i, l.stringEnd(i+1, l.dialect.BackslashQuotes))
		case quotes:
			return l.took(quoted, i, closing(text, i+1, '"'))
		case dollar:
			return l.dollar(i)
		case bracket:
			return l.bracket(c, i)
		case comment:
			if end := commentEnd(text, i); end > i {
				i = end
				continue
			}
		case dot:
			if fraction(text, i+1) {
				return l.took(number, i, numberEnd(text, i))
			}
		}
		return l.took(symbol, i, i+1)
	}
	return l.took(atEnd, len(text), len(text))
}

// skim reads words that are not wanted, and operators, as next would: most of what is read is such, and costs less here.
// The next token may be of any kind.
func (l *lexer) skim(w *wanted) {
	text, i, n := l.text, l.pos, l.tokensRead
	for i < len(text) {
		c := text[i]
		class := classes[c]
		if class == blank {
			i++
			continue
		}
		end, k := i+1, symbol
		if class == letter {
			for end < len(text) && part[text[end]] {
				end++
			}
			if k = word; w.has(c, end-i) || end-i == 1 && prefixes(text, end) {
				break
			}
		} else if class != other && (class != dot || fraction(text, end)) {
			break
		}
		n++
		l.past[n%8] = token{k, int32(i), int32(end)}
		i = end
	}
	l.pos, l.tokensRead, l.tok = i, n, l.past[n%8]
}

// took notes the token that was read. It is stored twice, since copying it right after would have to wait for the store.
func (l *lexer) took(k kind, start, end int) bool {
	l.tokensRead++
	t := token{k, int32(start), int32(end)}
	l.tok, l.past[l.tokensRead%8] = t, t
	l.pos = end
	return k != atEnd
}

// bracket reads ( ) [ or ].
func (l *lexer) bracket(c byte, at int) bool {
	k := symbol
	if c == '(' || c == '[' {
		bit := uint64(1) << l.depth // 0 where it is too deep
		l.expectant &^= bit
		if l.tok.kind == word && l.operandFollows() {
			l.expectant |= bit
		}
		l.depth++
		return l.took(k, at, at+1)
	}
	if l.depth > 0 {
		l.depth--
	}
	// What is deeper than remembered counts as one that an operand follows: in doubt a name there is a call.
	if l.depth >= depths || l.expectant&(uint64(1)<<l.depth) != 0 {
		k = operator
	}
	return l.took(k, at, at+1)
}

// operandFollows tells whether after the parentheses that open now an operand follows, without anything between.
func (l *lexer) operandFollows() bool {
	switch l.tok.end - l.tok.start {
	case 2:
		return l.is(l.tok, "on") && l.is(l.back(1), "distinct")
	case 8:
		return l.is(l.tok, "operator")
	}
	return false
}

// back gives the token n before the last one; n is at most 7.
func (l *lexer) back(n int) token { return l.past[(l.tokensRead-uint8(n))%8] }

// peek gives the token that comes next.
func (l *lexer) peek() token {
	ahead := *l
	ahead.next()
	return ahead.tok
}

// is tells whether t is the keyword, which is written in lower case.
func (l *lexer) is(t token, keyword string) bool {
	if t.kind != word || int(t.end-t.start) != len(keyword) {
		return false
	}
	for i := range len(keyword) {
		if lower(l.text[int(t.start)+i]) != keyword[i] {
			return false
		}
	}
	return true
}

// on tells whether the last token is the keyword.
func (l *lexer) on(keyword string) bool { return l.is(l.tok, keyword) }

// at tells whether t is that symbol.
func (l *lexer) at(t token, c byte) bool { return t.kind >= symbol && l.text[t.start] == c }

// ended tells whether the last token ends a statement.
func (l *lexer) ended() bool {
	return l.tok.kind == atEnd || l.tok.kind == symbol && l.text[l.tok.start] == ';' && l.depth == 0
}
