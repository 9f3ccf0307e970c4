package main

import (
	"fmt"
	"strings"

	"github.com/lockproxy/lockproxy/proxy"
)

// becomes says what a setting of [pgbouncer] becomes; it is called with PgBouncer's default where the file has none.
type becomes func(t *translation, s iniSetting)

// iniSetting is the value of one setting.
type iniSetting struct {
	iniEntry
	given bool // Else it is PgBouncer's default.
}

// from names the setting for a comment.
func (s iniSetting) from() string {
	if s.given {
		return s.key
	}
	return s.key + ", its default"
}

// iniKey is one setting of [pgbouncer], with PgBouncer's default.
type iniKey struct {
	name, fallback string
	becomes        becomes
}

// mainSection is the one that is not of connection strings.
const mainSection = "pgbouncer"

// mainKeys are all settings that PgBouncer knows, up to version 1.26 (bouncer_params in its main.c), in the order in which
// they are written.
func mainKeys() []iniKey {
	keys := []iniKey{
		{"listen_addr", "", (*translation).listen},
		{"max_client_conn", "100", (*translation).maxClients},
		{"client_login_timeout", "60", toDuration(longestText, "server", "login_timeout")},
		{"verbose", "0", (*translation).verbose},
		{"auth_type", "md5", (*translation).auth},
		{"admin_users", "", toList("console", "admin_users")},
		{"stats_users", "", toList("console", "stats_users")},
		{"client_tls_sslmode", "disable", (*translation).clientTLS},
		{"max_user_client_connections", "0", (*translation).clientsPerUser},
		{"max_prepared_statements", "200", (*translation).prepared},
		{"client_idle_timeout", "0", toTimeout("server", "client_idle_timeout")},
		{"query_timeout", "0", toTimeout("server", "query_timeout")},
		{"transaction_timeout", "0", toTimeout("server", "transaction_timeout")},
		{"idle_transaction_timeout", "0", toTimeout("server", "idle_in_transaction_timeout")},
		{"query_wait_notify", "5", (*translation).waitNotice},
		{"autodb_idle_timeout", "3600", (*translation).poolIdleTimeout},
		{"stats_period", "60", (*translation).statsPeriod},
		{"unix_socket_mode", "0777", (*translation).socketMode},
		{"so_reuseport", "0", (*translation).reusePort},
		{"server_tls_sslmode", "prefer", (*translation).serverTLS},
		{"server_connect_timeout", "15", (*translation).connectTimeout},
		{"tcp_keepalive", "1", (*translation).keepAlive},
		{"tcp_user_timeout", "0", (*translation).userTimeout},
		{"default_pool_size", "20", (*translation).poolSize},
		{"query_wait_timeout", "120", toDuration(longestText, "pools.admin", "checkout_timeout", "pools.lock", "checkout_timeout")},
		{"server_idle_timeout", "600", toDuration("0s", "pools.admin", "idle_timeout", "pools.lock", "idle_timeout")},
		{"server_lifetime", "3600", toDuration("1ms", "pools.admin", "max_lifetime", "pools.lock", "max_lifetime")},
	}
	for _, name := range []string{"listen_port", "unix_socket_dir", "auth_file", "auth_hba_file", "auth_ident_file", "auth_user", "auth_dbname",
		"auth_query", "max_db_client_connections", "client_tls_cert_file", "client_tls_key_file",
		"client_tls_ca_file", "server_tls_ca_file", "server_tls_cert_file", "server_tls_key_file", "server_tls_protocols", "pool_mode", "min_pool_size",
		"reserve_pool_size", "tcp_keepcnt", "tcp_keepidle", "tcp_keepintvl"} {
		keys = append(keys, iniKey{name, withOthers[name], nil})
	}
	for _, lost := range withoutCounterpart {
		for name := range strings.FieldsSeq(lost.names) {
			keys = append(keys, iniKey{name, "", no(lost.why)})
		}
	}
	return keys
}

// withOthers are the defaults of settings that are translated together with others.
var withOthers = map[string]string{
	"listen_port": "6432", "unix_socket_dir": "/tmp", "pool_mode": "session", "min_pool_size": "0", "reserve_pool_size": "0",
	"max_db_client_connections": "0", "server_tls_protocols": "secure", "tcp_keepcnt": "0", "tcp_keepidle": "0", "tcp_keepintvl": "0",
}

// withoutCounterpart says of each other setting why there is none.
var withoutCounterpart = []struct{ names, why string }{
	{"auth_ldap_options", "LDAP is not supported"},
	{"application_name_add_host", "the client's name is passed on as it is; the log has its address"},
	{"pool_idle_timeout", "server.pool_idle_timeout forgets pools that nobody uses; autodb_idle_timeout gives its time"},
	{"cancel_wait_timeout", "a cancel request goes out at once, whether there is a connection in the pool or not"},
	{"login_notify_message", "clients get no notice when they have logged in"},
	{"client_tls_protocols client_tls_ciphers client_tls13_ciphers client_tls_dheparams client_tls_ecdhcurve " +
		"server_tls_ciphers server_tls13_ciphers", "TLS 1.2 and later, with the ciphers of Go's library, " +
		"which are all secure"},
	{"scram_iterations", "a plain password is proved with 4096 iterations, as in PostgreSQL"},
	{"conffile job_name service_name", "the process has no name of its own; --config names the file"},
	{"pidfile user", "the process stays in the foreground, as the user who starts it: systemd knows both"},
	{"logfile syslog syslog_facility syslog_ident", "the log goes to standard error: systemd or the container keeps it"},
	{"log_connections log_disconnections log_pooler_errors log_stats", "server.log_level says how much is logged"},
	{"listen_backlog tcp_defer_accept tcp_socket_buffer pkt_buf sbuf_loopcnt", "sockets are read and accepted as the load " +
		"has it"},
	{"disable_pqexec", "several statements in one query are read as PostgreSQL reads them"},
	{"dns_max_ttl dns_nxdomain_ttl dns_zone_check_period resolv_conf", "a name is looked up for each new connection to a server"},
	{"ignore_startup_parameters", "no startup parameter is refused: PostgreSQL decides"},
	{"max_db_connections", noMaxDB},
	{"max_user_connections", noMaxUser},
	{"max_packet_size", "server.max_statement bounds the text of a statement; rows have no bound and are not kept"},
	{"peer_id", "see [peers]"},
	{"reserve_pool_timeout", "the reserve is part of the pool, so nobody waits for it"},
	{"server_check_delay server_check_query", "the socket of an idle connection is watched, so that a dead one is noticed at once"},
	{"server_login_retry", "after a refusal the next attempt waits a little longer each time"},
	{"server_fast_close server_round_robin suspend_timeout", "there is nothing like it"},
	{"server_reset_query server_reset_query_always", "what a client has changed in a connection is undone by itself, and no more"},
	{"track_extra_parameters", "all settings follow the client"},
	{"unix_socket_group", "the folder's own permissions say who may connect"},
}

// no is for what has no counterpart.
func no(why string) becomes {
	return func(t *translation, s iniSetting) {
		if s.given {
			t.note(s.iniEntry, s.key, why)
		}
	}
}

// toDuration puts a number of seconds at places, pairs of table and name; nought becomes what means the same there.
func toDuration(nought string, places ...string) becomes {
	return func(t *translation, s iniSetting) {
		text, from := t.duration(s.iniEntry, s.key, s.value), s.from()
		if text == "0s" {
			text = nought
		}
		for i := 0; i < len(places); i += 2 {
			t.set(places[i], places[i+1], text, from)
		}
	}
}

func (t *translation) verbose(s iniSetting) {
	if t.integer(s.iniEntry, s.key, s.value) > 0 {
		t.set("server", "log_level", "debug", s.key)
	}
}

// maxClients refuses what PgBouncer would refuse all clients by.
func (t *translation) maxClients(s iniSetting) {
	n := t.integer(s.iniEntry, s.key, s.value)
	if n < 1 {
		t.wrong(s.iniEntry, "max_client_conn must be at least 1, else nobody can connect")
	}
	t.set("server", "max_clients", int64(t.within(s.iniEntry, s.key, n, 1, proxy.MostClients)), s.from())
}

// clientsPerUser knows nought for no bound, as PgBouncer does.
func (t *translation) clientsPerUser(s iniSetting) {
	n := t.integer(s.iniEntry, s.key, s.value)
	if n < 0 {
		t.wrong(s.iniEntry, "max_user_client_connections must be at least 0, else nobody can connect")
	}
	if n > 0 {
		t.set("server", "max_clients_per_user", int64(n), s.from())
	}
}

// waitNotice is a whole number of seconds; a negative one is so large that it never passes.
func (t *translation) waitNotice(s iniSetting) {
	if n := t.integer(s.iniEntry, s.key, s.value); s.given {
		t.set("server", "wait_notice", t.duration(s.iniEntry, s.key, fmt.Sprint(max(0, n))), s.from())
	}
}

// statsPeriod is a whole number of seconds; without one PgBouncer counts anew all the time.
func (t *translation) statsPeriod(s iniSetting) {
	if n := t.integer(s.iniEntry, s.key, s.value); s.given {
		n = t.within(s.iniEntry, s.key, n, 1, int(longest.Seconds()))
		t.set("server", "stats_period", t.duration(s.iniEntry, s.key, fmt.Sprint(n)), s.from())
	}
}

// poolIdleTimeout is at least a second here; nought is never.
func (t *translation) poolIdleTimeout(s iniSetting) {
	text := t.duration(s.iniEntry, s.key, s.value)
	switch {
	case text == "0s":
		text = longestText
	case strings.HasSuffix(text, "ms"):
		text = "1s"
		t.note(s.iniEntry, s.key, "it is at least a second")
	}
	t.set("server", "pool_idle_timeout", text, s.from())
}

// poolSize takes the size of the admin pools, the reserve included, and how many of the connections are kept.
func (t *translation) poolSize(s iniSetting) {
	reserve, kept := t.main["reserve_pool_size"], t.main["min_pool_size"]
	extra := t.integer(reserve.iniEntry, reserve.key, reserve.value)
	t.max = t.size(s.iniEntry, s.key, t.integer(s.iniEntry, s.key, s.value), extra)
	t.set("pools.admin", "max", int64(t.max), sizeFrom(s.from(), extra))
	t.min = max(0, t.integer(kept.iniEntry, kept.key, kept.value))
	t.set("pools.admin", "min_idle", int64(min(t.min, t.max)), kept.from())
}

// size is the size of a pool that may open some more connections in need.
func (t *translation) size(e iniEntry, name string, size, reserve int) int {
	if size < 1 {
		t.note(e, name, fmt.Sprintf("a pool size of %d is no bound in PgBouncer; here it has one, which is now %d", size, adminSize))
		size = adminSize
	}
	return t.within(e, name, size+max(reserve, 0), 1, maxBackends)
}

func sizeFrom(name string, reserve int) string {
	if reserve > 0 {
		return name + ", and reserve_pool_size"
	}
	return name
}

// toTimeout puts a number of seconds that the file gives at a place; our defaults are PgBouncer's.
func toTimeout(table, name string) becomes {
	return func(t *translation, s iniSetting) {
		if s.given {
			t.set(table, name, t.duration(s.iniEntry, s.key, s.value), s.from())
		}
	}
}

// toList puts the members of a list at a place.
func toList(table, name string) becomes {
	return func(t *translation, s iniSetting) {
		if all := asList(s.value); len(all) > 0 {
			t.set(table, name, all, s.from())
		}
	}
}

func (t *translation) prepared(s iniSetting) {
	n := t.integer(s.iniEntry, s.key, s.value)
	switch {
	case n > 0 && s.given:
		t.set("server", "max_prepared", int64(n), s.from())
	case n == 0:
		t.note(s.iniEntry, s.key, "prepared statements always follow the client")
	case n < 0:
		t.note(s.iniEntry, s.key, "a connection has a bound, which is lockproxy's own now")
	}
}
