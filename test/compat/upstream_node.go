package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// nodeProject says which packages of node-postgres have tests in them, and what they run with.
//
//go:embed upstream/node
var nodeProject embed.FS

// nodePackages have tests for mocha that came with an older version; they run against the newest.
var nodePackages = []string{"pg-pool", "pg-cursor", "pg-query-stream"}

// nodeTests are those of node-postgres: see upstream/node-postgres.txt for what was taken.
func nodeTests(ctx context.Context, s *stage) (*ownTests, error) {
	suite := &nodeSuite{stage: s}
	return &ownTests{list: "node-postgres.txt", run: suite.run}, suite.build(ctx)
}

type nodeSuite struct {
	stage *stage
	dir   string // its node_modules has everything
}

// build installs the packages and lays the tests of older versions into the newest.
func (n *nodeSuite) build(ctx context.Context) error {
	project, err := fs.Sub(nodeProject, "upstream/node")
	if err != nil {
		return err
	}
	lock, err := fs.ReadFile(project, "package-lock.json")
	if err != nil {
		return err
	}
	n.dir = filepath.Join(n.stage.cache, fmt.Sprintf("%x", sha256.Sum256(lock))[:12])
	return install(n.dir, func(dir string) error {
		if err := os.CopyFS(dir, project); err != nil {
			return err
		}
		if _, err := n.stage.command(ctx, dir, nil, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"); err != nil {
			return err
		}
		for _, pkg := range nodePackages {
			modules := filepath.Join(dir, "node_modules")
			if err := os.CopyFS(filepath.Join(modules, pkg, "test"), os.DirFS(filepath.Join(modules, pkg+"-tests", "test"))); err != nil {
				return err
			}
		}
		return nil
	})
}

// old is the folder of the old version of pg.
func (n *nodeSuite) old() string { return filepath.Join(n.dir, "node_modules/pg-tests") }

func (n *nodeSuite) run(ctx context.Context, at place, only []string) (outcomes, error) {
	all := outcomes{}
	if err := n.runOld(ctx, at, only, all); err != nil {
		return nil, err
	}
	for _, pkg := range nodePackages {
		if only != nil && !slices.ContainsFunc(only, func(name string) bool { return strings.HasPrefix(name, pkg+": ") }) {
			continue
		}
		if err := n.runMocha(ctx, at, pkg, all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// runOld runs the test programs of the old version of pg, each with results in text and in binary.
func (n *nodeSuite) runOld(ctx context.Context, at place, only []string, all outcomes) error {
	for _, mode := range []string{"down", "up"} {
		if err := n.node(ctx, at, "script/create-test-tables.js", mode); err != nil {
			return err
		}
	}
	files, err := fs.Glob(os.DirFS(n.old()), "test/integration/*/*-tests.js")
	if err != nil {
		return err
	}
	for _, file := range append(files, "test/integration/domain-tests.js") {
		for _, mode := range []string{"text", "binary"} {
			name := "pg: " + file + " " + mode
			if only != nil && !slices.Contains(only, name) {
				continue
			}
			var failed *exec.ExitError
			switch err := n.node(ctx, at, file, mode); {
			case err == nil:
				all[name] = "pass"
			case ctx.Err() == nil && errors.As(err, &failed):
				all[name] = "fail"
			default:
				return err
			}
		}
	}
	return nil
}

// node runs a program of the old version of pg, which takes its place from arguments.
func (n *nodeSuite) node(ctx context.Context, at place, program, mode string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err := n.stage.command(ctx, n.old(), append(at.environment(), "PGPASSWORD=none"),
		"node", "--no-deprecation", "--require", filepath.Join(n.dir, "closed.js"), program, at.url(), mode)
	return err
}

// runMocha runs the tests that a package has for mocha.
func (n *nodeSuite) runMocha(ctx context.Context, at place, pkg string, all outcomes) error {
	dir := filepath.Join(n.dir, "node_modules", pkg)
	files, err := mochaFiles(dir)
	if err != nil {
		return err
	}
	report := filepath.Join(n.stage.dir, "mocha.json")
	args := []string{"--no-deprecation", filepath.Join(n.dir, "node_modules/mocha/bin/mocha.js"), "--exit", "--timeout=30000", "--reporter=json",
		"--reporter-option=output=" + report}
	_, err = n.stage.command(ctx, dir, append(at.environment(), "PGPASSWORD=none"), "node", append(args, files...)...)
	var failed *exec.ExitError
	if err != nil && (!errors.As(err, &failed) || ctx.Err() != nil) {
		return err
	}
	return readMocha(report, pkg, all)
}

// mochaFiles are a package's test files, without those that need stream-tester: npm has only a part of what that needs.
func mochaFiles(dir string) (files []string, err error) {
	found, err := filepath.Glob(filepath.Join(dir, "test/*.js"))
	if err != nil {
		return nil, err
	}
	for _, file := range found {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if !bytes.Contains(text, []byte("stream-tester')")) {
			files = append(files, file)
		}
	}
	return files, nil
}

// readMocha reads what mocha reports and removes it.
func readMocha(file, pkg string, all outcomes) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	type test struct{ FullTitle string }
	var report struct{ Passes, Failures, Pending []test }
	if err := json.Unmarshal(text, &report); err != nil {
		return fmt.Errorf("%s: mocha reports: %w", pkg, err)
	}
	for outcome, tests := range map[string][]test{"pass": report.Passes, "skip": report.Pending} {
		for _, one := range tests {
			all[pkg+": "+one.FullTitle] = outcome
		}
	}
	for _, one := range report.Failures { // the last, as a hook's failure counts beside its test's end
		all[pkg+": "+one.FullTitle] = "fail"
	}
	return os.Remove(file)
}
