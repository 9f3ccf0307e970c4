package sql

import (
	"strings"
	"unicode/utf8"
)

// Shorten gives a text in one line, for people: without comments, with a ? in place of every string and number, and cut to
// size bytes, dots included. Parameters and names stay as they are. A text that was cut before may be given: what it
// breaks off in counts as begun.
func Shorten(text []byte, d Dialect, size int) string {
	var l lexer
	l.begin(text, d)
	var b strings.Builder
	end := 0
	for l.next() && b.Len() <= size {
		if t := l.tok; b.Len() > 0 && int(t.start) > end {
			b.WriteByte(' ')
		}
		end = int(l.tok.end)
		b.WriteString(l.shown())
	}
	return Cut(b.String(), size)
}

// shown is the last token as people may see it.
func (l *lexer) shown() string {
	switch t := l.tok; {
	case t.kind == literal, t.kind == number && l.text[t.start] != '$':
		return "?"
	default:
		return OneLine(l.text[t.start:t.end])
	}
}

// OneLine gives a text without what breaks lines or steers terminals, and with U+FFFD for what is no UTF-8.
func OneLine(text []byte) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ', r == 0x7f:
			return ' '
		case r >= 0x80 && r < 0xa0, r == '\u2028', r == '\u2029':
			return utf8.RuneError // a letter, as it was to the lexer
		}
		return r
	}, string(text))
}

// Cut gives the beginning of a text that is longer than size bytes, with dots behind it. It cuts no character.
func Cut(text string, size int) string {
	const dots = "..."
	if len(text) <= size {
		return text
	}
	end := max(0, size-len(dots))
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + dots
}
