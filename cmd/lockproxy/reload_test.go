package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// output is what a server logs, to be looked at meanwhile.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// opened is a server that serves a file of the test's.
type opened struct {
	*steward
	t    *testing.T
	path string
	log  *output
}

// openFile serves a configuration file until the test ends.
func openFile(t *testing.T, text string) *opened {
	t.Helper()
	o := &opened{t: t, path: filepath.Join(t.TempDir(), "c.toml"), log: new(output)}
	o.write(text)
	var err error
	if o.steward, err = open(source{path: o.path, environment: lookup(nil)}, streams{o.log, o.log, lookup(nil)}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- o.server.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return o
}

func (o *opened) write(text string) {
	o.t.Helper()
	if err := os.WriteFile(o.path, []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
}

// connect gives the error of a connection that is closed at once.
func (o *opened) connect(user, password, database string) error {
	ctx, cancel := context.WithTimeout(o.t.Context(), 30*time.Second)
	defer cancel()
	conn, err := pgconn.Connect(ctx, fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", user, password, o.server.Addrs()[0], database))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return fmt.Sprint(err)
}

const anyPort = "[server]\nlisten = ['127.0.0.1:0']\nshutdown_timeout = '1s'\n"

func TestReloadTakesWhatTheFileSays(t *testing.T) {
	upstream := postgres.Start(t)
	for _, name := range []string{"one", "two"} {
		if err := upstream.CreateUser(name, "secret", postgres.SCRAM); err != nil {
			t.Fatal(err)
		}
	}
	users := filepath.Join(t.TempDir(), "users.txt")
	list := func(text string) {
		t.Helper()
		if err := os.WriteFile(users, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list(`"one" "secret"` + "\n")
	file := anyPort + "%s\n[auth]\nfile = '" + users + "'\n[databases.%s]\nurl = " + fmt.Sprintf("'postgres://127.0.0.1:%d/postgres'\n", upstream.Port)
	o := openFile(t, fmt.Sprintf(file, "", "a"))
	if err := o.connect("one", "secret", "a"); err != nil {
		t.Fatal(err)
	}
	if got := code(o.connect("two", "secret", "a")); got != "28P01" {
		t.Errorf("a user that the list does not have: %s", got)
	}

	list(`"two" "secret"` + "\n")
	o.write(fmt.Sprintf(file, "log_level = 'debug'\nlog_format = 'json'", "b"))
	unchangeable, err := o.Reload()
	if err != nil || !slices.Equal(unchangeable, []string{"server.log_format"}) {
		t.Errorf("got %v, %v", unchangeable, err)
	}
	if !strings.Contains(o.log.String(), "takes a restart\" setting=server.log_format") {
		t.Errorf("what cannot change is logged:\n%s", o.log)
	}
	if err := o.connect("two", "secret", "b"); err != nil {
		t.Errorf("the new user, at the new database: %v", err)
	}
	if got := code(o.connect("one", "secret", "b")); got != "28P01" {
		t.Errorf("the old user: %s", got)
	}
	if got := code(o.connect("two", "secret", "a")); got != "3D000" {
		t.Errorf("the old database: %s", got)
	}
	if !o.steward.log.Enabled(t.Context(), -4) {
		t.Error("the log level has changed")
	}
}

func TestReloadOfABadFileChangesNothingAndTellsTheLine(t *testing.T) {
	upstream := postgres.Start(t)
	file := anyPort + "[auth]\ntype = 'trust'\n" + fmt.Sprintf("[databases.'*']\nurl = 'postgres://127.0.0.1:%d'\n", upstream.Port)
	o := openFile(t, file)
	for _, c := range []struct{ text, want string }{
		{file + "[pools.admin]\nmax = 0\n", "c.toml:9: pools.admin.max: must be at least 1"},
		{file + "x = \n", "c.toml:8"},
		{strings.Replace(file, "[auth]", "[auth]\nfile = '/nowhere/users.txt'", 1), "/nowhere/users.txt"},
	} {
		o.write(c.text)
		if unchangeable, err := o.Reload(); err == nil || !strings.Contains(err.Error(), c.want) || unchangeable != nil {
			t.Errorf("got %v, %v, not %s", unchangeable, err, c.want)
		}
		if !strings.Contains(o.log.String(), c.want) {
			t.Errorf("the log does not tell %q:\n%s", c.want, o.log)
		}
		if err := o.connect(postgres.Superuser, "", "postgres"); err != nil {
			t.Errorf("the server goes on: %v", err)
		}
	}
	if err := os.Remove(o.path); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Reload(); err == nil || !strings.Contains(err.Error(), "there is no such file") {
		t.Errorf("got %v", err)
	}
}

func TestSetChangesOneSettingUntilTheNextReload(t *testing.T) {
	upstream := postgres.Start(t)
	file := anyPort + "max_clients = 1\n[auth]\ntype = 'trust'\n" + fmt.Sprintf("[databases.app]\nurl = 'postgres://127.0.0.1:%d/postgres'\n", upstream.Port)
	o := openFile(t, file)
	connect := func() (*pgconn.PgConn, error) {
		return pgconn.Connect(t.Context(), fmt.Sprintf("postgres://%s@%s/app?sslmode=disable", postgres.Superuser, o.server.Addrs()[0]))
	}
	first, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close(t.Context())
	if _, err := connect(); code(err) != "53300" {
		t.Errorf("one client too many is told %v", err)
	}
	o.write(file + "[pools.admin]\nmax = 0\n") // SET does not read it
	for _, one := range [][2]string{
		{"max_clients", "2"}, {"server.max_clients", "2"}, {"pools.admin.checkout_timeout", "7s"}, {"pools.lock.functions", `["a.b"]`},
		{"databases.app.pool_mode", "session"}, {"databases.app.admin_pool.max", "3"}, {"log_level", "debug"},
	} {
		if err := o.Set(one[0], one[1]); err != nil {
			t.Errorf("SET %s = %s: %v", one[0], one[1], err)
		}
	}
	second, err := connect()
	if err != nil {
		t.Fatalf("the setting counts: %v", err)
	}
	defer second.Close(t.Context())
	for _, c := range [][3]string{
		{"max", "3", "which max: pools.admin.max or pools.lock.max?"},
		{"max_cleints", "3", "did you mean max_clients?"},
		{"default_pool_sise", "3", "did you mean default_pool_size?"},
		{"pool_mode", "session", "unknown setting pool_mode; did you mean databases.NAME.pool_mode?"},
		{"listen_addr", "127.0.0.1:1", "server.listen cannot change without a restart"},
		{"query_wait_timeout", "-1", "SET pools.admin.checkout_timeout: must be at least"},
		{"nonsense_of_mine", "3", "unknown setting nonsense_of_mine"},
		{"max_clients", "0", "SET server.max_clients: must be at least 1"},
		{"server.beer", "1", "SET server.beer: unknown setting"},
		{"server.listen", `["127.0.0.1:1"]`, "server.listen cannot change without a restart"},
		{"max_clients = 3\nserver.instances", "1", "a setting is one line"},
		{"a.b c", "1", "neither name nor value"},
	} {
		if err := o.Set(c[0], c[1]); err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("SET %s = %s: got %v, not %s", c[0], c[1], err, c[2])
		}
	}
	if _, err := connect(); code(err) != "53300" {
		t.Errorf("what failed changes nothing, but a third client gets %v", err)
	}
	o.write(file)
	if _, err := o.Reload(); err != nil {
		t.Fatal(err)
	}
	second.Close(t.Context())
	for range 2 { // the end of the second may take a moment
		if _, err := connect(); code(err) == "53300" {
			return
		}
	}
	t.Error("the file's max_clients is back")
}

// What SHOW CONFIG shows by PgBouncer's names is set by them, in PgBouncer's words.
func TestSetTakesPgBouncersNamesAndValues(t *testing.T) {
	o := openFile(t, anyPort+"[auth]\ntype = 'trust'\n[databases.app]\nurl = 'postgres://127.0.0.1:1/postgres'\n")
	for _, c := range [][3]string{
		{"query_wait_timeout", "5", "pools.admin.checkout_timeout=5s;pools.lock.checkout_timeout=5s"},
		{"server_idle_timeout", "'60'", "pools.admin.idle_timeout=1m0s;pools.lock.idle_timeout=1m0s"},
		{"client_idle_timeout", "0", "server.client_idle_timeout=0s"}, {"server.query_timeout", "0.5", "server.query_timeout=500ms"},
		{"default_pool_size", "7", "pools.admin.max=7"}, {"admin_users", "a, b c", "console.admin_users=a, b c"},
		{"stats_users", "", "console.stats_users="}, {"idle_transaction_timeout", "3s", "server.idle_in_transaction_timeout=3s"},
	} {
		if err := o.Set(c[0], strings.Trim(c[1], "'")); err != nil {
			t.Errorf("SET %s = %s: %v", c[0], c[1], err)
		}
		config, err := load(o.source)
		if err != nil {
			t.Fatal(err)
		}
		for want := range strings.SplitSeq(c[2], ";") {
			name, value, _ := strings.Cut(want, "=")
			if !slices.ContainsFunc(config.proxy.Settings, func(s proxy.Setting) bool { return s.Name == name && s.Value == value }) {
				t.Errorf("SET %s = %s: %s is not so", c[0], c[1], want)
			}
		}
	}
}

func TestServeReloadsOnSIGHUP(t *testing.T) {
	upstream := postgres.Start(t)
	file := anyPort + "[auth]\ntype = 'trust'\n" + fmt.Sprintf("[databases.'*']\nurl = 'postgres://127.0.0.1:%d'\n", upstream.Port)
	path := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, nil, serve, "--config", path)
	p.until("msg=listening")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.until("the configuration was reloaded")
	if err := p.end(); err != nil {
		t.Error(err)
	}
}

func FuzzSetting(f *testing.F) {
	for _, seed := range [][2]string{{"max_clients", "3"}, {"pools.admin.checkout_timeout", "'3s'"}, {`databases."a.b".url`, "x"}, {"a", "[1,"}, {"a.b", "{c=1}"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		changes, _ := readChange(name, value)
		for _, e := range changes {
			if e.line != byOperator || len(e.path) < 2 || e.isTable() {
				t.Errorf("%q = %q was read as %+v", name, value, e)
			}
		}
	})
}
