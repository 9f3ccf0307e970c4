package test

import (
	"crypto/md5"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// drivers runs a test with every kind of client: each logs in, asks for current_user and leaves. Its error tells the
// message of a refusal.
func drivers(t *testing.T, f func(t *testing.T, login func(url string) error)) {
	run(t, func(t *testing.T, start starter) {
		one := start(t)
		f(t, func(url string) error {
			s, err := one.tryConnect(url)
			if err != nil {
				return err
			}
			_, err = s.query("SELECT current_user")
			return errors.Join(err, s.end())
		})
	})
	t.Run("psql", func(t *testing.T) {
		f(t, func(url string) error {
			out, err := psql(t, url, "SELECT current_user").CombinedOutput()
			if err != nil {
				return errors.New(string(out))
			}
			return nil
		})
	})
}

// psql is libpq. It asks nobody for a password.
func psql(t testing.TB, url, sql string) *exec.Cmd {
	t.Helper()
	programs, err := postgres.Programs()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(programs, "psql"), "-X", "-w", "-A", "-t", "-c", sql, url)
	cmd.Env = append(os.Environ(), "PGGSSENCMODE=disable")
	return cmd
}

// as gives a URL with another user and password.
func as(t testing.TB, text, user, password string) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, password)
	return u.String()
}

// written writes a file of the test's own.
func written(t testing.TB, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// authenticated sets how clients log in.
func authenticated(auth proxy.Auth) func(*proxy.Config) {
	return func(c *proxy.Config) { c.Auth = auth }
}

// verifierOf is what a server stores of a password.
func verifierOf(t testing.TB, server *postgres.Server, user, password string) string {
	t.Helper()
	if err := server.CreateUser(user, password, postgres.SCRAM); err != nil {
		t.Fatal(err)
	}
	rows, err := server.Query("postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = '"+user+"'")
	if err != nil {
		t.Fatal(err)
	}
	return rows[0][0]
}

func md5Of(user, password string) string { return fmt.Sprintf("md5%x", md5.Sum([]byte(password+user))) }

func TestPasswordsAreAskedForByEveryMethod(t *testing.T) {
	file := written(t, "userlist.txt", fmt.Sprintf("%q %q\n%q %q\n%q %q\n", "plain", "secret-1", "old", md5Of("old", "secret-2"),
		"modern", verifierOf(t, upstream(t), "auth_modern", "secret-3")))
	hba := written(t, "pg_hba.conf", "host all trusted all trust\nhost all banned all reject\nhost all old all md5\nhost all plain,modern 127.0.0.1/32 scram-sha-256\n")
	for _, c := range []struct {
		auth  proxy.Auth
		in    map[string]string // the passwords by which users get in
		out   map[string]string // those by which they do not
		words string            // what they are told
	}{
		{proxy.Auth{Type: proxy.SCRAM, File: file}, map[string]string{"plain": "secret-1", "modern": "secret-3"},
			map[string]string{"plain": "secret-2", "modern": "x", "old": "secret-2", "nobody": "secret-1"}, "password authentication failed for user"},
		{proxy.Auth{Type: proxy.MD5, File: file}, map[string]string{"plain": "secret-1", "old": "secret-2", "modern": "secret-3"},
			map[string]string{"plain": "secret-2", "modern": "x", "old": "secret-1", "nobody": "secret-1"}, "password authentication failed for user"},
		{proxy.Auth{Type: proxy.Password, File: file}, map[string]string{"plain": "secret-1", "old": "secret-2", "modern": "secret-3"},
			map[string]string{"plain": "secret-2", "old": "x", "modern": "x", "nobody": "secret-1"}, "password authentication failed for user"},
		{proxy.Auth{Type: proxy.HBA, HBAFile: hba, File: file},
			map[string]string{"plain": "secret-1", "old": "secret-2", "modern": "secret-3", "trusted": "x"},
			map[string]string{"plain": "x", "old": "x"}, "password authentication failed for user"},
		{proxy.Auth{Type: proxy.HBA, HBAFile: hba, File: file}, nil,
			map[string]string{"banned": "x"}, "pg_hba.conf rejects connection for host"},
		{proxy.Auth{Type: proxy.HBA, HBAFile: hba, File: file}, nil,
			map[string]string{"nobody": "x"}, "no pg_hba.conf entry for host"},
	} {
		r := startProxy(t, authenticated(c.auth))
		t.Run(string(c.auth.Type), func(t *testing.T) {
			drivers(t, func(t *testing.T, login func(string) error) {
				for user, password := range c.in {
					if err := login(as(t, r.url, user, password)); err != nil {
						t.Errorf("%s: %v", user, err)
					}
				}
				for user, password := range c.out {
					if err := login(as(t, r.url, user, password)); err == nil || !strings.Contains(err.Error(), c.words) {
						t.Errorf("%s: %v", user, err)
					}
				}
			})
		})
		for _, secret := range []string{"secret-", "SCRAM-SHA-256$", md5Of("old", "secret-2")} {
			if r.log.has(secret) {
				t.Errorf("the log tells %s", secret)
			}
		}
	}
}

// serverOf has the databases' URL name no user, so that each client is itself at the server.
func serverOf(server *postgres.Server) func(*proxy.Config) {
	return withDatabase(func(d *proxy.Database) { d.URL = fmt.Sprintf("postgres://127.0.0.1:%d?sslmode=disable", server.Port) })
}

// B 1.25.1 #1432, master #1504: what a client has proved logs in at the server, also for the second client, and after the
// server has been away.
func TestNoSecretIsStoredThatLogsInAtTheServer(t *testing.T) {
	server := upstream(t)
	verifier := verifierOf(t, server, "through_scram", "secret-1")
	if err := server.CreateUser("through_md5", "secret-2", postgres.MD5); err != nil {
		t.Fatal(err)
	}
	file := written(t, "userlist.txt", fmt.Sprintf("%q %q\n%q %q\n", "through_scram", verifier, "through_md5", md5Of("through_md5", "secret-2")))
	r := startProxy(t, serverOf(server), authenticated(proxy.Auth{Type: proxy.MD5, File: file}))
	drivers(t, func(t *testing.T, login func(string) error) {
		for range 2 {
			for user, password := range map[string]string{"through_scram": "secret-1", "through_md5": "secret-2"} {
				if err := login(as(t, r.url, user, password)); err != nil {
					t.Errorf("%s: %v", user, err)
				}
				if err := login(as(t, r.url, user, "wrong")); err == nil {
					t.Errorf("%s: a wrong password is let in", user)
				}
			}
			r.query(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'through%'")
			r.awaitRow(t, "the server's processes are gone", "NOT EXISTS (SELECT FROM pg_stat_activity WHERE usename LIKE 'through%')")
		}
	})
}

func TestFailuresAreBoundedForEachAddress(t *testing.T) {
	file := written(t, "userlist.txt", `"good" "secret-1"`+"\n"+`"guessed" "secret-2"`+"\n")
	for _, method := range []proxy.AuthType{proxy.SCRAM, proxy.MD5} {
		r := startProxy(t, authenticated(proxy.Auth{Type: method, File: file, MaxFailures: 3}))
		refused := 0
		drivers(t, func(t *testing.T, login func(string) error) {
			if refused == 0 {
				if err := login(as(t, r.url, "good", "secret-1")); err != nil {
					t.Fatal(err)
				}
			}
			for range 4 {
				if err := login(as(t, r.url, "guessed", "wrong")); err == nil {
					t.Error("a wrong password is let in")
				}
			}
			err := login(as(t, r.url, "guessed", "secret-2"))
			if err == nil || !strings.Contains(err.Error(), "too many failed logins from this address") {
				t.Errorf("%s: %v", method, err)
			}
			refused++
			if err := login(as(t, r.url, "good", "secret-1")); err != nil {
				t.Errorf("%s: who has logged in lately: %v", method, err)
			}
		})
	}
}

// Guessing goes on no faster where the configuration is read again now and then.
func TestAReloadForgetsNoFailures(t *testing.T) {
	file := written(t, "userlist.txt", `"good" "secret-1"`+"\n"+`"guessed" "secret-2"`+"\n")
	r := startProxy(t, authenticated(proxy.Auth{Type: proxy.SCRAM, File: file, MaxFailures: 3}))
	try := func(user, password string) string {
		conn, err := pgconn.Connect(t.Context(), as(t, r.url, user, password))
		if err == nil {
			closeConn(conn.Close)
		}
		return sqlState(err)
	}
	most := func(n int) func(*proxy.Config) { return func(c *proxy.Config) { c.Auth.MaxFailures = n } }
	if code := try("good", "secret-1"); code != "" {
		t.Fatal(code)
	}
	for range 4 {
		try("guessed", "wrong")
	}
	r.reload(t)
	if code := try("guessed", "secret-2"); code != "28000" {
		t.Errorf("after a reload: %q", code)
	}
	if code := try("good", "secret-1"); code != "" {
		t.Errorf("who has logged in before it: %q", code)
	}
	r.reload(t, most(5))
	if code := try("guessed", "wrong"); code != "28P01" {
		t.Errorf("where more are allowed: %q", code)
	}
	for range 4 {
		try("guessed", "wrong")
	}
	if code := try("guessed", "secret-2"); code != "28000" {
		t.Errorf("where more have failed than more are allowed: %q", code)
	}
	r.reload(t, most(0))
	if code := try("guessed", "secret-2"); code != "" {
		t.Errorf("without a bound: %q", code)
	}
}

// B 1.17 NEWS: which databases there are, and what their servers say, was told before login. B#90, #568, #723, #773, #302:
// unknown databases and users crashed it.
func TestDatabasesAreNotToldBeforeALogin(t *testing.T) {
	known := func(c *proxy.Config) {
		db := c.Databases[proxy.AnyDatabase]
		down := db
		down.URL = "postgres://good:secret-1@127.0.0.1:1/down?sslmode=disable"
		c.Databases = map[string]proxy.Database{"known": db, "down": down}
	}
	file := written(t, "userlist.txt", `"good" "secret-1"`+"\n")
	for _, auth := range []proxy.Auth{
		{Type: proxy.SCRAM, File: file}, {Type: proxy.MD5, File: file},
		{Type: proxy.SCRAM, Query: authQuery, QueryURL: upstream(t).URL("postgres")}, {Type: proxy.SCRAM},
	} {
		r := startProxy(t, authenticated(auth), known)
		for _, database := range []string{"known", "down", "unknown", "lockproxy", "pgbouncer", "replication"} {
			for _, user := range []string{"good", "nobody"} {
				config, err := pgconn.ParseConfig(as(t, r.url, user, "wrong"))
				if err != nil {
					t.Fatal(err)
				}
				config.Database = database
				if _, err := pgconn.ConnectConfig(t.Context(), config); sqlState(err) != "28P01" {
					t.Errorf("%s of %s: %v", user, database, err)
				}
			}
		}
	}
}
