package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// pgxTests are those of the packages of pgx that talk to a server. What is left out reads and writes bytes only.
func pgxTests(ctx context.Context, s *stage) (*ownTests, error) {
	suite := &goTests{
		stage: s, module: "github.com/jackc/pgx/v5", version: "v5.13.0", root: "pgx", parallel: 4,
		packages: []string{".", "pgconn", "pgxpool", "stdlib", "pgtype", "pgtype/zeronull", "tracelog", "multitracer"},
		environment: func(at place) []string {
			return []string{
				"PGX_TEST_DATABASE=" + at.conninfo(), "PGX_TEST_TCP_CONN_STRING=" + at.conninfo(),
				"PGX_TEST_UNIX_SOCKET_CONN_STRING=" + at.socket(), "PGX_TEST_PGBOUNCER_CONN_STRING=" + at.conninfo(),
			}
		},
	}
	setup := []string{
		"CREATE EXTENSION hstore", "CREATE EXTENSION ltree", "CREATE DOMAIN uint64 AS numeric(20,0)",
		`CREATE USER " tricky, ' } "" \ test user " SUPERUSER PASSWORD 'secret'`,
	}
	return &ownTests{list: "pgx.txt", setup: setup, run: suite.run}, suite.build(ctx)
}

// pqTests are lib/pq's, with these variables set. They have 100 ms to be notified, so there are few of them at a time.
func pqTests(variables ...string) func(ctx context.Context, s *stage) (*ownTests, error) {
	return func(ctx context.Context, s *stage) (*ownTests, error) {
		suite := &goTests{
			stage: s, module: "github.com/lib/pq", version: "v1.12.3", root: "pq", parallel: 2,
			packages: []string{".", "hstore"}, environment: func(place) []string { return variables },
		}
		return &ownTests{list: "pq.txt", setup: pqRoles(), run: suite.run}, suite.build(ctx)
	}
}

// pqRoles makes the roles that lib/pq's tests expect.
func pqRoles() (setup []string) {
	for _, role := range []string{"pqgo SUPERUSER", "pqgossl", "pqgosslcert", "pqgopassword", "pqgoscram", "pqgomd5"} {
		setup = append(setup, "CREATE ROLE "+role+" LOGIN PASSWORD 'wordpass'")
	}
	return setup
}

// goTests are the tests of a Go module, as the module proxy has it. A test's name has its package before it.
type goTests struct {
	stage           *stage
	module, version string
	root            string   // what the package in the module's folder is called in names
	packages        []string // by their folders
	parallel        int      // how many tests run at a time
	environment     func(at place) []string

	dir string // the module
}

// binaries is the folder of the compiled tests.
func (g *goTests) binaries() string { return g.dir + ".tests" }

// binary is the compiled tests of a package.
func (g *goTests) binary(pkg string) string {
	return filepath.Join(g.binaries(), strings.ReplaceAll(g.prefix(pkg), "/", "-")+"test")
}

// build fetches the module and compiles its tests, for all suites that use it.
func (g *goTests) build(ctx context.Context) error {
	g.dir = filepath.Join(filepath.Dir(g.stage.cache), g.root+"@"+g.version)
	if err := install(g.dir, func(dir string) error { return g.fetch(ctx, dir) }); err != nil {
		return err
	}
	return install(g.binaries(), func(dir string) error {
		for _, pkg := range g.packages {
			target := filepath.Join(dir, filepath.Base(g.binary(pkg)))
			if _, err := g.stage.command(ctx, g.dir, nil, "go", "test", "-c", "-o", target, "./"+pkg); err != nil {
				return err
			}
		}
		return nil
	})
}

// fetch copies the module into a folder of its own: tests may write to it.
func (g *goTests) fetch(ctx context.Context, dir string) error {
	out, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", g.module+"@"+g.version).Output()
	if err != nil {
		return fmt.Errorf("go mod download %s: %w\n%s", g.module, err, out)
	}
	var fetched struct{ Dir string }
	if err := json.Unmarshal(out, &fetched); err != nil {
		return err
	}
	return os.CopyFS(dir, os.DirFS(fetched.Dir))
}

func (g *goTests) run(ctx context.Context, at place, only []string) (outcomes, error) {
	all := outcomes{}
	for _, pkg := range g.packages {
		tests, err := g.wanted(ctx, at, pkg, only)
		if err != nil {
			return nil, err
		}
		if err := g.runPackage(ctx, at, pkg, tests, all); err != nil {
			return nil, err
		}
	}
	return leaves(all), nil
}

// prefix begins the names of a package's tests.
func (g *goTests) prefix(pkg string) string {
	if pkg == "." {
		return g.root + "."
	}
	return pkg + "."
}

// wanted are the tests of a package, without parts of tests: all of them, or none if only names none of them.
func (g *goTests) wanted(ctx context.Context, at place, pkg string, only []string) (tests []string, err error) {
	if only != nil && !slices.ContainsFunc(only, func(name string) bool { return strings.HasPrefix(name, g.prefix(pkg)) }) {
		return nil, nil
	}
	out, err := g.program(ctx, at, pkg, g.binary(pkg), "-test.list=^(Test|Example)")
	for line := range strings.Lines(out) {
		if name := strings.TrimSpace(line); !strings.Contains(name, " ") {
			tests = append(tests, name) // and no words of a TestMain
		}
	}
	return tests, err
}

// program runs a program of tests in the package's folder. That it fails is not an error: what it prints says why.
func (g *goTests) program(ctx context.Context, at place, pkg, name string, args ...string) (output string, err error) {
	output, err = g.stage.command(ctx, filepath.Join(g.dir, pkg), append(at.environment(), g.environment(at)...), name, args...)
	var failed *exec.ExitError
	if errors.As(err, &failed) && ctx.Err() == nil {
		err = nil
	}
	return output, err
}

// runPackage runs tests of a package. One that ends the process takes others with it, which run again without it.
func (g *goTests) runPackage(ctx context.Context, at place, pkg string, tests []string, all outcomes) error {
	for len(tests) > 0 {
		before := len(tests)
		if err := g.runProcess(ctx, at, pkg, tests, all); err != nil {
			return err
		}
		tests = slices.DeleteFunc(tests, func(test string) bool { return all[g.prefix(pkg)+test] != "" })
		if len(tests) == before {
			return fmt.Errorf("%s: these tests do not run: %v", pkg, tests)
		}
	}
	return nil
}

// runProcess runs tests of a package in one process.
func (g *goTests) runProcess(ctx context.Context, at place, pkg string, tests []string, all outcomes) error {
	var quoted []string
	for _, test := range tests {
		quoted = append(quoted, regexp.QuoteMeta(test))
	}
	out, err := g.program(ctx, at, pkg, "go", "tool", "test2json", g.binary(pkg), "-test.v=test2json", "-test.timeout=10m",
		fmt.Sprintf("-test.parallel=%d", g.parallel), "-test.run=^("+strings.Join(quoted, "|")+")$")
	if err != nil {
		return err
	}
	return readEvents(strings.NewReader(out), g.prefix(pkg), all)
}
