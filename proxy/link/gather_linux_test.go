package link

import (
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// runGathering runs body with a link over TCP whose peer has said so much that its bytes are let come together.
func runGathering(t *testing.T, body func(t *testing.T, s *stepped, r *rig)) {
	for _, m := range modes {
		if m.name == "loop/tcp" {
			s := newStepped(t)
			if !s.patient {
				t.Skip("the kernel cannot wait for moments")
			}
			r := s.start(m)
			for i := range gatherAfter {
				if r.gathers() {
					t.Fatalf("after %d reads", i)
				}
				r.peerSends(string(pattern(loopSip)))
				s.rounds(1)
			}
			if !r.gathers() {
				t.Fatalf("not after %d reads", gatherAfter)
			}
			r.got.Reset()
			body(t, s, r)
			return
		}
	}
	t.Fatal("no such mode")
}

// gathers asks the kernel.
func (r *rig) gathers() bool {
	r.t.Helper()
	mark, err := unix.GetsockoptInt(r.link.(*loopLink).fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT)
	if err != nil {
		r.t.Fatal(err)
	}
	return mark == gatherMark
}

// moment lets the loop see that so much time has passed.
func (s *stepped) moment(d time.Duration) {
	s.batch.now = s.batch.now.Add(d)
	s.round(0)
}

func TestMuchComesTogether(t *testing.T) {
	runGathering(t, func(t *testing.T, s *stepped, r *rig) {
		half := string(pattern(gatherMark / 2))
		r.peerSends(half)
		s.rounds(0)
		r.peerSends(half)
		s.rounds(1)
		r.wantBytes("both at once", half+half)
		if !r.gathers() {
			t.Error("once and no more")
		}
	})
}

func TestTheRestOfMuchDoesNotWaitForMore(t *testing.T) {
	runGathering(t, func(t *testing.T, s *stepped, r *rig) {
		r.peerSends("the rest")
		s.rounds(0)
		s.moment(gatherFor - 1)
		if r.bytes != gatherAfter*loopSip {
			t.Fatal("it has not waited")
		}
		s.moment(1)
		r.wantBytes("the rest", "the rest")
		if r.gathers() {
			t.Error("so few bytes are not much")
		}
		r.peerSends("more")
		s.rounds(1)
		r.wantBytes("at once", "more")
	})
}

func TestPauseOfThePeersEndsWaiting(t *testing.T) {
	runGathering(t, func(t *testing.T, s *stepped, r *rig) {
		s.moment(gatherFor)
		if r.gathers() {
			t.Fatal("a peer with nothing to say has its bytes wait")
		}
		for range gatherAfter - gatherAgain {
			r.peerSends(string(pattern(loopSip)))
			s.rounds(1)
		}
		if !r.gathers() {
			t.Error("it takes as long as at first")
		}
	})
}

// TestAnswerDoesNotWait: who is written to answers, maybe in few bytes.
func TestAnswerDoesNotWait(t *testing.T) {
	for name, write := range map[string]func(s *stepped, r *rig){
		"Write": func(_ *stepped, r *rig) { r.link.Write([]byte("?")) },
		"batch": func(s *stepped, r *rig) { s.batch.Write(r.link, []byte("?")); s.batch.flush(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			runGathering(t, func(t *testing.T, s *stepped, r *rig) {
				write(s, r)
				r.peerReads("the question", "?")
				r.peerSends("!")
				s.rounds(1)
				r.wantBytes("the answer", "!")
			})
		})
	}
}

func TestEndDoesNotWait(t *testing.T) {
	runGathering(t, func(t *testing.T, s *stepped, r *rig) {
		r.peerSends("the rest")
		_ = r.peer.Close()
		s.rounds(2)
		r.wantBytes("what came before", "the rest")
		if err := r.wantClosed("the end"); err != io.EOF {
			t.Error(err)
		}
		s.moment(gatherFor)
		if len(s.gatherings) > 0 {
			t.Error("the loop looks after a link that has ended")
		}
	})
}

func TestPausedLinkDoesNotGather(t *testing.T) {
	runGathering(t, func(t *testing.T, s *stepped, r *rig) {
		r.link.Pause()
		r.peerSends("x")
		s.moment(gatherFor)
		s.rounds(1) // in which the link is muted
		if r.gathers() || r.bytes != gatherAfter*loopSip {
			t.Fatal("a paused link was read from, or will be late")
		}
		r.link.Resume()
		s.rounds(1)
		r.wantBytes("after Resume", "x")
	})
}

func TestLinkThatMovesDoesNotGather(t *testing.T) {
	runGathering(t, func(t *testing.T, s *stepped, r *rig) {
		other := newStepped(t)
		r.link.(*loopLink).move(other.loop)
		r.peerSends("x")
		s.moment(gatherFor)
		if len(s.gatherings) > 0 || r.bytes != gatherAfter*loopSip {
			t.Fatal("the loop looks after a link of another's")
		}
		other.rounds(1)
		r.wantBytes("in its new loop", "x")
		r.link.(*loopLink).move(s.loop)
	})
}

// TestStreamComesToItsEnd: no event tells a loop of its own accord that the last bytes are there.
func TestStreamComesToItsEnd(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		r := m.start(t, nil)
		whole := string(pattern(1 << 20))
		sent := make(chan error, 1)
		go func() {
			var err error
			for rest := whole; len(rest) > 0 && err == nil; {
				piece := rest[:min(len(rest), 5000)]
				_, err = io.WriteString(r.peer, piece)
				rest = rest[len(piece):]
			}
			sent <- err
		}()
		r.wantBytes("all", whole)
		if err := <-sent; err != nil {
			t.Error(err)
		}
	})
}
