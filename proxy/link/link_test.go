package link

import (
	"bytes"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	code := m.Run()
	stopLoops()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			println(err.Error())
			code = 1
		}
	}
	os.Exit(code)
}

func (r *rig) peerSends(p string) {
	r.t.Helper()
	if _, err := io.WriteString(r.peer, p); err != nil {
		r.t.Fatal("the peer's write: ", err)
	}
}

func (r *rig) peerReads(rule, want string) {
	r.t.Helper()
	got := make([]byte, len(want))
	_ = r.peer.SetReadDeadline(time.Now().Add(patience))
	if n, err := io.ReadFull(r.peer, got); err != nil || string(got) != want {
		r.t.Fatalf("%s: the peer read %d bytes, %.40q, %v; want %.40q", rule, n, got, err, want)
	}
}

func (r *rig) peerReadsEnd(rule string) {
	r.t.Helper()
	_ = r.peer.SetReadDeadline(time.Now().Add(patience))
	n, err := r.peer.Read(make([]byte, 1))
	if n > 0 || err == nil || os.IsTimeout(err) {
		r.t.Fatalf("%s: the peer read %d bytes, %v; want the end", rule, n, err)
	}
}

// pattern is n bytes, at most patternMax, that show any loss, repetition or change of order.
func pattern(n int) []byte {
	return bytes.Clone(patternWhole()[:n])
}

const patternMax = 16 << 20

var patternWhole = sync.OnceValue(func() []byte {
	p := make([]byte, patternMax)
	x := uint32(1)
	for i := range p {
		x = x*1664525 + 1013904223
		p[i] = byte(x >> 24)
	}
	return p
})

func TestBytesPassBothWays(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		r := m.start(t, nil)
		r.peerSends("hello")
		r.wantBytes("what the peer sends is delivered", "hello")
		r.do(func(l Link) { l.Write([]byte("a"), nil, []byte("bc")) })
		r.peerReads("slices arrive in order", "abc")
		r.peerSends("again")
		r.wantBytes("a link lives on", "again")
	})
}

func TestMoreSlicesThanOneCallTakesArriveInOrder(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		r := m.start(t, nil)
		var list [][]byte
		for _, b := range []byte("abcdefghijklmnopqrstuvwxyz") {
			list = append(list, []byte{b}, nil)
		}
		r.do(func(l Link) { l.Write(list...) })
		r.peerReads("slices arrive in order", "abcdefghijklmnopqrstuvwxyz")
	})
}

func TestEmptyWriteDoesNothing(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		r := m.start(t, nil)
		r.do(func(l Link) { l.Write(); l.Write(nil); l.Write([]byte{}, nil) })
		if n := r.link.Buffered(); n != 0 {
			t.Fatalf("%d bytes buffered of none", n)
		}
		r.do(func(l Link) { l.Write([]byte("x")) })
		r.peerReads("an empty write is no end", "x")
	})
}

func TestWrittenSlicesAreTheCallersAgain(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		r := m.start(t, nil)
		p := pattern(4 << 20)
		want := string(p)
		r.do(func(l Link) { l.Write(p) })
		clear(p)
		r.peerReads("changing a slice after Write changes nothing", want)
	})
}

func TestWriteKeepsWhatTheSocketDoesNotTake(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		r := m.start(t, nil)
		p := pattern(16 << 20)
		r.do(func(l Link) {
			l.Write(p[:12<<20])
			n := l.Buffered()
			if n == 0 || n > 12<<20 {
				t.Errorf("%d bytes buffered of 12 MB that nobody reads", n)
			}
			l.Write(p[12<<20 : 13<<20])
			l.Write(p[13<<20:])
			if n := l.Buffered(); n < 4<<20 {
				t.Errorf("%d bytes buffered; the last 4 MB alone are more", n)
			}
			if r.drains != 0 {
				t.Error("Drained though nobody read")
			}
		})
		r.peerReads("all of it arrives", string(p))
		r.wait("Drained tells that nothing is left", func() bool { return r.drains > 0 && r.link.Buffered() == 0 })
		r.peerSends("and back")
		r.wantBytes("the other direction is untouched", "and back")
		r.do(func(l Link) { l.Write([]byte("more")) })
		r.peerReads("the link goes on after draining", "more")
	})
}

func TestWriteFromWithinReceivedAndDrained(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		big := pattern(6 << 20)
		r := m.start(t, func(w *witness) {
			w.on = func(p []byte) { w.link.Write(p); w.link.Write(big) }
			w.drained = func() {
				if w.drains == 1 {
					w.link.Write([]byte("drained"))
				}
			}
		})
		r.peerSends("!")
		r.peerReads("an echo, and all that was written with it", "!"+string(big)+"drained")
	})
}

func TestPeersEndIsEOF(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		r := m.start(t, nil)
		r.peerSends("last words")
		_ = r.peer.Close()
		if err := r.wantClosed("the peer's end"); err != io.EOF {
			t.Fatalf("Closed said %v, want io.EOF", err)
		}
		r.wantBytes("everything sent before the end is delivered", "last words")
	})
}

func TestOutputOutlivesPeersHalfClose(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		if !m.half {
			t.Skip("no half-close here")
		}
		r := m.start(t, nil)
		p := pattern(8 << 20)
		r.do(func(l Link) { l.Write(p) })
		if err := r.peer.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if err := r.wantClosed("half an end is an end"); err != io.EOF {
			t.Fatalf("Closed said %v, want io.EOF", err)
		}
		r.do(func(l Link) { l.Write([]byte("too late")) })
		r.peerReads("what was buffered is still written", string(p))
		r.peerReadsEnd("and nothing else")
	})
}

func TestCloseCutsOffOutputAfterPeersHalfClose(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		if !m.half {
			t.Skip("no half-close here")
		}
		r := m.start(t, nil)
		p := pattern(16 << 20)
		r.do(func(l Link) { l.Write(p) })
		_ = r.peer.(interface{ CloseWrite() error }).CloseWrite()
		r.wantClosed("half an end is an end")
		r.do(func(l Link) { l.Close() })
		if n := r.link.Buffered(); n != 0 {
			t.Fatalf("%d bytes buffered after Close", n)
		}
		_ = r.peer.SetReadDeadline(time.Now().Add(patience))
		got, err := io.ReadAll(r.peer)
		if os.IsTimeout(err) || len(got) >= len(p) {
			t.Fatalf("the peer read %d bytes, %v; want fewer than %d and an end", len(got), err, len(p))
		}
	})
}

func TestOwnCloseIsToldOnce(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		r := m.start(t, nil)
		r.do(func(l Link) { l.Close(); l.Close(); l.CloseAfterFlush(time.Hour) })
		if err := r.wantClosed("one's own close"); err != net.ErrClosed {
			t.Fatalf("Closed said %v, want net.ErrClosed", err)
		}
		r.peerReadsEnd("a close reaches the peer")
		r.do(func(l Link) { l.Close(); l.Pause(); l.Resume() })
	})
}

func TestCloseReachesAPausedLink(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		r := m.start(t, nil)
		r.do(func(l Link) { l.Pause() })
		if m.buffered {
			r.peerSends("unread")
		}
		r.do(func(l Link) { l.Close() })
		if err := r.wantClosed("one's own close"); err != net.ErrClosed {
			t.Fatalf("Closed said %v, want net.ErrClosed", err)
		}
		r.peerReadsEnd("a close reaches the peer")
	})
}

func TestCloseFromWithinReceivedEndsDelivery(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		r := m.start(t, func(w *witness) { w.on = func([]byte) { w.link.Close() } })
		go func() { _, _ = r.peer.Write(pattern(1 << 20)) }() // in several pieces
		if err := r.wantClosed("a close from within"); err != net.ErrClosed {
			t.Fatalf("Closed said %v, want net.ErrClosed", err)
		}
		if r.bytes > loopLargest {
			t.Fatalf("%d bytes received, more than one piece", r.bytes)
		}
	})
}

// loopLargest is the longest slice that either kind of link delivers.
const loopLargest = 64 << 10

func TestWriteAfterCloseIsDropped(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		r := m.start(t, nil)
		p := pattern(1 << 20)
		r.do(func(l Link) { l.Close(); l.Write(p) })
		if n := r.link.Buffered(); n != 0 {
			t.Fatalf("%d bytes buffered after Close", n)
		}
		r.wantClosed("one's own close")
		r.do(func(l Link) { l.Write(p) })
		if n := r.link.Buffered(); n != 0 {
			t.Fatalf("%d bytes buffered after Closed", n)
		}
		r.peerReadsEnd("nothing is sent after a close")
	})
}

func TestCloseAfterFlushWritesEverythingFirst(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		r := m.start(t, nil)
		p := append(pattern(8<<20), "FATAL"...)
		if m.buffered {
			r.do(func(l Link) { l.Pause() })
			r.peerSends("bytes that nobody will read")
		}
		r.do(func(l Link) {
			l.Write(p)
			l.CloseAfterFlush(patience)
			l.Write([]byte("dropped"))
		})
		r.peerReads("everything before the close arrives", string(p))
		r.peerReadsEnd("and nothing after it")
		_ = r.peer.Close()
		if err := r.wantClosed("one's own close"); err != net.ErrClosed {
			t.Fatalf("Closed said %v, want net.ErrClosed", err)
		}
		if strings.Contains(r.got.String(), "nobody") {
			t.Fatal("bytes were delivered after CloseAfterFlush")
		}
	})
}

func TestCloseAfterFlushOfAnIdleLinkEndsWithThePeer(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		r := m.start(t, nil)
		r.do(func(l Link) { l.CloseAfterFlush(time.Hour) })
		r.peerReadsEnd("the close reaches the peer")
		_ = r.peer.Close()
		if err := r.wantClosed("the peer closed too"); err != net.ErrClosed {
			t.Fatalf("Closed said %v, want net.ErrClosed", err)
		}
	})
}

func TestCloseAfterFlushGivesUpAfterItsTimeout(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		for _, size := range []int{0, 16 << 20} {
			r := m.start(t, nil)
			r.do(func(l Link) {
				l.Write(pattern(size))
				l.CloseAfterFlush(10 * time.Millisecond)
			})
			if err := r.wantClosed("a peer that reads and closes nothing"); err != net.ErrClosed {
				t.Fatalf("Closed said %v, want net.ErrClosed", err)
			}
			if n := r.link.Buffered(); n != 0 {
				t.Fatalf("%d bytes buffered after the end", n)
			}
		}
	})
}

func TestCloseCutsCloseAfterFlushShort(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		r := m.start(t, nil)
		r.do(func(l Link) {
			l.Write(pattern(16 << 20))
			l.CloseAfterFlush(time.Hour)
			l.Close()
		})
		r.wantClosed("the later Close counts")
	})
}

func TestDeadlinesOfLoginAreForgotten(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		w := newWitness(t)
		ours, theirs := m.pair(t)
		defer theirs.Close()
		_ = ours.SetDeadline(time.Unix(1, 0))
		w.mu.Lock()
		w.link = m.serve(t, ours, w)
		w.mu.Unlock()
		r := &rig{witness: w, mode: m, peer: theirs}
		r.peerSends("x")
		r.wantBytes("a deadline that has passed is no obstacle", "x")
		r.do(func(l Link) { l.Write([]byte("y")) })
		r.peerReads("nor for writing", "y")
		w.link.Close()
		w.wantClosed("the end")
	})
}

func TestStartDeliversWhatCameBefore(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		if !m.buffered {
			t.Skip("nothing comes before here")
		}
		w := newWitness(t)
		ours, theirs := m.pair(t)
		r := &rig{witness: w, mode: m, peer: theirs}
		r.peerSends("early")
		_ = theirs.Close()
		w.mu.Lock()
		w.link = m.serve(t, ours, w)
		w.mu.Unlock()
		if err := w.wantClosed("an end that came before the start"); err != io.EOF {
			t.Fatalf("Closed said %v, want io.EOF", err)
		}
		r.wantBytes("bytes that came before the start", "early")
	})
}

func TestPatternShowsLoss(t *testing.T) {
	p := pattern(100 << 10)
	if bytes.Equal(p[:50<<10], p[50<<10:]) || bytes.Count(p, p[:8]) != 1 {
		t.Fatal("the pattern repeats")
	}
}
