package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/lockproxy/lockproxy/test/project"
)

// suite is one line of the table.
type suite struct {
	name        string            // a word or two, for the table and for -only
	needs       []string          // for test/install.sh
	admin, lock int               // pool sizes; 0 means 4 and 2, more only where the suite keeps more transactions open at once
	session     bool              // pool_mode = "session"; nearly all run in transaction mode
	database    string            // the database's name, where it matters
	settings    map[string]string // more lines of postgresql.conf
	kills       bool              // it ends server processes by number: what they serve by then may be a noise client

	tls    bool // its programs speak TLS with lockproxy, of which they verify the certificate
	direct bool // its programs connect to the server itself, to see whether a failure is lockproxy's

	// run runs the suite on a stage of its own and tells how it went. Every error is a red line.
	run func(ctx context.Context, s *stage) (result, error)
}

// result is how a suite went. The line is red if something failed, or if nothing passed.
type result struct {
	passed int
	failed []string // each by name, with a word on why
	listed int      // failed as expected: by a list in the project that says why they must differ
	notes  []string // what else there is to know
}

func (r result) red() bool { return len(r.failed) > 0 || r.passed == 0 }

// suites are all of them, in the order of the table.
func suites() []suite {
	var all []suite
	for _, some := range [][]suite{
		driverSuites(), upstreamSuites(), programSuites(), migrationSuites(), queueSuites(), regressSuites(), cancelSuites(), differentialSuites(),
	} {
		all = append(all, some...)
	}
	return all
}

// runAll runs the suites one after the other, each on a stage of its own.
func runAll(ctx context.Context, chosen []suite, cache string) error {
	red := 0
	fmt.Printf("%-28s %8s %8s %8s %8s   %s\n", "suite", "passed", "failed", "listed", "seconds", "transactions, share that ran pinned")
	for _, one := range chosen {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		began := time.Now()
		r, pins, err := runOne(ctx, &one, cache)
		if err != nil {
			r.failed = append(r.failed, err.Error())
		}
		mark := "  "
		if r.red() {
			mark = "! "
			red++
		}
		fmt.Printf("%s%-26s %8d %8d %8d %8.0f   %s\n", mark, one.name, r.passed, len(r.failed), r.listed, time.Since(began).Seconds(), pins)
		for _, f := range append(r.failed, r.notes...) {
			fmt.Println("      " + strings.ReplaceAll(strings.TrimSpace(f), "\n", "\n      "))
		}
	}
	fmt.Printf("%d passed, %d failed\n", len(chosen)-red, red)
	if red > 0 {
		return fmt.Errorf("%d of %d suites are red", red, len(chosen))
	}
	return nil
}

func runOne(ctx context.Context, one *suite, cache string) (result, string, error) {
	if len(one.needs) > 0 {
		if out, err := exec.CommandContext(ctx, "bash", append([]string{filepath.Join(project.Root(), "test/install.sh")}, one.needs...)...).CombinedOutput(); err != nil {
			return result{}, "", fmt.Errorf("install %v: %w\n%s", one.needs, err, out)
		}
	}
	s, err := newStage(ctx, one, cache)
	if err != nil {
		return result{}, "", err
	}
	r, err := one.run(ctx, s)
	pins := s.pins()
	return r, pins, errors.Join(err, s.close())
}

// command is a program to be run on the stage, in the folder dir, with the stage's environment and more of it. What it
// prints goes to a file beside the cache, named after the suite, whose end is part of the error.
func (s *stage) command(ctx context.Context, dir string, env []string, name string, args ...string) (output string, err error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(append(os.Environ(), s.environment()...), env...)
	cmd.WaitDelay = 5 * time.Second
	var out strings.Builder
	w := io.MultiWriter(&out, s.log)
	cmd.Stdout, cmd.Stderr = w, w
	fmt.Fprintf(s.log, "+ %s %s\n", name, strings.Join(args, " "))
	if err = cmd.Run(); err != nil {
		text := out.String()
		err = fmt.Errorf("%s: %w (all of it in %s)\n%s", name, err, s.log.Name(), text[max(0, len(text)-2000):])
	}
	return out.String(), err
}
