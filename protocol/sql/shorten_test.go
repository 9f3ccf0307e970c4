package sql

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestShortenedTextsShowNoValues(t *testing.T) {
	for _, c := range []struct {
		text string
		d    Dialect
		want string
	}{
		{"SELECT 1", Dialect{}, "SELECT ?"},
		{" select\n\t'a''b' ,  x ", Dialect{}, "select ? , x"},
		{"SELECT $1::text, $12", Dialect{}, "SELECT $1::text, $12"},
		{"SELECT 1.5e-3, .5, 0x1F, 1_000", Dialect{}, "SELECT ?, ?, ?, ?"},
		{`SELECT E'a\'b', B'01', X'ff', U&'\0041' UESCAPE '!', N'n'`, Dialect{}, "SELECT ?, ?, ?, ?, N?"},
		{"SELECT $$a$$, $x$ 'b' $x$", Dialect{}, "SELECT ?, ?"},
		{"SELECT 'a'\n'b' -- secret\n FROM /* secret /* nested */ */ t", Dialect{}, "SELECT ? FROM t"},
		{`SELECT "a ""b""\n" FROM s."T"`, Dialect{}, `SELECT "a ""b""\n" FROM s."T"`},
		{`SELECT 'a\' , 'secret'`, Dialect{}, "SELECT ? , ?"},
		{`SELECT 'a\' , secret'`, Dialect{BackslashQuotes: true}, "SELECT ?"},
		{"ALTER ROLE app PASSWORD 'secr", Dialect{}, "ALTER ROLE app PASSWORD ?"},
		{"SELECT $a$ secr", Dialect{}, "SELECT ?"},
		{"SELECT /* secr", Dialect{}, "SELECT"},
		{"SELECT \xff\x00\x01 x", Dialect{}, "SELECT \ufffd   x"},
		{"", Dialect{}, ""},
	} {
		if got := Shorten([]byte(c.text), c.d, 1000); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}

func TestShortenedTextsAreCutBetweenCharacters(t *testing.T) {
	for size, want := range map[int]string{100: "SELECT äöü", 13: "SELECT äöü", 12: "SELECT ä...", 11: "SELECT ...", 3: "...", 0: "..."} {
		if got := Shorten([]byte("SELECT äöü"), Dialect{}, size); got != want {
			t.Errorf("%d bytes: %q, want %q", size, got, want)
		}
	}
}

// FuzzShorten holds that no literal of a text is shown, which is seen by reading what is shown once more.
func FuzzShorten(f *testing.F) {
	for _, r := range readTable(f) {
		if r.SQL != nil && len(*r.SQL) < 1<<10 {
			f.Add([]byte(*r.SQL), false, byte(0), uint16(200))
		}
	}
	f.Add([]byte("SELECT $$x$$, U&'x' UESCAPE '!', $1, 'a\\' b'"), true, byte(ShiftJIS), uint16(10))
	f.Fuzz(func(t *testing.T, text []byte, backslash bool, encoding byte, size uint16) {
		d := Dialect{BackslashQuotes: backslash, Encoding: Encoding(encoding % 4)}
		got := Shorten(text, d, int(size))
		if len(got) > max(int(size), 3) || !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r\x00") {
			t.Errorf("%q in %d bytes: %q", text, size, got)
		}
		var l lexer
		for l.begin([]byte(got), Dialect{BackslashQuotes: backslash}); l.next(); {
			if l.tok.kind == literal || l.tok.kind == number && got[l.tok.start] != '$' {
				t.Errorf("%q shows a literal: %q", text, got)
			}
		}
	})
}
