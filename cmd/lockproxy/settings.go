package main

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/proxy"
)

// setting is one key of the configuration file.
type setting struct {
	name     string
	fallback any // The default, as package toml gives values; nil if there is none.
	bind     bind
	later    bool // Known, but only its default is taken until it works.
}

func key(name string, fallback any, bind bind) setting {
	return setting{name: name, fallback: fallback, bind: bind}
}

// notYet is a key of work to come.
func notYet(name, fallback string) setting {
	refuse := func(value any) error {
		if value != fallback {
			return errors.New("not available yet")
		}
		return nil
	}
	return setting{name: name, fallback: fallback, bind: refuse, later: true}
}

// limits are the settings of one pool; the lock pool alone has those below pools.Config.
type limits struct {
	pools.Config
	lockTimeout, idleTransactionTimeout time.Duration
	functions                           []string
}

type database struct {
	url, poolMode string
	admin, lock   limits
}

// values are all settings, as the file and the environment give them.
type values struct {
	server              proxy.Config // Without Auth and Databases.
	logLevel, logFormat string
	authType, authFile  string
	adminPool, lockPool limits
	databases           map[string]*database
}

const (
	// maxBackends is the largest max_connections that PostgreSQL takes (MAX_BACKENDS, src/include/postmaster/postmaster.h).
	maxBackends = 1<<18 - 1
	// moment is the shortest duration where 0 would make no sense.
	moment = time.Millisecond
)

func (v *values) serverSettings() []setting {
	s := &v.server
	return []setting{
		key("listen", []any{"127.0.0.1:6432"}, atLeastOne(list(&s.Listen, checkListen))),
		notYet("http_listen", ""),
		key("max_clients", int64(10000), integer(&s.MaxClients, 1, math.MaxInt32)),
		key("login_timeout", "15s", duration(&s.LoginTimeout, moment)),
		key("shutdown_timeout", "30s", duration(&s.ShutdownTimeout, 0)),
		key("max_buffer", int64(256<<10), integer(&s.MaxBuffer, 16<<10, 1<<30)),
		key("max_statement", int64(64<<20), integer(&s.MaxStatement, 1<<10, 1<<30)),
		key("log_level", "info", choice(&v.logLevel, []string{"debug", "info", "warn", "error"})),
		key("log_format", "text", choice(&v.logFormat, []string{"text", "json"})),
		key("instances", int64(1), integer(&s.Instances, 1, maxBackends)),
	}
}

func (v *values) authSettings() []setting {
	return []setting{
		key("type", "scram-sha-256", choice(&v.authType, []string{"trust", "scram-sha-256"}, "md5", "cert")),
		key("file", "", text(&v.authFile)),
		notYet("query", ""),
	}
}

func (v *values) tlsSettings() []setting {
	return []setting{
		notYet("mode", "disable"),
		notYet("cert", ""),
		notYet("key", ""),
		notYet("ca", ""),
	}
}

func (d *database) settings() []setting {
	return []setting{
		key("url", nil, text(&d.url)),
		key("pool_mode", "transaction", choice(&d.poolMode, []string{"transaction", "session"})),
	}
}

// adminSettings are the keys that both pools have.
func (l *limits) adminSettings(size int64) []setting {
	return []setting{
		key("max", size, integer(&l.Max, 1, maxBackends)),
		key("min_idle", int64(0), integer(&l.MinIdle, 0, maxBackends)),
		key("checkout_timeout", "10s", duration(&l.CheckoutTimeout, moment)),
		key("idle_timeout", "30s", duration(&l.IdleTimeout, 0)),
		key("max_lifetime", "1h", duration(&l.MaxLifetime, 0)),
		key("max_waiting", int64(0), integer(&l.MaxWaiting, 0, math.MaxInt32)),
	}
}

func (l *limits) lockSettings(size int64) []setting {
	return append(l.adminSettings(size),
		key("lock_timeout", "30s", duration(&l.lockTimeout, 0)),
		key("idle_in_transaction_session_timeout", "30s", duration(&l.idleTransactionTimeout, 0)),
		key("functions", []any{}, list(&l.functions, checkFunction)),
	)
}

// The default sizes of the pools.
const (
	adminSize = 20
	lockSize  = 10
)

// sections are all tables of the file but those of databases, by their names. Tables that only hold tables have no
// settings.
func (v *values) sections() map[string][]setting {
	return map[string][]setting{
		"server":      v.serverSettings(),
		"auth":        v.authSettings(),
		"tls":         v.tlsSettings(),
		"pools":       nil,
		"pools.admin": v.adminPool.adminSettings(adminSize),
		"pools.lock":  v.lockPool.lockSettings(lockSize),
		"databases":   nil,
	}
}

// sections are the tables of one database, by their names below its own.
func (d *database) sections() map[string][]setting {
	return map[string][]setting{
		"":           d.settings(),
		"admin_pool": d.admin.adminSettings(adminSize),
		"lock_pool":  d.lock.lockSettings(lockSize),
	}
}

func atLeastOne(inner bind) bind {
	return func(value any) error {
		if values, ok := value.([]any); ok && len(values) == 0 {
			return errEmpty
		}
		return inner(value)
	}
}

// defaults are the values of an empty file.
func defaults() *values {
	v := &values{databases: map[string]*database{}}
	for _, section := range v.sections() {
		setDefaults(section)
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

func setDefaults(section []setting) {
	for _, s := range section {
		if s.fallback == nil {
			continue
		}
		if err := s.bind(s.fallback); err != nil {
			panic("the default of " + s.name + " " + err.Error())
		}
	}
}
