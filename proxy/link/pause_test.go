package link

import (
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
)

func TestPauseFromWithinReceivedTakesEffectAtOnce(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		paused := false
		r := m.start(t, func(w *witness) {
			w.on = func([]byte) {
				if paused {
					t.Error("bytes were delivered while paused")
				}
				w.link.Pause()
				paused = true
			}
		})
		const size = 4 << 20
		go func() { _, _ = r.peer.Write(pattern(size)) }()
		for done := false; !done; {
			r.wait("the next piece comes after Resume", func() bool { return paused })
			r.do(func(l Link) {
				done = r.bytes == size
				paused = false
				l.Resume()
			})
		}
	})
}

func TestPauseFromElsewhereLetsAtMostOneThrough(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		paused, late, most := false, 0, 0
		r := m.start(t, func(w *witness) {
			w.on = func([]byte) {
				if paused {
					late++
					most = max(most, late)
				}
			}
		})
		const size = 8 << 20
		go func() { _, _ = r.peer.Write(pattern(size)) }()
		end := time.Now().Add(patience)
		for done := false; !done; runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatal("bytes were lost")
			}
			r.do(func(l Link) { l.Pause(); paused, late = true, 0 })
			runtime.Gosched()
			r.do(func(l Link) { l.Resume(); paused = false; done = r.bytes == size })
		}
		if most > 1 {
			t.Fatalf("%d pieces came after a Pause", most)
		}
	})
}

func TestPausesLoseNothing(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		r := m.start(t, nil)
		want := string(pattern(1 << 20))
		stop := make(chan struct{})
		var hands sync.WaitGroup
		for range 2 { // the session's own hand and a timer's, say
			hands.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						r.link.Pause()
						runtime.Gosched()
						r.link.Resume()
					}
				}
			})
		}
		go func() { _, _ = io.WriteString(r.peer, want) }()
		r.wait("everything comes", func() bool { return r.got.Len() >= len(want) })
		close(stop)
		hands.Wait()
		r.wantBytes("in order", want)
	})
}

func TestWritingGoesOnWhilePaused(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		r := m.start(t, nil)
		if m.buffered {
			r.peerSends("unread")
		}
		p := pattern(8 << 20)
		r.do(func(l Link) { l.Pause(); l.Write(p) })
		r.peerReads("a paused link still writes", string(p))
		r.wait("and tells", func() bool { return r.drains > 0 })
	})
}

func TestPausedLinkDeliversEverythingBeforeTheEnd(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		if !m.buffered {
			t.Skip("nothing is sent while nobody reads here")
		}
		r := m.start(t, nil)
		r.peerSends("first")
		r.wantBytes("before the pause", "first")
		r.do(func(l Link) { l.Pause() })
		r.peerSends("second")
		_ = r.peer.Close()
		if m.loop {
			r.wait("the owner hears of a peer that left", func() bool { return r.hangups > 0 })
		}
		r.do(func(l Link) {
			if r.closes > 0 {
				t.Error("Closed came before the bytes that were sent before it")
			}
			if r.got.Len() > 0 && m.loop {
				t.Error("bytes were delivered while paused")
			}
			l.Resume()
		})
		if err := r.wantClosed("after the last byte"); err != io.EOF {
			t.Fatalf("Closed said %v, want io.EOF", err)
		}
		r.wantBytes("nothing is lost", "second")
		if r.hangups > 1 {
			t.Fatalf("HungUp was called %d times", r.hangups)
		}
	})
}

// TestRelayIsBoundedByItsOwner sends much more through two links than they may hold, both ways at once, to readers that
// are slower than the writers.
func TestRelayIsBoundedByItsOwner(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		const mark, size = 256 << 10, 6 << 20
		a, b, peerA, peerB := newRelay(t, m, mark)
		p := pattern(size)
		var ends sync.WaitGroup
		paused := func() bool {
			a.mu.Lock() // which is b's too
			defer a.mu.Unlock()
			return a.pauses+b.pauses > 0
		}
		for _, peer := range []net.Conn{peerA, peerB} {
			ends.Go(func() { _, _ = peer.Write(p) })
			ends.Go(func() {
				for end := time.Now().Add(patience); m.buffered && !paused() && time.Now().Before(end); {
					time.Sleep(time.Millisecond) // a reader that is not there is the slowest
				}
				readSlowly(t, peer, p)
			})
		}
		ends.Wait()
		for _, half := range []*relayHalf{a, b} {
			half.mu.Lock()
			if half.most > mark+loopLargest {
				t.Errorf("a link held %d bytes, though its source is paused at %d", half.most, mark)
			}
			half.mu.Unlock()
		}
		if a.pauses+b.pauses == 0 && m.buffered {
			t.Error("nothing was ever paused: the test shows nothing")
		}
		_ = peerA.Close()
		_ = peerB.Close()
		a.wait()
		b.wait()
	})
}

func readSlowly(t *testing.T, conn net.Conn, want []byte) {
	p := make([]byte, 32<<10)
	for len(want) > 0 {
		n, err := conn.Read(p[:1+rand.IntN(len(p))])
		if err != nil || string(p[:n]) != string(want[:n]) {
			t.Errorf("with %d bytes to go: %v, or other bytes than were sent", len(want), err)
			return
		}
		want = want[n:]
		for range 20 {
			runtime.Gosched()
		}
	}
}
