package console

import (
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// ofPgBouncer sends what pgbouncer_exporter makes of the console's answers, by its names (collector.go), so that dashboards
// made for it go on. Client connections come without the application's name, which clients choose.
func (m *meter) ofPgBouncer(s *Snapshot) {
	m.gauge("pgbouncer_up", "The pgbouncer scrape succeeded", 1)
	m.gauge("pgbouncer_version_info", "The pgbouncer version info", 1, "version", "PgBouncer "+compatible+" (lockproxy "+s.Version+")")
	m.gauge("pgbouncer_config_max_client_connections", "Config maximum number of client connections", s.MaxClients)
	m.gauge("pgbouncer_config_max_user_connections", "Config maximum number of server connections per user", 0)
	renamed := map[string]string{"dns_names": "cached_dns_names", "dns_zones": "cached_dns_zones", "dns_queries": "in_flight_dns_queries"}
	for _, l := range lists(s) {
		name := l.name
		if other := renamed[name]; other != "" {
			name = other
		}
		if !strings.HasPrefix(name, "peer") && name != "dns_pending" {
			m.gauge("pgbouncer_"+name, "Count of "+strings.ReplaceAll(name, "_", " "), int(l.value.(int64)))
		}
	}
	type group struct{ database, user, state string }
	counts := make(map[group]int)
	for _, c := range clients(s) {
		counts[group{c.database, c.user, c.state}]++
	}
	for g, n := range counts {
		m.gauge("pgbouncer_client_connections", "Number of client connections grouped by database, user and state", n,
			"database", g.database, "user", g.user, "application_name", "", "state", g.state)
	}
	for _, u := range byDatabase(s) {
		m.pgbouncerTotals(&u)
	}
	for _, p := range poolsNow(s) {
		m.pgbouncerPool(p)
	}
	for i := range s.Databases {
		m.pgbouncerDatabase(&s.Databases[i])
	}
}

func (m *meter) pgbouncerTotals(u *usage) {
	for _, one := range []struct {
		name  string
		value float64
	}{
		{"server_assignments_total", float64(u.total.Assignments)}, {"sql_transactions_pooled_total", float64(u.total.Transactions)},
		{"queries_pooled_total", float64(u.total.Queries)}, {"received_bytes_total", float64(u.total.Received)},
		{"sent_bytes_total", float64(u.total.Sent)}, {"server_in_transaction_seconds_total", u.total.TransactionTime.Seconds()},
		{"queries_duration_seconds_total", u.total.QueryTime.Seconds()}, {"client_wait_seconds_total", u.total.WaitTime.Seconds()},
		{"client_parses_total", float64(u.total.Parses)}, {"server_parses_total", float64(u.total.ServerParses)},
		{"binds_total", float64(u.total.Binds)},
	} {
		m.send(prometheus.CounterValue, "pgbouncer_stats_totals_"+one.name, "As in SHOW STATS_TOTALS", one.value, "database", u.database)
	}
}

func (m *meter) pgbouncerPool(p poolNow) {
	for _, one := range []struct {
		name  string
		value float64
	}{
		{"client_active_connections", float64(max(0, p.Clients-p.waiting()))}, {"client_waiting_connections", float64(p.waiting())},
		{"client_active_cancel_connections", 0}, {"client_waiting_cancel_connections", 0},
		{"server_active_connections", float64(p.active())}, {"server_active_cancel_connections", 0},
		{"server_being_canceled_connections", 0}, {"server_idle_connections", float64(p.idle())},
		{"server_used_connections", 0}, {"server_testing_connections", 0},
		{"server_login_connections", float64(p.dialing())},
		{"client_maxwait_seconds", float64(p.longest(p.now) / 1e9)},
	} {
		m.send(prometheus.GaugeValue, "pgbouncer_pools_"+one.name, "As in SHOW POOLS", one.value, "database", p.Database, "user", p.User)
	}
}

func (m *meter) pgbouncerDatabase(d *Database) {
	for _, one := range []struct {
		name  string
		value any
	}{
		{"pool_size", count(d.Sizes[Admin])}, {"reserve_pool", count(0)}, {"max_connections", count(0)},
		{"current_connections", count(d.Backends)}, {"paused", flag(d.Paused)}, {"disabled", flag(d.Disabled)},
	} {
		m.gauge("pgbouncer_databases_"+one.name, "As in SHOW DATABASES", int(one.value.(int64)), "name", d.Name, "host", d.Host,
			"port", strconv.Itoa(d.Port), "database", d.ServerDatabase, "force_user", d.ForcedUser, "pool_mode", mode(d.SessionMode).(string))
	}
}
