package test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockproxy/lockproxy/protocol/sql"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// generatedStatements is how many statements a run makes up; a few seconds' worth.
const generatedStatements = 3000

// TestGeneratedStatementsAreReadAsPostgreSQLRunsThem makes up statements out of lexical traps and calls, lets
// PostgreSQL run each, and holds what it then shows in pg_locks against what the reader said of the text. A failure
// prints the seed; GENERATED_SEED sets it.
func TestGeneratedStatementsAreReadAsPostgreSQLRunsThem(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("GENERATED_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	j := newJudge(t)
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0))}
	for i := range generatedStatements {
		j.judge(t, g.statement())
		if t.Failed() {
			t.Fatalf("GENERATED_SEED=%d, statement %d", seed, i)
		}
	}
	t.Logf("%d statements were errors, %d of a simple shape, %d took locks", j.failed, j.simple, j.taken)
	if j.failed > generatedStatements/20 {
		t.Errorf("%d statements of %d were errors: they prove little", j.failed, generatedStatements)
	}
	if j.simple < generatedStatements/10 || j.taken < generatedStatements/4 {
		t.Errorf("%d simple shapes and %d that took locks are too few", j.simple, j.taken)
	}
}

// A judge runs statements on one session of PostgreSQL, and compares.
type judge struct {
	reader *sql.Reader
	conn   *pgconn.PgConn
	failed int // statements that PostgreSQL refused
	simple int // statements of a simple shape
	taken  int // statements that took a lock
}

// The session holds ownedKeys before each statement, another one holds foreignKeys all the time.
const (
	firstOwnedKey   = 1
	firstForeignKey = 11
	firstFreeKey    = 21
	keys            = 10
)

func newJudge(t *testing.T) *judge {
	server := postgres.Start(t)
	reader, err := sql.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	other := openSession(t, server)
	j := &judge{reader: reader, conn: openSession(t, server)}
	mustExec(t, other, fmt.Sprintf("SELECT pg_advisory_lock(k) FROM generate_series(%d, %d) k", firstForeignKey, firstForeignKey+keys-1))
	mustExec(t, j.conn, "CREATE TABLE t AS SELECT k FROM generate_series(1, 2) k; SET client_min_messages = error")
	return j
}

func openSession(t *testing.T, server *postgres.Server) *pgconn.PgConn {
	conn, err := pgconn.Connect(context.Background(), server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func mustExec(t *testing.T, conn *pgconn.PgConn, text string) []*pgconn.Result {
	results, err := conn.Exec(context.Background(), text).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return results
}

// held is the keys that the session's advisory locks are on.
type held map[string]bool

// locks asks PostgreSQL what it holds. It runs in a transaction of any kind but a failed one.
func (j *judge) locks(t *testing.T) held {
	keys := make(held)
	for _, row := range mustExec(t, j.conn, "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")[0].Rows {
		keys[string(row[0])] = true
	}
	return keys
}

// judge runs a statement in a transaction, which shows transaction-level locks, then rolls back, which leaves the others.
func (j *judge) judge(t *testing.T, c generated) {
	before := fmt.Sprintf("SELECT pg_advisory_unlock_all(); DEALLOCATE ALL; SELECT pg_advisory_lock(k) FROM generate_series(%d, %d) k; "+
		"BEGIN; SET LOCAL standard_conforming_strings = %t", firstOwnedKey, firstOwnedKey+keys-1, !c.backslash)
	mustExec(t, j.conn, before)
	owned := j.locks(t)
	results, err := j.conn.Exec(context.Background(), c.text).ReadAll()
	var during held
	if j.conn.TxStatus() == 'T' {
		during = j.locks(t)
	}
	mustExec(t, j.conn, "ROLLBACK")
	after := j.locks(t)
	u := j.reader.Read([]byte(c.text), sql.Dialect{BackslashQuotes: c.backslash})
	effects := u.Lock
	if err != nil {
		j.failed++
		t.Logf("%s\n%v", c.text, err)
	} else if effects != c.effects {
		t.Errorf("%s\neffects %b, want %b", c.text, effects, c.effects)
	}
	compare(t, c.text, effects, owned, during, after)
	if len(during) > len(owned) {
		j.taken++
	}
	if u.Simple && err == nil {
		j.simple++
		count(t, c.text, &u, results, len(owned), during, after)
	}
}

// compare holds the effects against what was taken and released.
func compare(t *testing.T, text string, effects sql.Effect, owned, during, after held) {
	for key := range after {
		if !owned[key] && effects&(sql.SessionAcquire|sql.SessionTry) == 0 {
			t.Errorf("%s\ntook %s for the session, but effects are %b", text, key, effects)
		}
	}
	for key := range owned {
		if !after[key] && effects&(sql.SessionRelease|sql.UnlockAll) == 0 {
			t.Errorf("%s\nreleased %s, but effects are %b", text, key, effects)
		}
	}
	for key := range during {
		if !owned[key] && !after[key] && effects&(sql.XactAcquire|sql.XactTry) == 0 {
			t.Errorf("%s\ntook %s for the transaction, but effects are %b", text, key, effects)
		}
	}
}

// count counts locks by the rows of a simple shape. Every key occurs once in a statement, so the count of locks is that of
// keys.
func count(t *testing.T, text string, u *sql.Unit, results []*pgconn.Result, owned int, during, after held) {
	session, xact := owned, 0
	for _, row := range results[0].Rows {
		for i, e := range u.Columns {
			switch {
			case e == 0 || row[i] == nil:
			case e == sql.SessionAcquire, e == sql.SessionTry && string(row[i]) == "t":
				session++
			case e == sql.SessionRelease && string(row[i]) == "t":
				session--
			case e == sql.UnlockAll:
				session = 0
			case e == sql.XactAcquire, e == sql.XactTry && string(row[i]) == "t":
				xact++
			}
		}
	}
	if session != len(after) || session+xact != len(during) {
		t.Errorf("%s\nrows tell of %d session-level and %d other locks, PostgreSQL holds %d in the transaction and %d after it",
			text, session, xact, len(during), len(after))
	}
}

// generated is a statement with the effects of the calls that its text makes.
type generated struct {
	text      string
	effects   sql.Effect
	backslash bool // standard_conforming_strings is off
}

// A generator makes up statements. What it draws depends on the seed alone.
type generator struct {
	*rand.Rand
	effects   sql.Effect
	backslash bool
	used      map[int]bool // keys of this statement
}

func pick[T any](g *generator, list ...T) T { return list[g.IntN(len(list))] }

// statement makes up a text of one or more statements.
func (g *generator) statement() generated {
	g.effects, g.backslash, g.used = 0, g.IntN(4) == 0, make(map[int]bool)
	text := g.gap() + g.command()
	for g.IntN(8) == 0 {
		text += ";" + g.gap() + g.command()
	}
	if g.IntN(3) == 0 {
		text += ";" + g.gap()
	}
	return generated{text, g.effects, g.backslash}
}

// command makes up a statement. Its functions write calls that count; decoys do not.
func (g *generator) command() string {
	switch g.IntN(24) {
	case 0:
		return "SELECT * FROM " + g.call(all) + pick(g, "", " x", " AS x", " AS x(y)")
	case 1:
		return "SELECT k FROM t WHERE k = 1 AND " + g.call(boolean) + " IS NOT NULL"
	case 2:
		return "WITH a(x) AS (SELECT " + g.decoy() + "), b AS (SELECT " + g.call(all) + " AS y) SELECT * FROM a, b"
	case 3:
		return "SELECT x FROM (VALUES (1)) " + pick(g, "", "AS ") + g.name(g.function(all)) + g.gap() + "(x)"
	case 4:
		return "WITH a AS (SELECT 1), " + g.name(g.function(all)) + g.gap() + "(x) AS " + pick(g, "", "MATERIALIZED ") + "(SELECT 1) SELECT 1"
	case 5:
		return "EXPLAIN " + pick(g, "", "VERBOSE ", "(COSTS off) ", "(ANALYZE off, VERBOSE) ") + "SELECT " + g.bare(all)
	case 6:
		return "EXPLAIN " + pick(g, "ANALYZE ", "(ANALYZE) ", "(COSTS off, ANALYZE true) ", "analyse verbose ") + "SELECT " + g.call(all)
	case 7:
		return "COPY (SELECT " + g.call(all) + ") TO STDOUT"
	case 8:
		return g.block()
	case 9:
		name := "p" + strconv.Itoa(g.IntN(1e9))
		return "PREPARE " + name + " AS SELECT " + g.call(all) + ";" + g.gap() + "EXECUTE " + name
	case 10:
		return "VALUES (1, " + g.call(boolean) + "), (2, " + g.call(boolean) + ")"
	case 11:
		return "SELECT DISTINCT ON (k) " + g.call(boolean) + " FROM t WHERE k = 2"
	case 12:
		return "CREATE TEMP TABLE c" + strconv.Itoa(g.IntN(1e9)) + " AS SELECT " + g.call(boolean) + " AS ok"
	case 13:
		return "CREATE FUNCTION pg_temp.f" + strconv.Itoa(g.IntN(1e9)) + "() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT " +
			g.bare(all) + "; SELECT CASE WHEN true THEN 1 END; END"
	case 14:
		return "CREATE TEMP VIEW v" + strconv.Itoa(g.IntN(1e9)) + " AS SELECT " + g.bare(boolean) + " AS x"
	case 15:
		return "INSERT INTO t(k) SELECT 3 WHERE " + g.call(boolean) + " RETURNING k"
	case 16:
		return "SELECT " + g.call(boolean) + " UNION ALL SELECT " + g.call(boolean)
	case 17, 18, 19:
		return "SELECT " + g.plain() + "," + g.gap() + g.plain() + g.gap()
	default:
		return g.list()
	}
}

// block makes up a DO block.
func (g *generator) block() string {
	call := strings.ReplaceAll(g.call(all), "$$", "")
	body := "BEGIN " + pick(g, "", "-- it's\n", "/* \" */ ") + "PERFORM " + call + "; END"
	if g.IntN(2) == 0 {
		return "DO " + pick(g, "", "LANGUAGE plpgsql ") + "$b$" + body + "$b$"
	}
	body = strings.ReplaceAll(body, "'", "''")
	return "DO" + g.gap() + "E'" + strings.ReplaceAll(body, `\`, `\\`) + "'"
}

// list makes up a SELECT without FROM.
func (g *generator) list() string {
	items := make([]string, 1+g.IntN(4))
	for i := range items {
		items[i] = g.item()
	}
	return pick(g, "SELECT", "select", "sElEcT") + " " + g.gap() + strings.Join(items, g.gap()+","+g.gap()) + g.gap()
}

// item makes up an output column.
func (g *generator) item() string {
	switch g.IntN(12) {
	case 0:
		return "NOT " + g.call(boolean)
	case 1:
		return g.call(boolean) + "::text" + g.alias()
	case 2:
		return "CASE WHEN " + g.call(boolean) + " THEN 1 ELSE 2 END"
	case 3:
		return "(SELECT " + g.call(all) + ")"
	case 4:
		return "true OPERATOR(pg_catalog.=) " + g.call(boolean)
	case 5:
		return "coalesce(" + g.call(boolean) + ", " + g.call(boolean) + ")"
	case 6, 7:
		return g.decoy() + g.alias()
	}
	return g.plain()
}

// plain makes up an output column that tells of a call, or has none.
func (g *generator) plain() string {
	return pick(g, g.decoy, func() string { return "(" + g.call(all) + ")" }, func() string { return g.call(all) })() + g.alias()
}

func (g *generator) alias() string {
	return pick(g, "", "", " AS x", " x", " AS \"pg_advisory_lock(1)\"", "\n\"x\"", " AS pg_advisory_lock", " AS select")
}

// gap makes up white space and comments, which may be nothing.
func (g *generator) gap() string {
	return pick(g, "", "", " ", "\t\n", "\f", "/**/", "/* ' */", "/* $$ \" */", "--'\n", "-- "+g.bare(all)+"\r", "/* /* */ "+g.bare(all)+" */", "/*/ */")
}

// decoy makes up an expression without a call, in which one is written.
func (g *generator) decoy() string {
	inside := g.bare(all)
	quoted := strings.ReplaceAll(inside, "'", "''")
	plain := strings.ReplaceAll(quoted, `\`, `\\`)
	switch g.IntN(12) {
	case 0:
		return "'it''s " + plain + "'"
	case 1:
		return `E'\' ` + strings.ReplaceAll(quoted, `\`, `\\`) + ` \\'`
	case 2:
		return "$$" + strings.ReplaceAll(inside, "$", "") + "$$"
	case 3:
		return "$a$ $$ ' " + inside + " $b$ $a$"
	case 4:
		return "'a'" + pick(g, "\n", " -- b\n", "\r\n\t") + "' " + plain + "'"
	case 5:
		return g.backslashTrap()
	case 6:
		return "'1'::int<--" + strings.ReplaceAll(strings.ReplaceAll(inside, "\n", ""), "\r", "") + "\n2"
	case 7:
		return "6//*" + strings.NewReplacer("/*", "", "*/", "").Replace(inside) + "*/2"
	case 8:
		return "N'" + plain + "'"
	case 9:
		return "array_length(ARRAY[1, 2], 1)"
	case 10:
		return "B'101'"
	}
	return "1.5e3"
}

// backslashTrap is a string that ends at one of two quotes, as the setting is; then a call is in it, or after it.
func (g *generator) backslashTrap() string {
	key := g.key(firstFreeKey)
	if g.backslash {
		g.effects |= sql.SessionTry
	}
	return fmt.Sprintf(`'a\' || ' , pg_try_advisory_lock(%d) --'`+"\n", key)
}

// all and boolean are kinds of functions: those whose result is a boolean can stand in more places.
const (
	all = iota
	boolean
)

// lockFunctions are PostgreSQL's own.
var lockFunctions = []string{
	"pg_advisory_lock", "pg_advisory_lock_shared", "pg_advisory_unlock", "pg_advisory_unlock_all", "pg_advisory_unlock_shared",
	"pg_advisory_xact_lock", "pg_advisory_xact_lock_shared", "pg_try_advisory_lock", "pg_try_advisory_lock_shared",
	"pg_try_advisory_xact_lock", "pg_try_advisory_xact_lock_shared",
}

// The server is asked which functions take advisory locks.
func TestPostgresHasTheLockFunctionsThatAreKnown(t *testing.T) {
	rows, err := upstream(t).Query("postgres", `SELECT DISTINCT proname COLLATE "C" FROM pg_proc
		WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '_advisory_' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, row := range rows {
		if names = append(names, row[0]); sql.FunctionEffect(row[0]) == 0 {
			t.Errorf("%s has no effect", row[0])
		}
	}
	if !slices.Equal(names, lockFunctions) {
		t.Errorf("PostgreSQL has %q", names)
	}
	if sql.FunctionEffect("now") != 0 {
		t.Error("now takes no lock")
	}
}

var functionsByKind = func() (kinds [2][]string) {
	for _, name := range lockFunctions {
		kinds[all] = append(kinds[all], name)
		if sql.FunctionEffect(name)&(sql.SessionTry|sql.XactTry|sql.SessionRelease) != 0 {
			kinds[boolean] = append(kinds[boolean], name)
		}
	}
	return kinds
}()

func (g *generator) function(kind int) string { return pick(g, functionsByKind[kind]...) }

// call makes up a call that counts.
func (g *generator) call(kind int) string {
	function := g.function(kind)
	g.effects |= sql.FunctionEffect(function)
	return g.write(function)
}

// bare makes up a call for a place where it does not count.
func (g *generator) bare(kind int) string {
	function := g.function(kind)
	return function + "(" + g.arguments(function) + ")"
}

func (g *generator) write(function string) string {
	schema := pick(g, "", "", "", "pg_catalog.", `"pg_catalog"`+" . ", "PG_Catalog/* . */.", "postgres.pg_catalog.")
	return schema + g.name(function) + g.simpleGap() + "(" + g.arguments(function) + ")"
}

// simpleGap is a gap without calls in it.
func (g *generator) simpleGap() string {
	return pick(g, "", "", " ", "\n", "/* ( */", "--(\n", "/*/**/*/")
}

// name writes a function's name in one of the ways that mean the same.
func (g *generator) name(function string) string {
	switch g.IntN(8) {
	case 0:
		return strings.ToUpper(function)
	case 1:
		return `"` + function + `"`
	case 2:
		return `U&"` + strings.Replace(function, "_", `\005f`, 1+g.IntN(2)) + `"`
	case 3:
		return `u&"` + strings.Replace(function, "a", "!+000061", 1) + `" UESCAPE '!'`
	}
	return function
}

// arguments makes up the arguments of a call. A lock that is taken twice would be one key and two locks, and waiting for
// one that is held elsewhere would take for ever, so keys are chosen by what the function does.
func (g *generator) arguments(function string) string {
	var key int
	switch sql.FunctionEffect(function) {
	case sql.UnlockAll:
		return ""
	case sql.SessionRelease:
		key = g.key(pick(g, firstOwnedKey, firstFreeKey))
	case sql.SessionTry, sql.XactTry:
		key = g.key(pick(g, firstForeignKey, firstFreeKey, firstFreeKey))
	default:
		key = g.key(firstFreeKey)
	}
	form := pick(g, "%d", "%d", " %d ", "%d::bigint", "(%d)", "'%d'", "/* ) */ %d", "abs(-%d)", "0, %d", "NULL::int + %d",
		"(SELECT max(x) FROM (VALUES (%d)) v(x))", "least(%d, 1e9::int)")
	return fmt.Sprintf(form, key)
}

// key gives a key that the statement has not used yet. The few keys of the ranges that are held may be used up; then it is
// a free one.
func (g *generator) key(first int) int {
	for range keys {
		key := first + g.IntN(keys)
		if first == firstFreeKey {
			key = first + g.IntN(1e9)
		}
		if !g.used[key] {
			g.used[key] = true
			return key
		}
	}
	return g.key(firstFreeKey)
}
