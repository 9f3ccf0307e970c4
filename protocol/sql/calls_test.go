package sql

import (
	"slices"
	"strings"
	"testing"
)

// TestCallsAreToldFromNames goes beyond the table of statements; each line says which calls a text makes.
func TestCallsAreToldFromNames(t *testing.T) {
	const lock, try = "pg_advisory_lock", "pg_try_advisory_lock"
	for _, c := range []struct {
		text string
		want []string
	}{
		// Where an operand is wanted, a name before a parenthesis is a function's.
		{"SELECT DISTINCT ON (a) pg_try_advisory_lock(a) FROM t", []string{try}},
		{"SELECT DISTINCT ON (lower(a)) pg_try_advisory_lock(a) FROM t", []string{try}},
		{strings.Repeat("(", 70) + "SELECT DISTINCT ON (a) pg_try_advisory_lock(a) FROM t" + strings.Repeat(")", 70), []string{try}},
		{"SELECT 1 OPERATOR(pg_catalog.+) pg_try_advisory_lock(1)::int", []string{try}},
		{"SELECT a BETWEEN SYMMETRIC pg_advisory_lock(1) AND pg_advisory_lock(2)", []string{lock, lock}},
		{"SELECT a AT TIME ZONE pg_advisory_lock(1)", []string{lock}},
		{"SELECT a LIKE b ESCAPE pg_advisory_lock(1)", []string{lock}},
		{"SELECT a FROM t GROUP BY pg_try_advisory_lock(1)", []string{try}},
		{"SELECT sum(a) OVER (PARTITION BY pg_advisory_lock(1) ROWS pg_advisory_lock(2) PRECEDING)", []string{lock, lock}},
		{"SELECT a[pg_advisory_lock(1):pg_advisory_lock(2)]", []string{lock, lock}},
		{"SELECT a[1:pg_advisory_lock(2)], b[:pg_advisory_lock(3)]", []string{lock, lock}},
		{"SELECT ARRAY[pg_advisory_lock(1), pg_advisory_lock(2)]", []string{lock, lock}},
		{"SELECT overlay(a PLACING pg_advisory_lock(1) FROM pg_advisory_lock(2) FOR 3)", []string{lock, lock}},
		{"SELECT * FROM a, pg_try_advisory_lock(1) AS b(c)", []string{try}},
		{"SELECT * FROM a JOIN pg_try_advisory_lock(1) b ON true", []string{try}},
		{"SELECT * FROM ROWS FROM (pg_try_advisory_lock(1), pg_try_advisory_lock(2)) AS a", []string{try, try}},
		{"SELECT -pg_advisory_lock(1), @pg_advisory_lock(2)", []string{lock, lock}},
		{"WITH a AS (SELECT 1), b AS (SELECT pg_advisory_lock(1)) SELECT pg_advisory_lock(2)", []string{lock, lock}},
		{"SELECT 1, pg_advisory_lock(a) FROM t", []string{lock}},
		{"SELECT 1, pg_advisory_lock(a) AS (b)", []string{}},
		{"UPDATE t SET (a, b) = (pg_advisory_lock(1), pg_advisory_lock(2))", []string{lock, lock}},
		{"INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = pg_advisory_lock(1) WHERE pg_try_advisory_lock(2)", []string{lock, try}},
		{"COPY t FROM STDIN WHERE pg_try_advisory_lock(a)", []string{try}},
		{"ALTER TABLE t ALTER COLUMN a TYPE int USING pg_advisory_lock(1), ALTER b SET DEFAULT pg_advisory_lock(2)", []string{lock}},
		{"ALTER TABLE t ALTER b SET DEFAULT pg_advisory_lock(2), ADD CHECK (pg_try_advisory_lock(1))", []string{try}},
		{"ALTER DOMAIN a ADD CHECK (pg_try_advisory_lock(VALUE))", []string{try}},
		{"CREATE TABLE a PARTITION OF b FOR VALUES IN (pg_try_advisory_lock(1)::int)", []string{try}},
		{"CREATE TABLE a (b, c) WITH (fillfactor = 10) AS WITH d AS (SELECT pg_advisory_lock(1)) SELECT 1", []string{lock}},
		{"EXPLAIN (ANALYZE false, ANALYZE true) SELECT pg_advisory_lock(1)", []string{lock}},
		{"EXPLAIN (VERBOSE, ANALYZE 1) SELECT pg_advisory_lock(1)", []string{lock}},
		{"EXPLAIN ANALYZE (SELECT pg_advisory_lock(1))", []string{lock}},
		{"DO $$ BEGIN SELECT INTO ok pg_try_advisory_lock(1); END $$", []string{try}},
		{"DO $$ BEGIN FOR i IN 1..pg_advisory_lock(1) LOOP END LOOP; IF (true) THEN PERFORM pg_advisory_lock(2); END IF; END $$", []string{lock, lock}},
		{"DO LANGUAGE 'plpgsql' E'BEGIN PERFORM \\x70g_advisory_lock(1); END'", []string{lock}},
		{"DO 'BEGIN PERFORM pg_'\n'advisory_lock(1); END'", []string{lock}},
		{"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 AS end; END; SELECT pg_advisory_lock(1)", []string{lock}},
		{"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT pg_advisory_lock(1); END", nil},
		{"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC END; SELECT pg_advisory_lock(1)", []string{lock}},
		{"CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT pg_advisory_lock(1)); SELECT pg_advisory_lock(2)", []string{lock}},
		// Where none is wanted, it is not.
		{"SELECT a FROM (VALUES (1)) pg_advisory_lock(a)", nil},
		{"SELECT a FROM t pg_advisory_lock(a)", nil},
		{"SELECT a FROM \"t\" pg_advisory_lock(a)", nil},
		{"SELECT a FROM t AS \"pg_advisory_lock\" (a)", nil},
		{"SELECT CAST(1 AS pg_advisory_lock(1)), 1::pg_advisory_lock(1)", nil},
		{"WITH a AS (SELECT 1), pg_advisory_lock(x) AS (SELECT 2) SELECT 1", nil},
		{"WITH a(x) AS (SELECT 1), pg_advisory_lock(x, \"y\") AS NOT MATERIALIZED (SELECT 2, 3) SELECT 1", nil},
		{"WITH RECURSIVE pg_advisory_lock(x) AS (SELECT 2) SELECT 1", nil},
		{"COPY pg_advisory_lock(a) FROM STDIN", nil},
		{"ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES pg_advisory_lock(id)", nil},
		{"MERGE INTO t USING s ON true WHEN NOT MATCHED THEN INSERT (a) VALUES (1)", nil},
		{"ALTER FUNCTION pg_advisory_lock(bigint) OWNER TO a", nil},
		{"COMMENT ON FUNCTION pg_advisory_lock(bigint) IS 'a'", nil},
		{"CREATE INDEX ON t (pg_try_advisory_lock(a))", nil},
		{"CREATE POLICY p ON t USING (pg_try_advisory_lock(a))", nil},
		{"CREATE TABLE t (a int GENERATED ALWAYS AS (pg_advisory_lock(1)) STORED)", nil},
		{"EXPLAIN (ANALYZE, ANALYZE 'Off') SELECT pg_advisory_lock(1)", nil},
		{"EXPLAIN (SELECT pg_advisory_lock(1))", nil},
		{"EXPLAIN (SETTINGS, FORMAT analyze) SELECT pg_advisory_lock(1)", nil},
		{"DO $$ BEGIN PERFORM a FROM (VALUES (1)) AS pg_advisory_lock(a); END $$", nil},
		{"DO $$ BEGIN OPEN pg_advisory_lock(1); END $$", nil},
		{"DO $$ DECLARE pg_advisory_lock CURSOR (a int) FOR SELECT a; BEGIN END $$", nil},
		{"DEALLOCATE pg_advisory_lock", nil},
		{"SELECT 'a' 'b' pg_advisory_lock(1)", nil},
		{"SELECT b.pg_advisory_lock(1), a.b.pg_advisory_lock(2)", nil},
		// Lexical traps.
		{"SELECT pg_catalog.\"pg_advisory_lock\"/**/(1)", []string{lock}},
		{"SELECT U&\"pg!005fcatalog\" UESCAPE '!' . U&\"pg\\+00005fadvisory_lock\"(1)", []string{lock}},
		{"SELECT U&\"pg!!005fadvisory_lock\" UESCAPE '!' (1)", nil},
		{"SELECT U &\"pg_advisory_lock\"(1)", []string{lock}},
		{"SELECT /* /* */ */ pg_advisory_lock(1)", []string{lock}},
		{"SELECT /*/ pg_advisory_lock(1) */ 1", nil},
		{"SELECT /***/ pg_advisory_lock(1)", []string{lock}},
		{"SELECT 1 */**/pg_advisory_lock(1)", []string{lock}},
		{"SELECT E'\\\\', pg_advisory_lock(1), '\\'", []string{lock}},
		{"SELECT E'\\'', pg_advisory_lock(1)", []string{lock}},
		{"SELECT e'a' -- '\n 'b\\' , pg_advisory_lock(1), '", nil},
		{"SELECT E'a' '\\', pg_advisory_lock(1), '", []string{lock}},
		{"SELECT 'a' /* c */\n'b' , pg_advisory_lock(1)", []string{lock}},
		{"SELECT $a$b$a$, pg_advisory_lock(1), $a$c$a$", []string{lock}},
		{"SELECT a$b$, pg_advisory_lock(1), c$b$", []string{lock}},
		{"SELECT $\u00e4$ $a$ pg_advisory_lock(1) $\u00e4$", nil},
		{"SELECT $1, pg_advisory_lock($2)", []string{lock}},
		{"SELECT $1a$, pg_advisory_lock(1), $1a$", []string{lock}},
		{"SELECT 1e5, 1.5e-3, .5, 1., pg_advisory_lock(1)", []string{lock}},
		{"SELECT 1.e+pg_advisory_lock(1)", []string{lock}},
		{"SELECT a.*, pg_advisory_lock(1)", []string{lock}},
		{"SELECT a<@pg_advisory_lock(1)", []string{lock}},
		{"SELECT pg_advisory_lock\u00a0(1), pg_advisory_lock\u3000(1)", nil},
		{"SELECT pg_advisory_lock\v(1)", []string{lock}},
		{"SELECT \"a\"\"b\", pg_advisory_lock(1), \"c\"", []string{lock}},
		{"SELECT \"\" , pg_advisory_lock(1)", []string{lock}},
	} {
		if _, got := tracedRead(mustReader(t), []byte(c.text), Dialect{}); !slices.Equal(got, c.want) {
			t.Errorf("%s\ncalls %q, want %q", c.text, got, c.want)
		}
	}
}

func TestBackslashesCountAsTheDialectSays(t *testing.T) {
	const text = `SELECT 'a\', pg_advisory_lock(1), '\'`
	if u := mustReader(t).Read([]byte(text), Dialect{}); u.Lock != SessionAcquire {
		t.Error("a backslash is a character")
	}
	if u := mustReader(t).Read([]byte(text), Dialect{BackslashQuotes: true}); u.Lock != 0 {
		t.Error("a backslash takes the quote's meaning")
	}
	for _, prefix := range []string{"b", "X"} {
		text := "SELECT " + prefix + `'1\', pg_advisory_lock(1), '2'`
		if u := mustReader(t).Read([]byte(text), Dialect{BackslashQuotes: true}); u.Lock != SessionAcquire {
			t.Errorf("%s: bit strings know no backslash", text)
		}
	}
}

// TestBytesThatOnlyLookLikeASCIIAreNone uses one character of each encoding whose second byte is a backslash or a
// letter; Plain is how the same bytes read otherwise.
func TestBytesThatOnlyLookLikeASCIIAreNone(t *testing.T) {
	for _, c := range []struct {
		encoding  string
		character string
	}{
		{"SJIS", "\x95\x5c"}, {"shift-jis-2004", "\x95\x5c"}, {"Big5", "\xa5\x5c"}, {"GBK", "\x81\x5c"},
		{"windows-949", "\x81\x5c"}, {"GB18030", "\x81\x5c"}, {"JOHAB", "\x89\x5c"}, {"johab", "\x8f\xa1\x5c"},
		{"gb18030", "\x81\x30\x81\x30\x81\x5c"},
	} {
		text := []byte("SELECT E'" + c.character + "', E' , pg_advisory_lock(1) , '")
		d := Dialect{Encoding: EncodingOf(c.encoding)}
		if d.Encoding == Plain {
			t.Errorf("%s is not known", c.encoding)
		}
		masked := slices.Clone(text)
		if u := mustReader(t).Read(text, d); u.Lock != 0 {
			t.Errorf("%s: a byte of a character was taken for a backslash", c.encoding)
		}
		if !slices.Equal(masked, text) {
			t.Errorf("%s: the text was changed", c.encoding)
		}
		if u := mustReader(t).Read(text, Dialect{}); u.Lock == 0 {
			t.Errorf("%s: the text shows nothing", c.encoding)
		}
	}
	for _, name := range []string{"UTF8", "latin1", "EUC_JP", "", "SQL_ASCII", "sjisx"} {
		if EncodingOf(name) != Plain {
			t.Errorf("%s is plain", name)
		}
	}
	text := []byte("SELECT '\xb1\\', pg_advisory_lock(1)")
	if u := mustReader(t).Read(text, Dialect{Encoding: ShiftJIS}); u.Lock == 0 {
		t.Error("a katakana of half width has one byte in SJIS")
	}
}

func TestPreparedNamesOfOtherEncodingsStayApart(t *testing.T) {
	u := mustReader(t).Read([]byte("EXECUTE \x95\x5c; EXECUTE \"\x95\x5d\""), Dialect{Encoding: ShiftJIS})
	if len(u.Prepared) != 2 || u.Prepared[0].Name != "\x95\x5c" || u.Prepared[1].Name != "\x95\x5d" {
		t.Errorf("%+v", u.Prepared)
	}
}

func TestUsersFunctionsCountByName(t *testing.T) {
	long := strings.Repeat("f", 70)
	r := mustReader(t, "acquire", "app.take", `"App"."Take It"`, `a."x""y"`, long, "\u00e4cquire")
	for text, want := range map[string]Effect{
		"SELECT acquire(1)": Unknown, "SELECT ACQUIRE (1)": Unknown, "SELECT x.acquire(1)": Unknown, `SELECT "Acquire"(1)`: 0,
		"SELECT app.take(1)": Unknown, "SELECT take(1)": Unknown, "SELECT other.take(1)": 0, "SELECT db.app.take(1)": Unknown,
		`SELECT "App"."Take It"()`: Unknown, `SELECT "Take It"()`: Unknown, "SELECT app.take": 0, "SELECT 1 AS take, (1)": 0,
		`SELECT a."x""y"()`: Unknown, `SELECT b."x""y"()`: 0, "SELECT " + long + "g()": Unknown, "SELECT \u00e4cquire()": Unknown,
		"CALL app.take(1)": Unknown, "DO $$ BEGIN PERFORM app.take(1); END $$": Unknown,
		"SELECT pg_advisory_lock(take(1))": SessionAcquire | Unknown, "EXPLAIN SELECT take(1)": 0,
	} {
		u := r.Read([]byte(text), Dialect{})
		if u.Lock != want || u.Simple {
			t.Errorf("%s: %b, simple %v; want %b, not simple", text, u.Lock, u.Simple, want)
		}
	}
}

// Which of several functions of a name is called, the search path and the types of the arguments tell.
func TestFunctionsNamedLikePostgreSQLsOwnAreNotCounted(t *testing.T) {
	r, err := NewReader(nil, Function{Schema: "app", Name: "pg_advisory_unlock"}, Function{Schema: "app", Name: "pg_advisory_lock", Locks: true})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]Effect{
		"SELECT pg_advisory_unlock(1)": SessionRelease | Unknown, "SELECT pg_advisory_lock('a')": SessionAcquire | Unknown,
		"SELECT app.pg_advisory_lock(1)": Unknown, "SELECT app.pg_advisory_unlock(1)": 0,
		"SELECT pg_catalog.pg_advisory_unlock(1)": SessionRelease, "SELECT pg_advisory_unlock_shared(1)": SessionRelease,
	} {
		if u := r.Read([]byte(text), Dialect{}); u.Lock != want || u.Simple != (want == SessionRelease) {
			t.Errorf("%s: %b, simple %v; want %b", text, u.Lock, u.Simple, want)
		}
	}
}

func TestNameThatIsCutWithinACharacterIsFoundInBothSpellings(t *testing.T) {
	long := strings.Repeat("f", 62)
	r := mustReader(t, long+"\u00e4")
	for _, name := range []string{long, long + "\u00e4", long + "\u00e4\u00e4"} {
		if u := r.Read([]byte("SELECT "+name+"()"), Dialect{}); u.Lock != Unknown {
			t.Errorf("%s is not found", name)
		}
	}
}

func TestNamesOfFunctionsAreChecked(t *testing.T) {
	for _, bad := range []string{"", " ", "a.", ".a", "a.b.c", "a b", "a(bigint)", "'a'", "1", `""`, `a."`, "a;", "a,b"} {
		if _, err := NewReader([]string{"good", bad}); err == nil || !strings.Contains(err.Error(), "is not the name") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	mustReader(t, " a ", "A . b", `U&"\0061"`)
}

func TestKeyIsTheArgumentsOfTheOnlyCall(t *testing.T) {
	for text, want := range map[string]string{
		"SELECT pg_advisory_lock(hashtextextended($1, 0))":                                     "hashtextextended($1, 0)",
		"SELECT pg_catalog.pg_advisory_lock /*a*/ ( 1, 2 )":                                    " 1, 2 ",
		"SELECT pg_advisory_lock(((1)))":                                                       "((1))",
		"SELECT a[1], pg_advisory_lock(b[(2)]) FROM t":                                         "b[(2)]",
		"SELECT 1; SELECT pg_advisory_lock(7); SELECT 2":                                       "7",
		"SELECT pg_advisory_lock(')')":                                                         "')'",
		"SELECT pg_advisory_unlock_all()":                                                      "",
		"SELECT pg_advisory_lock(1), pg_advisory_lock(1)":                                      "",
		"SELECT pg_advisory_lock(pg_advisory_lock(1))":                                         "",
		"SELECT pg_advisory_lock(1":                                                            "",
		"DO $$ BEGIN PERFORM pg_advisory_lock(5); END $$":                                      "5",
		"DO 'BEGIN PERFORM pg_advisory_lock(5); END'":                                          "",
		"SELECT set_config('a', 'b', true), pg_advisory_lock(set_config('c', '8', true)::int)": "set_config('c', '8', true)::int",
	} {
		k := read(t, text).Key
		if got := text[k.From:k.To]; got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestColumnsAreThoseOfTheCalls(t *testing.T) {
	for text, want := range map[string][8]Effect{
		"SELECT pg_advisory_lock(1)":                                                  {SessionAcquire},
		"SELECT 1, 'a' || 'b', pg_try_advisory_xact_lock(1) x":                        {0, 0, XactTry},
		"SELECT (pg_advisory_lock(1)), ((pg_advisory_unlock(2))) AS \"b\"":            {SessionAcquire, SessionRelease},
		"SELECT coalesce(1, 2), ARRAY[1, 2], pg_advisory_unlock_all()":                {0, 0, UnlockAll},
		"SELECT * FROM pg_advisory_lock(1) AS a":                                      {SessionAcquire},
		"SELECT 1,2,3,4,5,6,7, pg_advisory_lock(8), 9, 10":                            {7: SessionAcquire},
		"SELECT pg_advisory_lock(f(1))":                                               {SessionAcquire},
		"SELECT pg_advisory_lock(9223372036854775807), pg_advisory_lock(-5, '-6')":    {SessionAcquire, SessionAcquire},
		"SELECT pg_advisory_lock((SELECT max(id) FROM t)), (SELECT 1 FROM t LIMIT 1)": {SessionAcquire, 0},
	} {
		u := read(t, text)
		if !u.Simple || u.Columns != want {
			t.Errorf("%s: %v %v, want %v", text, u.Simple, u.Columns, want)
		}
	}
}

func TestWhatResultsDoNotTellIsNotSimple(t *testing.T) {
	for _, text := range []string{
		"SELECT pg_advisory_lock(1), f(2)", "SELECT pg_advisory_lock(f(1)), 2", "SELECT pg_advisory_lock(1), r.*",
		"SELECT *, pg_advisory_lock(1)", "SELECT 1,2,3,4,5,6,7,8, pg_advisory_lock(9)", "SELECT DISTINCT pg_advisory_lock(1)",
		"SELECT ALL pg_advisory_lock(1)", "SELECT DISTINCT 1, pg_advisory_lock(1)", "SELECT pg_try_advisory_lock(1) IS TRUE",
		"SELECT pg_try_advisory_lock(1) ISNULL", "SELECT pg_advisory_lock(1) LIMIT 0", "SELECT pg_advisory_lock(1) WHERE a",
		"SELECT pg_advisory_lock(1), 1 WHERE false", "SELECT pg_advisory_lock(1), 1 LIMIT 0", "SELECT pg_advisory_lock(1), 1 OFFSET 1",
		"SELECT pg_advisory_lock(1) FOR UPDATE", "SELECT pg_advisory_lock(1) INTO a", "SELECT pg_advisory_lock(1), 2 INTO a",
		"SELECT pg_advisory_lock(1) OVER ()", "SELECT (pg_advisory_lock(1), 2)", "SELECT (pg_try_advisory_lock(1))::int",
		"SELECT pg_advisory_lock(1) EXCEPT SELECT 1", "SELECT 1, 2 UNION SELECT 3, pg_advisory_lock(1)",
		"(SELECT pg_advisory_lock(1))", "VALUES (pg_advisory_lock(1))", "SELECT pg_advisory_lock(1); SELECT 2",
		"SELECT * FROM pg_advisory_lock(1) WITH ORDINALITY", "SELECT * FROM pg_advisory_lock(1), t", "SELECT a FROM pg_advisory_lock(1)",
		"SELECT * FROM pg_advisory_lock(1) AS a(b)", "SELECT * FROM pg_advisory_lock(1) LIMIT 0",
		"SELECT pg_advisory_lock(1, a => 2)", "SELECT pg_advisory_lock(a := 2)", "SELECT pg_advisory_lock()", "SELECT pg_advisory_unlock_all(1)",
		"SELECT pg_advisory_lock(1.0)", "SELECT pg_advisory_lock(1e3)", "SELECT pg_advisory_lock('x')", "SELECT pg_advisory_lock('')",
		"SELECT -pg_advisory_lock(1)", "SELECT pg_advisory_lock(1)::text", "SELECT pg_advisory_lock(1) AS a b",
	} {
		if u := read(t, text); u.Simple || u.Lock == 0 || u.Columns != [8]Effect{} {
			t.Errorf("%s: %+v", text, u)
		}
	}
}

func TestDeepTextIsReadWithoutRecursion(t *testing.T) {
	const n = 1 << 20
	for _, text := range []string{
		strings.Repeat("(", n), strings.Repeat("/*", n), strings.Repeat("[(", n), strings.Repeat("U&\"a\" ", n/8),
		"SELECT " + strings.Repeat("pg_advisory_lock(", n/16), "SELECT " + strings.Repeat("set_config('a',", n/16),
		strings.Repeat("EXPLAIN ", n/8), "DO " + strings.Repeat("$$", n), strings.Repeat("BEGIN;", n/8),
		"SELECT 1" + strings.Repeat(",pg_advisory_lock(a,", n/16), "SELECT " + strings.Repeat("'a'\n", n),
		strings.Repeat("$a", n), strings.Repeat("INTO ", n),
	} {
		read(t, text)
	}
	if u := read(t, strings.Repeat("(", n)+"SELECT pg_advisory_lock(1)"+strings.Repeat(")", n)); u.Calls != 1 {
		t.Error("a call in deep parentheses is found")
	}
}

func TestFirstWordSkipsWhatIsNoCode(t *testing.T) {
	for text, want := range map[string]string{
		"START x": "START", " -- a\n/* b */ ;begin": "begin", "": "", "(select": "", "1 a": "", "\"a\" b": "",
	} {
		if got := string(FirstWord([]byte(text))); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
