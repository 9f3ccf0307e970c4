package main

import (
	"strings"
	"testing"
)

func TestEveryProblemIsToldWithItsPlace(t *testing.T) {
	for _, c := range []struct {
		name, file  string
		environment map[string]string
		want        []string
	}{
		{"syntax", "[server]\nmax_clients = \n", nil, []string{"c.toml:2: expected value but found '\\n' instead"}},
		{"duplicate key", "[server]\ninstances = 1\ninstances = 2\n", nil, []string{"c.toml:3: Key 'server.instances' has already been defined."}},
		{"duplicate key in an inline table", "[x]\n\na = [\n{b = 1},\n{b = 1, b = 2}]\n", nil, []string{"c.toml:5: Key 'x.a.b' has already been defined."}},
		{"duplicate key with values of several lines", "[x]\na = [\n1]\n\na = [\n2]\nb = 1\n", nil, []string{"c.toml:5: Key 'x.a' has already been defined."}},
		{"a table that is not closed", "\n[server\nmax_clients = 1\n", nil, []string{
			"c.toml:2: expected '.' or ']' to end table name, but got '\\n' instead"}},
		{"a table that is not closed, and then nothing", "\n[server", nil, []string{"c.toml:2: expected '.' or ']' to end table name"}},
		{"a table that is not closed in a file with a BOM", "\ufeff[server\r\n\r\nx = 1", nil, []string{"c.toml:1: expected '.' or ']'"}},
		{"an array of tables that is not closed", "\n[[server]\na = 1\n", nil, []string{"c.toml:2: expected end of table array name"}},
		{"a text that is not closed", "[server]\nlog_level = \"debug\nlog_format = 'json'\n", nil, []string{"c.toml:2: strings cannot contain newlines"}},
		{"a text that is not closed before \\r\\n", "[server]\r\nlog_level = 'debug\r\nx = 1\r\n", nil, []string{"c.toml:2: strings cannot contain newlines"}},
		{"a text that is not closed at the end", "[server]\nlog_level = 'debug", nil, []string{"c.toml:2: unexpected EOF"}},
		{"a list that is not closed", "[server]\n\nlisten = [\n'a'\nx = 1\n", nil, []string{"c.toml:5: expected a comma"}},
		{"a control character begins the line", "[server]\n\n\x01log_level = 1\n", nil, []string{"c.toml:3: TOML files cannot contain control"}},
		{"a byte in a text of several lines", "[server]\nlog_level = \"\"\"\n\n\xff\"\"\"\n", nil, []string{"c.toml:4: invalid UTF-8 byte"}},
		{"unknown setting with a near one", minimal + "[server]\n\nmax_client = 3\n", nil, []string{
			"c.toml:5: server.max_client: unknown setting; did you mean server.max_clients?"}},
		{"unknown setting of a database", minimal + "pool_mod = 'session'\n", nil, []string{
			"c.toml:3: databases.app.pool_mod: unknown setting; did you mean databases.app.pool_mode?"}},
		{"setting in the wrong table", minimal + "[server]\nlock_timeout = '1s'\n", nil, []string{
			"c.toml:4: server.lock_timeout: unknown setting; did you mean pools.lock.lock_timeout?"}},
		{"setting of the lock pool in the admin pool", minimal + "[databases.app.admin_pool]\nfunctions = []\n", nil, []string{
			"c.toml:4: databases.app.admin_pool.functions: unknown setting; did you mean pools.lock.functions?"}},
		{"setting in no table", "listen = []\n" + minimal, nil, []string{
			"c.toml:1: listen: unknown setting; did you mean server.listen?"}},
		{"unknown setting in capitals", minimal + "[Server]\n[databases.b]\nURL = 'x'\n", nil, []string{
			"c.toml:3: Server: unknown setting; did you mean server?",
			"c.toml:5: databases.b.URL: unknown setting; did you mean databases.b.url?", "c.toml: databases.b.url: is missing"}},
		{"settings of PgBouncer", minimal + "host = 'h'\npool_size = 3\n[pgbouncer]\npool_mode = 'session'\n", nil, []string{
			"c.toml:3: databases.app.host: unknown setting; the url has it, as in postgres://",
			"c.toml:4: databases.app.pool_size: unknown setting; admin_pool.max and lock_pool.max are its",
			"c.toml:5: pgbouncer: unknown setting; lockproxy import reads PgBouncer's file"}},
		{"settings of PgBouncer's for all", minimal + "[server]\nmax_client_conn = 1\n[pools]\ndefault_pool_size = 1\n", nil, []string{
			"c.toml:4: server.max_client_conn: unknown setting; did you mean server.max_clients?",
			"c.toml:6: pools.default_pool_size: unknown setting; did you mean pools.admin.max?"}},
		{"a text without quotes", "[server]\nlog_level = debug\n", nil, []string{
			`c.toml:2: expected value but found "debug" instead: a text is written in quotes`}},
		{"a size with a unit", minimal + "[server]\nmax_buffer = '1MB'\n", nil, []string{
			"c.toml:4: server.max_buffer: must be an integer, without quotes or a unit"}},
		{"urls, in the order of the lines", "\n\n\n[databases.z]\nurl = 'postgre://a:secret@h/d'\n[databases.y]\n\n\nurl = 'h:5432'\n" +
			"[databases.x]\nurl = 'postgres://a:secret%@h/d'\n", nil, []string{
			"c.toml:5: databases.z.url: connection string: failed to parse as keyword/value: postgres://user:password@host:5432/database is expected",
			"c.toml:9: databases.y.url: connection string: failed to parse as keyword/value: postgres://user:password@host:5432/database is expected",
			"c.toml:11: databases.x.url: connection string: failed to parse as URL: postgres://user:password@host:5432/database is expected, " +
				`in which a password has %40 for "@"`}},
		{"unknown setting without a near one", minimal + "[server]\nbeer = true\n", nil, []string{"c.toml:4: server.beer: unknown setting"}},
		{"unknown table, told once", "[servers]\nmax_clients = 1\nmore = 2\n[servers.x]\ny = 1\n" + minimal, nil, []string{
			"c.toml:1: servers: unknown setting; did you mean server?"}},
		{"unknown pool", "[pools.admn]\nmax = 1\n" + minimal, nil, []string{
			"c.toml:1: pools.admn: unknown setting; did you mean pools.admin?"}},
		{"unknown pool of a database", minimal + "[databases.app.lockpool]\nmax = 1\n", nil, []string{
			"c.toml:3: databases.app.lockpool: unknown setting; did you mean databases.app.lock_pool?"}},
		{"value for a table", "server = 5\n" + minimal, nil, []string{"c.toml:1: server: must be a table"}},
		{"value for a database", "[databases]\napp = 'postgres://'\n", nil, []string{
			"c.toml:2: databases.app: must be a table", "c.toml: databases.app.url: is missing"}},
		{"table for a value, told once", minimal + "[server.max_clients]\na = 1\n", nil, []string{
			"c.toml:3: server.max_clients: must be an integer"}},
		{"list of tables", minimal + "[[server.listen]]\na = 1\n", nil, []string{
			"c.toml:3: server.listen: must be a list of texts, [\"...\"]"}},
		{"wrong types", minimal + `[server]
			max_clients = "many"
			login_timeout = 15
			log_level = 1
			listen = "127.0.0.1:1"
			instances = 1.5
			[pools.lock]
			functions = [1]`, nil, []string{
			`c.toml:4: server.max_clients: must be an integer`,
			`c.toml:5: server.login_timeout: must be a duration such as "30s", "500ms" or "1h"`,
			`c.toml:6: server.log_level: must be one of "debug", "info", "warn", "error"`,
			`c.toml:7: server.listen: must be a list of texts, ["..."]`,
			`c.toml:8: server.instances: must be an integer`,
			`c.toml:10: pools.lock.functions: must be a list of texts, ["..."]`}},
		{"values out of bounds", minimal + `[server]
			max_clients = 0
			login_timeout = "0s"
			shutdown_timeout = "-1s"
			max_buffer = 1
			log_format = "xml"
			listen = []
			[pools.admin]
			max = 0
			min_idle = -1
			checkout_timeout = "0s"
			idle_timeout = "10000h"
			max_lifetime = "1ns"
			[pools.lock]
			max = 1000000
			functions = ["app.f()"]`, nil, []string{
			`c.toml:4: server.max_clients: must be at least 1`,
			`c.toml:5: server.login_timeout: must be at least 1ms`,
			`c.toml:6: server.shutdown_timeout: must be at least 0s`,
			`c.toml:7: server.max_buffer: must be at least 16384`,
			`c.toml:8: server.log_format: must be one of "text", "json"`,
			`c.toml:9: server.listen: must not be empty`,
			`c.toml:11: pools.admin.max: must be at least 1`,
			`c.toml:12: pools.admin.min_idle: must be at least 0`,
			`c.toml:13: pools.admin.checkout_timeout: must be at least 1ms`,
			`c.toml:14: pools.admin.idle_timeout: must be at most 596h31m23.647s`,
			`c.toml:15: pools.admin.max_lifetime: must be a whole number of milliseconds`,
			`c.toml:17: pools.lock.max: must be at most 262143`,
			`c.toml:18: pools.lock.functions: "app.f()" is not the name of a function: want name or schema.name`}},
		{"addresses", minimal + "[server]\nlisten = ['localhost']\n", nil, []string{
			`c.toml:4: server.listen: "localhost" is neither host:port nor the absolute path of a folder`}},
		{"all addresses", minimal + "[server]\nlisten = ['*:6432']\n", nil, []string{`c.toml:4: server.listen: "*:6432": all addresses are ":6432"`}},
		{"ports", minimal + "[server]\nlisten = ['localhost:65536']\n", nil, []string{
			`c.toml:4: server.listen: "localhost:65536": the port must be a number from 0 to 65535`}},
		{"an address for HTTP that is a folder", minimal + `[server]
			http_listen = "/run"`, nil, []string{
			`c.toml:4: server.http_listen: "/run" is not host:port`}},
		{"an address for a query that there is not", minimal + "[auth]\nquery_url = 'postgres://h:port/app'\n", nil, []string{
			"c.toml:4: auth.query_url: connection string: ", "c.toml:4: auth.query_url: is not used without auth.query"}},
		{"a query makes passwords in urls needless", "[databases.app]\nurl = 'postgres://u@h/app'\n[auth]\nquery = '$1'\n", nil, nil},
		{"a query for nobody", minimal + "[auth]\nquery = 'SELECT usename, passwd FROM pg_shadow'\n", nil, []string{
			"c.toml:4: auth.query: does not ask for a user: $1 stands for the name"}},
		{"a server's authorities that are nowhere", minimal + "[databases.b]\nurl = 'postgres://u:p@h/d?sslmode=verify-ca&sslrootcert=/none/ca.crt'\n", nil, []string{
			`c.toml:4: databases.b.url: connection string: sslrootcert: root certificate file "/none/ca.crt" does not exist, which sslmode=verify-ca needs`}},
		{"TLS without its files", minimal + "[tls]\nmode = 'verify-ca'\ncert = 'c'\n", nil, []string{
			`c.toml: tls.key: is missing, which tls.mode = "verify-ca" needs`,
			`c.toml: tls.ca: is missing, which tls.mode = "verify-ca" needs`}},
		{"files of TLS that is off", minimal + "[tls]\ncert = 'c'\nkey = 'k'\n", nil, []string{
			`c.toml:4: tls.cert: is not shown to anybody: set tls.mode, to "require" for example`}},
		{"an unknown mode of TLS", minimal + "[tls]\nmode = 'prefer'\n", nil, []string{
			`c.toml:4: tls.mode: must be one of "disable", "allow", "require", "verify-ca", "verify-full"`}},
		{"what is off by default, and said to be off", minimal + "[tls]\nmode = 'disable'\ncert = 'c'\n[server]\nhttp_listen = ''\n", nil, nil},
		{"no database", "[server]\ninstances = 1\n", nil, []string{
			"c.toml: databases: there is none: add [databases.NAME] with a url, or set LOCKPROXY_UPSTREAM"}},
		{"no url", "\n[databases.app]\n", nil, []string{"c.toml: databases.app.url: is missing"}},
		{"url that cannot be read, unquoted", "[databases.app]\nurl = 'postgres://app:secret@h:port/app'\n", nil, []string{
			"c.toml:2: databases.app.url: connection string: "}},
		{"certificates without TLS", minimal + "[auth]\ntype = 'cert'\n", nil, []string{
			`c.toml:4: auth.type: "cert" needs TLS that looks at certificates: set tls.mode and tls.ca`}},
		{"rules without a file", minimal + "[auth]\ntype = 'hba'\n", nil, []string{"c.toml: auth.hba_file: is missing"}},
		{"a file of rules that nobody reads", minimal + "[auth]\nhba_file = 'x'\n", nil, []string{
			`c.toml:4: auth.hba_file: is not read: set auth.type = "hba"`}},
		{"nobody can log in", "[databases.app]\nurl = 'postgres://app@h/app'\n", nil, []string{
			"c.toml:2: databases.app.url: has no user and password for clients to log in with"}},
		{"a user list makes passwords in urls needless", "[databases.app]\nurl = 'postgres://h/app'\n[auth]\nfile = 'x'\n", nil, nil},
		{"contradiction in the pools of all, told once", minimal + "[databases.b]\nurl = 'postgres://b:x@h'\n[pools.admin]\nmin_idle = 21\n", nil, []string{
			"c.toml:6: pools.admin.min_idle: min_idle (21) is more than max (20)"}},
		{"contradiction in a database's pool", minimal + "[databases.app.lock_pool]\nmax = 2\nmin_idle = 3\n", nil, []string{
			"c.toml:5: databases.app.lock_pool.min_idle: min_idle (3) is more than max (2)"}},
		{"contradiction between both", minimal + "[pools.lock]\nmin_idle = 3\n[databases.app.lock_pool]\nmax = 2\n", nil, []string{
			"c.toml:6: databases.app.lock_pool.max: min_idle (3) is more than max (2)"}},
		{"environment", minimal, map[string]string{"DATABASE_POOL_MAX": "x", "DATABASE_LOCK_POOL_MAX": "0",
			"DATABASE_POOL_CONNECTION_TIMEOUT_MS": "0", "DATABASE_POOL_IDLE_TIMEOUT_MS": "1s", "DATABASE_LOCK_TIMEOUT_MS": "-1"}, []string{
			"DATABASE_POOL_MAX: must be an integer",
			"DATABASE_LOCK_POOL_MAX: must be at least 1",
			"DATABASE_POOL_CONNECTION_TIMEOUT_MS: must be at least 1ms",
			"DATABASE_POOL_IDLE_TIMEOUT_MS: must be an integer (milliseconds)",
			"DATABASE_LOCK_TIMEOUT_MS: must be at least 0s"}},
		{"upstream that cannot be read", "", map[string]string{"LOCKPROXY_UPSTREAM": "postgres://u:secret@h:port"}, []string{
			"LOCKPROXY_UPSTREAM: connection string: "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := loadText(t, c.file, c.environment)
			var got []string
			if err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			if len(got) != len(c.want) {
				t.Fatalf("got %d problems, want %d:\n%v", len(got), len(c.want), err)
			}
			for i, want := range c.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("got  %s\nwant %s", got[i], want)
				}
				if strings.Contains(got[i], "secret") {
					t.Errorf("a password is shown: %s", got[i])
				}
			}
		})
	}
}

func TestMissingFileIsNamed(t *testing.T) {
	_, err := load(source{path: "/nowhere/c.toml", environment: lookup(nil)})
	if err == nil || err.Error() != "/nowhere/c.toml: there is no such file" {
		t.Errorf("got %v", err)
	}
}

func TestNamesOfPgBouncersLeadToSettings(t *testing.T) {
	known := map[string]bool{"databases.NAME.pool_mode": true}
	for _, table := range defaults().sections() {
		for _, s := range table.settings {
			known[table.name+"."+s.name] = true
		}
	}
	its := map[string]bool{}
	for _, k := range mainKeys() {
		its[k.name] = true
	}
	for from, to := range renamed {
		if !its[from] || !known[to] {
			t.Errorf("%s is PgBouncer's: %v; %s is ours: %v", from, its[from], to, known[to])
		}
	}
}
