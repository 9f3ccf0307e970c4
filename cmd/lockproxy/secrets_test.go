package main

import (
	"crypto/md5"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// Secrets are in the file, in the list of users, in what auth.query gives, in what clients send. None of them comes out again:
// not in a line of the log at its most talkative, in an answer of the console, an error or a metric.
func TestNoSecretComesOut(t *testing.T) {
	upstream := postgres.Start(t)
	for name, method := range map[string]postgres.Method{"owner": postgres.SCRAM, "asker": postgres.SCRAM, "asked": postgres.SCRAM, "old": postgres.MD5} {
		if err := upstream.CreateUser(name, "secret-of-"+name, method); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := upstream.Query("postgres", "ALTER ROLE asker SUPERUSER; SELECT rolpassword FROM pg_authid WHERE rolname = 'asked'")
	if err != nil {
		t.Fatal(err)
	}
	verifier, hash := rows[0][0], fmt.Sprintf("%x", md5.Sum([]byte("secret-of-oldold")))
	folder := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	users := file("users.txt", fmt.Sprintf("\"boss\" \"secret-of-boss\"\n\"plain\" \"secret-of-plain\"\n\"old\" \"md5%s\"\n\"modern\" %q\n", hash, verifier))
	hba := file("hba.conf", "host all boss,plain all scram-sha-256\nhost all all all md5\n")
	for _, auth := range []string{"type = 'scram-sha-256'", "type = 'md5'", fmt.Sprintf("type = 'hba'\nhba_file = %q", hba)} {
		text := "[server]\nlisten = ['127.0.0.1:0']\nhttp_listen = '127.0.0.1:0'\npgbouncer_metrics = true\nshutdown_timeout = '1s'\nlog_level = 'debug'\n" +
			fmt.Sprintf("[auth]\n%s\nfile = %q\nquery = \"SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1\"\nquery_url = %q\n",
				auth, users, upstream.UserURL("asker", "secret-of-asker", "postgres")) +
			"[console]\nadmin_users = ['boss']\n" +
			fmt.Sprintf("[databases.app]\nurl = %q\n", upstream.UserURL("owner", "secret-of-owner", "postgres")) +
			fmt.Sprintf("[databases.through]\nurl = 'postgres://127.0.0.1:%d/postgres?sslmode=disable'\n", upstream.Port) +
			fmt.Sprintf("[databases.wrong]\nurl = %q\n", upstream.UserURL("owner", "secret-for-owner", "postgres"))
		o := openFile(t, text)
		said := new(strings.Builder)
		connect := func(user, password, database string, commands ...string) {
			address := fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", user, password, o.server.Addrs()[0], database)
			c, err := pgx.Connect(t.Context(), address)
			if err != nil {
				if e := err.Error(); !strings.Contains(e, address) {
					fmt.Fprintln(said, e)
				}
				return
			}
			defer c.Close(t.Context())
			for _, command := range commands {
				found, err := c.Query(t.Context(), command, pgx.QueryExecModeSimpleProtocol)
				for err == nil && found.Next() {
					for _, value := range found.RawValues() {
						fmt.Fprintf(said, "%s|", value)
					}
				}
				if err == nil {
					err = found.Err()
				}
				fmt.Fprintln(said, err)
			}
		}
		for _, user := range []string{"plain", "old", "modern", "asked", "nobody"} {
			for _, database := range []string{"app", "through", "wrong", "nowhere"} {
				connect(user, "secret-of-"+map[string]string{"modern": "asked"}[user]+strings.TrimPrefix(user, "modern"), database, "SELECT 1", "SELEKT 'secret-in-error'")
				connect(user, "secret-for-"+user, database)
			}
		}
		holder, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://plain:secret-of-plain@%s/app?sslmode=disable", o.server.Addrs()[0]))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := holder.Exec(t.Context(), "SELECT pg_advisory_lock(4711), 'secret-in-text'", pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
		var commands []string
		for _, name := range strings.Fields("pools stats stats_totals stats_averages totals clients servers sockets active_sockets databases users " +
			"lists config mem state version locks pins peers peer_pools dns_hosts dns_zones help fds") {
			commands = append(commands, "SHOW "+name)
		}
		connect("boss", "secret-of-boss", "lockproxy", commands...)
		o.write(strings.Replace(text, "[databases.app]\nurl = \"", "[databases.app]\nurl = \"postgres://x:secret-in-file@h:port/ ", 1))
		connect("boss", "secret-of-boss", "lockproxy", "RELOAD", "SET auth.query_url = 'postgres://x:secret-in-set@h:port'", "SET databases.app.url = 'y:secret-in-set@'")
		_ = holder.Close(t.Context())
		for _, path := range []string{"/", "/metrics", "/readyz"} {
			answer, err := http.Get("http://" + o.server.HTTPAddr().String() + path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(said, answer.Body); err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
		}
		http.DefaultClient.CloseIdleConnections()
		for what, text := range map[string]string{"the log": o.log.String(), "the console, an error or a metric": said.String()} {
			if !strings.Contains(text, "plain") || !strings.Contains(text, "through") {
				t.Errorf("%s tells nothing: %s", what, text)
			}
			for _, secret := range []string{"secret-", "SCRAM-SHA-256$", verifier[len(verifier)-40:], hash} {
				for line := range strings.Lines(text) {
					if strings.Contains(line, secret) {
						t.Errorf("%s: %s tells %s: %s", auth, what, secret, line)
					}
				}
			}
		}
	}
}
