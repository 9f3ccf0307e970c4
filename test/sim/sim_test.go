package sim

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"testing"
)

const (
	defaultSeeds = 2000
	mostSteps    = 6000 // before nothing breaks any more
)

// TestEverySeedKeepsTheRules runs SIM_SEEDS seeds, or the one that SIM_SEED names, each twice: a second run that differs
// shows a choice that depends on something else than the seed.
func TestEverySeedKeepsTheRules(t *testing.T) {
	if one := os.Getenv("SIM_SEED"); one != "" {
		seed, err := strconv.ParseInt(one, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		judgeSeed(t, seed)
		return
	}
	seeds := int64(defaultSeeds)
	if many := os.Getenv("SIM_SEEDS"); many != "" {
		var err error
		if seeds, err = strconv.ParseInt(many, 10, 64); err != nil {
			t.Fatal(err)
		}
	} else if testing.Short() {
		seeds = 100
	}
	all := runSeeds(t, seeds)
	t.Logf("%d seeds, seen: %v", seeds, all)
	if lacks := all.lacks(); len(lacks) > 0 && seeds >= 1000 && !t.Failed() {
		t.Errorf("the simulation sees too little: %v", lacks)
	}
}

// runSeeds judges so many seeds, on all processors, until some have failed.
func runSeeds(t *testing.T, seeds int64) *tally {
	var mu sync.Mutex // guards next, failed and sum
	var next, failed int64
	sum := &tally{errors: map[string]int{}}
	take := func() (seed int64, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, next <= seeds && failed < failures()
	}
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for seed, ok := take(); ok; seed, ok = take() {
				w, kept := judgeSeed(t, seed)
				mu.Lock()
				if sum.add(&w.seen); !kept {
					failed++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return sum
}

// judgeSeed runs a seed twice, and a third time with a trace if a rule was broken.
func judgeSeed(t *testing.T, seed int64) (w *world, kept bool) {
	w = runSeed(seed, nil)
	if second := runSeed(seed, nil); w.sum != second.sum || w.steps != second.steps {
		t.Errorf("seed %d: a second run differs (steps %d and %d)", seed, w.steps, second.steps)
		return w, false
	}
	if w.broken == "" {
		return w, true
	}
	log := &trace{keep: traced()}
	again := runSeed(seed, log)
	t.Errorf("seed %d, step %d: %s\nplan %+v\n%s\nrepeat with SIM_SEED=%d go test ./test/sim", seed, again.steps, again.broken,
		again.plan, log, seed)
	return w, false
}

// traced is how many events a failure shows.
func traced() int {
	if n, err := strconv.Atoi(os.Getenv("SIM_TRACE")); err == nil {
		return n
	}
	return 60
}

func runSeed(seed int64, log *trace) (w *world) {
	w = newWorld(seed, log)
	defer func() {
		if p := recover(); p != nil {
			w.fail("panic: %v", p)
			if log != nil {
				w.broken += fmt.Sprintf("\n%s", debug.Stack())
			}
		}
	}()
	w.run(mostSteps)
	return w
}

// failures is after how many failing seeds a run ends.
func failures() int64 {
	if n, err := strconv.Atoi(os.Getenv("SIM_FAILURES")); err == nil {
		return int64(n)
	}
	return 3
}
