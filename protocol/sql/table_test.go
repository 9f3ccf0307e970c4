package sql

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// record is a line of testdata/statements.jsonl: what a text is, and what PostgreSQL does with it.
type record struct {
	ID       string            `json:"id"`
	Settings map[string]string `json:"settings"`
	Setup    []json.RawMessage `json:"setup"`
	SQL      *string           `json:"sql"`
	SQLHex   string            `json:"sql_hex"`
	Batch    []step            `json:"batch"`
	Lock     bool              `json:"lock"`
	Either   bool              `json:"either"`
	Effect   string            `json:"effect"`
	Calls    []string          `json:"calls"`
	Simple   bool              `json:"simple_shape"`
	SQLState string            `json:"sqlstate"`
	Note     string            `json:"note"`
}

type step struct {
	SQL     *string   `json:"sql"`
	Name    string    `json:"name"`
	Params  []*string `json:"params"`
	Execute *bool     `json:"execute"`
}

func readTable(t testing.TB) (list []record) {
	file, err := os.Open("testdata/statements.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.ReplaceAll(lines.Text(), "{{database}}", "app")
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	if len(list) < 300 {
		t.Fatalf("the table has %d records", len(list))
	}
	return list
}

// prepared is what a session of the table remembers of its prepared statements.
type prepared struct {
	effects Effect
	calls   []string
}

// resolver follows a session of the table: its dialect, and what it has prepared.
type resolver struct {
	reader  *Reader
	dialect Dialect
	names   map[string]prepared
	calls   []string // of the unit
	effects Effect
	lock    bool
	unit    Unit // the last that was read
}

func newResolver(t testing.TB, settings map[string]string) *resolver {
	return &resolver{reader: mustReader(t), names: make(map[string]prepared), dialect: Dialect{
		BackslashQuotes: settings["standard_conforming_strings"] == "off",
		Encoding:        EncodingOf(settings["client_encoding"]),
	}}
}

// read reads a text, and notes what it does with what was prepared before.
func (v *resolver) read(text []byte) {
	u, calls := tracedRead(v.reader, text, v.dialect)
	v.unit = u
	v.effects |= u.Lock
	v.lock = v.lock || u.Lock != 0
	v.calls = append(v.calls, calls...)
	for _, op := range u.Prepared {
		switch op.Op {
		case OpPrepare:
			v.names[op.Name] = prepared{op.Effects, calls}
		case OpExecute:
			if p := v.names[op.Name]; op.Runs && p.effects != 0 {
				v.effects |= p.effects
				v.lock = true
				v.calls = append(v.calls, p.calls...)
			}
		case OpDeallocate:
			delete(v.names, op.Name)
		case OpDeallocateAll:
			clear(v.names)
		}
	}
	if u.Discards {
		v.effects |= UnlockAll
	}
	if strings.HasPrefix(string(text), "SET standard_conforming_strings = off") && u.Statements == 1 {
		v.dialect.BackslashQuotes = true
	}
}

func (v *resolver) batch(steps []step) {
	for _, st := range steps {
		if st.SQL == nil {
			p := v.names[st.Name]
			v.effects |= p.effects
			v.lock = v.lock || p.effects != 0
			v.calls = append(v.calls, p.calls...)
			continue
		}
		before := len(v.calls)
		v.read([]byte(*st.SQL))
		if st.Name != "" {
			v.names[st.Name] = prepared{v.unit.Lock, v.calls[before:]}
		}
	}
}

// setup runs what comes before the unit.
func (v *resolver) setup(t *testing.T, list []json.RawMessage) {
	for _, raw := range list {
		var text string
		var other struct {
			SQL   string `json:"sql"`
			Batch []step `json:"batch"`
		}
		if err := json.Unmarshal(raw, &text); err != nil {
			if err := json.Unmarshal(raw, &other); err != nil {
				t.Fatal(err)
			}
			text = other.SQL
		}
		if other.Batch != nil {
			v.batch(other.Batch)
		} else {
			v.read([]byte(text))
		}
	}
	v.calls, v.effects, v.lock = nil, 0, false
}

func tracedRead(r *Reader, text []byte, d Dialect) (Unit, []string) {
	var trace []LockCall
	s := scan{reader: r, calls: &trace}
	s.lexer.begin(text, d)
	for s.statement() {
	}
	s.finish()
	var calls []string
	for _, c := range trace {
		calls = append(calls, c.Function)
	}
	return s.unit, calls
}

func mustReader(t testing.TB, functions ...string) *Reader {
	r, err := NewReader(functions)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var effectNames = map[string]Effect{
	"session-acquire": SessionAcquire, "session-try": SessionTry, "session-release": SessionRelease,
	"unlock-all": UnlockAll, "xact-acquire": XactAcquire, "xact-try": XactTry,
}

func nameOf(e Effect) string {
	if e == 0 {
		return "none"
	}
	for name, effect := range effectNames {
		if e == effect {
			return name
		}
	}
	return "mixed"
}

func TestTableOfStatementsIsReadAsPostgreSQLReadsIt(t *testing.T) {
	for _, r := range readTable(t) {
		t.Run(r.ID, func(t *testing.T) { checkRecord(t, r) })
	}
}

func checkRecord(t *testing.T, r record) {
	v := newResolver(t, r.Settings)
	v.setup(t, r.Setup)
	switch {
	case r.SQL != nil:
		v.read([]byte(*r.SQL))
	case r.SQLHex != "":
		text, err := hex.DecodeString(r.SQLHex)
		if err != nil {
			t.Fatal(err)
		}
		v.read(text)
	case r.Batch != nil:
		v.batch(r.Batch)
	default:
		t.Skip("no text")
	}
	if r.Either {
		return
	}
	if v.lock != r.Lock {
		t.Errorf("lock %v, want %v: %s", v.lock, r.Lock, r.Note)
	}
	if got := nameOf(v.effects); got != r.Effect {
		t.Errorf("effect %s, want %s: %s", got, r.Effect, r.Note)
	}
	var want []string
	for _, call := range r.Calls {
		name, _, _ := strings.Cut(call, "(")
		want = append(want, name)
	}
	if !slices.Equal(v.calls, want) {
		t.Errorf("calls %q, want %q: %s", v.calls, want, r.Note)
	}
	checkSimple(t, r, v)
}

// notVouchedFor are texts of a simple shape that this reader does not vouch for, which is allowed.
var notVouchedFor = map[string]bool{
	"args-min": true, // without its sign the smallest bigint is more than the largest
}

func checkSimple(t *testing.T, r record, v *resolver) {
	if r.SQL == nil {
		return
	}
	got := v.unit.Simple
	if got && !r.Simple && r.ID != "params-bad" {
		// What params-bad sends is a good text with a bad value.
		t.Errorf("simple, but it is not: %s", r.Note)
	}
	if !got && r.Simple && !notVouchedFor[r.ID] {
		t.Errorf("not simple, but it is: %s", r.Note)
	}
	if !got {
		return
	}
	effects, n := Effect(0), 0
	for _, e := range v.unit.Columns {
		effects |= e
		if e != 0 {
			n++
		}
	}
	if effects != v.unit.Lock || n != v.unit.Calls {
		t.Errorf("columns %v of %d calls with effects %b", v.unit.Columns, v.unit.Calls, v.unit.Lock)
	}
}
