package main

import (
	"fmt"
	"math"
	"slices"
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
		{"client_tls_sslmode", "disable", (*translation).clientTLS},
		{"server_tls_sslmode", "prefer", (*translation).serverTLS},
		{"server_connect_timeout", "15", (*translation).connectTimeout},
		{"tcp_keepalive", "1", (*translation).keepAlive},
		{"default_pool_size", "20", (*translation).poolSize},
		{"query_wait_timeout", "120", toDuration(longestText, "pools.admin", "checkout_timeout", "pools.lock", "checkout_timeout")},
		{"server_idle_timeout", "600", toDuration("0s", "pools.admin", "idle_timeout", "pools.lock", "idle_timeout")},
		{"server_lifetime", "3600", toDuration("1ms", "pools.admin", "max_lifetime", "pools.lock", "max_lifetime")},
	}
	for _, name := range []string{"listen_port", "unix_socket_dir", "auth_file", "client_tls_cert_file", "client_tls_key_file",
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
	"tcp_keepcnt": "0", "tcp_keepidle": "0", "tcp_keepintvl": "0",
}

// withoutCounterpart says of each other setting why there is none.
var withoutCounterpart = []struct{ names, why string }{
	{"admin_users stats_users", "there is no console yet"},
	{"auth_user auth_dbname auth_query", "users come from auth.file or the url alone"},
	{"auth_hba_file auth_ident_file", "there is no hba login yet"},
	{"auth_ldap_options", "LDAP is not supported"},
	{"application_name_add_host", "the client's name is passed on as it is; the log has its address"},
	{"autodb_idle_timeout pool_idle_timeout", "a pool without connections costs nothing and stays"},
	{"cancel_wait_timeout", "a cancel request goes out at once, whether there is a connection in the pool or not"},
	{"client_idle_timeout idle_transaction_timeout transaction_timeout query_timeout", "PostgreSQL has its own: " +
		"idle_session_timeout, idle_in_transaction_session_timeout, transaction_timeout, statement_timeout"},
	{"query_wait_notify login_notify_message", "clients get no notice from the pooler"},
	{"client_tls_protocols client_tls_ciphers client_tls13_ciphers client_tls_dheparams client_tls_ecdhcurve " +
		"server_tls_protocols server_tls_ciphers server_tls13_ciphers", "TLS 1.2 and later, with the ciphers of Go's library, " +
		"which are all secure"},
	{"scram_iterations", "a plain password is proved with 4096 iterations, as in PostgreSQL"},
	{"conffile job_name service_name", "the process has no name of its own; --config names the file"},
	{"pidfile user", "the process stays in the foreground, as the user who starts it: systemd knows both"},
	{"logfile syslog syslog_facility syslog_ident", "the log goes to standard error: systemd or the container keeps it"},
	{"log_connections log_disconnections log_pooler_errors log_stats", "server.log_level says how much is logged"},
	{"stats_period", "there are no statistics yet"},
	{"listen_backlog tcp_defer_accept tcp_socket_buffer pkt_buf sbuf_loopcnt", "sockets are read and accepted as the load " +
		"has it"},
	{"so_reuseport", "one process uses as many processors as the work needs"},
	{"disable_pqexec", "several statements in one query are read as PostgreSQL reads them"},
	{"dns_max_ttl dns_nxdomain_ttl dns_zone_check_period resolv_conf", "a name is looked up for each new connection to a server"},
	{"ignore_startup_parameters", "no startup parameter is refused: PostgreSQL decides"},
	{"max_db_connections max_user_connections", "the pools' sizes bound the connections, each for its database and user"},
	{"max_db_client_connections max_user_client_connections", "server.max_clients counts all clients together"},
	{"max_packet_size", "server.max_statement bounds the text of a statement; rows have no bound and are not kept"},
	{"max_prepared_statements", "prepared statements always follow the client"},
	{"peer_id", "see [peers]"},
	{"reserve_pool_timeout", "the reserve is part of the pool, so nobody waits for it"},
	{"server_check_delay server_check_query", "the socket of an idle connection is watched, so that a dead one is noticed at once"},
	{"server_login_retry", "after a refusal the next attempt waits a little longer each time"},
	{"server_fast_close server_round_robin suspend_timeout", "there is nothing like it"},
	{"server_reset_query server_reset_query_always", "what a client has changed in a connection is undone by itself, and no more"},
	{"tcp_user_timeout", "the system's own counts"},
	{"track_extra_parameters", "all settings follow the client"},
	{"unix_socket_group unix_socket_mode", "the folder's own permissions say who may connect"},
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

// sslModes are those of libpq and of PgBouncer.
var sslModes = []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}

// serverTLS takes TLS towards servers. With PgBouncer a certificate authority counts only where the mode verifies; with libpq
// it makes require verify as well.
func (t *translation) serverTLS(s iniSetting) {
	mode := strings.ToLower(s.value)
	if !slices.Contains(sslModes, mode) {
		t.wrong(s.iniEntry, "server_tls_sslmode must be one of %s", strings.Join(sslModes, ", "))
	}
	if s.given {
		t.overTCP.Set("sslmode", mode)
	}
	for key, parameter := range map[string]string{"server_tls_ca_file": "sslrootcert", "server_tls_cert_file": "sslcert",
		"server_tls_key_file": "sslkey"} {
		if file := t.main[key]; file.value == "" {
			continue
		} else if key == "server_tls_ca_file" && !strings.HasPrefix(mode, "verify-") {
			t.note(file.iniEntry, key, "it counts with verify-ca and verify-full alone")
		} else {
			t.overTCP.Set(parameter, file.value)
		}
	}
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

// auth takes how clients log in.
func (t *translation) auth(s iniSetting) {
	kind, file := strings.ToLower(s.value), t.main["auth_file"]
	switch kind {
	case "trust", "scram-sha-256":
		t.set("auth", "type", kind, s.from())
	case "md5", "plain":
		t.set("auth", "type", "scram-sha-256", s.from())
		t.note(s.iniEntry, s.key, "clients prove their password by SCRAM-SHA-256, which every driver of today can; a secret that "+
			"the file has as md5... must be replaced by the password or by its SCRAM-SHA-256 secret (pg_authid.rolpassword)")
	case "cert", "hba", "any", "ldap", "pam":
		t.wrong(s.iniEntry, "auth_type = %s is not supported", kind)
		return
	default:
		t.wrong(s.iniEntry, "auth_type must be one of trust, md5, scram-sha-256")
		return
	}
	switch {
	case file.value != "":
		t.set("auth", "file", file.value, file.key)
	case kind != "trust":
		t.wrong(s.iniEntry, "there is no auth_file, so nobody could log in")
	}
}

// clientTLS takes TLS towards clients.
func (t *translation) clientTLS(s iniSetting) {
	switch mode := strings.ToLower(s.value); mode {
	case "disable":
	default:
		t.wrong(s.iniEntry, "client_tls_sslmode = %s: TLS from clients is not available yet", mode)
	}
}
