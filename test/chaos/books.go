package main

import (
	"fmt"
	"sync"
)

// books say what was tried and what was acknowledged, to be compared with the tables at the end.
type books struct {
	mu      sync.Mutex
	entries map[string]map[int]bool // of the ledger, by worker: whether the commit was acknowledged
	counts  map[string]*tally       // of the counters
}

// tally is how often a count was acknowledged, and how often it was tried.
type tally struct{ acknowledged, tried int }

func newBooks() *books {
	return &books{entries: make(map[string]map[int]bool), counts: make(map[string]*tally)}
}

// tried notes that a commit is about to be sent.
func (b *books) tried(worker string, entry int) { b.enter(worker, entry, false) }

func (b *books) acknowledged(worker string, entry int) { b.enter(worker, entry, true) }

func (b *books) enter(worker string, entry int, acknowledged bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.entries[worker] == nil {
		b.entries[worker] = make(map[int]bool)
	}
	b.entries[worker][entry] = acknowledged
}

func (b *books) counting(name string) { b.tally(name, func(t *tally) { t.tried++ }) }

func (b *books) counted(name string) { b.tally(name, func(t *tally) { t.acknowledged++ }) }

func (b *books) tally(name string, f func(*tally)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.counts[name] == nil {
		b.counts[name] = new(tally)
	}
	f(b.counts[name])
}

// checkCommits compares the books with the tables: what was acknowledged is there, and what was never to be committed is not.
func (l *load) checkCommits() {
	rows, err := l.server.Query("postgres", "SELECT worker, entry FROM ledger")
	if err != nil {
		l.journal.violation("read the ledger: %v", err)
		return
	}
	there := make(map[string]bool)
	for _, row := range rows {
		there[row[0]+" "+row[1]] = true
	}
	kept, unknown := 0, 0
	for worker, entries := range l.books.entries {
		for entry, acknowledged := range entries {
			name := fmt.Sprintf("%s %d", worker, entry)
			switch {
			case acknowledged && !there[name]:
				l.journal.violation("the commit of %s was acknowledged and is lost", name)
			case acknowledged:
				kept++
			default:
				unknown++
			}
			delete(there, name)
		}
	}
	for name := range there {
		l.journal.violation("%s was committed by nobody", name)
	}
	fmt.Fprintf(l.out, "%d commits were acknowledged and are there; of %d more the outcome was not told\n", kept, unknown)
	l.checkCounters()
}

// checkCounters finds locks that two had at a time: a count of one of them is lost.
func (l *load) checkCounters() {
	for name, t := range l.books.counts {
		n, err := l.one(fmt.Sprintf("SELECT n FROM counters WHERE name = '%s'", name))
		switch {
		case err != nil:
			l.journal.violation("read counter %s: %v", name, err)
		case n < t.acknowledged || n > t.tried:
			l.journal.violation("counter %s is %d, though %d counts of %d were acknowledged", name, n, t.acknowledged, t.tried)
		}
	}
}
