package link

import (
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestAnyEndAtAnyTimeIsToldOnce lets both sides send, pause and end in every way at once. The owner of every link checks
// that its calls do not overlap and that nothing follows Closed.
func TestAnyEndAtAnyTimeIsToldOnce(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		rounds := 150
		if testing.Short() {
			rounds = 15
		}
		for seed := range uint64(rounds) {
			endAtRandom(t, m, rand.New(rand.NewPCG(seed, 1)))
		}
	})
}

func endAtRandom(t *testing.T, m mode, random *rand.Rand) {
	w := newWitness(t)
	ours, theirs := m.pair(t)
	if random.IntN(2) == 0 {
		w.on = func(p []byte) { w.link.Write(p) }
	}
	w.mu.Lock()
	w.link = m.serve(t, ours, w)
	w.mu.Unlock()

	p := pattern(1 << (8 + random.IntN(14)))
	actions := []func(){
		func() { w.do(func(l Link) { l.Write(p, p) }) },
		func() { w.link.Write(p) },
		func() { w.link.Pause(); w.link.Resume() },
		func() { _, _ = theirs.Write(p) },
		func() { _, _ = io.CopyN(io.Discard, theirs, int64(len(p))) },
	}
	ends := []func(){
		func() { w.do(func(l Link) { l.Close() }) },
		func() { w.link.CloseAfterFlush(20 * time.Millisecond) },
		func() { _ = theirs.Close() },
		func() { reset(theirs) },
		func() { w.link.Pause(); w.link.Close() },
		func() { _ = theirs.Close(); w.link.Close() },
	}
	actions = append(actions, ends[random.IntN(len(ends))], ends[random.IntN(len(ends))])
	random.Shuffle(len(actions), func(i, j int) { actions[i], actions[j] = actions[j], actions[i] })
	var all sync.WaitGroup
	for _, act := range actions {
		all.Go(act)
	}
	w.wantClosed("an end from either side")
	_ = theirs.Close()
	all.Wait()
	w.link.Write(p)
	w.link.Close()
	w.until("no output is kept after the end", func() bool { return w.link.Buffered() == 0 })
}

// reset closes conn so that the peer sees a reset, where there is such a thing.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func TestFailedWriteIsToldByClosed(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		r := m.start(t, nil)
		_ = r.peer.Close()
		r.do(func(l Link) {
			for range 3 {
				l.Write(pattern(64 << 10))
			}
		})
		if err := r.wantClosed("writing to a peer that left"); err == net.ErrClosed {
			t.Fatalf("Closed said %v, but the owner did not close", err)
		}
		r.until("nothing is kept for nobody", func() bool { return r.link.Buffered() == 0 })
	})
}

// TestLastWordsAreDeliveredThoughWritingFailed: a server's FATAL explains why the connection ends, and comes before an end
// that a write often notices first.
func TestLastWordsAreDeliveredThoughWritingFailed(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		if !m.buffered {
			t.Skip("nothing is sent while nobody reads here")
		}
		r := m.start(t, nil)
		r.do(func(l Link) { l.Pause(); l.Write([]byte("unread by the peer")) })
		r.peerSends("FATAL")
		_ = r.peer.Close()
		r.until("a paused owner hears of it by writing, if not at the first time", func() bool {
			r.link.Write(pattern(1 << 10))
			return r.hangups > 0
		})
		r.do(func(l Link) { l.Resume() })
		err := r.wantClosed("after the last words")
		// A loop has seen the end before writing failed, and TLS has a word for it.
		if !m.loop && !strings.HasPrefix(m.name, "secure") && (err == io.EOF || err == net.ErrClosed) {
			t.Fatalf("Closed said %v, but writing failed first", err)
		}
		r.wantBytes("the last words", "FATAL")
	})
}

// TestConcurrentWritersDoNotMix has writers send numbered pieces of several slices. The peer finds each whole, and every
// writer's in their order. A full link holds the writers back as its owner would.
func TestConcurrentWritersDoNotMix(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		const writers, mark, head = 4, 1 << 20, 6
		total := 50 << 20
		if testing.Short() || raceEnabled {
			total = 8 << 20
		}
		r := m.start(t, nil)
		body := pattern(32 << 10)
		var all sync.WaitGroup
		for id := range writers {
			all.Go(func() {
				random := rand.New(rand.NewPCG(uint64(id), 2))
				for seq, sent := 0, 0; sent < total/writers; seq++ {
					n := random.IntN(len(body))
					if random.IntN(4) > 0 {
						n %= 200
					}
					header := []byte{byte(id), byte(seq >> 16), byte(seq >> 8), byte(seq), byte(n >> 8), byte(n)}
					r.wait("room", func() bool { return r.link.Buffered() < mark })
					r.link.Write(header[:2], header[2:], body[:n/2], body[n/2:n])
					sent += head + n
				}
			})
		}
		go func() {
			all.Wait()
			r.link.CloseAfterFlush(time.Minute)
		}()
		var next [writers]int
		got := 0
		header, p := make([]byte, head), make([]byte, len(body))
		for {
			if _, err := io.ReadFull(r.peer, header); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			id, seq, n := int(header[0]), int(header[1])<<16|int(header[2])<<8|int(header[3]), int(header[4])<<8|int(header[5])
			if id >= writers || seq != next[id] || n > len(body) {
				t.Fatalf("after %d bytes: piece %d of writer %d with %d bytes: pieces are mixed", got, seq, id, n)
			}
			next[id]++
			if _, err := io.ReadFull(r.peer, p[:n]); err != nil || string(p[:n]) != string(body[:n]) {
				t.Fatalf("after %d bytes: piece %d of writer %d differs (%v)", got, seq, id, err)
			}
			got += head + n
		}
		if got < total {
			t.Fatalf("%d bytes of %d arrived", got, total)
		}
	})
}
