package test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// record is a line of the table of statements: what to run in a fresh session, and what PostgreSQL was seen to do.
type record struct {
	ID           string
	Settings     map[string]string
	Setup        []setupStep
	Other        []string
	SQL          *string
	SQLHex       string `json:"sql_hex"`
	Params       []*string
	Batch        []batchStep
	FunctionCall *functionCall `json:"function_call"`
	CopyIn       string        `json:"copy_in"`
	Indirect     any
	UserFunction any `json:"user_function"`

	SQLState   string `json:"sqlstate"`
	HeldDuring *int   `json:"held_during"`
	HeldAfter  int    `json:"held_after"`
	DepthAfter *int   `json:"depth_after"`
}

// setupStep is a text in the file, or an object.
type setupStep struct {
	SQL      string
	SQLState string
	Batch    []batchStep
}

// UnmarshalJSON reads either form.
func (s *setupStep) UnmarshalJSON(p []byte) error {
	if bytes.HasPrefix(p, []byte(`"`)) {
		return json.Unmarshal(p, &s.SQL)
	}
	type object setupStep
	return json.Unmarshal(p, (*object)(s))
}

type batchStep struct {
	SQL     *string
	Name    string
	Params  []*string
	MaxRows uint32 `json:"max_rows"`
	Execute *bool
}

type functionCall struct {
	Function string
	Args     []string
}

// observed is what a unit did. During is -1 where its transaction ended with it.
type observed struct {
	reply
	before, status       byte
	during, after, depth int
}

func readStatements(t testing.TB) (list []record) {
	t.Helper()
	text, err := os.ReadFile("../protocol/sql/testdata/statements.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		list = append(list, r)
	}
	return list
}

// Every statement of the table does through the proxy what it does on a direct connection: the same first error, the
// same locks before and after the end of its transaction, and as deep.
func TestStatementTableThroughProxy(t *testing.T) {
	const shares = 4
	records := readStatements(t)
	if len(records) < 300 {
		t.Fatalf("the table has only %d records", len(records))
	}
	r := startProxy(t)
	t.Run("records", func(t *testing.T) {
		for share := range shares {
			t.Run(strconv.Itoa(share), func(t *testing.T) {
				t.Parallel()
				s := newScratch(t, r)
				for i := share; i < len(records); i += shares {
					t.Run(records[i].ID, func(t *testing.T) { s.check(t, &records[i]) })
				}
			})
		}
	})
}

// scratch is a database for records, and connections to it that look on.
type scratch struct {
	database    string
	url, direct string
	owner       *wire
}

func newScratch(t testing.TB, r *rig) *scratch {
	s := &scratch{database: r.upstream.NewDatabase(t)}
	s.direct = r.upstream.URL(s.database)
	s.url = strings.Replace(r.url, "/"+r.database+"?", "/"+s.database+"?", 1)
	noise(t, s.url, 1)
	s.owner = s.open(t, s.direct, nil)
	return s
}

func (s *scratch) open(t testing.TB, url string, settings map[string]string) *wire {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w, err := openWire(ctx, url, settings)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { closeConn(w.Close) })
	return w
}

const (
	syntaxError  = "42601"
	tableVersion = "150000" // of the server that the table was made with
)

// check runs a record and compares what it does with what the table says.
func (s *scratch) check(t *testing.T, r *record) {
	seen := s.run(t, r, false)
	if r.HeldDuring != nil && seen.during < 0 && standsAlone(seen) {
		seen.during = s.run(t, r, true).during
	}
	if seen.code == syntaxError && r.SQLState != syntaxError && s.owner.must(t, "SHOW server_version_num")[0][0] < tableVersion {
		t.Skip("this PostgreSQL does not know the syntax yet")
	}
	if seen.code != r.SQLState {
		t.Errorf("the SQLSTATE is %q (%s), the server's %q", seen.code, seen.message, r.SQLState)
	}
	if r.Indirect != nil || r.UserFunction != nil {
		return // Locks that the proxy may not have seen: what it owes is that none outlives its client.
	}
	depth := r.HeldAfter
	if r.DepthAfter != nil {
		depth = *r.DepthAfter
	}
	if seen.after != r.HeldAfter || seen.depth != depth {
		t.Errorf("%d locks are held after it, %d deep, not %d, %d deep", seen.after, seen.depth, r.HeldAfter, depth)
	}
	if r.HeldDuring != nil && seen.during != *r.HeldDuring {
		t.Errorf("%d locks are held before its transaction ends, not %d", seen.during, *r.HeldDuring)
	}
}

// standsAlone tells whether a unit that left no transaction can run in one, to see what is held before its end.
func standsAlone(o observed) bool {
	ends := regexp.MustCompile(`^(BEGIN|START|COMMIT|ROLLBACK|PREPARE TRANS)`)
	for _, tag := range o.tags {
		if ends.MatchString(tag) {
			return false
		}
	}
	return o.before == 'I' && o.status == 'I'
}

// fresh empties the database.
const fresh = `DO $$ DECLARE n name; BEGIN
  FOR n IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
    EXECUTE format('DROP SCHEMA %I CASCADE', n);
  END LOOP;
  CREATE SCHEMA public;
END $$`

// run plays a record in a session of its own, after a BEGIN if within. No lock may outlive the session.
func (s *scratch) run(t *testing.T, r *record, within bool) observed {
	s.owner.must(t, fresh)
	other := s.open(t, s.direct, nil)
	w := s.open(t, s.url, r.Settings)
	seen := s.play(t, r, w, other, within)
	closeConn(w.Close)
	closeConn(other.Close)
	await(t, "no lock outlives its client", func() bool { return s.held(t, 0) == 0 })
	return seen
}

func (s *scratch) play(t *testing.T, r *record, w, other *wire, within bool) (seen observed) {
	for _, sql := range r.Other {
		other.must(t, sql)
	}
	for _, step := range r.Setup {
		got := reply{}
		if step.Batch != nil {
			got = w.say(t, batch(step.Batch)...)
		} else {
			got = w.ask(t, step.SQL)
		}
		if got.code != step.SQLState {
			t.Fatalf("setup %+v: %s %s", step, got.code, got.message)
		}
	}
	seen.before = w.status
	if within {
		w.must(t, "BEGIN")
	}
	w.copyIn = r.CopyIn
	seen.reply = w.say(t, s.unit(t, r, w)...)
	if seen.status = w.status; w.closed {
		seen.status = 0
	}
	seen.during = -1
	if seen.status == 'T' || seen.status == 'E' {
		seen.during = s.held(t, other.PID())
		w.must(t, "ROLLBACK")
	}
	seen.after = s.held(t, other.PID())
	if !w.closed {
		seen.depth = s.drain(t, w, other.PID())
	}
	return seen
}

// unit gives the messages of the record's unit.
func (s *scratch) unit(t *testing.T, r *record, w *wire) []pgproto3.FrontendMessage {
	t.Helper()
	switch {
	case r.Batch != nil:
		return batch(r.Batch)
	case r.FunctionCall != nil:
		oid, err := strconv.Atoi(w.must(t, "SELECT '"+r.FunctionCall.Function+"'::pg_catalog.regprocedure::pg_catalog.oid")[0][0])
		if err != nil {
			t.Fatal(err)
		}
		call := &pgproto3.FunctionCall{Function: uint32(oid)}
		for _, arg := range r.FunctionCall.Args {
			call.Arguments = append(call.Arguments, []byte(arg))
		}
		return []pgproto3.FrontendMessage{call}
	case r.SQLHex != "":
		text, err := hex.DecodeString(r.SQLHex)
		if err != nil {
			t.Fatal(err)
		}
		return []pgproto3.FrontendMessage{&pgproto3.Query{String: string(text)}}
	}
	sql := strings.ReplaceAll(*r.SQL, "{{database}}", s.database)
	if r.Params != nil {
		return batch([]batchStep{{SQL: &sql, Params: r.Params}})
	}
	return []pgproto3.FrontendMessage{&pgproto3.Query{String: sql}}
}

// batch gives Parse, Bind, Describe and Execute for every step, then one Sync.
func batch(steps []batchStep) (list []pgproto3.FrontendMessage) {
	for _, step := range steps {
		if step.SQL != nil {
			list = append(list, &pgproto3.Parse{Name: step.Name, Query: *step.SQL})
		}
		if step.Execute != nil && !*step.Execute {
			continue
		}
		bind := &pgproto3.Bind{PreparedStatement: step.Name}
		for _, param := range step.Params {
			if param == nil {
				bind.Parameters = append(bind.Parameters, nil)
			} else {
				bind.Parameters = append(bind.Parameters, []byte(*param))
			}
		}
		list = append(list, bind, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{MaxRows: step.MaxRows})
	}
	return append(list, &pgproto3.Sync{})
}

// mine is the condition for the locks of the record's session: it has no process id of its own, so these are all in the
// database but the other session's.
func (s *scratch) mine(other uint32) string {
	return fmt.Sprintf(`locktype = 'advisory' AND granted AND pid <> %d
		AND database = (SELECT oid FROM pg_database WHERE datname = '%s')`, other, s.database)
}

func (s *scratch) held(t testing.TB, other uint32) int {
	t.Helper()
	n, err := strconv.Atoi(s.owner.must(t, "SELECT count(*) FROM pg_locks WHERE "+s.mine(other))[0][0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// drain has the session give back all that it holds, and counts the unlocks that this takes.
func (s *scratch) drain(t testing.TB, w *wire, other uint32) (depth int) {
	t.Helper()
	for _, row := range s.owner.must(t, `SELECT format('SELECT pg_catalog.pg_advisory_unlock%s(%s)', CASE mode WHEN 'ShareLock' THEN '_shared' END,
		CASE objsubid WHEN 1 THEN (classid::bigint << 32 | objid::bigint)::text
		ELSE classid::bigint::bit(32)::int || ', ' || objid::bigint::bit(32)::int END)
		FROM pg_locks WHERE `+s.mine(other)) {
		for w.must(t, row[0])[0][0] == "t" {
			depth++
		}
	}
	return depth
}
