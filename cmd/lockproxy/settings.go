package main

import (
	"math"
	"slices"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/proxy"
)

// setting is one key of the configuration file. All that is said of it anywhere comes from here: lockproxy.toml and
// docs/settings.md are written by `go test ./cmd/lockproxy -run Settings -update`.
type setting struct {
	name     string
	meaning  string // In a phrase that begins small; goes on after a semicolon, or in sentences, where one is not enough.
	fallback any    // The default, as package toml gives values; nil if there is none.
	bind     bind
	example  string // What stands for the default where there is none.
	restart  bool   // A running server keeps the value that it began with.
}

func key(name, meaning string, fallback any, bind bind) setting {
	return setting{name: name, meaning: meaning, fallback: fallback, bind: bind}
}

// needed is a key that has no default.
func needed(name, meaning, example string, bind bind) setting {
	return setting{name: name, meaning: meaning, bind: bind, example: example}
}

// fixed is a key that cannot change without a restart.
func fixed(s setting) setting {
	s.restart = true
	return s
}

// limits are the settings of one pool; the lock pool alone has those below pools.Config.
type limits struct {
	pools.Config
	lockTimeout, idleTransactionTimeout time.Duration
	functions                           []string
}

type database struct {
	url, poolMode string
	maxClients    int
	admin, lock   limits
}

// values are all settings, as the file and the environment give them.
type values struct {
	server              proxy.Config // Without Auth and Databases.
	logLevel, logFormat string
	drainTimeout        time.Duration
	authType            string
	auth                proxy.Auth // Without Type.
	tlsMode             string
	adminPool, lockPool limits
	databases           map[string]*database
	users               map[string]*proxy.User
	maxBackends         int
}

const (
	// maxBackends is the largest max_connections that PostgreSQL takes (MAX_BACKENDS, src/include/postmaster/postmaster.h).
	maxBackends = 1<<18 - 1
	// moment is the shortest duration where 0 would make no sense.
	moment = time.Millisecond
)

func (v *values) serverSettings() []setting {
	s := &v.server
	return append([]setting{
		fixed(key("listen", `TCP addresses, and unix socket folders ("/run/lockproxy")`,
			[]any{"127.0.0.1:6432"}, atLeastOne(list(&s.Listen, checkListen)))),
		fixed(key("unix_socket_mode", "who may connect to the sockets in those folders, in octal digits", "0777",
			fileMode(&s.UnixSocketMode))),
		fixed(key("reuse_port", "whether another lockproxy may listen at the same TCP addresses, as while one takes over from "+
			"another", false, boolean(&s.ReusePort))),
		key("proxy_protocol", `load balancers, such as "10.0.0.7" or "10.0.0.0/24", whose connections begin with a header of `+
			"the PROXY protocol, version 2, that says whom they speak for", []any{}, prefixes(&s.ProxyProtocol)),
		fixed(key("http_listen", `"127.0.0.1:9187": an address for /metrics, /healthz, /readyz and a page that shows the pools`, "",
			httpAddress(&s.HTTPListen))),
		fixed(key("pgbouncer_metrics", "whether /metrics has those of pgbouncer_exporter as well", false, boolean(&s.PgBouncerMetrics))),
		key("max_clients", "clients connected at one time", int64(10000), integer(&s.MaxClients, 1, proxy.MostClients)),
		key("max_clients_per_address", "connections from one address, those that are logging in included; 0: no bound",
			int64(0), integer(&s.MaxClientsPerAddress, 0, math.MaxInt32)),
		key("max_clients_per_user", "clients of one user; 0: no bound",
			int64(0), integer(&s.MaxClientsPerUser, 0, math.MaxInt32)),
		fixed(key("max_backends", "connections to one PostgreSQL server, over all its databases and users; 0: no bound. The lock "+
			"pools have a share of their own, as pools.lock.max is to pools.admin.max", int64(0), backends(&v.maxBackends))),
		key("login_timeout", "from accept to the end of authentication", "15s", duration(&s.LoginTimeout, moment)),
		fixed(key("tcp_keepalive", `after how long a silent client is asked whether its machine is still there, and how often then, `+
			`up to nine times; "0s": never. To servers it is the url's keepalives`, "15s", duration(&s.KeepAlive, 0))),
		key("drain_timeout", "how long after SIGTERM the clients that there are go on as before, while new ones come to another "+
			"lockproxy; then, or at SIGINT, they are told to go", "0s", duration(&v.drainTimeout, 0)),
		key("shutdown_timeout", "how long transactions may go on once their clients are to go", "30s", duration(&s.ShutdownTimeout, 0)),
		key("wait_notice", `how long a client waits for a connection or an advisory lock until a NOTICE says for what; "0s": `+
			"it never does", "5s", duration(&s.WaitNotice, 0)),
		key("max_buffer", "bytes kept for one socket that does not take them",
			int64(256<<10), integer(&s.MaxBuffer, 16<<10, 1<<30)),
		key("max_statement", "bytes of one statement's text", int64(64<<20), integer(&s.MaxStatement, 1<<10, 1<<30)),
		key("max_prepared", "statements kept prepared on one connection; beyond it the one used longest ago is closed",
			int64(200), integer(&s.MaxPrepared, 1, math.MaxInt32)),
		key("pool_idle_timeout", "how long the pools of a database and user are remembered that no client uses, so that names that "+
			"clients make up do not add up; idle connections keep those of a database that has a name here", "1h",
			duration(&s.PoolIdleTimeout, time.Second)),
		key("log_level", "the least important lines that are logged", "info",
			choice(&v.logLevel, []string{"debug", "info", "warn", "error"})),
		fixed(key("log_format", "of the log, on standard error", "text", choice(&v.logFormat, []string{"text", "json"}))),
		key("stats_period", "what the averages of SHOW STATS are taken over", "60s", duration(&s.StatsPeriod, time.Second)),
		key("instances", "how many lockproxy processes share the PostgreSQL server (for the sizing rule)",
			int64(1), integer(&s.Instances, 1, maxBackends)),
	}, timeoutSettings(&s.Timeouts, `"0s": no bound`)...)
}

func (v *values) authSettings() []setting {
	return []setting{
		key("type", "how clients prove who they are", "scram-sha-256",
			choice(&v.authType, []string{"trust", "md5", "scram-sha-256", "password", "cert", "hba"})),
		key("file", "a list of users in the format of PgBouncer's userlist.txt; without it, each database's clients log in "+
			"with the user and password of its url", "", text(&v.auth.File)),
		key("query", "asks a server for the secrets of users that no file has, as PgBouncer's auth_query: it gives name and "+
			"secret of the user $1", "", text(&v.auth.Query)),
		key("query_url", "where auth.query is asked, a libpq URL; empty: the url of the database that the client wants", "",
			text(&v.auth.QueryURL)),
		key("query_cache", "how long an answer of auth.query counts", "10s", duration(&v.auth.QueryCache, 0)),
		key("max_failures", "failed logins in a minute, for each address; then all others from there are refused; 0: no bound",
			int64(20), integer(&v.auth.MaxFailures, 0, math.MaxInt32)),
		key("hba_file", `who proves by what that it is who it says, in the format of pg_hba.conf; for type = "hba"`, "",
			text(&v.auth.HBAFile)),
		key("ident_file", "whose certificate, or which user of the system, may be which user: in the format of pg_ident.conf", "",
			text(&v.auth.IdentFile)),
	}
}

func (v *values) tlsSettings() []setting {
	return []setting{
		key("mode", "what is spoken with clients that come by TCP, and what they must show", "disable",
			choice(&v.tlsMode, proxy.TLSModes)),
		key("cert", "a PEM file: the certificate, and those that lead to its authority; it and the others are read again "+
			"when they have changed", "", text(&v.server.TLS.Certificate)),
		key("key", "a PEM file: the private key of the certificate", "", text(&v.server.TLS.Key)),
		key("ca", "a PEM file: the authorities of the clients' certificates, which are asked for if there is one", "",
			text(&v.server.TLS.Authorities)),
	}
}

func (v *values) consoleSettings() []setting {
	c := &v.server.Console
	return []setting{
		key("admin_users", "users who may control lockproxy", []any{}, list(&c.Admins, anyText)),
		key("stats_users", "users who may look", []any{}, list(&c.Guests, anyText)),
	}
}

func anyText(string) error { return nil }

func (d *database) settings() []setting {
	return []setting{
		needed("url", "where the server is: a libpq URL; sslmode etc. as in libpq",
			"postgres://app:secret@127.0.0.1:5432/app", text(&d.url)),
		key("pool_mode", "how long a client keeps its connection", "transaction",
			choice(&d.poolMode, []string{"transaction", "session"})),
		key("max_clients", "clients of the database at one time; 0: no bound but the server's",
			int64(0), integer(&d.maxClients, 0, math.MaxInt32)),
	}
}

// timeoutSettings are the keys of the server that a user may have of its own; none is what no bound means.
func timeoutSettings(t *proxy.Timeouts, none string) []setting {
	return []setting{
		key("client_idle_timeout", "how long a client may be idle outside a transaction; "+none, "0s", duration(&t.ClientIdle, 0)),
		key("query_timeout", "how long a statement may run on the server; "+none, "0s", duration(&t.Query, 0)),
		key("transaction_timeout", "how long a transaction may take; "+none, "0s", duration(&t.Transaction, 0)),
		key("idle_in_transaction_timeout", "how long a client may be idle in a transaction; "+none, "0s",
			duration(&t.IdleInTransaction, 0)),
	}
}

func userSettings(u *proxy.User) []setting {
	return append([]setting{
		key("max_clients", "clients of the user at one time; 0: server.max_clients_per_user", int64(0),
			integer(&u.MaxClients, 0, math.MaxInt32)),
	}, timeoutSettings(&u.Timeouts, `"0s": the server's`)...)
}

const userMeaning = "A name that clients log in with, and what is different for it. Needed for none: whoever has no table here is as all."

// adminSettings are the keys that both pools have.
func (l *limits) adminSettings(size int64) []setting {
	return []setting{
		key("max", "connections at one time", size, integer(&l.Max, 1, maxBackends)),
		key("min_idle", "connections kept open when nobody needs them", int64(0), integer(&l.MinIdle, 0, maxBackends)),
		key("checkout_timeout", "how long a client waits for a connection", "10s", duration(&l.CheckoutTimeout, moment)),
		key("idle_timeout", `when an idle connection is closed; "0s": never`, "30s", duration(&l.IdleTimeout, 0)),
		key("max_lifetime", `the age at which a connection is closed, once it is idle; "0s": never`, "1h",
			duration(&l.MaxLifetime, 0)),
		key("max_waiting", "clients in the queue; 0: no bound but max_clients", int64(0),
			integer(&l.MaxWaiting, 0, math.MaxInt32)),
	}
}

func (l *limits) lockSettings(size int64) []setting {
	return append(l.adminSettings(size),
		key("lock_timeout", `how long a statement waits for an advisory lock; "0s": no bound`, "30s",
			duration(&l.lockTimeout, 0)),
		key("idle_in_transaction_session_timeout", `how long a transaction with a lock may stay idle; "0s": no bound`, "30s",
			duration(&l.idleTransactionTimeout, 0)),
		key("functions", `your own functions that take advisory locks: ["app.acquire"]`, []any{},
			list(&l.functions, checkFunction)),
	)
}

// The default sizes of the pools.
const (
	adminSize = 20
	lockSize  = 10
)

// section is one table of the file.
type section struct {
	name     string
	meaning  string
	settings []setting // None in a table that only holds tables.
}

type sections []section

// find returns the settings of the section of a name.
func (s sections) find(name string) ([]setting, bool) {
	for _, one := range s {
		if one.name == name {
			return one.settings, true
		}
	}
	return nil, false
}

// sections are all tables of the file but those of one database.
func (v *values) sections() sections {
	return sections{
		{"server", "", v.serverSettings()},
		{"auth", "", v.authSettings()},
		{"tls", "", v.tlsSettings()},
		{"console", `The database "lockproxy", or "pgbouncer", which is PgBouncer's console.`, v.consoleSettings()},
		{"databases", "", nil},
		{"users", "", nil},
		{"pools", "", nil},
		{"pools.admin", "Every database's admin pool, for each (database, user): for all that asks for no advisory lock. " +
			sizingRule, v.adminPool.adminSettings(adminSize)},
		{"pools.lock", "The pool of those who ask for, wait for or hold advisory locks.", v.lockPool.lockSettings(lockSize)},
	}
}

const sizingRule = "The sizing rule, which `lockproxy check` tests: instances * (admin max + lock max) <= max_connections - " +
	"superuser_reserved_connections; where there is server.max_backends, instances * max_backends is."

// sections are the tables of one database, by their names below its own.
func (d *database) sections() sections {
	return sections{
		{"", `A name that clients connect to; "*" takes any name, and has it for the name of the server's database. ` +
			"[databases.app.admin_pool] and [databases.app.lock_pool] take the keys of [pools.admin] and [pools.lock], for " +
			"this database alone.", d.settings()},
		{"admin_pool", "", d.admin.adminSettings(adminSize)},
		{"lock_pool", "", d.lock.lockSettings(lockSize)},
	}
}

// shares divides max_backends: the lock pools' part is to the whole as pools.lock.max is to both pools, rounded to the next.
func (v *values) shares() proxy.Shares {
	all, lock := v.maxBackends, v.lockPool.Max
	if all == 0 {
		return proxy.Shares{}
	}
	both := lock + v.adminPool.Max
	share := min(max(1, (2*all*lock+both)/(2*both)), all-1)
	return proxy.Shares{Admin: all - share, Lock: share}
}

// defaults are the values of an empty file.
func defaults() *values {
	v := &values{databases: map[string]*database{}, users: map[string]*proxy.User{}}
	for _, section := range v.sections() {
		setDefaults(section.settings)
	}
	return v
}

// database returns the database of a name; a new one has the pools that the file and the environment set for all.
func (v *values) database(name string) *database {
	d := v.databases[name]
	if d == nil {
		d = &database{admin: v.adminPool, lock: v.lockPool}
		d.lock.functions = slices.Clone(v.lockPool.functions)
		setDefaults(d.settings())
		v.databases[name] = d
	}
	return d
}

// user returns what is different for a user.
func (v *values) user(name string) *proxy.User {
	if v.users[name] == nil {
		v.users[name] = &proxy.User{}
		setDefaults(userSettings(v.users[name]))
	}
	return v.users[name]
}

func setDefaults(settings []setting) {
	for _, s := range settings {
		if s.fallback == nil {
			continue
		}
		if err := s.bind.set(s.fallback); err != nil {
			panic("the default of " + s.name + " " + err.Error())
		}
	}
}
