package test

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const createJobs = "CREATE TABLE jobs (id serial, key text)"

// lockAndInsert is the worker that dead-locks in a pool of its own: it takes a lock on one connection and does the work
// that the lock gates on another connection of the same pool.
func lockAndInsert(p *pool, key string) error {
	holder, err := p.acquire()
	if err != nil {
		return err
	}
	defer holder.end()
	if _, err := holder.query("BEGIN"); err != nil {
		return err
	}
	if _, err := holder.query("SELECT pg_advisory_xact_lock($1)", key); err != nil {
		return err
	}
	worker, err := p.acquire()
	if err != nil {
		return err
	}
	_, err = worker.query("INSERT INTO jobs (key) VALUES ($1)", key)
	_ = worker.end() // The connection goes back to the pool.
	if err != nil {
		return err
	}
	_, err = holder.query("COMMIT")
	return err
}

// runWorkers has eight workers do the jobs between them. Done counts those that are over.
func runWorkers(t testing.TB, p *pool, jobs int, keys int, done *atomic.Int32) *sync.WaitGroup {
	const workers = 8
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for job := w; job < jobs; job += workers {
				err := lockAndInsert(p, strconv.Itoa(job%keys))
				if err != nil && err != errAppGone {
					t.Errorf("job %d: %v", job, err)
				}
				if err != nil {
					return
				}
				done.Add(1)
			}
		})
	}
	return &all
}

// The control: without it, the next test would show nothing.
func TestOnePoolForLocksAndWorkDeadlocks(t *testing.T) {
	run(t, func(t *testing.T, start starter) {
		r := startProxy(t)
		r.query(t, createJobs)
		a := start(t)
		var done atomic.Int32
		workers := runWorkers(t, a.newPool(t, r.direct, 4), 8, 8, &done)
		stuck := `count(*) = 4 FROM pg_stat_activity WHERE datname = current_database()
			AND state = 'idle in transaction' AND query LIKE '%pg_advisory_xact_lock%'`
		r.awaitRow(t, "all connections of the pool belong to lock holders", stuck)
		time.Sleep(time.Second) // That nothing happens can only be seen by waiting for it.
		if done.Load() != 0 || r.value(t, "SELECT "+stuck) != "t" || r.value(t, "SELECT count(*) FROM jobs") != "0" {
			t.Errorf("%d workers got through a pool that is full of lock holders", done.Load())
		}
		a.kill()
		workers.Wait()
		r.awaitNoLocks(t)
	})
}

func TestEveryWorkerCompletesWhereOnePoolDeadlocks(t *testing.T) {
	run(t, func(t *testing.T, start starter) {
		const jobs = 200
		for _, c := range []struct {
			name string
			keys int
		}{{"a key each", jobs}, {"three keys for all", 3}} {
			t.Run(c.name, func(t *testing.T) {
				r := startProxy(t, sized(4, 4))
				r.query(t, createJobs)
				noise(t, r.url, 3)
				var done atomic.Int32
				runWorkers(t, start(t).newPool(t, r.url, 16), jobs, c.keys, &done).Wait()
				if got := r.value(t, "SELECT count(*) FROM jobs"); done.Load() != jobs || got != "200" {
					t.Errorf("%d of %d workers completed, and left %s rows", done.Load(), jobs, got)
				}
				r.awaitNoLocks(t)
			})
		}
	})
}
