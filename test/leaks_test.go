package test

import (
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"
)

// usage is what this process, and so its proxy, uses.
type usage struct {
	goroutines, descriptors int
	heap                    int64 // bytes
}

func measure(t testing.TB) usage {
	t.Helper()
	runtime.GC()
	runtime.GC() // What a sync.Pool holds goes with the second.
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return usage{runtime.NumGoroutine(), len(descriptors), int64(memory.HeapAlloc)}
}

// work runs a transaction of each kind.
func work(s *session, number string) error {
	for _, step := range []struct {
		sql  string
		args []string
	}{
		{"BEGIN", nil},
		{"INSERT INTO jobs (key) VALUES ($1)", []string{number}},
		{"COMMIT", nil},
		{"SELECT pg_advisory_lock($1)", []string{number}},
		{"SELECT count(*) FROM jobs", nil},
		{"SELECT pg_advisory_unlock($1)", []string{number}},
		{"SELECT repeat('x', 100000)", nil},
	} {
		if _, err := s.query(step.sql, step.args...); err != nil {
			return err
		}
	}
	return nil
}

// crowd connects idle and active clients, has the active ones work, and closes them all.
func crowd(t *testing.T, a *app, url string, idle, active int) (full usage) {
	t.Helper()
	sessions := make([]*session, idle+active)
	inParallel(40, len(sessions), func(i int) {
		var err error
		if sessions[i], err = a.tryConnect(url); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	full = measure(t)
	inParallel(active, active, func(i int) {
		if err := work(sessions[idle+i], strconv.Itoa(i)); err != nil {
			t.Errorf("active client %d: %v", i, err)
		}
	})
	inParallel(40, len(sessions), func(i int) {
		if err := sessions[i].end(); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
	})
	return full
}

// inParallel calls f for every number below n, at most width at a time.
func inParallel(width, n int, f func(i int)) {
	numbers := make(chan int)
	var all sync.WaitGroup
	for range width {
		all.Go(func() {
			for i := range numbers {
				f(i)
			}
		})
	}
	for i := range n {
		numbers <- i
	}
	close(numbers)
	all.Wait()
}

// heapOfAClient bounds what an idle client takes in an event loop, in bytes.
const heapOfAClient = 2000

// allBackends counts the connections to the rig's database and to the one of the noise, but the one that asks.
func (r *rig) allBackends(t testing.TB) int {
	t.Helper()
	rows, err := r.upstream.Query("postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname IN ('postgres', '"+r.database+"') AND pid <> pg_backend_pid()")
	if err != nil {
		t.Fatal(err)
	}
	return number(t, rows[0][0])
}

func number(t testing.TB, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestThousandsOfClientsLeaveNothingBehind(t *testing.T) {
	const idle, active = 2000, 200
	const margin = 2 << 20 // bytes; less than half of what the clients need while they are there
	run(t, func(t *testing.T, start starter) {
		// Two hundred wait in line for eight lock backends: how long that takes is the machine's.
		r := startProxy(t, sized(8, 8), checkouts(2*time.Minute))
		r.query(t, createJobs)
		a := start(t)
		crowd(t, a, r.url, 20, 20) // Opens the backends, and fills what is filled once.
		noise(t, r.elsewhere(), 2)
		r.awaitNoLocks(t)
		// The noise has connected when its pool's backend is there; its number of goroutines is the same from then on.
		r.awaitRow(t, "the noise has begun", "count(*) > 1 FROM pg_stat_activity WHERE datname = 'postgres' AND query LIKE '%pg_sleep%'")
		r.log.forget()
		before, backends := measure(t), r.allBackends(t)
		full := crowd(t, a, r.url, idle, active)
		if n := full.descriptors - before.descriptors; n < idle+active {
			t.Errorf("%d more descriptors with %d clients: the measure does not measure", n, idle+active)
		}
		each := (full.heap - before.heap) / (idle + active)
		t.Logf("per connected client: %d bytes of heap, %.2f goroutines", each, float64(full.goroutines-before.goroutines)/(idle+active))
		if each > heapOfAClient && full.goroutines-before.goroutines < idle {
			t.Errorf("a client takes %d bytes of heap", each)
		}
		var after usage
		defer func() { t.Logf("before %+v, full %+v, after %+v", before, full, after) }()
		await(t, "everything is as before", func() bool {
			r.log.forget()
			after = measure(t)
			more := r.allBackends(t) - backends // chance has it how many were needed
			after.descriptors -= more
			if full.goroutines-before.goroutines >= idle { // each link has one
				after.goroutines -= more
			}
			return after.goroutines <= before.goroutines && after.descriptors <= before.descriptors && after.heap <= before.heap+margin
		})
		r.awaitNoLocks(t)
	})
}
