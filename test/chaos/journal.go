package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// journal keeps what happened: how often, and what must not have.
type journal struct {
	begun time.Time

	mu         sync.Mutex
	counts     map[string]int
	violations []string
}

func newJournal() *journal { return &journal{begun: time.Now(), counts: make(map[string]int)} }

// count counts something that may happen.
func (j *journal) count(what string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.counts[what]++
}

// violation notes what must not happen. Only the first are kept: they tell most.
func (j *journal) violation(format string, args ...any) {
	const enough = 20
	j.mu.Lock()
	defer j.mu.Unlock()
	j.counts["violation"]++
	if len(j.violations) < enough {
		at := time.Since(j.begun).Round(time.Millisecond)
		j.violations = append(j.violations, fmt.Sprintf("after %v: ", at)+fmt.Sprintf(format, args...))
	}
}

func (j *journal) print(to io.Writer) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(j.counts)) {
		fmt.Fprintf(to, "%8d  %s\n", j.counts[what], what)
	}
}

// verdict is an error that tells the violations, if there were any.
func (j *journal) verdict() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.violations) == 0 {
		return nil
	}
	return errors.New("what must not happen did:\n" + strings.Join(j.violations, "\n"))
}
