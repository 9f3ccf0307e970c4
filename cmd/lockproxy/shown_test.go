package main

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// Secrets never reach the console.
func TestTheConsoleShowsSettingsWithoutPasswords(t *testing.T) {
	l := &loader{source: source{environment: lookup(nil)}, values: defaults(), origins: map[string]string{}}
	l.values.database("app").url = "postgres://app:geheim@127.0.0.1:5432/app?sslpassword=geheim"
	l.values.database("b").url = "host=127.0.0.1 user=app password=geheim"
	l.values.database("*").url = "postgres://127.0.0.1:5432"
	l.values.database("local").url = "host=/run/postgresql"
	l.values.user("app").MaxClients = 12
	values := make(map[string]string)
	for _, s := range l.values.shown() {
		if strings.Contains(s.Value+s.Default, "geheim") {
			t.Errorf("%s shows a password: %s", s.Name, s.Value)
		}
		values[s.Name] = s.Value + "|" + s.Default
	}
	for name, want := range map[string]string{
		"databases.app.url": "postgres://app@127.0.0.1:5432/app|", "server.max_clients": "10000|10000", "server.login_timeout": "15s|15s",
		"pools.lock.functions": "|", "server.listen": "127.0.0.1:6432|127.0.0.1:6432", "databases.b.lock_pool.max": "10|10",
		"console.admin_users": "|", `databases."*".url`: "postgres://127.0.0.1:5432/|",
		"databases.local.url": "postgres:///?host=/run/postgresql&port=5432|", "users.app.max_clients": "12|0", "users.app.query_timeout": "0s|0s",
	} {
		if values[name] != want {
			t.Errorf("%s is %q, want %q", name, values[name], want)
		}
	}
}

// others are values for the settings that take a restart, other than their defaults.
var others = map[string]string{
	"listen": "['127.0.0.1:1']", "unix_socket_mode": "'0700'", "reuse_port": "true", "http_listen": "'127.0.0.1:1'", "pgbouncer_metrics": "true",
	"max_backends": "9", "tcp_keepalive": "'33s'", "log_format": "'json'",
}

func TestReloadTellsTheConsoleWhatTakesARestart(t *testing.T) {
	upstream := postgres.Start(t)
	file := "\n[auth]\ntype = 'trust'\n[console]\nadmin_users = ['postgres']\n[databases.'*']\n" + fmt.Sprintf("url = 'postgres://127.0.0.1:%d'\n", upstream.Port)
	o := openFile(t, anyPort+file)
	var warned []string
	config, err := pgconn.ParseConfig(fmt.Sprintf("postgres://%s@%s/lockproxy?sslmode=disable", postgres.Superuser, o.server.Addrs()[0]))
	if err != nil {
		t.Fatal(err)
	}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		warned = append(warned, n.Severity+" "+n.Code+" "+n.Message)
	}
	console, err := pgconn.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close(t.Context())
	shown := func() map[string]string {
		t.Helper()
		results, err := console.Exec(t.Context(), "SHOW CONFIG").ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		values := make(map[string]string)
		for _, row := range results[0].Rows {
			values[string(row[0])] = string(row[1]) + ", changeable " + string(row[3])
		}
		return values
	}
	before := shown()
	text := "[server]\nmax_clients = 77\n"
	var want []string
	for _, s := range new(values).serverSettings() {
		if s.restart {
			text += s.name + " = " + others[s.name] + "\n"
			want = append(want, "WARNING 55P02 server."+s.name+" cannot change without a restart")
		}
	}
	o.write(text + file)
	if _, err := console.Exec(t.Context(), "RELOAD").ReadAll(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if slices.Sort(warned); !slices.Equal(warned, want) {
		t.Errorf("the console is told\n%s\nnot\n%s", strings.Join(warned, "\n"), strings.Join(want, "\n"))
	}
	before["server.max_clients"], before["max_client_conn"] = "77, changeable yes", "77, changeable yes"
	before["server.shutdown_timeout"] = "30s, changeable yes" // anyPort has another
	if now := shown(); !maps.Equal(now, before) {
		for name, value := range now {
			if value != before[name] {
				t.Errorf("%s is shown as %s, not %s", name, value, before[name])
			}
		}
	}
}

// Names and values are taken as SHOW CONFIG has them, whatever a database or a user is called.
func TestSettingsAreSetAsTheyAreShown(t *testing.T) {
	file := anyPort + "[auth]\ntype = 'trust'\n[console]\nadmin_users = ['postgres']\n[users.\"odd user\"]\nmax_clients = 3\n"
	for _, name := range []string{"'*'", "'a.b c'"} {
		file += "[databases." + name + "]\nurl = 'postgres://127.0.0.1:1'\n"
	}
	o := openFile(t, file)
	console, err := pgconn.Connect(t.Context(), fmt.Sprintf("postgres://postgres@%s/lockproxy?sslmode=disable", o.server.Addrs()[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close(t.Context())
	run := func(command string) [][][]byte {
		results, err := console.Exec(t.Context(), command).ReadAll()
		if err != nil {
			t.Errorf("%s: %v", command, err)
			return nil
		}
		return results[0].Rows
	}
	shown := run("SHOW CONFIG")
	changed := 0
	for _, row := range shown {
		if string(row[3]) == "yes" {
			run("SET " + string(row[0]) + " = '" + string(row[1]) + "'")
			changed++
		}
	}
	if changed < 70 {
		t.Errorf("%d settings can be changed", changed)
	}
	if again := run("SHOW CONFIG"); !reflect.DeepEqual(again, shown) {
		t.Errorf("nothing was to change, but this is shown:\n%s\nand not this:\n%s", again, shown)
	}
	run(`SET databases."a.b c".lock_pool.checkout_timeout = 3; SET databases."*".lock_pool.functions = 'a, b.c'; SET users."odd user".query_timeout = 2`)
	for _, row := range run("SHOW CONFIG") {
		want, ok := map[string]string{
			`databases."a.b c".lock_pool.checkout_timeout`: "3s", `databases."*".lock_pool.functions`: "a, b.c", `users."odd user".query_timeout`: "2s",
		}[string(row[0])]
		if ok && string(row[1]) != want {
			t.Errorf("%s is %s, not %s", row[0], row[1], want)
		}
	}
}
