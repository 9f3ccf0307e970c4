package link

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stepped is a loop whose rounds the test runs itself, so that it can see when there is nothing to do.
type stepped struct {
	*loop
	t *testing.T
}

func newStepped(t *testing.T) *stepped {
	t.Helper()
	e, err := newLoop(true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.release)
	return &stepped{e, t}
}

func (s *stepped) start(m mode) *rig {
	s.t.Helper()
	w := newWitness(s.t)
	ours, theirs := m.pair(s.t)
	fd, err := duplicate(ours)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = ours.Close()
	l := &loopLink{owner: w, loop: s.loop, fd: fd}
	if err := s.add(l); err != nil {
		s.t.Fatal(err)
	}
	w.link = l
	s.t.Cleanup(func() {
		l.Close()
		_ = theirs.Close()
		s.rounds(1)
		if len(s.links) != 0 {
			s.t.Error("a closed link is still in its loop")
		}
	})
	return &rig{witness: w, mode: m, peer: theirs}
}

// rounds runs rounds until there is nothing to do, and fails after most of them. What the test did before is seen by the
// first one: on the loopback a system call returns when the other end has what it sent.
func (s *stepped) rounds(most int) {
	s.t.Helper()
	for done := 0; ; done++ {
		n, err := unix.EpollWait(s.epoll, s.events[:], 0)
		if err == unix.EINTR {
			continue
		}
		if n == 0 {
			return
		}
		if done == most {
			s.t.Fatalf("after %d rounds there are still events: %+v", most, s.events[:n])
		}
		s.round(n)
	}
}

func runStepped(t *testing.T, body func(t *testing.T, s *stepped, r *rig)) {
	for _, m := range modes {
		if m.loop {
			t.Run(m.name, func(t *testing.T) {
				s := newStepped(t)
				body(t, s, s.start(m))
			})
		}
	}
}

func TestIdleLoopHasNothingToDo(t *testing.T) {
	runStepped(t, func(t *testing.T, s *stepped, r *rig) {
		s.rounds(0)
		r.peerSends("x")
		s.rounds(1)
		r.wantBytes("one message, one round", "x")
		r.link.Write([]byte("y"))
		s.rounds(0)
		r.peerReads("a write needs no round", "y")
		s.rounds(0)
	})
}

func TestPausedLinkCausesNoRounds(t *testing.T) {
	runStepped(t, func(t *testing.T, s *stepped, r *rig) {
		r.link.Pause()
		s.rounds(0)
		r.peerSends("a")
		s.rounds(1) // in which the link is muted
		r.peerSends("b")
		s.rounds(0)
		r.link.Resume()
		s.rounds(1)
		r.wantBytes("both come after Resume", "ab")
		s.rounds(0)
	})
}

func TestPeersEndIsNoticedWhilePaused(t *testing.T) {
	runStepped(t, func(t *testing.T, s *stepped, r *rig) {
		r.link.Pause()
		_ = r.peer.Close()
		s.rounds(2)
		if err := r.wantClosed("an end without bytes before it"); err != io.EOF {
			t.Fatalf("Closed said %v, want io.EOF", err)
		}
	})
}

func TestPeersResetIsNoticedWhilePaused(t *testing.T) {
	runStepped(t, func(t *testing.T, s *stepped, r *rig) {
		r.link.Write([]byte("the peer closes without reading this: a reset, even on a unix socket"))
		r.link.Pause()
		reset(r.peer)
		s.rounds(2)
		if err := r.wantClosed("a reset"); !errors.Is(err, unix.ECONNRESET) {
			t.Fatalf("Closed said %v, want ECONNRESET", err)
		}
	})
}

func TestEndWithUnreadBytesWhilePausedDoesNotSpin(t *testing.T) {
	runStepped(t, func(t *testing.T, s *stepped, r *rig) {
		r.link.Pause()
		r.peerSends("unread")
		_ = r.peer.Close()
		s.rounds(2)
		if r.hangups != 1 || r.closes != 0 || r.bytes != 0 {
			t.Fatalf("%d HungUp, %d Closed, %d bytes; want HungUp alone", r.hangups, r.closes, r.bytes)
		}
		r.link.Write([]byte("to nobody"))
		r.link.Write([]byte("to nobody"))
		s.rounds(3)
		if r.hangups != 1 || r.closes != 0 {
			t.Fatalf("%d HungUp, %d Closed; want still one HungUp", r.hangups, r.closes)
		}
		r.link.Resume()
		s.rounds(3)
		if err := r.wantClosed("after the rest"); err == io.EOF || err == net.ErrClosed {
			t.Fatalf("Closed said %v, but writing failed first", err)
		}
		r.wantBytes("the rest", "unread")
	})
}

func TestHalfClosedPeerThatDoesNotReadCausesNoRounds(t *testing.T) {
	runStepped(t, func(t *testing.T, s *stepped, r *rig) {
		r.link.Write(pattern(4 << 20))
		s.rounds(1)
		_ = r.peer.(interface{ CloseWrite() error }).CloseWrite()
		s.rounds(2)
		r.wantClosed("half an end is an end")
		s.rounds(0)
	})
}

func TestFullLinkCausesNoRounds(t *testing.T) {
	runStepped(t, func(t *testing.T, s *stepped, r *rig) {
		p := pattern(4 << 20)
		r.link.Write(p)
		s.rounds(1) // a unix socket may take a little more of the rest
		s.rounds(0)
		got := make([]byte, len(p))
		for n := 0; n < len(got); {
			k, err := r.peer.Read(got[n:])
			if err != nil {
				t.Fatal(err)
			}
			n += k
			s.rounds(3)
		}
		if string(got) != string(p) || r.drains != 1 {
			t.Fatalf("%d drains, or other bytes than were written", r.drains)
		}
		s.rounds(0)
	})
}

// TestEventsOfAClosedSocketDoNotReachItsSuccessor: in one round the first of two links closes both and starts a third,
// whose socket could have the number of the second, had that been closed at once.
func TestEventsOfAClosedSocketDoNotReachItsSuccessor(t *testing.T) {
	for _, m := range modes {
		if !m.loop {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			s := newStepped(t)
			a, b := s.start(m), s.start(m)
			var c *rig
			act := func(p []byte) {
				if c == nil {
					a.link.Close()
					b.link.Close()
					c = s.start(m)
				}
			}
			a.on, b.on = act, act
			a.peerSends("for a")
			b.peerSends("for b")
			s.rounds(2)
			if a.bytes+b.bytes != 5 {
				t.Fatalf("%d and %d bytes; want one message, as the links were closed then", a.bytes, b.bytes)
			}
			if a.closes != 1 || b.closes != 1 || c.closes != 0 || c.bytes != 0 {
				t.Fatalf("closes %d, %d, %d and %d bytes for the new link; want 1, 1, 0, 0", a.closes, b.closes, c.closes, c.bytes)
			}
			c.peerSends("for c")
			s.rounds(1)
			c.wantBytes("the new link lives", "for c")
		})
	}
}

func TestCloseOfLoopsEndsAllLinks(t *testing.T) {
	loops, err := NewLoops(3, true)
	if err != nil {
		t.Fatal(err)
	}
	var owners []*witness
	for i := range 20 {
		w := newWitness(t)
		ours, theirs := unixPair(t)
		defer theirs.Close()
		l, err := loops.Start(ours, w)
		if err != nil {
			t.Fatal(err)
		}
		switch i % 4 {
		case 1:
			l.Pause()
		case 2:
			l.Write(pattern(1 << 20))
		case 3:
			l.Write(pattern(1 << 20))
			l.CloseAfterFlush(time.Hour)
		}
		owners = append(owners, w)
	}
	loops.Close()
	for i, w := range owners {
		if w.closes != 1 || w.err != net.ErrClosed {
			t.Errorf("link %d: Closed came %d times, with %v", i, w.closes, w.err)
		}
	}
	ours, theirs := unixPair(t)
	defer ours.Close()
	defer theirs.Close()
	if _, err := loops.Start(ours, newWitness(t)); err != net.ErrClosed {
		t.Errorf("Start after Close: %v, want net.ErrClosed", err)
	}
	loops.Close()
}

func TestLoopsTakeNothingButSockets(t *testing.T) {
	loops, err := sharedLoops()
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string]func(testing.TB) (a, b net.Conn){"pipe": pipePair, "tls": tlsPair} {
		ours, theirs := pair(t)
		if _, err := loops.Start(ours, newWitness(t)); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v, want errors.ErrUnsupported", name, err)
		}
		go func() { _, _ = theirs.Write([]byte("x")) }()
		if _, err := io.ReadFull(ours, make([]byte, 1)); err != nil {
			t.Errorf("%s: a connection that was refused must stay the caller's: %v", name, err)
		}
		_ = ours.Close()
		_ = theirs.Close()
	}
	ours, theirs := tcpPair(t)
	defer theirs.Close()
	_ = ours.Close()
	if _, err := loops.Start(ours, newWitness(t)); err == nil {
		t.Error("a closed connection was accepted")
	}
	if _, err := NewLoops(0, true); err == nil {
		t.Error("no loops at all were accepted")
	}
}

// TestEndedLinksLeaveNoDescriptors also has many links share the loops' rounds while they come and go.
func TestEndedLinksLeaveNoDescriptors(t *testing.T) {
	for _, m := range modes {
		if !m.loop {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			loops, err := NewLoops(2, true)
			if err != nil {
				t.Fatal(err)
			}
			before, own := descriptors(t), 2*2
			if loops.loops[0].ring != nil {
				own += 2
			}
			var all sync.WaitGroup
			for hand := range 16 {
				all.Go(func() {
					for i := range 30 {
						w := newWitness(t)
						ours, theirs := m.pair(t)
						w.mu.Lock()
						l, err := loops.Start(ours, w)
						w.link = l
						w.mu.Unlock()
						if err != nil {
							t.Error(err)
							return
						}
						message := string(pattern(1000 + hand))
						_, _ = io.WriteString(theirs, message)
						w.wantBytes("each link has its own bytes", message)
						if i%2 == 0 {
							w.link.Close()
						}
						_ = theirs.Close()
						w.wantClosed("the end")
					}
				})
			}
			all.Wait()
			loops.Close()
			if after := descriptors(t); after != before-own { // each loop's own is gone as well
				t.Errorf("%d descriptors before, %d after", before, after)
			}
		})
	}
}

func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestLoopLinkIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(loopLink{}); n > 128 {
		t.Errorf("a link takes %d bytes", n)
	}
}
