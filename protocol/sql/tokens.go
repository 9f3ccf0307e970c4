package sql

// Token is a part of a text that is no SQL but written like it: a command of the console.
type Token struct {
	Kind     TokenKind
	Text     string // of a name or a string in quotes: what is in them
	From, To int    // where it stands in the text
}

// TokenKind tells what a Token is.
type TokenKind uint8

const (
	Word   TokenKind = iota // as it was written, upper case or lower
	Quoted                  // a name in double quotes
	String                  // in single quotes
	Number
	Symbol // one byte of anything else
)

// Tokens reads a text as PostgreSQL would, comments left out. Quotes that do not end do so at the text's end.
func Tokens(text []byte) []Token {
	var l lexer
	l.begin(text, Dialect{})
	var all []Token
	for l.next() {
		t := Token{From: int(l.tok.start), To: int(l.tok.end)}
		switch raw := text[t.From:t.To]; l.tok.kind {
		case word:
			t.Kind, t.Text = Word, string(raw)
		case quoted:
			t.Kind, t.Text = Quoted, between(raw, '"')
		case literal:
			t.Kind, t.Text = String, between(raw, '\'')
		case number:
			t.Kind, t.Text = Number, string(raw)
		default:
			t.Kind, t.Text = Symbol, string(raw)
		}
		all = append(all, t)
	}
	return all
}

// between gives what is in quotes, doubled ones taken for one. What begins otherwise, such as E” and U&"", is left as it is.
func between(raw []byte, q byte) string {
	if raw[0] != q {
		return string(raw)
	}
	var in []byte
	for i := 1; i < len(raw); i++ {
		if raw[i] == q {
			if i++; i >= len(raw) {
				break
			}
		}
		in = append(in, raw[i])
	}
	return string(in)
}
