package proxy

import "testing"

func TestMemoryIsGivenBackOnceACrowdHasCome(t *testing.T) {
	for _, c := range []struct {
		name  string
		moves []uint64 // from one look to the next
		want  string   // x: memory is given back
	}{
		{"a crowd", []uint64{3000, 2000, 0}, "..x"},
		{"a crowd, and some late ones", []uint64{3000, 2000, 60, 40}, "...x"},
		{"two crowds", []uint64{5000, 0, 5000, 0}, ".x.x"},
		{"a new connection for each transaction", []uint64{400, 400, 400, 400, 400, 400}, "......"},
	} {
		var watch tidy
		got := ""
		for _, n := range c.moves {
			watch.moves += n
			if watch.due() {
				got += "x"
			} else {
				got += "."
			}
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestAFewClientsAreNoCrowd(t *testing.T) {
	s := &Server{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for range crowd - 1 {
		s.moved()
	}
	if s.tidy.timer != nil {
		t.Error("a look was planned too early")
	}
	if s.moved(); s.tidy.timer == nil {
		t.Fatal("no look was planned")
	}
	s.tidy.timer.Stop()
}
