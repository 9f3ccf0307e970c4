package main

import (
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/proxy"
)

// minimal is the shortest file that is complete.
const minimal = "[databases.app]\nurl = \"postgres://app:secret@127.0.0.1/app\"\n"

// loadText loads a configuration file of the given text, which errors call c.toml.
func loadText(t *testing.T, text string, environment map[string]string, listen ...string) (*configuration, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("c.toml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return load(source{path: "c.toml", environment: lookup(environment), listen: listen})
}

func lookup(environment map[string]string) func(string) string {
	return func(name string) string { return environment[name] }
}

func mustLoad(t *testing.T, text string, environment map[string]string, listen ...string) *configuration {
	t.Helper()
	c, err := loadText(t, text, environment, listen...)
	if err != nil {
		t.Fatalf("the configuration is good, got:\n%v", err)
	}
	return c
}

func TestDefaultsOfAMinimalFile(t *testing.T) {
	c := mustLoad(t, minimal, nil)
	p := c.proxy
	if !slices.Equal(p.Listen, []string{"127.0.0.1:6432"}) || p.MaxClients != 10000 || p.LoginTimeout != 15*time.Second ||
		p.ShutdownTimeout != 30*time.Second || p.MaxBuffer != 256<<10 || p.MaxStatement != 64<<20 || p.Instances != 1 {
		t.Errorf("defaults of [server], got %+v", p)
	}
	if c.logLevel != "info" || c.logFormat != "text" || p.Auth != (proxy.Auth{Type: proxy.SCRAM, QueryCache: 10 * time.Second, MaxFailures: 20}) {
		t.Errorf("defaults of logging and [auth], got %q %q %+v", c.logLevel, c.logFormat, p.Auth)
	}
	both := pools.Config{CheckoutTimeout: 10 * time.Second, IdleTimeout: 30 * time.Second, MaxLifetime: time.Hour}
	admin, lock := both, both
	admin.Max, lock.Max = 20, 10
	app := p.Databases["app"]
	if app.Admin != admin || app.Lock != lock {
		t.Errorf("defaults of the pools, got %+v and %+v", app.Admin, app.Lock)
	}
	if app.LockTimeout != 30*time.Second || app.IdleTransactionTimeout != 30*time.Second || len(app.Functions) != 0 ||
		app.SessionMode || app.URL != "postgres://app:secret@127.0.0.1/app" {
		t.Errorf("defaults of a database, got %+v", app)
	}
	if len(c.warnings) > 0 {
		t.Errorf("nothing to warn of, got %v", c.warnings)
	}
}

func TestEverySettingArrives(t *testing.T) {
	p := mustLoad(t, `
		[server]
		listen = ["0.0.0.0:1", "/run/x"]
		max_clients = 5
		login_timeout = "1s"
		shutdown_timeout = "0s"
		max_buffer = 16384
		max_clients_per_address = 6
		max_clients_per_user = 7
		max_prepared = 8
		max_backends = 10
		tcp_keepalive = "6s"
		client_idle_timeout = "2s"
		query_timeout = "3s"
		transaction_timeout = "4s"
		idle_in_transaction_timeout = "5s"
		max_statement = 1024
		log_level = "debug"
		log_format = "json"
		instances = 3
		[auth]
		file = "users.txt"
		[databases."*"]
		url = "host=/tmp"
		pool_mode = "session"
		max_clients = 9
		[users."first.last \"x\""]
		max_clients = 10
		query_timeout = "1h"
		[pools.admin]
		max = 2
		min_idle = 1
		checkout_timeout = "2s"
		idle_timeout = "3s"
		max_lifetime = "4s"
		max_waiting = 5
		[pools.lock]
		max = 7
		min_idle = 6
		checkout_timeout = "8ms"
		idle_timeout = "0s"
		max_lifetime = "0s"
		max_waiting = 9
		lock_timeout = "0s"
		idle_in_transaction_session_timeout = "11s"
		functions = ["f", "app.g", "\"A b\".\"c\"\"d\""]
	`, nil).proxy
	if !slices.Equal(p.Listen, []string{"0.0.0.0:1", "/run/x"}) || p.MaxClients != 5 || p.LoginTimeout != time.Second ||
		p.ShutdownTimeout != 0 || p.MaxBuffer != 16384 || p.MaxStatement != 1024 || p.Instances != 3 ||
		p.Auth != (proxy.Auth{Type: proxy.SCRAM, File: "users.txt", QueryCache: 10 * time.Second, MaxFailures: 20}) {
		t.Errorf("[server] and [auth], got %+v", p)
	}
	if p.MaxClientsPerAddress != 6 || p.MaxClientsPerUser != 7 || p.MaxPrepared != 8 ||
		!reflect.DeepEqual(p.Users, map[string]proxy.User{`first.last "x"`: {MaxClients: 10, Timeouts: proxy.Timeouts{Query: time.Hour}}}) ||
		p.Timeouts != (proxy.Timeouts{ClientIdle: 2 * time.Second, Query: 3 * time.Second, Transaction: 4 * time.Second,
			IdleInTransaction: 5 * time.Second}) || p.MaxBackends != (proxy.Shares{Admin: 2, Lock: 8}) || p.KeepAlive != 6*time.Second {
		t.Errorf("[server] and [users], got %+v", p)
	}
	d := p.Databases[proxy.AnyDatabase]
	if want := (pools.Config{Max: 2, MinIdle: 1, CheckoutTimeout: 2 * time.Second, IdleTimeout: 3 * time.Second,
		MaxLifetime: 4 * time.Second, MaxWaiting: 5}); d.Admin != want {
		t.Errorf("the admin pool, got %+v", d.Admin)
	}
	if want := (pools.Config{Max: 7, MinIdle: 6, CheckoutTimeout: 8 * time.Millisecond, MaxWaiting: 9}); d.Lock != want {
		t.Errorf("the lock pool, got %+v", d.Lock)
	}
	if d.URL != "host=/tmp" || d.MaxClients != 9 || !d.SessionMode || d.LockTimeout != 0 || d.IdleTransactionTimeout != 11*time.Second ||
		!slices.Equal(d.Functions, []string{"f", "app.g", `"A b"."c""d"`}) {
		t.Errorf("the database, got %+v", d)
	}
}

func TestDatabasesOverrideThePoolsForThemselvesAlone(t *testing.T) {
	// The tables stand before the pools that they begin with: order does not count.
	p := mustLoad(t, `
		[databases.a]
		url = "postgres://a:x@h/a"
		admin_pool = {max = 3}
		[databases.a.lock_pool]
		lock_timeout = "1s"
		functions = ["g"]
		[databases."b.c"]
		url = "postgres://b:x@h/b"
		[pools]
		admin = {max = 4, max_waiting = 6}
		lock.functions = ["f"]
	`, map[string]string{"DATABASE_LOCK_POOL_MAX": "5"}).proxy
	a, b := p.Databases["a"], p.Databases["b.c"]
	if a.Admin.Max != 3 || a.Admin.MaxWaiting != 6 || a.LockTimeout != time.Second || a.Lock.Max != 5 || a.Functions[0] != "g" {
		t.Errorf("a has its own values where it names them, got %+v", a)
	}
	if want := map[string]string{"pools.admin.max": "databases.a.admin_pool.max", "pools.lock.lock_timeout": "databases.a.lock_pool.lock_timeout"}; !maps.Equal(a.Own, want) || len(b.Own) > 0 {
		t.Errorf("errors call them %v and %v", a.Own, b.Own)
	}
	if b.Admin.Max != 4 || b.LockTimeout != 30*time.Second || b.Lock.Max != 5 || !slices.Equal(b.Functions, []string{"f"}) {
		t.Errorf("b has those of all, got %+v", b)
	}
}

func TestEnvironmentOverridesTheFile(t *testing.T) {
	file := minimal + `
		[databases.own]
		url = "postgres://own:secret@127.0.0.1/own"
		admin_pool = {max = 3, checkout_timeout = "3s"}
		[pools.admin]
		max = 1
		checkout_timeout = "1s"
		idle_timeout = "1s"
		[pools.lock]
		lock_timeout = "1s"`
	p := mustLoad(t, file, map[string]string{
		"DATABASE_POOL_MAX": "31", "DATABASE_LOCK_POOL_MAX": "32", "DATABASE_POOL_CONNECTION_TIMEOUT_MS": "33",
		"DATABASE_POOL_IDLE_TIMEOUT_MS": "0", "DATABASE_LOCK_IDLE_TX_TIMEOUT_MS": "35", "DATABASE_LOCK_TIMEOUT_MS": "36",
		"LOCKPROXY_UPSTREAM": "postgres://u:p@h:1",
	}).proxy
	app, own := p.Databases["app"], p.Databases["own"]
	want := pools.Config{Max: 31, CheckoutTimeout: 33 * time.Millisecond, MaxLifetime: time.Hour}
	if app.Admin != want {
		t.Errorf("the admin pool, got %+v", app.Admin)
	}
	if want.Max = 32; app.Lock != want || app.IdleTransactionTimeout != 35*time.Millisecond || app.LockTimeout != 36*time.Millisecond {
		t.Errorf("the lock pool, got %+v", app)
	}
	if own.Admin.Max != 3 || own.Admin.CheckoutTimeout != 3*time.Second || own.Lock.Max != 32 {
		t.Errorf("what a database says for itself stays, got %+v", own)
	}
	if u := p.Databases[proxy.AnyDatabase]; u.URL != "postgres://u:p@h:1" || u.Lock.Max != 32 {
		t.Errorf("LOCKPROXY_UPSTREAM is the url of every other database, got %+v", u)
	}
	unset := mustLoad(t, minimal, map[string]string{"DATABASE_POOL_MAX": ""}).proxy
	if got := unset.Databases["app"].Admin.Max; got != adminSize {
		t.Errorf("an empty variable counts as not set, got %d", got)
	}
}

func TestUpstreamAloneDecidesHowClientsLogIn(t *testing.T) {
	for _, c := range []struct {
		name, url string
		listen    []string
		want      proxy.AuthType
		problem   string
	}{
		{"a password is asked for", "postgres://u:p@h", []string{"0.0.0.0:6432"}, proxy.SCRAM, ""},
		{"as keywords too", "host=h user=u password=p", nil, proxy.SCRAM, ""},
		{"none means trust", "postgres://u@h", nil, proxy.Trust, ""},
		{"on loopback addresses", "postgres://u@h", []string{"127.0.0.1:1", "[::1]:2", "localhost:3", "/tmp"}, proxy.Trust, ""},
		{"and nowhere else", "postgres://u@h", []string{"127.0.0.1:1", ":2", "10.0.0.1:3", "somewhere:4"}, "",
			"--listen: LOCKPROXY_UPSTREAM has no password, so everybody who can reach :2, 10.0.0.1:3, somewhere:4 could log in"},
		{"a password without a user is for nobody", "postgres://:p@h", []string{"0.0.0.0:6432"}, "", "has no password"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := load(source{environment: lookup(map[string]string{upstreamVariable: c.url}), listen: c.listen})
			if c.problem != "" {
				if err == nil || !strings.Contains(err.Error(), c.problem) {
					t.Errorf("got %v, want %q", err, c.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.proxy.Auth.Type != c.want {
				t.Errorf("got %v, want %v", got.proxy.Auth.Type, c.want)
			}
			if len(c.listen) > 0 && !slices.Equal(got.proxy.Listen, c.listen) {
				t.Errorf("listens on %v, want %v", got.proxy.Listen, c.listen)
			}
		})
	}
}

func TestTrustThatAFileAsksForIsGrantedWithAWarning(t *testing.T) {
	file := "[auth]\ntype = \"trust\"\n" + minimal
	c := mustLoad(t, file, nil, "0.0.0.0:6432")
	if c.proxy.Auth.Type != proxy.Trust {
		t.Errorf("got %v", c.proxy.Auth.Type)
	}
	want := `c.toml:2: auth.type: "trust" lets everybody in who can reach 0.0.0.0:6432`
	if len(c.warnings) != 1 || c.warnings[0].String() != want {
		t.Errorf("got %v, want %s", c.warnings, want)
	}
	if c := mustLoad(t, file, nil); len(c.warnings) > 0 {
		t.Errorf("nothing to warn of on a loopback address, got %v", c.warnings)
	}
}

func TestTheProjectsFileHoldsTheDefaults(t *testing.T) {
	got, err := load(source{path: projectsFile, environment: lookup(nil)})
	if err != nil {
		t.Fatalf("the file is a good one, got %v", err)
	}
	want := mustLoad(t, "[databases.app]\nurl = \"postgres://app:secret@127.0.0.1:5432/app\"\n[users.app]\n", nil)
	if !reflect.DeepEqual(got.proxy, want.proxy) {
		t.Errorf("got  %+v\nwant %+v", got.proxy, want.proxy)
	}
}

// The configurations of deploy/ are such, that of the sidecar within its manifest.
func TestDeployedConfigurations(t *testing.T) {
	const folder = "../../deploy/kubernetes/"
	manifest, err := readText(folder + "sidecar.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const indent = "\n    "
	_, sidecar, _ := strings.Cut(manifest, "  lockproxy.toml: |"+indent)
	sidecar, _, _ = strings.Cut(sidecar, "\n---")
	sidecar = strings.ReplaceAll(sidecar, indent, "\n")
	for _, one := range []source{
		{path: folder + "lockproxy.toml", environment: lookup(nil)},
		{path: folder + "sidecar.yaml", text: &sidecar, environment: lookup(map[string]string{upstreamVariable: "postgres://app:secret@db"})},
	} {
		got, err := load(one)
		if err != nil {
			t.Errorf("%s: %v", one.path, err)
			continue
		}
		if len(got.warnings) > 0 || got.proxy.HTTPListen == "" {
			t.Errorf("%s: got the warnings %v, and metrics at %q", one.path, got.warnings, got.proxy.HTTPListen)
		}
	}
}
