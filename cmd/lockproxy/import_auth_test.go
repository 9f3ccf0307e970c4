package main

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// Users that a server is asked for, by settings for all databases and for single ones.
func TestImportOfAnAuthQuery(t *testing.T) {
	const lookup = "auth_query='SELECT * FROM pooler.user_lookup($1)'"
	for _, c := range []struct {
		name, databases, rest string
		query, url            string // Of the file; empty: there is none.
		says                  []string
	}{
		{"for all databases", "a = host=db\nb = host=db dbname=c\n* = host=db", "auth_user = asker\nauth_dbname = secrets",
			defaultAuthQuery, "postgres://asker@db:5432/secrets?connect_timeout=15", []string{
				"auth_user: PgBouncer has the password of asker", "# auth_user, auth_dbname\n"}},
		{"under *", "* = host=db auth_user=asker " + lookup, "auth_dbname = postgres",
			"SELECT * FROM pooler.user_lookup($1)", "postgres://asker@db:5432/postgres?connect_timeout=15", []string{"# *: auth_query"}},
		{"in any database", "* = host=db auth_user=asker " + lookup, "", "SELECT * FROM pooler.user_lookup($1)",
			"postgres://asker@db:5432/postgres?connect_timeout=15", []string{"auth_query: PgBouncer asks in the database that the client wants"}},
		{"in the first that has a name", "* = host=db auth_user=asker\na = host=db dbname=b auth_user=asker", "", defaultAuthQuery,
			"postgres://asker@db:5432/b?connect_timeout=15", nil},
		{"in one of the servers", "a = host=db dbname=b\nc = host=other", "auth_user = asker\nauth_dbname = a", defaultAuthQuery,
			"postgres://asker@db:5432/b?connect_timeout=15", nil},
		{"at a unix socket", "a =", "auth_user = asker", defaultAuthQuery,
			"postgres://asker@/a?connect_timeout=15&host=%2Ftmp&port=5432", nil},
		{"each with its own", "a = host=db auth_user=asker auth_dbname=a " + lookup, "auth_user = other\nauth_query = x\nauth_dbname = y",
			"SELECT * FROM pooler.user_lookup($1)", "postgres://asker@db:5432/a?connect_timeout=15", []string{
				"auth_user: each database has its own", "auth_query: each database has its own", "auth_dbname: each database has its own"}},
		{"with several servers", "a = host=db\nb = host=other", "auth_user = asker\nauth_file = x", "", "", []string{"auth_user: one question is asked"}},
		{"with several users", "a = host=db auth_user=a auth_dbname=a\nb = host=db", "auth_user = asker\nauth_file = x", "", "", []string{
			"a: auth_user: one question is asked", "a: auth_dbname: one question is asked", "* a.ini:6: auth_user: one question is asked"}},
		{"for some", "a = host=db auth_user=a\nb = host=db", "auth_file = x", "", "", []string{"a: auth_user: one question is asked"}},
		{"without auth_user", "a = host=db auth_dbname=a", "auth_file = x\nauth_query = x $1\nauth_dbname = b", "", "", []string{
			"auth_query: it counts with auth_user alone", "b.ini: auth_dbname: it counts", "a: auth_dbname: it counts with auth_user alone"}},
		{"where nobody proves anything", "a = host=db auth_user=a", "auth_type = trust\nauth_query = x $1", "", "", []string{
			"auth_query: nobody is asked for", "a: auth_user: nobody is asked for"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := importText(t, "[databases]\n"+c.databases+"\n[pgbouncer]\nauth_type = md5\n"+c.rest+"\n")
			config := mustLoad(t, got, nil)
			if auth := config.proxy.Auth; auth.Query != c.query || auth.QueryURL != c.url {
				t.Errorf("got %q at %q", auth.Query, auth.QueryURL)
			}
			said := strings.ReplaceAll(strings.ReplaceAll(got, "\n#   ", " "), "a.ini:7", "b.ini")
			for _, want := range c.says {
				if !strings.Contains(said, want) {
					t.Errorf("nothing is said of %s:\n%s", want, said)
				}
			}
		})
	}
}

// PgBouncer's trust asks auth_file for the name. Whoever imports is told that lockproxy's does not, in the file and besides.
func TestImportOpensNoDoorInSilence(t *testing.T) {
	t.Chdir(t.TempDir())
	for kind, more := range map[string]string{
		"trust": "", "hba": "auth_hba_file = hba.conf\n",
		"cert": "client_tls_sslmode = verify-full\nclient_tls_cert_file = c\nclient_tls_key_file = k\nclient_tls_ca_file = a\n",
	} {
		ini := "[databases]\na = host=db user=app password=secret\n[pgbouncer]\nauth_type = " + kind + "\nauth_file = users.txt\n" + more
		if err := os.WriteFile("a.ini", []byte(ini), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		if status := dispatch(t.Context(), []string{"import", "a.ini"}, streams{&out, &errs, lookup(nil)}); status != 0 {
			t.Fatal(errs.String())
		}
		if want := "warning: a.ini:4: auth_type: "; !strings.HasPrefix(errs.String(), want) {
			t.Errorf("%s: got %q, want %q", kind, &errs, want)
		}
		if want := "#\n# Beware, lockproxy lets in more than PgBouncer does:\n# * a.ini:4: auth_type: "; !strings.Contains(out.String(), want) {
			t.Errorf("%s: got %s", kind, &out)
		}
	}
}

// The usual set-up with an auth_query: a database's own auth_user, a function, no list of users.
func TestImportedAuthQueryServes(t *testing.T) {
	upstream := postgres.Start(t)
	for name, password := range map[string]string{"pooler": "lookup", "app": "secret"} {
		if err := upstream.CreateUser(name, password, postgres.SCRAM); err != nil {
			t.Fatal(err)
		}
	}
	at, err := url.Parse(upstream.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), upstream.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, sql := range []string{"CREATE SCHEMA pooler", "GRANT USAGE ON SCHEMA pooler TO pooler",
		"CREATE FUNCTION pooler.user_lookup(who text, OUT name text, OUT secret text) RETURNS SETOF record LANGUAGE sql SECURITY DEFINER " +
			"AS 'SELECT rolname::text, rolpassword FROM pg_catalog.pg_authid WHERE rolname = who'"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"pass": "*:*:*:pooler:lookup\n",
		"pgbouncer.ini": fmt.Sprintf("[databases]\n* = host=%s port=%s auth_user=pooler\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = 0\n"+
			"unix_socket_dir =\nauth_type = md5\nauth_dbname = postgres\nauth_query = SELECT * FROM pooler.user_lookup($1)\n",
			at.Hostname(), at.Port()),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pass, err := filepath.Abs("pass")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGPASSFILE", pass)
	var errs bytes.Buffer
	if status := dispatch(t.Context(), []string{"import", "pgbouncer.ini", "-o", "lockproxy.toml"}, streams{&errs, &errs, lookup(nil)}); status != 0 {
		t.Fatal(errs.String())
	}
	p := start(t, nil, serve)
	_, address, _ := strings.Cut(p.until("msg=listening"), "address=")
	if got := ask(t, "postgres://app:secret@"+address+"/postgres?sslmode=disable", "SELECT current_user"); got != "app" {
		t.Errorf("got %s", got)
	}
}
