package test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// authQuery is the query that docs/authentication.md recommends.
const authQuery = `SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END
	FROM pg_authid WHERE rolname = $1 AND rolcanlogin`

// asking has users looked up at the shared server.
func asking(t testing.TB, query string, edits ...func(*proxy.Auth)) func(*proxy.Config) {
	auth := proxy.Auth{Type: proxy.MD5, Query: query, QueryURL: upstream(t).URL("postgres"), QueryCache: time.Minute}
	for _, edit := range edits {
		edit(&auth)
	}
	return authenticated(auth)
}

func createUsers(t testing.TB, sql string, users map[string]postgres.Method) {
	t.Helper()
	for user, method := range users {
		if err := upstream(t).CreateUser(user, "secret-of-"+user, method); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := upstream(t).Query("postgres", sql); err != nil {
		t.Fatal(err)
	}
}

// CVE-2025-2291 (B 1.24.1): VALID UNTIL counts. CVE-2015-6817 (B#69): who is unknown is nobody.
func TestUsersAreLookedUpOnTheServer(t *testing.T) {
	createUsers(t, "ALTER ROLE asked_expired VALID UNTIL '2001-01-01'; ALTER ROLE asked_later VALID UNTIL 'infinity'; ALTER ROLE asked_nologin NOLOGIN",
		map[string]postgres.Method{"asked_scram": postgres.SCRAM, "asked_md5": postgres.MD5, "asked_expired": postgres.SCRAM,
			"asked_later": postgres.SCRAM, "asked_nologin": postgres.SCRAM})
	r := startProxy(t, serverOf(upstream(t)), asking(t, authQuery))
	drivers(t, func(t *testing.T, login func(string) error) {
		for _, user := range []string{"asked_scram", "asked_md5", "asked_later"} {
			if err := login(as(t, r.url, user, "secret-of-"+user)); err != nil {
				t.Errorf("%s: %v", user, err)
			}
			if err := login(as(t, r.url, user, "secret-of-another")); err == nil || !strings.Contains(err.Error(), "password authentication failed") {
				t.Errorf("%s, with a wrong password: %v", user, err)
			}
		}
		for _, user := range []string{"asked_expired", "asked_nologin", "asked_nobody", postgres.Superuser} {
			if err := login(as(t, r.url, user, "secret-of-"+user)); err == nil || !strings.Contains(err.Error(), "password authentication failed") {
				t.Errorf("%s: %v", user, err)
			}
		}
	})
	for _, secret := range []string{"secret-of-", "SCRAM-SHA-256$", md5Of("asked_md5", "secret-of-asked_md5")} {
		if r.log.has(secret) {
			t.Errorf("the log tells %s", secret)
		}
	}
}

// Names are parameters, whatever they look like; also one that the server cannot read.
func TestSQLInNamesIsNeverRun(t *testing.T) {
	createUsers(t, "CREATE TABLE precious (a int)", map[string]postgres.Method{"asked_victim": postgres.SCRAM})
	r := startProxy(t, asking(t, authQuery))
	for _, name := range []string{
		"x' OR '1'='1", "asked_victim' --", `"; DROP TABLE precious; --`, "$1", "x'; SELECT pg_sleep(60); --", "\xff\xfe", `\`, "asked_victim\\'", "%s%n",
	} {
		for _, c := range []struct{ user, database string }{{name, r.database}, {"asked_victim", name}, {name, name}} {
			config, err := pgconn.ParseConfig(r.url)
			if err != nil {
				t.Fatal(err)
			}
			config.User, config.Database, config.Password = c.user, c.database, "secret-of-asked_victim"
			conn, err := pgconn.ConnectConfig(t.Context(), config)
			var e *pgconn.PgError
			switch {
			case err == nil: // the right user, of a database that is found out later not to be there
				closeConn(conn.Close)
				if c.user != "asked_victim" {
					t.Errorf("%q of %q is let in", c.user, c.database)
				}
			case !errors.As(err, &e) || e.Code != "28P01" && c.user != "asked_victim":
				t.Errorf("%q of %q: %v", c.user, c.database, err)
			}
		}
	}
	if _, err := upstream(t).Query("postgres", "DROP TABLE precious"); err != nil {
		t.Error(err)
	}
}

// CVE-2025-12819 (B 1.25.1): what a client asks for at its start never reaches the connection that looks users up; nor does
// what the role there has.
func TestLookupsHaveSettingsOfTheirOwn(t *testing.T) {
	createUsers(t, `CREATE SCHEMA evil CREATE TABLE pg_authid (rolname text, rolpassword text, rolvaliduntil timestamptz, rolcanlogin bool);
		INSERT INTO evil.pg_authid VALUES ('asked_intruder', 'open', NULL, true);
		CREATE ROLE asking SUPERUSER LOGIN; ALTER ROLE asking SET search_path = evil, pg_catalog; GRANT USAGE ON SCHEMA evil TO PUBLIC`,
		map[string]postgres.Method{"asked_honest": postgres.SCRAM})
	t.Cleanup(func() {
		if _, err := upstream(t).Query("postgres", "DROP SCHEMA evil CASCADE; DROP ROLE asking"); err != nil {
			t.Error(err)
		}
	})
	r := startProxy(t, asking(t, authQuery, func(a *proxy.Auth) { a.QueryURL = strings.Replace(a.QueryURL, postgres.Superuser+"@", "asking@", 1) }))
	for _, parameter := range []string{"search_path", "options", "application_name"} {
		value := map[string]string{"search_path": "evil", "options": "-csearch_path=evil", "application_name": "x"}[parameter]
		login := func(user, password string) error {
			conn, err := pgconn.Connect(t.Context(), as(t, withParameter(t, r.url, parameter, value), user, password))
			if err == nil {
				closeConn(conn.Close)
			}
			return err
		}
		if err := login("asked_intruder", "open"); sqlState(err) != "28P01" {
			t.Errorf("%s: %v", parameter, err)
		}
		if err := login("asked_honest", "secret-of-asked_honest"); err != nil {
			t.Errorf("%s: %v", parameter, err)
		}
	}
	found := r.value(t, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'asking' AND application_name = 'lockproxy auth.query'")
	if found != "1" {
		t.Errorf("%s connections look users up, want one", found)
	}
}

// A server that cannot be asked, and an answer that is none, are told to the log alone.
func TestALookupThatFailsTellsTheClientNothing(t *testing.T) {
	free, err := postgres.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ query, url, logged string }{
		{authQuery, fmt.Sprintf("postgres://asker:hunter2@127.0.0.1:%d/postgres", free), "connection refused"},
		{"SELECT no_such_column, $1", upstream(t).URL("postgres"), "no_such_column"},
		{"SELECT 'a', 'b' FROM generate_series(1, 2) WHERE $1 <> ''", upstream(t).URL("postgres"), "it gives 2 rows"},
		{"SELECT $1", upstream(t).URL("postgres"), "it gives 1 columns"},
		{"SELECT 'postgres', 'open' WHERE $1 <> ''", upstream(t).URL("postgres"), `it gives the secret of user \"postgres\"`},
		{"SELECT $1, 'SCRAM-SHA-256$hunter2'", upstream(t).URL("postgres"), "malformed SCRAM-SHA-256 verifier"},
		{"SELECT 'x'", upstream(t).URL("postgres"), "auth.query: "},
	} {
		r := startProxy(t, asking(t, c.query, func(a *proxy.Auth) { a.QueryURL = c.url }))
		_, err := pgconn.Connect(t.Context(), as(t, r.url, "somebody", "open"))
		var e *pgconn.PgError
		if !errors.As(err, &e) || e.Code != "08001" || e.Severity != "FATAL" || e.Message != `could not look up user "somebody"` || e.Detail+e.Hint != "" {
			t.Errorf("%s: %v", c.query, err)
		}
		if !r.log.has(c.logged) || r.log.has("hunter2") {
			t.Errorf("%s: the log says: %s", c.query, r.log.tail())
		}
	}
}

// S#962: an upstream that is silent. Login_timeout ends a login that waits for a lookup, and whoever else comes is served.
func TestALookupIsBoundedByTheLoginsTime(t *testing.T) {
	const query = "SELECT $1::text, 'open' FROM (SELECT CASE WHEN $1 = 'slow' THEN pg_sleep(60) END) s"
	r := startProxy(t, asking(t, query), func(c *proxy.Config) { c.LoginTimeout = time.Second })
	begin := time.Now()
	_, err := pgconn.Connect(t.Context(), as(t, r.url, "slow", "open"))
	if sqlState(err) != "57014" || time.Since(begin) > patience {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
	r.awaitRow(t, "the question is cancelled", "NOT EXISTS (SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid())")
	dial(t, as(t, r.url, "quick", "open"))
	begin = time.Now()
	go pgconn.Connect(t.Context(), as(t, r.url, "slow", "open"))
	r.awaitRow(t, "a question is under way", "EXISTS (SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid())")
	r.stop()
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("the proxy ends after %v", took)
	}
}

// A crowd of one user's clients asks once, and so does one of somebody who is not there.
func TestOneAnswerServesAllWhoAsk(t *testing.T) {
	createUsers(t, `CREATE SCHEMA asks; CREATE SEQUENCE asks.questions;
		CREATE FUNCTION asks.lookup(who text, OUT name text, OUT secret text) RETURNS SETOF record LANGUAGE sql VOLATILE AS
		$$ SELECT nextval('asks.questions'); SELECT pg_sleep(0.2); SELECT who, 'open'::text WHERE who = 'somebody' $$`, nil)
	t.Cleanup(func() {
		if _, err := upstream(t).Query("postgres", "DROP SCHEMA asks CASCADE"); err != nil {
			t.Error(err)
		}
	})
	questions := func() string {
		rows, err := upstream(t).Query("postgres", "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM asks.questions")
		if err != nil {
			t.Fatal(err)
		}
		return rows[0][0]
	}
	r := startProxy(t, asking(t, "SELECT * FROM asks.lookup($1)"))
	for i, c := range []struct{ user, code string }{{"somebody", ""}, {"nobody", "28P01"}} {
		var crowd sync.WaitGroup
		for range 50 {
			crowd.Go(func() {
				conn, err := pgconn.Connect(t.Context(), as(t, r.url, c.user, "open"))
				if sqlState(err) != c.code {
					t.Errorf("%s: %v", c.user, err)
				}
				if err == nil {
					closeConn(conn.Close)
				}
			})
		}
		crowd.Wait()
		if got, want := questions(), fmt.Sprint(i+1); got != want {
			t.Errorf("%s questions, want %s", got, want)
		}
	}
	r = startProxy(t, asking(t, "SELECT * FROM asks.lookup($1)", func(a *proxy.Auth) { a.QueryCache = 0 }))
	for range 2 {
		dial(t, as(t, r.url, "somebody", "open"))
	}
	if got := questions(); got != "4" {
		t.Errorf("%s questions, want 4: nothing is to be kept", got)
	}
}

// The pools of a user whose password changes go on with the new one (B 1.25.1 #1432, master #1504).
func TestANewPasswordReachesThePools(t *testing.T) {
	createUsers(t, "", map[string]postgres.Method{"asked_changing": postgres.SCRAM})
	r := startProxy(t, serverOf(upstream(t)), asking(t, authQuery, func(a *proxy.Auth) { a.QueryCache = 0 }))
	use := func(password string) error {
		conn, err := pgconn.Connect(t.Context(), as(t, r.url, "asked_changing", password))
		if err != nil {
			return err
		}
		defer closeConn(conn.Close)
		return conn.Exec(t.Context(), "SELECT 1").Close()
	}
	if err := use("secret-of-asked_changing"); err != nil {
		t.Fatal(err)
	}
	r.query(t, "ALTER ROLE asked_changing PASSWORD 'another'; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'asked_changing'")
	r.awaitRow(t, "the server's processes are gone", "NOT EXISTS (SELECT FROM pg_stat_activity WHERE usename = 'asked_changing')")
	if err := use("secret-of-asked_changing"); sqlState(err) != "28P01" {
		t.Errorf("the old password: %v", err)
	}
	if err := use("another"); err != nil {
		t.Errorf("the new password: %v", err)
	}
}

// An answer that is kept does not keep out whoever has a new password, nor a new user.
func TestAnAnswerThatSomebodyFailsByIsAskedForAgain(t *testing.T) {
	createUsers(t, "", map[string]postgres.Method{"asked_rotating": postgres.SCRAM})
	r := startProxy(t, serverOf(upstream(t)), asking(t, authQuery, func(a *proxy.Auth) { a.QueryCache, a.MaxFailures = time.Hour, 0 }))
	use := func(user, password string) error {
		conn, err := pgconn.Connect(t.Context(), as(t, r.url, user, password))
		if err != nil {
			return err
		}
		defer closeConn(conn.Close)
		return conn.Exec(t.Context(), "SELECT 1").Close()
	}
	if err := use("asked_rotating", "secret-of-asked_rotating"); err != nil {
		t.Fatal(err)
	}
	if err := use("asked_arriving", "another"); sqlState(err) != "28P01" {
		t.Fatal(err)
	}
	createUsers(t, "ALTER ROLE asked_rotating PASSWORD 'another'; ALTER ROLE asked_arriving PASSWORD 'another'",
		map[string]postgres.Method{"asked_arriving": postgres.SCRAM})
	for _, user := range []string{"asked_rotating", "asked_arriving"} {
		await(t, user+" is let in", func() bool { return use(user, "another") == nil })
	}
}
