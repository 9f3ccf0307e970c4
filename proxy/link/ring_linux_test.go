package link

import (
	"testing"

	"golang.org/x/sys/unix"
)

func newTestRing(t *testing.T) *ring {
	t.Helper()
	r, err := newRing()
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(r.close)
	return r
}

func TestARingDoesWhatTheCallsDo(t *testing.T) {
	r := newTestRing(t)
	pairs := make([][2]int, ringSize)
	for i := range pairs {
		var err error
		if pairs[i], err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pairs[i][0])
		defer unix.Close(pairs[i][1])
	}
	_ = unix.Shutdown(pairs[3][1], unix.SHUT_RDWR)
	input := make([]byte, ringSize)
	for turn := range 300 { // the queues go round
		n := 1 + (turn*37)%ringSize
		message := []byte{byte(turn)}
		for i := range n {
			r.send(pairs[i][0], message)
		}
		r.run()
		for i := range n {
			sent, err := r.result(i)
			if i == 3 && err != unix.EPIPE || i != 3 && (err != nil || sent != 1) {
				t.Fatalf("turn %d: write %d of %d: %d, %v", turn, i, n, sent, err)
			}
		}
		for i := range n {
			r.receive(pairs[i][1], input[i:i+1])
		}
		r.run()
		for i := range n {
			got, err := r.result(i)
			if i == 3 && (err != nil || got != 0) || i != 3 && (err != nil || got != 1 || input[i] != byte(turn)) {
				t.Fatalf("turn %d: read %d of %d: %d, %v", turn, i, n, got, err)
			}
		}
		r.receive(pairs[0][1], input[:1])
		r.run()
		if _, err := r.result(0); err != unix.EAGAIN {
			t.Fatalf("nothing is there: %v", err)
		}
	}
}
