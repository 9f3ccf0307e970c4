package console

import (
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collector gives a snapshot's numbers as metrics. Labels are databases, users, pools and words of ours: never a key, a text
// or an address, so that their number is bounded by that of the pools.
type collector struct {
	server    Server
	pgbouncer bool // also by pgbouncer_exporter's names
}

// Describe says nothing: which metrics there are depends on which pools there are.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect takes a snapshot.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	shot := c.server.Snapshot()
	m := &meter{ch: ch}
	m.ofServer(shot)
	for i := range shot.Pools {
		m.ofPool(&shot.Pools[i])
	}
	if c.pgbouncer {
		m.ofPgBouncer(shot)
	}
}

// meter sends metrics.
type meter struct{ ch chan<- prometheus.Metric }

func (m *meter) send(kind prometheus.ValueType, name, help string, value float64, labels ...string) {
	names, values := labelPairs(labels)
	desc := prometheus.NewDesc(name, help, names, nil)
	m.ch <- prometheus.MustNewConstMetric(desc, kind, value, values...)
}

// labelPairs takes pairs of names and values apart. A database's name may be in any encoding; a label's value may not.
func labelPairs(labels []string) (names, values []string) {
	for i := 0; i < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, readable(labels[i+1]))
	}
	return names, values
}

func (m *meter) gauge(name, help string, value int, labels ...string) {
	m.send(prometheus.GaugeValue, name, help, float64(value), labels...)
}

func (m *meter) counter(name, help string, value uint64, labels ...string) {
	m.send(prometheus.CounterValue, name, help, float64(value), labels...)
}

// tagged sends a counter for each of some words.
func (m *meter) tagged(name, help, label string, counts map[string]uint64, labels ...string) {
	for _, word := range slices.Sorted(maps.Keys(counts)) {
		m.counter(name, help, counts[word], append(slices.Clone(labels), label, word)...)
	}
}

func (m *meter) histogram(name, help string, h *Histogram, labels ...string) {
	buckets := make(map[float64]uint64, len(Bounds))
	sum := uint64(0)
	for i, bound := range Bounds {
		sum += h.Counts[i]
		buckets[bound.Seconds()] = sum
	}
	names, values := labelPairs(labels)
	desc := prometheus.NewDesc(name, help, names, nil)
	m.ch <- prometheus.MustNewConstHistogram(desc, h.Count(), h.Sum.Seconds(), buckets, values...)
}

func (m *meter) ofServer(s *Snapshot) {
	m.gauge("lockproxy_info", "Always 1, with the version.", 1, "version", s.Version)
	m.send(prometheus.GaugeValue, "lockproxy_start_time_seconds", "When this process began to serve.", seconds1970(s.Begun))
	m.gauge("lockproxy_clients", "Clients that are connected, consoles included.", len(s.Sessions))
	m.gauge("lockproxy_clients_max", "How many clients may be connected (server.max_clients).", s.MaxClients)
	m.gauge("lockproxy_clients_logging_in", "Connections that have not logged in yet.", s.LoggingIn)
	m.tagged("lockproxy_logins_refused_total", "Logins that were refused, by SQLSTATE.", "sqlstate", s.Refused)
	m.tagged("lockproxy_pinned_transactions_total", "Transactions on a server connection that their session keeps, by reason.",
		"reason", s.Pinned)
	pins := make(map[string]int)
	for i := range s.Sessions {
		for _, reason := range s.Sessions[i].Pinned {
			pins[reason]++
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(pins)) {
		m.gauge("lockproxy_pinned_sessions", "Sessions that keep their server connection, by reason.", pins[reason], "reason", reason)
	}
}

func seconds1970(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func (m *meter) ofPool(p *Pool) {
	at := []string{"database", p.Database, "user", p.User}
	m.gauge("lockproxy_pool_clients", "Clients, those that replicate included.", p.Clients, at...)
	m.gauge("lockproxy_replication_connections", "Clients that replicate, with a server connection of their own each.", p.Replicating, at...)
	m.counter("lockproxy_assignments_total", "Server connections that were given to clients.", p.Assignments, at...)
	m.counter("lockproxy_transactions_total", "Transactions that ended on a server.", p.Transactions, at...)
	m.counter("lockproxy_queries_total", "Queries, and batches of the extended protocol, that were answered.", p.Queries, at...)
	m.counter("lockproxy_received_bytes_total", "Bytes that clients sent.", p.Received, at...)
	m.counter("lockproxy_sent_bytes_total", "Bytes that clients were sent.", p.Sent, at...)
	m.counter("lockproxy_client_parses_total", "Statements that clients prepared.", p.Parses, at...)
	m.counter("lockproxy_server_parses_total", "Statements that servers were told to prepare.", p.ServerParses, at...)
	m.counter("lockproxy_binds_total", "Bind messages that went to servers.", p.Binds, at...)
	const seconds = "Seconds that clients had a server connection and "
	m.send(prometheus.CounterValue, "lockproxy_transaction_seconds_total", seconds+"were in a transaction.", p.TransactionTime.Seconds(), at...)
	m.send(prometheus.CounterValue, "lockproxy_query_seconds_total", seconds+"waited for its answer.", p.QueryTime.Seconds(), at...)
	m.counter("lockproxy_promotions_total", "Transactions on an admin connection that moved to the lock pool.", p.Promotions.Granted, at...)
	m.counter("lockproxy_promotions_refused_total", "Those that could not.", p.Promotions.Refused, at...)
	m.counter("lockproxy_promotions_anew_total", "Those that began anew in the lock pool, for they had done nothing yet.", p.Promotions.Anew, at...)
	m.tagged("lockproxy_lock_statements_total", "Statements that may have waited for an advisory lock, by how they ended.", "outcome",
		p.Locks, at...)
	m.counter("lockproxy_backends_opened_total", "Server connections that were made.", p.Births, at...)
	m.counter("lockproxy_backends_failed_total", "Attempts to make one that failed.", p.Misses, at...)
	m.tagged("lockproxy_backends_closed_total", "Server connections that are over, by reason.", "reason", p.Deaths, at...)
	for k := range Kinds {
		m.ofSlots(&p.Slots[k], append(at, "pool", k.String())...)
	}
}

func (m *meter) ofSlots(s *Slots, at ...string) {
	m.gauge("lockproxy_slots", "Server connections that the pool may have.", s.Max, at...)
	m.gauge("lockproxy_slots_active", "Those that clients have.", s.Active, at...)
	m.gauge("lockproxy_slots_holding", "Those whose sessions hold advisory locks.", s.Holding, at...)
	m.gauge("lockproxy_slots_idle", "Those that are idle.", s.Idle, at...)
	m.gauge("lockproxy_slots_dialing", "Those that are being opened.", s.Dialing, at...)
	m.gauge("lockproxy_waiting", "Clients that wait for the pool, for a first connection or for a promotion.", s.Waiting+s.Promoting, at...)
	m.histogram("lockproxy_checkout_wait_seconds", "How long clients waited for a server connection; most of them not at all.", &s.Waits, at...)
	m.histogram("lockproxy_hold_seconds", "How long clients kept a server connection.", &s.Holds, at...)
	m.tagged("lockproxy_checkouts_refused_total", "Checkouts and promotions that were refused, by cause.", "cause", s.Refusals, at...)
}
