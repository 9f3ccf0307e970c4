package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
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
		{"max_client_conn", "100", toInteger("server", "max_clients")},
		{"client_login_timeout", "60", toDuration(longestText, "server", "login_timeout")},
		{"verbose", "0", (*translation).verbose},
		{"auth_type", "md5", (*translation).auth},
		{"admin_users", "", toList("console", "admin_users")},
		{"stats_users", "", toList("console", "stats_users")},
		{"client_tls_sslmode", "disable", (*translation).clientTLS},
		{"max_user_client_connections", "0", toBound("server", "max_clients_per_user")},
		{"max_prepared_statements", "200", (*translation).prepared},
		{"client_idle_timeout", "0", toTimeout("server", "client_idle_timeout")},
		{"query_timeout", "0", toTimeout("server", "query_timeout")},
		{"transaction_timeout", "0", toTimeout("server", "transaction_timeout")},
		{"idle_transaction_timeout", "0", toTimeout("server", "idle_in_transaction_timeout")},
		{"query_wait_notify", "5", toTimeout("server", "wait_notice")},
		{"autodb_idle_timeout", "3600", toDuration(longestText, "server", "pool_idle_timeout")},
		{"stats_period", "60", toTimeout("server", "stats_period")},
		{"unix_socket_mode", "0777", (*translation).socketMode},
		{"so_reuseport", "0", (*translation).reusePort},
		{"server_tls_sslmode", "prefer", (*translation).serverTLS},
		{"server_connect_timeout", "15", (*translation).connectTimeout},
		{"tcp_keepalive", "1", (*translation).keepAlive},
		{"default_pool_size", "20", (*translation).poolSize},
		{"query_wait_timeout", "120", toDuration(longestText, "pools.admin", "checkout_timeout", "pools.lock", "checkout_timeout")},
		{"server_idle_timeout", "600", toDuration("0s", "pools.admin", "idle_timeout", "pools.lock", "idle_timeout")},
		{"server_lifetime", "3600", toDuration("1ms", "pools.admin", "max_lifetime", "pools.lock", "max_lifetime")},
	}
	for _, name := range []string{"listen_port", "unix_socket_dir", "auth_file", "auth_hba_file", "auth_ident_file", "auth_user", "auth_dbname",
		"auth_query", "max_db_client_connections", "client_tls_cert_file", "client_tls_key_file",
		"client_tls_ca_file", "server_tls_ca_file", "server_tls_cert_file", "server_tls_key_file", "pool_mode", "min_pool_size",
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
	"max_db_client_connections": "0", "tcp_keepcnt": "0", "tcp_keepidle": "0", "tcp_keepintvl": "0",
}

// withoutCounterpart says of each other setting why there is none.
var withoutCounterpart = []struct{ names, why string }{
	{"auth_ldap_options", "LDAP is not supported"},
	{"application_name_add_host", "the client's name is passed on as it is; the log has its address"},
	{"pool_idle_timeout", "server.pool_idle_timeout forgets pools that nobody uses; autodb_idle_timeout gives its time"},
	{"cancel_wait_timeout", "a cancel request goes out at once, whether there is a connection in the pool or not"},
	{"login_notify_message", "clients get no notice when they have logged in"},
	{"client_tls_protocols client_tls_ciphers client_tls13_ciphers client_tls_dheparams client_tls_ecdhcurve " +
		"server_tls_protocols server_tls_ciphers server_tls13_ciphers", "TLS 1.2 and later, with the ciphers of Go's library, " +
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
	{"tcp_user_timeout", "the system's own counts"},
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

// toInteger puts an integer at a place.
func toInteger(table, name string) becomes {
	return func(t *translation, s iniSetting) {
		t.set(table, name, int64(t.integer(s.iniEntry, s.key, s.value)), s.from())
	}
}

// longestText stands for no bound, where a duration must have one.
var longestText = durationText(longest.Truncate(time.Hour))

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

// integer reads a number as strtol(3) does with base 0, which is how PgBouncer does it.
func (t *translation) integer(e iniEntry, name, value string) int {
	n, err := strconv.ParseInt(value, 0, 32)
	if err != nil || strings.Contains(value, "_") {
		t.wrong(e, "%s must be an integer", name)
	}
	return int(n)
}

// duration reads a number of seconds and writes it as the configuration file has it.
func (t *translation) duration(e iniEntry, name, value string) string {
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(n) || n < 0 {
		t.wrong(e, "%s must be a number of seconds", name)
		return "0s"
	}
	if n > longest.Seconds() {
		return longestText
	}
	d := time.Duration(n * float64(time.Second)).Round(time.Millisecond)
	if d == 0 && n > 0 {
		d = time.Millisecond
	}
	return durationText(d)
}

// durationText writes 1h, not 1h0m0s.
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// listen takes listen_addr, listen_port and unix_socket_dir together.
func (t *translation) listen(addresses iniSetting) {
	port := t.main["listen_port"]
	if n := t.integer(port.iniEntry, port.key, port.value); n < 0 || n > math.MaxUint16 {
		t.wrong(port.iniEntry, "listen_port must be a port")
	}
	var all []any
	for address := range splitList(addresses.value) {
		all = append(all, joinPort(address, port.value))
	}
	if dir := t.main["unix_socket_dir"]; strings.HasPrefix(dir.value, "/") {
		all = append(all, dir.value)
		if port.value != "6432" {
			t.note(port.iniEntry, port.key, "the socket in "+dir.value+" is .s.PGSQL.6432, whatever the port")
		}
	} else if dir.value != "" {
		t.note(dir.iniEntry, dir.key, "a socket has its place in the file system")
	}
	if len(all) == 0 {
		t.wrong(addresses.iniEntry, "neither listen_addr nor unix_socket_dir says where to listen")
		return
	}
	t.set("server", "listen", all, "listen_addr, listen_port, unix_socket_dir")
}

// joinPort is an address for Listen; * is every address.
func joinPort(address, port string) string {
	if address == "*" {
		return ":" + port
	}
	if strings.Contains(address, ":") {
		address = "[" + strings.Trim(address, "[]") + "]"
	}
	return address + ":" + port
}

// splitList takes a list with commas between its members apart.
func splitList(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.Trim(part, iniSpace); part != "" && !yield(part) {
				return
			}
		}
	}
}

func (t *translation) verbose(s iniSetting) {
	if t.integer(s.iniEntry, s.key, s.value) > 0 {
		t.set("server", "log_level", "debug", s.key)
	}
}

// poolSize takes the size of the admin pools, the reserve included, and how many of the connections are kept.
func (t *translation) poolSize(s iniSetting) {
	reserve, kept := t.main["reserve_pool_size"], t.main["min_pool_size"]
	extra := t.integer(reserve.iniEntry, reserve.key, reserve.value)
	t.max = t.size(s.iniEntry, t.integer(s.iniEntry, s.key, s.value), extra)
	t.set("pools.admin", "max", int64(t.max), sizeFrom(s.from(), extra))
	t.min = t.integer(kept.iniEntry, kept.key, kept.value)
	t.set("pools.admin", "min_idle", int64(min(t.min, t.max)), kept.from())
}

// size is the size of a pool that may open some more connections in need.
func (t *translation) size(e iniEntry, size, reserve int) int {
	if size == 0 {
		t.note(e, e.key, fmt.Sprintf("a pool size of 0 is no bound in PgBouncer; here it has one, which is now %d", adminSize))
		size = adminSize
	}
	return size + max(reserve, 0)
}

func sizeFrom(name string, reserve int) string {
	if reserve > 0 {
		return name + ", and reserve_pool_size"
	}
	return name
}

// connectTimeout is a whole number of seconds in libpq; nought is no bound in PgBouncer.
func (t *translation) connectTimeout(s iniSetting) {
	n, err := strconv.ParseFloat(s.value, 64)
	switch {
	case t.duration(s.iniEntry, s.key, s.value) == "0s":
		t.always.Set("connect_timeout", strconv.Itoa(int(longest/time.Second)))
	case err == nil:
		t.always.Set("connect_timeout", strconv.Itoa(max(1, int(min(n, longest.Seconds())+0.5))))
	}
}

// keepAlive takes what PgBouncer says for all its sockets; nought is the system's own there, and Go's here.
func (t *translation) keepAlive(s iniSetting) {
	if t.integer(s.iniEntry, s.key, s.value) == 0 {
		t.overTCP.Set("keepalives", "0")
		return
	}
	for key, parameter := range map[string]string{"tcp_keepidle": "keepalives_idle", "tcp_keepintvl": "keepalives_interval",
		"tcp_keepcnt": "keepalives_count"} {
		one := t.main[key]
		if n := t.integer(one.iniEntry, key, one.value); n > 0 {
			t.overTCP.Set(parameter, strconv.Itoa(n))
		}
	}
}

// toBound puts an integer at a place, unless it is nought, which is no bound on both sides.
func toBound(table, name string) becomes {
	return func(t *translation, s iniSetting) {
		if n := t.integer(s.iniEntry, s.key, s.value); n != 0 {
			t.set(table, name, int64(n), s.from())
		}
	}
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

func asList(text string) []any {
	var all []any
	for one := range splitList(text) {
		all = append(all, one)
	}
	return all
}

func (t *translation) prepared(s iniSetting) {
	n := t.integer(s.iniEntry, s.key, s.value)
	switch {
	case n > 0 && s.given:
		t.set("server", "max_prepared", int64(n), s.from())
	case n == 0:
		t.note(s.iniEntry, s.key, "prepared statements always follow the client")
	}
}

func (t *translation) socketMode(s iniSetting) {
	mode := t.integer(s.iniEntry, s.key, s.value)
	if s.given {
		t.set("server", "unix_socket_mode", fmt.Sprintf("%04o", mode), s.from())
	}
}

func (t *translation) reusePort(s iniSetting) {
	if t.integer(s.iniEntry, s.key, s.value) != 0 {
		t.set("server", "reuse_port", true, s.from())
	}
}
