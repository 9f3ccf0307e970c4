package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// pgbench is a load that the program of that name makes.
type pgbench struct {
	clients   int
	arguments []string
	script    string // its own; empty: a built-in one
}

// Measuring begins when pgbench has been at work for a while, so that connecting does not count and the pooler has its server
// connections, and ends before pgbench does.
const (
	longestLead = 300 * time.Millisecond
	settle      = 100 * time.Millisecond
	before      = 50 * time.Millisecond
)

// run measures a part of a run of pgbench's that lies within it. Which transactions ended in that time is in its log.
func (p pgbench) run(ctx context.Context, s *side) (sample, error) {
	ctx, cancel := context.WithCancel(ctx) // It ends with us, however that is.
	defer cancel()
	folder, err := os.MkdirTemp(s.folder, "pgbench-")
	if err != nil {
		return sample{}, err
	}
	defer os.RemoveAll(folder)
	cmd, err := p.command(ctx, s, folder)
	if err != nil {
		return sample{}, err
	}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return sample{}, err
	}
	var ended error
	exited := make(chan struct{})
	go func() {
		ended = cmd.Wait()
		close(exited)
	}()
	first, last, err := s.within(folder, exited)
	if err != nil {
		return sample{}, err
	}
	<-exited
	failed := func(err error) error { return fmt.Errorf("pgbench: %w\n%s", err, postgres.Tail(output.String())) }
	if ended != nil {
		return sample{}, failed(ended)
	}
	latencies, err := readLogs(folder, first.at, last.at)
	if err != nil {
		return sample{}, err
	}
	if len(latencies) == 0 {
		return sample{}, failed(errors.New("no transaction ended in time"))
	}
	result := between(first, last)
	result.transactions, result.p99 = len(latencies), quantile(latencies, 0.99)
	return result, nil
}

// within reads the clocks early and late in a run of pgbench's, whose logs are there when its time begins.
func (s *side) within(folder string, exited <-chan struct{}) (first, last reading, err error) {
	const pause = 5 * time.Millisecond
	for !logged(folder, 0) && !over(exited, pause) {
	}
	began := time.Now()
	for !logged(folder, 1) && time.Since(began) < longestLead && !over(exited, pause) {
	}
	over(exited, settle)
	if first, err = s.read(); err != nil {
		return first, last, err
	}
	over(exited, time.Until(began.Add(s.length-before)))
	last, err = s.read()
	return first, last, err
}

// over waits, and tells whether what it waits for came to its end.
func over(exited <-chan struct{}, pause time.Duration) bool {
	select {
	case <-exited:
		return true
	case <-time.After(pause):
		return false
	}
}

// logged tells whether pgbench has a log of that size. It writes to it when some hundred transactions have come together.
func logged(folder string, size int64) bool {
	logs, _ := filepath.Glob(filepath.Join(folder, "log.*")) // The pattern is well formed.
	return slices.ContainsFunc(logs, func(log string) bool {
		info, err := os.Stat(log)
		return err == nil && info.Size() >= size
	})
}

func (p pgbench) command(ctx context.Context, s *side, folder string) (*exec.Cmd, error) {
	arguments := append([]string{"--no-vacuum", "--log", "--log-prefix=" + filepath.Join(folder, "log"),
		"--client=" + strconv.Itoa(p.clients), "--jobs=" + strconv.Itoa(min(p.clients, 2)), "--time=" + strconv.Itoa(int(s.length.Seconds()))},
		p.arguments...)
	if p.script != "" {
		script := filepath.Join(folder, "script.sql")
		if err := os.WriteFile(script, []byte(p.script), 0o644); err != nil {
			return nil, err
		}
		arguments = append(arguments, "--file="+script)
	}
	cmd := exec.CommandContext(ctx, s.program("pgbench"), arguments...)
	cmd.Env = append(os.Environ(), s.environment()...)
	return cmd, nil
}

// readLogs gives the latencies of the transactions that ended between two times.
func readLogs(folder string, from, to time.Time) ([]time.Duration, error) {
	logs, _ := filepath.Glob(filepath.Join(folder, "log.*")) // As above.
	var all []time.Duration
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			latency, at, err := readLine(line)
			if err != nil {
				return nil, fmt.Errorf("a line of pgbench's log: %q: %w", line, err)
			}
			if at.After(from) && !at.After(to) {
				all = append(all, latency)
			}
		}
	}
	return all, nil
}

// readLine reads a line of the log (pgbench's manual, "Per-Transaction Logging"): client, number, microseconds, script, and
// the time in seconds and microseconds.
func readLine(line string) (latency time.Duration, at time.Time, err error) {
	fields := strings.Fields(line)
	if len(fields) < 6 {
		return 0, at, errors.New("it has less than six fields")
	}
	var numbers [3]int64
	for i, field := range []int{2, 4, 5} {
		if numbers[i], err = strconv.ParseInt(fields[field], 10, 64); err != nil {
			return 0, at, err
		}
	}
	return time.Duration(numbers[0]) * time.Microsecond, time.Unix(numbers[1], numbers[2]*1000), nil
}

// quantile is the least value that the given part of all does not exceed.
func quantile(values []time.Duration, part float64) time.Duration {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(math.Ceil(part*float64(len(sorted))))-1]
}
