package session

import (
	"strings"
	"unicode/utf8"

	"github.com/lockproxy/lockproxy/protocol/sql"
)

// Values of settings may have letters that the client's encoding lacks: they were set under another one, or made by chr. A server that was
// asked for them would fail. So it tells a value by its bytes in its own encoding, as those are in bytea's escape format, which is
// the value itself where that is of ASCII and has no backslash; and in the same way it is told what has other letters.

// valueFrom and valueTo stand around an expression whose value is to be told so.
const (
	valueFrom = "pg_catalog.encode(pg_catalog.convert_to("
	valueTo   = ",pg_catalog.getdatabaseencoding()),'escape')"
)

// escaped begins a value that is kept as the server has told it: no value has a zero byte.
const escaped = "\x00"

// heardValue gives a value as the server has told it.
func heardValue(told []byte) string {
	text := string(told)
	if plain := strings.ReplaceAll(text, `\\`, ""); strings.Contains(plain, `\`) {
		return escaped + text
	}
	return strings.ReplaceAll(text, `\\`, `\`)
}

// appendValue writes an expression for a value.
func appendValue(dst []byte, value string) []byte {
	told, is := strings.CutPrefix(value, escaped)
	if !is {
		return sql.AppendLiteral(dst, value)
	}
	dst = append(dst, " pg_catalog.convert_from(pg_catalog.decode("...)
	dst = sql.AppendLiteral(dst, told)
	return append(dst, ",'escape'),pg_catalog.getdatabaseencoding())"...)
}

// hasLetters tells whether a text has other letters than ASCII's.
func hasLetters(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf })
}
