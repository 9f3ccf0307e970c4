package link

import (
	"io"
	"net"
	"testing"
)

// TestDrainedThatComesTooLateIsNotTold: the writing goroutine may have written the last byte when the reading one finds
// the end, and be the second to speak.
func TestDrainedThatComesTooLateIsNotTold(t *testing.T) {
	w := newWitness(t)
	ours, theirs := net.Pipe()
	l := startStream(ours, w)
	_ = theirs.Close()
	w.wantClosed("the peer's end")
	l.drained() // the witness fails the test if it is called now
	if w.drains != 0 {
		t.Fatal("Drained was called after Closed")
	}
}

// TestCloseAfterFlushWhileDraining: CloseAfterFlush may come when the last byte has been written but the owner
// has not heard of it.
func TestCloseAfterFlushWhileDraining(t *testing.T) {
	w := newWitness(t)
	w.drained = func() {
		w.link.Write([]byte("FATAL"))
		w.link.CloseAfterFlush(patience)
	}
	ours, theirs := tlsPair(t)
	w.mu.Lock()
	w.link = Start(ours, w)
	w.link.Write(pattern(1 << 20))
	w.mu.Unlock()
	got, err := io.ReadAll(theirs)
	if want := string(pattern(1<<20)) + "FATAL"; string(got) != want || err != nil {
		t.Fatalf("the peer read %d bytes, %v; want %d", len(got), err, len(want))
	}
	_ = theirs.Close()
	if err := w.wantClosed("one's own close"); err != net.ErrClosed {
		t.Fatalf("Closed said %v, want net.ErrClosed", err)
	}
}

// TestIdleBlockingSourceKeepsASmallBuffer: a connection that must be read by blocking calls waits with idleSize bytes, and
// takes more only after a read that was full.
func TestIdleBlockingSourceKeepsASmallBuffer(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	s := &blockingSource{conn: ours}
	for _, step := range []struct{ sent, want int }{
		{100, 100},                   // small
		{2 * idleSize, idleSize},     // full: the rest comes at once
		{0, idleSize},                // the rest
		{3 * idleSize, idleSize},     // small again
		{0, 2 * idleSize},            // the rest at once
		{idleSize - 1, idleSize - 1}, // not full
		{1, 1},
	} {
		if step.sent > 0 {
			go func() { _, _ = theirs.Write(pattern(step.sent)) }()
		}
		p, err := s.next()
		if len(p) != step.want || err != nil {
			t.Fatalf("%d bytes sent: read %d, %v; want %d", step.sent, len(p), err, step.want)
		}
		s.release()
		if s.large != nil {
			t.Fatal("a large buffer is kept")
		}
	}
}
