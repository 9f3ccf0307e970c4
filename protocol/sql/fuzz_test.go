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
