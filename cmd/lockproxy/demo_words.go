package main

import (
	"fmt"
	"time"
)

// introduction says what the demonstration is about, in lines that fit anywhere.
func (s *show) introduction() []string {
	return []string{
		fmt.Sprintf("%s, %s. A job takes an advisory lock in a transaction on one", plural(s.workers, "worker"), plural(s.jobs, "job")),
		"connection and, while it holds that lock, inserts a row on another connection.",
	}
}

func (s *show) plainTitle() string {
	return "one plain pool: " + plural(s.pool, "slot") + " (connections to PostgreSQL)"
}

func (s *show) proxyTitle() string {
	return fmt.Sprintf("through lockproxy: %d clients, %s for locks, %d for the rest", s.clients(), plural(s.pool, "slot"), s.pool)
}

// plainSentence explains what is to be seen in the first round.
func (s *show) plainSentence() string {
	r := &s.plain
	switch {
	case r.state == ahead:
		return s.status
	case r.failed > 0:
		return "A job failed: " + r.err.Error()
	case r.state == finished && s.workers < s.pool:
		return "No deadlock: there are fewer workers than slots. Try more workers."
	case r.state == finished:
		return "No deadlock this time."
	case r.deadlocked(s.pool):
		return fmt.Sprintf("Deadlock: %d of %d, every slot holds a lock and waits for another. (%s)",
			r.done, s.jobs, seconds(r.still))
	case r.state == hung:
		return "No job was done for " + seconds(r.still) + "."
	}
	return "Each worker takes a slot for its lock, then needs another for its insert."
}

// proxySentence explains what is to be seen in the second round.
func (s *show) proxySentence() string {
	r := &s.proxy
	switch {
	case r.state == ahead:
		return ""
	case r.failed > 0:
		return "A job failed: " + r.err.Error()
	case r.state == hung:
		return "No job was done for " + seconds(r.still) + "."
	case r.state == finished:
		return fmt.Sprintf("All done, and PostgreSQL has %s.", plural(r.rows, "row"))
	}
	return "Locks have slots of their own, so a slot for an insert always comes free."
}

// ending is how a round ended, in the verdict.
func (s *show) ending(r *round) string {
	switch {
	case r.state == hung && r.deadlocked(s.pool):
		return "deadlock, given up after " + seconds(r.elapsed)
	case r.state == hung:
		return "stuck, given up after " + seconds(r.elapsed)
	}
	return seconds(r.elapsed)
}

// verdict is the last sentence.
func (s *show) verdict() string {
	switch {
	case s.proven() && s.pool < s.workers && s.workers <= maxDemoPool:
		return fmt.Sprintf("Same code, another DATABASE_URL. A larger plain pool hangs too: --pool %d", s.workers)
	case s.proven():
		return "Same code, another DATABASE_URL."
	case s.proxy.state != finished || s.proxy.failed > 0 || s.proxy.rows != s.jobs:
		return "This is not what lockproxy promises."
	}
	return "The plain pool did not hang, so there was nothing to solve."
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

func seconds(d time.Duration) string {
	return fmt.Sprintf("%.1f s", d.Seconds())
}
