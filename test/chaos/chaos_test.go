package main

import (
	"context"
	"testing"
	"time"
)

// writer writes to a test's log.
type writer struct{ t *testing.T }

func (w writer) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

// `make chaos` goes on for five minutes.
func TestNothingIsLostInTwentySecondsOfChaos(t *testing.T) {
	t.Parallel()
	o := options{out: writer{t}, length: 20 * time.Second, seed: uint64(time.Now().UnixNano()), race: raced}
	if err := run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
}
