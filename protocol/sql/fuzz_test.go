package sql

import (
	"reflect"
	"slices"
	"testing"
)

// FuzzRead holds that any bytes can be read, that comments before a text change nothing, and that what a Unit says
// fits together.
func FuzzRead(f *testing.F) {
	for _, r := range readTable(f) {
		if r.SQL != nil && len(*r.SQL) < 1<<10 {
			f.Add([]byte(*r.SQL), false, byte(0))
		}
	}
	for _, text := range []string{"U&\"a\" UESCAPE '", "E'\\", "$a$", "/*/", "'a'\n--", "1.e", "DO E'\\u", "U&\"\\d800\\dc00\"(",
		"SELECT \x95\x5c'", "CREATE FUNCTION f() BEGIN ATOMIC", "EXPLAIN (ANALYZE", "SET", "set_config('"} {
		f.Add([]byte(text), true, byte(ShiftJIS))
	}
	r := mustReader(f, "app.acquire", "u\u00e4")
	f.Fuzz(func(t *testing.T, text []byte, backslash bool, encoding byte) {
		d := Dialect{BackslashQuotes: backslash, Encoding: Encoding(encoding % 4)}
		u := r.Read(text, d)
		checkUnit(t, text, &u)
		const before = " /* ' */ -- \"\n"
		padded := r.Read(append([]byte(before), text...), d)
		if u.Key != (Span{}) {
			u.Key.From += len(before)
			u.Key.To += len(before)
		}
		for i := range u.Prepared {
			if op := &u.Prepared[i]; op.Op == OpPrepare || op.Op == OpExecute {
				op.Text.From += len(before)
				op.Text.To += len(before)
			}
		}
		for i := range u.Settings {
			if one := &u.Settings[i]; one.Op != OpSet {
				one.End += len(before)
			}
		}
		if !reflect.DeepEqual(u, padded) {
			t.Errorf("a comment before it changes %q: %+v, %+v", text, u, padded)
		}
		FirstWord(text)
	})
}

func checkUnit(t *testing.T, text []byte, u *Unit) {
	calls := 0
	for _, e := range u.Columns {
		if e != 0 {
			calls++
		}
	}
	switch {
	case (u.Calls > 0) != (u.Lock != 0):
		t.Errorf("%q: %d calls with effects %b", text, u.Calls, u.Lock)
	case u.Simple && (u.Statements != 1 || u.Verb != Select || calls != u.Calls || u.Calls == 0):
		t.Errorf("%q: simple, but %+v", text, u)
	case !u.Simple && calls != 0:
		t.Errorf("%q: not simple, but with columns", text)
	case slices.ContainsFunc(u.Settings, func(one Setting) bool {
		return one.Op != OpSet && (one.End == 0 || one.End > len(text) || one.Index >= u.Statements)
	}):
		t.Errorf("%q: settings %v", text, u.Settings)
	case u.Key.From > u.Key.To || u.Key.To > len(text) || u.Key != Span{} && u.Calls != 1:
		t.Errorf("%q: key %v", text, u.Key)
	case u.Statements != 1 && (u.Begin != BeginNone || u.End != EndNone), u.Statements < 2 && u.TransactionInside:
		t.Errorf("%q: %+v", text, u)
	case (u.Statements == 0) != (u.Verb == NoVerb):
		t.Errorf("%q: %d statements, verb %d", text, u.Statements, u.Verb)
	case u.Touches.Has(TouchSettings) && u.Settings == nil, u.Touches.Has(TouchPrepare) && u.Prepared == nil:
		t.Errorf("%q: touches without names", text)
	}
}

// fuzzValues gives each parameter the same value.
type fuzzValues []byte

func (v fuzzValues) Value(int) (value []byte, binary, ok bool) { return v, false, true }

// FuzzAppendAgain holds that a text that can be run again is itself where it has no parameters, and that a value is a value and nothing else.
func FuzzAppendAgain(f *testing.F) {
	for _, text := range []string{"SET a.b = 'c'; SAVEPOINT d", "SELECT set_config('a.b', $1::text, true) AS x, pg_catalog.set_config($2, E'\\'', 'f')", "BEGIN READ ONLY;;ROLLBACK TO a",
		"SET TRANSACTION SNAPSHOT '1'", "select set_config('a', $99999999999999999999, true", "release", "SET a = $a$;$a$"} {
		f.Add([]byte(text), []byte("it's \\"), true, byte(0))
	}
	r := mustReader(f)
	f.Fuzz(func(t *testing.T, text, value []byte, backslash bool, encoding byte) {
		d := Dialect{BackslashQuotes: backslash, Encoding: Encoding(encoding % 4)}
		bare, settings, ok := AppendAgain([]byte("x"), text, d, nil)
		if ok && string(bare[1:]) != string(text) || !ok && string(bare) != "x" {
			t.Errorf("%q is done again as %q", text, bare)
		}
		again, n, valued := AppendAgain(nil, text, d, fuzzValues(value))
		if ok && (!valued || n != settings) {
			t.Errorf("%q can be run again, and with values it cannot", text)
		}
		if !valued {
			return
		}
		twice, m, still := AppendAgain(nil, again, d, nil)
		if !still || m != n || string(twice) != string(again) {
			t.Errorf("%q is done again as %q, and that as %q", text, again, twice)
		}
		a, b := r.Read(text, d), r.Read(again, d)
		if a.Statements != b.Statements || a.Verb != b.Verb || a.Lock != b.Lock {
			t.Errorf("%q is done again as %q, which is another text: %+v, %+v", text, again, a, b)
		}
	})
}
