package main

import (
	"context"
	"time"
)

// state is how far a round is.
type state int

const (
	ahead state = iota
	underWay
	hung     // Given up, because nothing was done for too long.
	finished // Every job is done, or has failed.
)

// activity is what a worker does, as PostgreSQL's connections show it.
type activity int

const (
	waits  activity = iota // It has no connection.
	holds                  // It has its lock on one connection, but no insert runs on another.
	works                  // It has both.
	rested                 // There is no job left for it.
)

// round is what is shown of one run of the workload.
type round struct {
	state        state
	done, failed int
	rows         int // In the table, at the end.
	elapsed      time.Duration
	still        time.Duration // Since a job was done.
	slots        []slot
	workers      []activity
	err          error // The first of a job.
}

// stage is where a round takes place.
type stage struct {
	plan
	url         string // For the workers.
	connections int    // That the workers may open there.
	watch       string // The database's URL for the observer.
	patience    time.Duration
}

// interval is the time between two looks at a round.
const interval = time.Second / 15

// run does all jobs, or gives up when none was done for the stage's patience, and calls update after each look. An
// error of a job is no error of the round.
func (r *round) run(ctx context.Context, at stage, update func()) error {
	o, err := newObserver(ctx, at.watch)
	if err != nil {
		return err
	}
	defer o.close()
	c := newCrew(at.url, at.connections, at.workers, at.jobs)
	working, stop := context.WithCancel(ctx)
	r.state = underWay
	c.start(working)
	err = r.follow(ctx, c, o, at.patience, update)
	stop()
	c.wait()
	if err != nil {
		return err
	}
	if err := r.conclude(ctx, c, o); err != nil {
		return err
	}
	update()
	return nil
}

// conclude counts the rows, and looks once more at slots that are free now; those of a hang stay as they were seen.
func (r *round) conclude(ctx context.Context, c *crew, o *observer) (err error) {
	if r.rows, err = o.rows(ctx); err != nil || r.state == hung {
		return err
	}
	slots, err := o.slots(ctx)
	r.look(c, slots)
	return err
}

// follow looks at a round until it ends.
func (r *round) follow(ctx context.Context, c *crew, o *observer, patience time.Duration, update func()) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	start := time.Now()
	moved := start
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		slots, err := o.slots(ctx)
		if err != nil {
			return err
		}
		now := time.Now()
		if r.look(c, slots) {
			moved = now
		}
		r.elapsed, r.still = now.Sub(start), now.Sub(moved)
		switch {
		case r.done+r.failed == int(c.jobs):
			r.state = finished
			return nil
		case r.still >= patience:
			r.state = hung
			return nil
		}
		update()
	}
}

// look takes in how far the crew is and what its connections do, and reports whether jobs were done since the last look.
func (r *round) look(c *crew, slots []slot) (moved bool) {
	before := r.done + r.failed
	r.done, r.failed, r.err = int(c.done.Load()), int(c.failed.Load()), c.firstError()
	r.slots = slots
	for i := range r.workers {
		r.workers[i] = waits
		if c.left[i].Load() {
			r.workers[i] = rested
		}
	}
	for _, s := range slots {
		switch s.doing {
		case locked:
			r.workers[s.worker-1] = max(r.workers[s.worker-1], holds)
		case inserting:
			r.workers[s.worker-1] = max(r.workers[s.worker-1], works)
		}
	}
	return r.done+r.failed > before
}

// deadlocked reports whether each of so many slots holds a lock, so that none is there to insert, and nothing was done for a while.
func (r *round) deadlocked(pool int) bool {
	const while = 500 * time.Millisecond
	return r.still >= while && count(r.slots, func(s slot) bool { return s.doing == locked }) == pool
}

func (r *round) count(a activity) int {
	return count(r.workers, func(b activity) bool { return a == b })
}

func count[T any](list []T, is func(T) bool) int {
	n := 0
	for _, one := range list {
		if is(one) {
			n++
		}
	}
	return n
}
