package sql

import (
	"fmt"
	"slices"
	"testing"
)

// textValues are parameters bound as text; binaryValues in binary.
type textValues []string

func (v textValues) Value(n int) ([]byte, bool, bool) { return valueOf(v, n, false) }

type binaryValues []string

func (v binaryValues) Value(n int) ([]byte, bool, bool) { return valueOf(v, n, true) }

func valueOf(v []string, n int, binary bool) ([]byte, bool, bool) {
	if n < 1 || n > len(v) {
		return nil, false, false
	}
	return []byte(v[n-1]), binary, true
}

func TestLocksAreNamedAsTheTextNamesThem(t *testing.T) {
	r := mustReader(t, "app.acquire")
	for _, c := range []struct {
		text   string
		values Values
		want   []string // the words, and the key where it is known
	}{
		{"SELECT pg_advisory_lock(42)", nil, []string{"42=42"}},
		{"SELECT pg_advisory_lock( - 42 )", nil, []string{"-42=-42"}},
		{"SELECT pg_advisory_lock(9223372036854775807), pg_advisory_lock(-9223372036854775808)", nil,
			[]string{"9223372036854775807=9223372036854775807", "-9223372036854775808=-9223372036854775808"}},
		{"SELECT pg_advisory_lock(9223372036854775808)", nil, []string{"9223372036854775808"}},
		{"SELECT pg_advisory_lock(1, -2)", nil, []string{"1, -2=1, -2"}},
		{"SELECT pg_advisory_lock(1, 2147483648)", nil, []string{"1, 2147483648"}},
		{"SELECT pg_advisory_lock(1, 2, 3)", nil, []string{"1, 2, 3"}},
		{"SELECT pg_advisory_lock()", nil, []string{""}},
		{"SELECT pg_advisory_lock('7')", nil, []string{"7=7"}},
		{"SELECT pg_advisory_lock('x')", nil, []string{"x"}},
		{"SELECT pg_advisory_lock(((7))::int4::pg_catalog.int8)", nil, []string{"7=7"}},
		{"SELECT pg_advisory_lock(3000000000::int)", nil, []string{"3000000000::int"}},
		{"SELECT pg_advisory_lock(hashtext(''))", nil, []string{"=-1477818771"}},
		{"SELECT pg_advisory_lock(HASHTEXT ( 'a' :: text ))", nil, []string{"a=1075015857"}},
		{"SELECT pg_advisory_lock(pg_catalog.hashtextextended(42::text, 0))", nil, []string{"42=-2402356501652256834"}},
		{"SELECT pg_advisory_lock(hashtext(lower('A')))", nil, []string{"hashtext(lower('A'))"}},
		{"SELECT pg_advisory_lock(hashtext('a'), f(1, '2') + 3), 4", nil, []string{"a, f(1, '2') + 3"}},
		{"SELECT pg_advisory_lock(B'1')", nil, []string{"B'1'"}},
		{"SELECT pg_advisory_lock($1, $2)", textValues{"1", "-2"}, []string{"1, -2=1, -2"}},
		{"SELECT pg_advisory_lock($1)", binaryValues{"\x80\x00\x00\x00\x00\x00\x00\x01"}, []string{"-9223372036854775807=-9223372036854775807"}},
		{"SELECT pg_advisory_lock($1)", binaryValues{"AAAABBBB"}, []string{"4702111234491826754=4702111234491826754"}},
		{"SELECT pg_advisory_lock($1, $2)", binaryValues{"\xff\xff\xff\xff", "\x00\x00\x00\x02"}, []string{"-1, 2=-1, 2"}},
		{"SELECT pg_advisory_lock(hashtext($1), 0)", binaryValues{"a"}, []string{"a, 0=1075015857, 0"}},
		{"SELECT pg_advisory_lock($2)", textValues{"1"}, []string{"?"}},
		{"SELECT pg_advisory_lock($1)", nil, []string{"?"}},
		{"SELECT app.acquire('a', $1, 5, x)", binaryValues{"\x00\x00\x00\x07"}, []string{"acquire(a, 7, 5, x)"}},
		{"SELECT acquire($1)", binaryValues{"name"}, []string{"acquire(name)"}},
		{"SELECT acquire($1)", binaryValues{"\xff\x00"}, []string{`acquire(\xff00)`}},
		{"SELECT pg_advisory_lock(1); SELECT pg_advisory_unlock(2)", nil, []string{"1=1", "2=2"}},
		{"DO $$ BEGIN PERFORM pg_advisory_lock(hashtext('a')); END $$", nil, []string{"a=1075015857"}},
		{"SELECT pg_advisory_lock(hashtext('a'", nil, []string{"hashtext('a'"}},
		{"SELECT pg_advisory_lock(1]", nil, []string{"1"}},
		{"SELECT 1", nil, nil},
	} {
		var calls []LockCall
		r.LockCalls(&calls, []byte(c.text), Dialect{})
		var got []string
		for i := range calls {
			got = append(got, named(&calls[i], c.values))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.text, got, c.want)
		}
	}
}

func named(c *LockCall, values Values) string {
	name, key, known := c.AppendName(make([]byte, 0, 100), Dialect{}, values)
	if known {
		return fmt.Sprintf("%s=%s", name, key)
	}
	return string(name)
}

func TestLockCallsSayWhatTheyDo(t *testing.T) {
	var calls []LockCall
	mustReader(t, "app.acquire").LockCalls(&calls, []byte(
		`SELECT 1; ; SELECT pg_try_advisory_xact_lock_shared(1), "acquire"(2); DO 'BEGIN PERFORM pg_advisory_unlock_all(); END'`), Dialect{})
	want := []LockCall{
		{Function: "pg_try_advisory_xact_lock_shared", Effect: XactTry, Shared: true, Statement: 1},
		{Function: "acquire", Effect: Unknown, Statement: 1},
		{Function: "pg_advisory_unlock_all", Effect: UnlockAll, Statement: 2},
	}
	for i := range calls {
		calls[i].arguments = nil
	}
	if fmt.Sprint(calls) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", calls, want)
	}
}

// FuzzLockNames holds that any text and any values can be read, and that a name has no more bytes than there is room for.
func FuzzLockNames(f *testing.F) {
	for _, r := range readTable(f) {
		if r.SQL != nil && len(*r.SQL) < 1<<10 {
			f.Add([]byte(*r.SQL), "7", byte(0))
		}
	}
	f.Add([]byte("SELECT pg_advisory_lock(hashtextextended($1::text, - 1)::bigint, (CAST('7' AS int)))"), "a", byte(64))
	r := mustReader(f, "app.acquire")
	f.Fuzz(func(t *testing.T, text []byte, value string, room byte) {
		for _, values := range []Values{nil, textValues{value}, binaryValues{value}} {
			var calls []LockCall
			r.LockCalls(&calls, text, Dialect{})
			for i := range calls {
				name, _, known := calls[i].AppendName(make([]byte, 0, room), Dialect{}, values)
				if len(name) > int(room) || known && calls[i].Effect&Unknown != 0 {
					t.Errorf("%q with %q in %d bytes: %q (%v)", text, value, room, name, known)
				}
			}
		}
	})
}
