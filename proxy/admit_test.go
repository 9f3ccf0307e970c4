package proxy

import (
	"bytes"
	"log/slog"
	"syscall"
	"testing"
)

// A process out of descriptors tries a hundred times a second, for as long as somebody waits: its log is not to fill the disk.
func TestConnectionsThatCannotBeAcceptedAreNotLoggedEachTime(t *testing.T) {
	var log bytes.Buffer
	s := &Server{log: slog.New(slog.NewTextHandler(&log, nil))}
	for range 300 {
		s.AcceptFailed(syscall.EMFILE)
	}
	if n := bytes.Count(log.Bytes(), []byte("too many open files")); n != 1 {
		t.Errorf("it is said %d times, not once", n)
	}
}
