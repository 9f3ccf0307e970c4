package test

import (
	"bytes"
	"context"
	"flag"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/proxy"
)

// What relaying may cost: memory, whatever it is measured by. What it costs in time is the benchmark's.

var costTransactions = flag.Int("transactions", 1_000, "how many transactions TestTransactionsAllocateNothing runs, of each kind")

// plain is a client that allocates nothing.
type plain struct {
	net.Conn
	in [16 << 10]byte
}

func openPlain(t testing.TB, r *rig) *plain {
	t.Helper()
	conn, err := net.Dial("tcp", r.server.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	p := &plain{Conn: conn}
	if err := conn.SetDeadline(time.Now().Add(10 * patience)); err != nil {
		t.Fatal(err)
	}
	p.ask(t, startupPacket(r.database), idleNow)
	return p
}

var idleNow, openNow = []byte{'Z', 0, 0, 0, 5, 'I'}, []byte{'Z', 0, 0, 0, 5, 'T'}

// ask sends messages and reads up to the end that is expected.
func (p *plain) ask(t testing.TB, messages, end []byte) {
	t.Helper()
	if _, err := p.Write(messages); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; {
		more, err := p.Read(p.in[n:])
		if err != nil {
			t.Fatal(err)
		}
		if n += more; bytes.HasSuffix(p.in[:n], end) {
			return
		}
		if n == len(p.in) {
			t.Fatal("a long answer")
		}
	}
}

func message(kind byte, body string) []byte {
	n := 4 + len(body)
	return append([]byte{kind, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, body...)
}

// whole is a transaction of one message, or of one batch.
var whole = map[string][]byte{
	"simple": message(protocol.Query, "SELECT 1\x00"),
	"prepared": bytes.Join([][]byte{
		message(protocol.Bind, "\x00s\x00\x00\x00\x00\x00\x00\x00"), message(protocol.Execute, "\x00\x00\x00\x00\x00"), message(protocol.Sync, ""),
	}, nil),
	"locking": message(protocol.Query, "SELECT pg_advisory_xact_lock(1)\x00"),
}

// Once all is warm a transaction allocates nothing, and leaves nothing behind: with -transactions=1000000 as well.
func TestTransactionsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("with the race detector system calls allocate: test/versions.sh runs it without")
	}
	const allowed = 0.5 // what goes on besides: sweeping, timers, questions about the schema
	everyLink(t, func(t *testing.T, links func(*proxy.Config)) {
		r := startProxy(t, links)
		p := openPlain(t, r)
		p.ask(t, append(message(protocol.Parse, "s\x00SELECT 1\x00\x00\x00"), message(protocol.Sync, "")...), idleNow)
		begin, commit := message(protocol.Query, "BEGIN\x00"), message(protocol.Query, "COMMIT\x00")
		kinds := map[string]func(){"in a block": func() {
			p.ask(t, begin, openNow)
			p.ask(t, whole["simple"], openNow)
			p.ask(t, commit, idleNow)
		}}
		for name, messages := range whole {
			kinds[name] = func() { p.ask(t, messages, idleNow) }
		}
		for name, transaction := range kinds {
			for range 300 {
				transaction()
			}
			var each float64
			var grown int64
			for tries := 0; tries == 0 || each > allowed && tries < 3; tries++ { // a connection that is made meanwhile costs more than all of them
				before := measure(t)
				var first, last runtime.MemStats
				runtime.ReadMemStats(&first)
				for range *costTransactions {
					transaction()
				}
				runtime.ReadMemStats(&last)
				each = float64(last.Mallocs-first.Mallocs) / float64(*costTransactions)
				grown = int64(measure(t).heap - before.heap)
				t.Logf("%s: %.4f allocations each, the heap has grown by %d bytes", name, each, grown)
			}
			if each > allowed {
				t.Errorf("%s: %.2f allocations for each transaction", name, each)
			}
			if grown > 256<<10 {
				t.Errorf("%s: the heap has grown by %d bytes with %d transactions", name, grown, *costTransactions)
			}
		}
	})
}

// A client that does not read a huge result has lockproxy keep max_buffer of it and a little more; the server waits, and
// others do not.
func TestASlowReaderKeepsItsBoundAndHoldsUpNobody(t *testing.T) {
	const margin = 640 << 10 // bytes: the pieces that a link keeps it in, and what is read at once
	everyLink(t, func(t *testing.T, links func(*proxy.Config)) {
		r := startProxy(t, links)
		other := openPlain(t, r)
		slow := openPlain(t, r)
		other.ask(t, whole["simple"], idleNow)
		before := measure(t)
		if _, err := slow.Write(message(protocol.Query, "SELECT repeat('x', 1000) FROM generate_series(1, 40000)\x00")); err != nil {
			t.Fatal(err)
		}
		r.awaitRow(t, "the server waits for its reader", "count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'ClientWrite' AND query LIKE '%repeat%'")
		for range 300 {
			other.ask(t, whole["simple"], idleNow)
		}
		kept := measure(t).heap - before.heap
		t.Logf("%d bytes are kept for the slow reader", kept)
		if kept > 256<<10+margin {
			t.Errorf("%d bytes are kept for a client that does not read", kept)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		defer context.AfterFunc(ctx, func() { slow.Close() })()
		const row = 5 + 2 + 4 + 1000
		if n, err := io.CopyN(io.Discard, slow, 40_000*row); err != nil {
			t.Errorf("it gets %d bytes, %v", n, err)
		}
	})
}
