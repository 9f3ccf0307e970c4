package link

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

func init() {
	modes = append(modes,
		mode{name: "loop/tcp", pair: tcpPair, loop: true, half: true, buffered: true},
		mode{name: "loop/unix", pair: unixPair, loop: true, half: true, buffered: true},
		mode{name: "secure loop/tls", pair: securePair(startInLoops), half: true, buffered: true, tls: true},
	)
}

// sharedLoops serve all tests of the contract, so that links of different tests also share rounds. All the while links move
// from loop to loop.
var sharedLoops = sync.OnceValues(func() (*Loops, error) {
	loops, err := NewLoops(2, true)
	if err == nil {
		loops.Spread()
		go loops.shuffle()
	}
	return loops, err
})

var shuffling = make(chan struct{})

// shuffle moves links until the end of the tests.
func (s *Loops) shuffle() {
	often := time.NewTicker(time.Millisecond)
	defer often.Stop()
	for i := 0; ; i++ {
		select {
		case <-shuffling:
			return
		case <-often.C:
			if still.Load() {
				continue
			}
			s.loops[i%2].give(s.loops[(i+1)%2], i%3 == 0)
		}
	}
}

func startInLoops(t testing.TB, conn net.Conn, owner Owner) Link {
	t.Helper()
	loops, err := sharedLoops()
	if err != nil {
		t.Fatal(err)
	}
	l, err := loops.Start(conn, owner)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func stopLoops() {
	if loops, err := sharedLoops(); err == nil {
		close(shuffling)
		loops.Close()
	}
}

func TestLinksGatherAndSpread(t *testing.T) {
	type move struct {
		from, to int
		all      bool
	}
	none := move{-1, -1, false}
	for _, c := range []struct {
		name  string
		loads []int
		used  int
		want  move
	}{
		{"one does it", []int{60, 0}, 1, none},
		{"one is crowded", []int{90, 0}, 1, move{0, 1, false}},
		{"there is but one", []int{99}, 1, none},
		{"both are crowded", []int{90, 85}, 2, none},
		{"one of two is crowded", []int{40, 90, 0}, 2, move{1, 0, false}},
		{"both are crowded, and there is a third", []int{90, 85, 0}, 2, move{0, 2, false}},
		{"two share what one can do", []int{20, 10}, 2, move{1, 0, true}},
		{"the last goes to the idlest", []int{50, 10, 5}, 3, move{2, 1, true}},
		{"two share what one could hardly do", []int{30, 20}, 2, none},
	} {
		from, to, all := balance(c.loads, c.used)
		if got := (move{from, to, all}); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// A loop that one link keeps busy gets company, and loses it again.
func TestBalanceUsesWhatTheWorkNeeds(t *testing.T) {
	loops, err := NewLoops(2, true)
	if err != nil {
		t.Fatal(err)
	}
	defer loops.Close()
	var owners []*witness
	for range 4 {
		w := newWitness(t)
		ours, theirs := tcpPair(t)
		defer theirs.Close()
		if w.link, err = loops.Start(ours, w); err != nil {
			t.Fatal(err)
		}
		owners = append(owners, w)
	}
	if n := loops.count(); n[0] != 4 || n[1] != 0 {
		t.Fatalf("at first they have %v links", n)
	}
	loops.rebalance([]int{95, 0})
	owners[0].until("the second loop has half of them", func() bool { return loops.count() == [2]int{2, 2} })
	loops.rebalance([]int{1, 0})
	owners[0].until("the first has all of them", func() bool { return loops.count() == [2]int{4, 0} })
	for _, w := range owners {
		w.link.Close()
		w.wantClosed("it is served on")
	}
}

func (s *Loops) count() (n [2]int) {
	for i, e := range s.loops {
		e.mu.Lock()
		n[i] = len(e.links)
		e.mu.Unlock()
	}
	return n
}

func TestLoopsTellWhetherOneOfThemHangs(t *testing.T) {
	loops, err := NewLoops(2, true)
	if err != nil {
		t.Fatal(err)
	}
	defer loops.Close()
	loops.Spread()
	if err := loops.GoRound(t.Context()); err != nil {
		t.Fatalf("idle loops: %v", err)
	}
	w, entered, leave := newWitness(t), make(chan struct{}), make(chan struct{})
	w.on = func([]byte) {
		close(entered)
		<-leave
	}
	ours, theirs := unixPair(t)
	defer theirs.Close()
	if _, err := loops.Start(ours, w); err != nil {
		t.Fatal(err)
	}
	_, _ = theirs.Write([]byte("x"))
	<-entered
	brief, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := loops.GoRound(brief); err != context.DeadlineExceeded {
		t.Errorf("while one hangs: %v", err)
	}
	close(leave)
	if err := loops.GoRound(t.Context()); err != nil {
		t.Errorf("when it goes on: %v", err)
	}
	loops.Close()
	if err := loops.GoRound(t.Context()); err != nil {
		t.Errorf("when all have ended: %v", err)
	}
}
