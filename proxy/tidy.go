package proxy

import (
	"runtime/debug"
	"time"
)

// tidy says when to give memory back. A login leaves a few times as much garbage as the client that it makes keeps, and once a
// crowd has come nothing else makes garbage, since relaying makes none: the collector would not run for two minutes, and
// then keep as much again as is in use. So it is run when a crowd has come or gone and it is quiet again. A lower GC
// percentage would cost every login instead, and what it frees would go back to the system just as late.
type tidy struct {
	moves uint64      // clients that came or went, ever
	seen  uint64      // up to the last look
	begun uint64      // up to the last time that memory was given back
	timer *time.Timer // for the next look; nil: there is none
}

const (
	crowd   = 1000                   // comings and goings that are worth a collection: they leave some megabytes
	lookFor = 200 * time.Millisecond // how long it is to be quiet
)

// moved notes that a client came or went. Called with the mutex held.
func (s *Server) moved() {
	t := &s.tidy
	t.moves++
	if t.timer == nil && t.moves-t.begun >= crowd {
		t.timer = time.AfterFunc(lookFor, s.tidyUp)
	}
}

// tidyUp gives back what is not needed, if it is quiet, or looks again.
func (s *Server) tidyUp() {
	s.mu.Lock()
	due := s.tidy.due()
	if due {
		s.tidy.timer = nil
	} else if !s.draining {
		s.tidy.timer.Reset(lookFor)
	}
	s.mu.Unlock()
	if due {
		debug.FreeOSMemory()
	}
}

// due tells whether the time has come: when few came or went since the last look, compared with all that did.
func (t *tidy) due() bool {
	fresh, all := t.moves-t.seen, t.moves-t.begun
	t.seen = t.moves
	if fresh*100 > all {
		return false
	}
	t.begun = t.moves
	return true
}
