package differential

import "fmt"

// literal is about how texts are read: quotes, escapes, comments, encodings.
func (w *writer) literal() string {
	return w.pick(`SELECT 'a\'; SET work_mem = ''39MB'''`, `SELECT E'it\'s; SET work_mem = 1'`, `SELECT U&'d\0061t\+000061', U&"d!0061" FROM (SELECT 1 AS da) x UESCAPE '!'`, `SELECT U&'!0061' UESCAPE '!'`, "SELECT 'one'\n 'two'", "SELECT $q$ 'a' ; SET work_mem = '1MB' $q$", "SELECT $é$ text $é$", "SELECT 'é', E'\\u00e9', length('é')",
		"SELECT \"é\" FROM (SELECT 1 AS \"é\") x", "CREATE TABLE x (\"é\" text); SELECT * FROM x; DROP TABLE x", "SET app.\"é\" = 'é'; SHOW app.\"é\"", "SET app.user_id = 'é'", "SET application_name = 'é'", "SELECT current_setting('application_name')",
		"NOTIFY ch, 'é'", "SELECT pg_notify('ch', 'é')", "RAISE 'é'", "SELECT \"nosuch é\"", "SET client_encoding = 'SQL_ASCII'", "SET client_encoding = WIN1252", "SET client_encoding TO 'UTF8'", "SET NAMES latin1", "SET NAMES DEFAULT", "RESET client_encoding", "SELECT convert_to('é', 'LATIN1')", "SELECT chr(8364)", "SET client_encoding = 'SJIS'; SELECT 1",
		"SET standard_conforming_strings = off; SELECT 'a\\'; SELECT 2'", "SET backslash_quote = on", "SET escape_string_warning = off", "SET quote_all_identifiers = on", "SELECT /* ; SET work_mem = '1MB' /* ' */ */ 1 -- '; SET work_mem = '1MB'", "SELECT 1 -- no end", "SELECT 1;;; SELECT 2;", ";;", "select 1; -- c\n; select 2 /* d */", "SELECT 'a' -- b\n'c'", "SELECT 1.e5, .5, 0x1F, 1_000",
		"SELECT b'101', x'1F'", "SELECT 1 <@@> 2", "SELECT - - 1, @ -5, 5 !=-1", "SELECT '{\"a\": 1}'::jsonb ? 'a'", "SELECT '{\"a\": 1}'::jsonb ->> 'a'", "SELECT ARRAY[1,2][1:2]", "SELECT 'x' ~ '[$]1'", "SELECT $1 WHERE false", "SELECT 1 AS \"a;b\"", "SELECT \"current_user\"()", "SELECT CURRENT_USER, SESSION_USER, USER", "SELECT $$ $1 $$",
		"SELECT 'a\x01b', E'\\t'", fmt.Sprintf("SELECT \"pg_try_advisory_lock\"/* a */\n(%d)", w.key), fmt.Sprintf("SELECT U&\"pg_try_advisory\\005flock\"(%d)", w.key), fmt.Sprintf("SELECT 'pg_advisory_lock(%d)' AS pg_advisory_lock", w.key), fmt.Sprintf("select PG_CATALOG . pg_Advisory_Unlock ( %d )", w.key), fmt.Sprintf("SELECT pg_try_advisory_lock(bigint '%d')", w.key), fmt.Sprintf("SELECT * FROM pg_try_advisory_lock(%d) pg_advisory_unlock", w.key))
}

// encodings has a client change its encoding, with names and values in one that others do not have.
func (w *writer) encodings() [][]message {
	to := w.pick("LATIN1", "LATIN1", "WIN1252", "SQL_ASCII", "LATIN9")
	in := w.pick("\xe9", "\xc3\xa9")
	steps := w.say(w.pick("SET client_encoding = '"+to+"'", "SET NAMES '"+to+"'", "SELECT set_config('client_encoding', '"+to+"', false)", "BEGIN; SET LOCAL client_encoding = "+to, "BEGIN; SET client_encoding = "+to), "SET app.user_id = '"+in+"'", "SET application_name = '"+in+"'")
	steps = append(steps, []message{parse("s1", "SELECT $1::text, length($1)"), describe("S", "s1"), bind("", "s1", in), execute("", 0), sync}, []message{query("PREPARE q(text) AS SELECT $1, length($1)")}, []message{query("EXECUTE q('" + in + "')")}, []message{query(w.pick("COMMIT", "ROLLBACK", w.text()))})
	return append(steps, []message{query("SELECT nullif(current_setting('app.user_id', true), ''), current_setting('client_encoding')")}, []message{query(w.pick("RESET client_encoding", "SET client_encoding = 'UTF8'", "RESET ALL", "SELECT 1"))}, []message{bind("", "s1", in), execute("", 0), sync}, []message{query("EXECUTE q('" + in + "')")}, []message{query("SELECT nullif(current_setting('app.user_id', true), '')")}, []message{closing("S", "s1"), sync})
}
