package test

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// turn is what one of several clients does in a conversation.
type turn struct {
	client int
	say
}

func by(client int, until string, messages ...pgproto3.FrontendMessage) turn {
	return turn{client, and(until, messages...)}
}

// uses runs a prepared statement as drivers do that know its columns.
func uses(name string, values ...string) []pgproto3.FrontendMessage {
	return []pgproto3.FrontendMessage{bindTo("", name, values...), executing(""), syncNow}
}

// described prepares a statement as drivers do that want to know its columns.
func described(name, sql string) []pgproto3.FrontendMessage {
	return []pgproto3.FrontendMessage{prepare(name, sql), describing('S', name), syncNow}
}

// changedColumns are conversations in which the columns of prepared statements change. Client 1 is on another server
// connection from the first change of turns to another client on. Table t (a int) has a row when each begins. O#477.
var changedColumns = []struct {
	rule  string
	turns []turn
}{
	{"a column more", []turn{
		by(1, "Z", described("s", "SELECT * FROM t")...), by(1, "Z", uses("s")...), by(2, "Z", text("ALTER TABLE t ADD b int")),
		by(1, "Z", uses("s")...), by(1, "Z", uses("s")...), by(1, "Z", text("SELECT 'in step'"))}},
	{"a column of another type", []turn{
		by(1, "Z", described("s", "SELECT a FROM t")...), by(2, "Z", text("ALTER TABLE t ALTER a TYPE text")), by(1, "Z", uses("s")...)}},
	{"a column of another name, and of the old one again", []turn{
		by(1, "Z", described("s", "SELECT * FROM t")...), by(2, "Z", text("ALTER TABLE t RENAME a TO b")), by(1, "Z", uses("s")...),
		by(2, "Z", text("ALTER TABLE t RENAME b TO a")), by(1, "Z", uses("s")...)}},
	{"another table of the same name and columns", []turn{
		by(1, "Z", described("s", "SELECT * FROM t")...), by(2, "Z", text("DROP TABLE t; CREATE TABLE t (a int)")), by(1, "Z", uses("s")...),
		by(2, "Z", text("DROP TABLE t")), by(1, "Z", uses("s")...), by(2, "Z", text("CREATE TABLE t (a text)")), by(1, "Z", uses("s")...)}},
	{"a statement that was never described", []turn{
		by(1, "Z", prepare("s", "SELECT * FROM t"), syncNow), by(2, "Z", text("ALTER TABLE t ADD b int")),
		by(1, "Z", bindTo("", "s"), describing('P', ""), executing(""), syncNow)}},
	{"it is prepared again, as drivers do", []turn{
		by(1, "Z", described("s", "SELECT * FROM t")...), by(2, "Z", text("ALTER TABLE t ADD b int")), by(1, "Z", uses("s")...),
		by(1, "Z", append([]pgproto3.FrontendMessage{forgetting('S', "s")}, described("s", "SELECT * FROM t")...)...), by(1, "Z", uses("s")...),
		by(1, "Z", described("s2", "SELECT * FROM t")...), by(1, "Z", uses("s2")...)}},
	{"in a transaction", []turn{
		by(1, "Z", described("s", "SELECT * FROM t")...), by(2, "Z", text("ALTER TABLE t ADD b int")), by(1, "Z", text("BEGIN")),
		by(1, "Z", uses("s")...), by(1, "Z", uses("s")...), by(1, "Z", text("ROLLBACK")), by(1, "Z", uses("s")...)}},
	{"behind a savepoint", []turn{
		by(1, "Z", described("s", "SELECT * FROM t")...), by(2, "Z", text("ALTER TABLE t ADD b int")),
		by(1, "ZZZ", text("BEGIN"), text("INSERT INTO t VALUES (2)"), text("SAVEPOINT x")), by(1, "Z", uses("s")...),
		by(1, "ZZ", text("ROLLBACK TO x"), text("COMMIT")), by(1, "Z", text("SELECT count(*) FROM t"))}},
	{"nothing takes effect of a statement that changes rows", []turn{
		by(1, "Z", described("s", "INSERT INTO t VALUES (2) RETURNING *")...), by(2, "Z", text("ALTER TABLE t ADD b int")),
		by(1, "Z", uses("s")...), by(1, "Z", text("SELECT count(*) FROM t"))}},
	{"nor of a function", []turn{
		by(2, "Z", text("CREATE FUNCTION f() RETURNS SETOF t LANGUAGE sql AS 'INSERT INTO t VALUES (2) RETURNING *'")),
		by(1, "Z", described("s", "SELECT * FROM f()")...), by(2, "Z", text("ALTER TABLE t ADD b int; CREATE OR REPLACE FUNCTION f() RETURNS SETOF t "+
			"LANGUAGE sql AS 'INSERT INTO t VALUES (2) RETURNING *'")), by(1, "Z", uses("s")...), by(1, "Z", text("SELECT count(*) FROM t"))}},
	{"nor of the rest of its batch", []turn{
		by(1, "Z", described("s", "SELECT * FROM t")...), by(1, "Z", described("i", "INSERT INTO t VALUES (2)")...),
		by(2, "Z", text("ALTER TABLE t ADD b int")), by(1, "Z", bindTo("", "i"), executing(""), bindTo("", "s"), executing(""), bindTo("", "i"), executing(""), syncNow),
		by(1, "Z", bindTo("", "s"), executing(""), bindTo("", "i"), executing(""), prepare("n", "SELECT 1"), syncNow),
		by(1, "Z", text("SELECT count(*) FROM t")), by(1, "Z", uses("n")...)}},
	{"nor in a transaction's pipe", []turn{
		by(1, "Z", described("s", "SELECT * FROM t")...), by(2, "Z", text("ALTER TABLE t ADD b int")),
		by(1, "ZZZZ", append(append([]pgproto3.FrontendMessage{text("BEGIN")}, uses("s")...), text("INSERT INTO t VALUES (2)"), text("COMMIT"))...),
		by(1, "Z", text("SELECT count(*) FROM t"))}},
	{"one that changes rows and gives none goes on", []turn{
		by(1, "Z", described("s", "INSERT INTO t VALUES ($1)")...), by(2, "Z", text("ALTER TABLE t ADD b int")), by(1, "Z", uses("s", "7")...),
		by(1, "Z", text("SELECT * FROM t ORDER BY a"))}},
	{"Describe shows the parameters before the error", []turn{
		by(1, "Z", described("s", "SELECT * FROM t WHERE a = $1")...), by(2, "Z", text("ALTER TABLE t ADD b int")),
		by(1, "Z", describing('S', "s"), syncNow), by(1, "Z", describing('S', "s"), bindTo("", "s", "1"), syncNow)}},
	{"a batch with Flush", []turn{
		by(1, "tT", prepare("s", "SELECT * FROM t"), describing('S', "s"), flushNow), by(1, "C", bindTo("", "s"), executing(""), flushNow), by(1, "Z", syncNow),
		by(2, "Z", text("ALTER TABLE t ADD b int")), by(1, "E", bindTo("", "s"), executing(""), flushNow), by(1, "Z", executing(""), syncNow)}},
	{"the unnamed statement", []turn{
		by(1, "Z", described("", "SELECT * FROM t")...), by(1, "Z", uses("")...), by(2, "Z", text("ALTER TABLE t ADD b int")),
		by(1, "Z", uses("")...), by(1, "Z", uses("")...), by(1, "Z", described("", "SELECT * FROM t")...), by(1, "Z", uses("")...)}},
	{"EXECUTE of what PREPARE made", []turn{
		by(1, "Z", text("PREPARE s AS SELECT * FROM t")), by(1, "Z", text("EXECUTE s")), by(2, "Z", text("ALTER TABLE t ADD b int")),
		by(1, "Z", text("EXECUTE s")), by(1, "Z", uses("s")...),
		by(1, "Z", prepare("", "EXECUTE s"), bindTo("", ""), describing('P', ""), executing(""), syncNow),
		by(1, "Z", text("DEALLOCATE s; PREPARE s AS SELECT * FROM t")), by(1, "Z", text("EXECUTE s")), by(1, "Z", text("SELECT count(*) FROM t"))}},
	{"EXECUTE of what Parse made", []turn{
		by(1, "Z", prepare("s", "SELECT * FROM t"), syncNow), by(2, "Z", text("ALTER TABLE t ADD b int")), by(1, "Z", text("EXECUTE s")),
		by(1, "Z", text("BEGIN")), by(1, "Z", text("EXECUTE s")), by(1, "Z", text("ROLLBACK"))}},
	{"EXECUTE of what cannot be prepared any more", []turn{
		by(1, "Z", text("PREPARE s AS SELECT * FROM t")), by(2, "Z", text("ALTER TABLE t RENAME TO u")), by(1, "Z", text("EXECUTE s")),
		by(1, "Z", text("BEGIN")), by(1, "Z", text("EXECUTE s")), by(1, "Z", text("ROLLBACK")), by(2, "Z", text("ALTER TABLE u RENAME TO t")),
		by(1, "Z", text("EXECUTE s"))}},
	{"PREPARE in the extended protocol", []turn{
		by(1, "Z", prepare("", "PREPARE s AS SELECT * FROM t"), bindTo("", ""), executing(""), syncNow), by(2, "Z", text("ALTER TABLE t ADD b int")),
		by(1, "Z", prepare("", "EXECUTE s"), bindTo("", ""), executing(""), syncNow)}},
	{"others prepare the same text", []turn{
		by(1, "Z", described("s", "SELECT * FROM t")...), by(2, "Z", text("ALTER TABLE t ADD b int")), by(2, "Z", described("s", "SELECT * FROM t")...),
		by(2, "Z", uses("s")...), by(1, "Z", uses("s")...), by(2, "Z", uses("s")...), by(3, "Z", described("s", "SELECT * FROM t")...), by(3, "Z", uses("s")...)}},
	{"others prepare the same text by PREPARE", []turn{
		by(1, "Z", text("PREPARE s AS SELECT * FROM t")), by(2, "Z", text("ALTER TABLE t ADD b int")), by(2, "Z", text("PREPARE s AS SELECT * FROM t")),
		by(2, "Z", text("EXECUTE s")), by(1, "Z", text("EXECUTE s")), by(2, "Z", text("EXECUTE s"))}},
	{"a new Parse means what it means now", []turn{
		by(1, "Z", described("s", "SELECT * FROM t")...), by(2, "Z", text("DO $$ BEGIN ALTER TABLE t ADD b int; END $$")),
		by(1, "Z", described("s2", "SELECT * FROM t")...), by(1, "Z", uses("s2")...), by(2, "Z", text("DROP TABLE t")),
		by(1, "Z", described("s3", "SELECT * FROM t")...), by(1, "Z", uses("s2")...)}},
	{"a table that comes before another in the search_path", []turn{
		by(1, "Z", text("SET search_path = first, public")), by(1, "Z", described("s", "SELECT * FROM t")...),
		by(2, "Z", text("CREATE SCHEMA first; CREATE TABLE first.t (b text)")), by(1, "Z", described("s2", "SELECT * FROM t")...), by(1, "Z", uses("s2")...)}},
	{"what was changed and rolled back", []turn{
		by(1, "Z", text("BEGIN")), by(1, "Z", text("ALTER TABLE t ADD b int")), by(1, "Z", described("s", "SELECT * FROM t")...), by(1, "Z", uses("s")...),
		by(1, "Z", text("ROLLBACK")), by(1, "Z", uses("s")...), by(1, "Z", described("s2", "SELECT * FROM t")...), by(1, "Z", uses("s2")...)}},
	{"the same to a savepoint", []turn{
		by(1, "ZZZ", text("BEGIN"), text("SAVEPOINT x"), text("ALTER TABLE t ADD b int")), by(1, "Z", described("s", "SELECT * FROM t")...),
		by(1, "Z", text("ROLLBACK TO x")), by(1, "Z", described("s2", "SELECT * FROM t")...), by(1, "Z", uses("s2")...), by(1, "Z", text("COMMIT"))}},
	{"a temporary table", []turn{
		by(1, "Z", described("s", "SELECT * FROM t")...), by(1, "Z", text("CREATE TEMP TABLE t (b text)")), by(1, "Z", described("s2", "SELECT * FROM t")...),
		by(1, "Z", uses("s2")...), by(1, "Z", text("DROP TABLE t")), by(1, "Z", described("s3", "SELECT * FROM t")...), by(1, "Z", uses("s3")...)}},
	{"one that comes behind another client's", []turn{
		by(2, "Z", text("CREATE TEMP TABLE other (a int)")), by(2, "Z", text("DROP TABLE other")), by(1, "Z", described("s", "SELECT * FROM t")...),
		by(1, "Z", uses("s")...), by(1, "Z", text("CREATE TEMP TABLE t AS SELECT 2 AS a")), by(1, "Z", uses("s")...)}},
	{"one that goes with its transaction", []turn{
		by(1, "Z", text("BEGIN")), by(1, "Z", text("CREATE TEMP TABLE t (b text) ON COMMIT DROP")), by(1, "Z", described("s", "SELECT * FROM t")...),
		by(1, "Z", text("COMMIT")), by(2, "Z", described("s", "SELECT * FROM t")...), by(2, "Z", uses("s")...)}},
}

// largeValue is out of the range of an int, and not of a bigint.
const largeValue = "5000000000"

// changedTypes are conversations in which columns get other types that parameters have theirs from. Each has a
// text of its own, which no server connection knows from another.
var changedTypes = []struct {
	rule  string
	turns []turn
}{
	{"a value of the type that the parameter had", []turn{
		by(1, "Z", described("s", "SELECT 1 FROM t WHERE a = $1")...), by(2, "Z", text("ALTER TABLE t ALTER a TYPE bigint")),
		by(1, "Z", uses("s", largeValue)...), by(1, "Z", uses("s", "1")...), by(1, "Z", describing('S', "s"), syncNow)}},
	{"of a statement that was never described", []turn{
		by(1, "Z", prepare("s", "SELECT 2 FROM t WHERE a = $1"), syncNow), by(2, "Z", text("ALTER TABLE t ALTER a TYPE bigint")),
		by(1, "Z", uses("s", largeValue)...), by(1, "Z", uses("s", "1")...)}},
	{"of the unnamed statement", []turn{
		by(1, "Z", described("", "SELECT 3 FROM t WHERE a = $1")...), by(2, "Z", text("ALTER TABLE t ALTER a TYPE bigint")),
		by(1, "Z", uses("", largeValue)...), by(1, "Z", uses("", "1")...)}},
	{"of one that gives no rows", []turn{
		by(1, "Z", described("s", "INSERT INTO t VALUES ($1)")...), by(2, "Z", text("ALTER TABLE t ALTER a TYPE bigint")),
		by(1, "Z", uses("s", largeValue)...), by(1, "Z", uses("s", "2")...), by(1, "Z", text("SELECT * FROM t ORDER BY a"))}},
	{"a type that does not go with the column any more", []turn{
		by(1, "Z", described("s", "SELECT 5 FROM t WHERE a = $1")...), by(2, "Z", text("ALTER TABLE t ALTER a TYPE text")),
		by(1, "Z", uses("s", "x")...), by(1, "Z", uses("s", "1")...)}},
	{"of what PREPARE made", []turn{
		by(1, "Z", text("PREPARE s AS SELECT 6 FROM t WHERE a = $1")), by(2, "Z", text("ALTER TABLE t ALTER a TYPE bigint")),
		by(1, "Z", text("EXECUTE s("+largeValue+")")), by(1, "Z", text("EXECUTE s(1)")),
		by(1, "Z", text("SELECT parameter_types FROM pg_prepared_statements WHERE name = 's'"))}},
	{"of what PREPARE made, and which is an error by now", []turn{
		by(1, "Z", text("SELECT 1; PREPARE s AS SELECT 7 FROM t WHERE a = $1")), by(2, "Z", text("ALTER TABLE t ALTER a TYPE text")),
		by(1, "Z", text("EXECUTE s('x')")), by(1, "Z", text("EXECUTE s(1)"))}},
	{"others prepare the same text behind the change", []turn{
		by(1, "Z", described("s", "SELECT 8 FROM t WHERE a = $1")...), by(2, "Z", text("ALTER TABLE t ALTER a TYPE bigint")),
		by(2, "Z", described("s", "SELECT 8 FROM t WHERE a = $1")...), by(2, "Z", uses("s", largeValue)...), by(1, "Z", uses("s", largeValue)...),
		by(2, "Z", uses("s", largeValue)...), by(1, "Z", uses("s", "1")...)}},
	{"others prepare the same text behind a use", []turn{
		by(1, "Z", described("s", "SELECT 9 FROM t WHERE a = $1")...), by(2, "Z", text("ALTER TABLE t ALTER a TYPE bigint")),
		by(1, "Z", uses("s", "1")...), by(3, "Z", described("s", "SELECT 9 FROM t WHERE a = $1")...), by(3, "Z", uses("s", largeValue)...)}},
	{"a parameter whose type nothing tells", []turn{
		by(1, "Z", described("s", "SELECT $1, $2 || 'x', $3::int FROM t")...), by(2, "Z", text("ALTER TABLE t ADD b int")),
		by(1, "Z", uses("s", "1", "2", "3")...)}},
}

// The columns of a prepared statement are those that it was prepared with; a driver that keeps their description must
// hear that they are others now, wherever its statement is prepared again.
func TestAStatementWhoseColumnsChangedFailsAsDirectly(t *testing.T) {
	r := startProxy(t, sized(2, 1))
	for _, c := range slices.Concat(changedColumns, changedTypes) {
		t.Run(c.rule, func(t *testing.T) {
			want := r.plays(t, r.direct, c.turns, false)
			for _, moves := range []bool{true, false} {
				if got := r.plays(t, r.url, c.turns, moves); !slices.Equal(got, want) {
					t.Errorf("client 1 on another server connection: %v\nlockproxy  %s\nPostgreSQL %s", moves,
						strings.Join(got, "\n           "), strings.Join(want, "\n           "))
				}
			}
		})
	}
}

// plays plays a conversation and gives what was told. If client 1 moves, one of the two server connections is busy before
// its first change of turns, and the other one from then on.
func (r *rig) plays(t *testing.T, address string, turns []turn, moves bool) (told []string) {
	t.Helper()
	open := func() *socket {
		s := logIn(t, address)
		t.Cleanup(func() { s.conn.Close() })
		return s
	}
	clients := []*socket{open(), open(), open(), open()}
	clients[2].asks("Z", text("DROP SCHEMA IF EXISTS first CASCADE; DROP TABLE IF EXISTS t, u CASCADE; CREATE TABLE t (a int); INSERT INTO t VALUES (1)"))
	before, after := clients[0], open()
	if moves {
		before.asks("Z", text("BEGIN; SELECT 1"))
	}
	for _, turn := range turns {
		if turn.client > 1 && moves {
			after.asks("Z", text("BEGIN; SELECT 1"))
			before.asks("Z", text("COMMIT"))
			moves = false
		}
		told = append(told, clients[turn.client].asks(turn.until, turn.messages...))
		if strings.Contains(told[len(told)-1], "silence") {
			t.Fatalf("after %s", told)
		}
	}
	for _, c := range append(clients, after) {
		c.send(packed(t, leaving))
		c.until("-")
	}
	return told
}
