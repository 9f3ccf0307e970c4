package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// reading is what the clocks say at one moment.
type reading struct {
	at           time.Time
	cpu          time.Duration // of the pooler's process, to the nanosecond
	user, system time.Duration // the same in ticks, which tell the proportion of the two
	busy         time.Duration // of the whole machine
	ours         time.Duration // of all processes that have a part in this
}

// tick is the unit of CPU times in /proc on every architecture that Go knows (USER_HZ, proc(5)).
const tick = 10 * time.Millisecond

func (s *side) read() (r reading, err error) {
	if r.cpu, err = cpuTime(s.pid); err != nil {
		return r, fmt.Errorf("%s, which ran as process %d: %w", s.name, s.pid, err)
	}
	r.at = time.Now()
	own, err := readProcess(s.pid)
	if err != nil {
		return r, err
	}
	r.user, r.system = own.user, own.system
	if r.busy, err = machineTime(); err != nil {
		return r, err
	}
	r.ours, err = familyTime(os.Getpid())
	return r, err
}

// between is what a side did between two readings, as far as clocks tell.
func between(first, last reading) sample {
	s := sample{elapsed: last.at.Sub(first.at), cpu: last.cpu - first.cpu}
	user, system := last.user-first.user, last.system-first.system
	if user+system > 0 {
		s.user = time.Duration(float64(s.cpu) * float64(user) / float64(user+system))
	}
	others := (last.busy - first.busy) - (last.ours - first.ours)
	s.others = max(0, others.Seconds()) / (s.elapsed.Seconds() * float64(runtime.NumCPU()))
	return s
}

// process is a line of /proc/PID/stat, as far as it matters here.
type process struct {
	parent       int
	user, system time.Duration
	children     time.Duration // of those that it has waited for
}

func readProcess(pid int) (process, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	return parseProcess(string(text))
}

// parseProcess reads what follows the program's name, which may hold anything.
func parseProcess(text string) (process, error) {
	// The numbers of fields are those of proc(5), which begins with 1; after the name comes the third.
	const name, parent, user, childSystem = 2, 4, 14, 17
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) <= childSystem-name-1 {
		return process{}, fmt.Errorf("what /proc says of a process is too short: %q", text)
	}
	number, err := strconv.Atoi(fields[parent-name-1])
	if err != nil {
		return process{}, err
	}
	times, err := ticks(fields[user-name-1 : childSystem-name])
	if err != nil {
		return process{}, err
	}
	return process{parent: number, user: times[0], system: times[1], children: times[2] + times[3]}, nil
}

// machineTime is the time that processors were busy, or were taken away from the whole machine. What interrupts took is
// nobody's.
func machineTime() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(first)
	if len(fields) < 9 {
		return 0, fmt.Errorf("what /proc/stat says is too short: %q", first)
	}
	times, err := ticks(fields[1:9])
	if err != nil {
		return 0, err
	}
	user, nice, system, steal := times[0], times[1], times[2], times[7]
	return user + nice + system + steal, nil
}

// familyTime is the time of a process and of all that it has started, and so on. One that ends meanwhile counts with its
// parent.
func familyTime(pid int) (time.Duration, error) {
	found, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	all := map[int]process{}
	for _, path := range found {
		number, err := strconv.Atoi(filepath.Base(path))
		if err != nil {
			continue
		}
		if p, err := readProcess(number); err == nil { // Else it has ended.
			all[number] = p
		}
	}
	total := time.Duration(0)
	for number, p := range all {
		if descends(all, number, pid) {
			total += p.user + p.system + p.children
		}
	}
	return total, nil
}

// descends tells whether a process is the ancestor or one that it started. Processes that were read while others ended might
// seem to go round in a circle: no line of ancestors is longer than all of them.
func descends(all map[int]process, pid, ancestor int) bool {
	for range all {
		if pid == ancestor {
			return true
		}
		pid = all[pid].parent
	}
	return false
}

func ticks(fields []string) ([]time.Duration, error) {
	times := make([]time.Duration, len(fields))
	for i, field := range fields {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return nil, err
		}
		times[i] = time.Duration(n) * tick
	}
	return times, nil
}
