package link

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// query and answer have the sizes of a pgbench -S round trip.
const querySize, answerSize = 50, 70

// answers plays a server: it reads a query and sends an answer until its connection ends.
func answers(conn net.Conn) {
	query, answer := make([]byte, querySize), make([]byte, answerSize)
	for {
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

// roundTrips returns one round trip through a relay of two links, and what ends it all.
func roundTrips(t testing.TB, m mode) (once func(), end func()) {
	a, b, client, server := newRelay(t, m, 1<<20)
	var done sync.WaitGroup
	done.Go(func() { answers(server) })
	query, answer := make([]byte, querySize), make([]byte, answerSize)
	once = func() {
		if _, err := client.Write(query); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(client, answer); err != nil {
			t.Fatal(err)
		}
	}
	end = func() {
		_ = client.Close()
		a.wait()
		b.wait()
		done.Wait()
		_ = server.Close()
	}
	return once, end
}

func TestRelayingAllocatesNothing(t *testing.T) {
	still.Store(true)
	defer still.Store(false)
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	run(t, func(t *testing.T, m mode) {
		if m.tls {
			t.Skip("crypto/tls allocates")
		}
		once, end := roundTrips(t, m)
		defer end()
		once()
		if n := testing.AllocsPerRun(500, once); n > 0 {
			t.Errorf("%v allocations a round trip", n)
		}
	})
}

// still keeps links where they are, as long as a test counts.
var still atomic.Bool

func BenchmarkRoundTrip(b *testing.B) {
	for _, m := range modes {
		b.Run(m.name, func(b *testing.B) {
			once, end := roundTrips(b, m)
			defer end()
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
		})
	}
}

// BenchmarkRoundTrip16 has sixteen clients at once, so that rounds of a loop serve several links.
func BenchmarkRoundTrip16(b *testing.B) {
	const clients = 16
	for _, m := range modes {
		b.Run(m.name, func(b *testing.B) {
			var trips []func()
			for range clients {
				once, end := roundTrips(b, m)
				defer end()
				trips = append(trips, once)
			}
			b.ReportAllocs()
			b.ResetTimer()
			var all sync.WaitGroup
			for _, once := range trips {
				all.Go(func() {
					for range b.N/clients + 1 {
						once()
					}
				})
			}
			all.Wait()
		})
	}
}

func BenchmarkTransfer(b *testing.B) {
	p := pattern(1 << 20)
	for _, m := range modes {
		b.Run(m.name, func(b *testing.B) {
			left, right, from, to := newRelay(b, m, 256<<10)
			got := make([]byte, len(p))
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				go func() { _, _ = from.Write(p) }()
				if _, err := io.ReadFull(to, got); err != nil {
					b.Fatal(err)
				}
			}
			_ = from.Close()
			_ = to.Close()
			left.wait()
			right.wait()
		})
	}
}
