package session

import (
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
)

// warm is a session with its server that goes round: what it takes and gives for one transaction after the other.
type warm struct {
	s   *Session
	o   Output
	now time.Time
	srv *Server
}

// Checkout grants the server at once.
func (w *warm) Checkout(pools.Kind) *Server { return w.srv }
func (w *warm) Demote() bool                { return true }

func newWarm(t testing.TB) *warm {
	catalog := catalogOf(t, "")
	var schema changes
	cfg := &Config{
		Catalog: func() *Catalog { return catalog }, Schema: &schema, LockTimeout: 30 * time.Second, IdleTimeout: 30 * time.Second,
		MaxStatement: 1 << 20, MaxPrepared: maxPrepared, MaxBuffer: 64 << 10,
	}
	now := time.Unix(1000, 0)
	reported := NewSettings([]Setting{{"server_version", "15"}, {"in_hot_standby", "off"}})
	w := &warm{s: New(cfg, &Client{Pid: 7}), now: now, srv: NewServer(99, reported, now)}
	w.s.Start(&w.o, now, reported)
	w.o.Pools = w
	return w
}

// asks has the client send messages.
func (w *warm) asks(p []byte) { w.s.ClientBytes(&w.o, w.now, p) }

func (w *warm) answers(p []byte) { w.s.ServerBytes(&w.o, w.now, p) }

// released checks that the step before ended with the server given back.
func (w *warm) released(t testing.TB) {
	if w.s.phase != resting {
		t.Fatal("the server was not given back")
	}
}

// rounds are transactions as the clients of the benchmarks have them, by name.
var rounds = map[string]func(t testing.TB) (round func()){
	"simple": func(t testing.TB) func() {
		w := newWarm(t)
		ask := query("SELECT abalance FROM pgbench_accounts WHERE aid = 12345;")
		answer := join([][]byte{row("1"), complete("SELECT 1"), ready('I')})
		return func() {
			w.asks(ask)
			w.answers(answer)
			w.released(t)
		}
	},
	"prepared": func(t testing.TB) func() {
		w := newWarm(t)
		w.asks(join([][]byte{parse("p", "SELECT abalance FROM pgbench_accounts WHERE aid = $1"), syncMessage()}))
		nothing := func(kind byte) []byte { return message(kind, "") }
		parameters := message(protocol.ParameterDescription, "\x00\x01\x00\x00\x00\x17")
		w.answers(join([][]byte{nothing(protocol.ParseComplete), parameters, nothing(protocol.NoData), ready('I')}))
		w.released(t)
		ask := join([][]byte{bind("", "p"), describe('P', ""), execute(""), syncMessage()})
		answer := join([][]byte{nothing(protocol.BindComplete), nothing(protocol.NoData), row("1"), complete("SELECT 1"), ready('I')})
		return func() {
			w.asks(ask)
			w.answers(answer)
			w.released(t)
		}
	},
	"transaction": func(t testing.TB) func() {
		w := newWarm(t)
		begin, end := query("BEGIN"), query("END")
		update := query("UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 12345;")
		begun := join([][]byte{complete("BEGIN"), ready('T')})
		updated := join([][]byte{complete("UPDATE 1"), ready('T')})
		ended := join([][]byte{complete("COMMIT"), ready('I')})
		return func() {
			w.asks(begin)
			w.asks(update)
			w.answers(begun)
			w.answers(updated)
			w.asks(end)
			w.answers(ended)
			w.released(t)
		}
	},
	"lock": func(t testing.TB) func() {
		w := newWarm(t)
		begin, lock, end := query("BEGIN"), query("SELECT pg_advisory_xact_lock(12345);"), query("END")
		begun := join([][]byte{complete("BEGIN"), ready('T')})
		locked := join([][]byte{row(""), complete("SELECT 1"), ready('T')})
		ended := join([][]byte{complete("COMMIT"), ready('I')})
		timeouts := join([][]byte{complete("BEGIN"), row("30000"), row("30000"), complete("COMMIT"), ready('I')})
		return func() {
			w.asks(begin)
			w.asks(lock)
			w.answers(timeouts)
			timeouts = nil // they stay in place
			w.answers(begun)
			w.answers(locked)
			w.asks(end)
			w.answers(ended)
			w.released(t)
		}
	},
}

func BenchmarkTransactions(b *testing.B) {
	for name, start := range rounds {
		b.Run(name, func(b *testing.B) {
			round := start(b)
			round()
			b.ReportAllocs()
			for b.Loop() {
				round()
			}
		})
	}
}

func TestNothingIsAllocatedForATransaction(t *testing.T) {
	for name, start := range rounds {
		round := start(t)
		for range 100 {
			round()
		}
		if n := testing.AllocsPerRun(1000, round); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
