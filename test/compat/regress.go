package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lockproxy/lockproxy/test/postgres"
	"github.com/lockproxy/lockproxy/test/project"
)

// regressSuites are PostgreSQL's own: its regression tests, and those with interleaved sessions.
func regressSuites() []suite {
	return []suite{regression.suite("regression"), isolation.suite("isolation")}
}

// ownSuite is a suite of PostgreSQL's source. The programs that drive it come with the server, in folders named as
// those of the source.
type ownSuite struct {
	folder      string // below the source's src/test
	driver      string
	schedule    string
	database    string // what the expected output calls it
	connections int    // how many tests run at once
	admin, lock int
}

var (
	regression = ownSuite{
		folder: "regress", driver: "pg_regress", schedule: "parallel_schedule", database: "regression", connections: 4,
	}
	// A test has up to eight sessions in transactions, and one more asks whom they wait for.
	isolation = ownSuite{
		folder: "isolation", driver: "pg_isolation_regress", schedule: "isolation_schedule", database: "isolation_regression",
		connections: 1, admin: 9, lock: 4,
	}
)

func (o ownSuite) suite(name string) suite {
	return suite{
		name: name, needs: []string{"suites"}, admin: o.admin, lock: o.lock,
		database: o.database, settings: o.settings(), run: o.run,
	}
}

// settings are those of a server that PostgreSQL starts for the suite itself (pg_regress.c), where they matter.
func (o ownSuite) settings() map[string]string {
	return map[string]string{"max_prepared_transactions": "2"}
}

// run compares how the tests go through lockproxy with how they go directly.
func (o ownSuite) run(ctx context.Context, s *stage) (r result, err error) {
	d := ownDriver{ownSuite: o, stage: s, source: filepath.Join(filepath.Dir(s.cache), "postgresql")}
	if d.programs, err = postgres.Programs(); err != nil {
		return r, err
	}
	if _, err := s.command(ctx, project.Root(), nil, "nice", "test/compat/regress/get-suites", d.programs, d.source); err != nil {
		return r, err
	}
	listed, err := readList(filepath.Join(project.Root(), "test/compat/regress", o.folder+".txt"))
	if err != nil {
		return r, err
	}
	direct, err := d.baseline(ctx)
	if err != nil {
		return r, err
	}
	through, err := d.drive(ctx, "through", nil)
	return compare(direct, through, listed), err
}

// ownDriver runs a suite of PostgreSQL's own.
type ownDriver struct {
	ownSuite
	stage    *stage
	programs string // the folder of the server's programs
	source   string // what get-suites unpacked, for all suites
}

// baseline tells how the tests go on a server like the stage's, without lockproxy. It is kept for as long as the server's
// version stays.
func (d *ownDriver) baseline(ctx context.Context) (map[string]outcome, error) {
	version, err := exec.CommandContext(ctx, filepath.Join(d.programs, "postgres"), "--version").Output()
	if err != nil {
		return nil, err
	}
	kept := filepath.Join(d.stage.cache, "direct.txt")
	if text, err := os.ReadFile(kept); err == nil && strings.HasPrefix(string(text), string(version)) {
		return readOutcomes(string(text), ""), nil
	}
	all, err := d.direct(ctx)
	if err != nil {
		return nil, err
	}
	text := string(version)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		word := "FAILED"
		if all[name].passed {
			word = "ok"
		}
		text += fmt.Sprintf("test %s ... %s\n", name, word)
	}
	return all, os.WriteFile(kept, []byte(text), 0o644)
}

// direct runs the suite on a server of its own.
func (d *ownDriver) direct(ctx context.Context) (all map[string]outcome, err error) {
	server, err := postgres.Run(ctx, postgres.Config{MaxConnections: 100, Settings: d.settings()})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	if _, err := createDatabase(server, d.database); err != nil {
		return nil, err
	}
	return d.drive(ctx, "direct", []string{"PGPORT=" + strconv.Itoa(server.Port)})
}

// longest bounds a run; stepTimeout a step of an isolation test that nobody is seen to wait for, which is minutes otherwise.
const (
	longest     = 30 * time.Minute
	stepTimeout = "PGISOLATIONTIMEOUT=20"
)

// drive runs the suite and gives each test's outcome. What the tests printed stays in a folder of the cache.
func (d *ownDriver) drive(ctx context.Context, folder string, env []string) (map[string]outcome, error) {
	out := filepath.Join(d.stage.cache, folder)
	if err := makeOutput(out); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	input := filepath.Join(d.source, "src/test", d.folder)
	printed, err := d.stage.command(ctx, out, append(env, stepTimeout), "nice", filepath.Join(d.programs, "../lib/pgxs/src/test", d.folder, d.driver),
		"--bindir="+d.programs, "--dlpath="+filepath.Join(d.source, "lib"), "--inputdir="+input, "--outputdir="+out,
		"--schedule="+filepath.Join(input, d.schedule), "--max-connections="+strconv.Itoa(d.connections),
		"--use-existing", "--dbname="+d.database)
	diffs, _ := os.ReadFile(filepath.Join(out, "regression.diffs")) // there is none where all pass
	all := readOutcomes(printed, string(diffs))
	if ctx.Err() != nil || len(all) == 0 {
		return all, fmt.Errorf("not all tests ran: %w", err)
	}
	return all, nil // that some failed is no error here
}

// makeOutput makes an empty folder for output, where the server, which runs as another user, may write results as well
// (COPY TO).
func makeOutput(dir string) error {
	results := filepath.Join(dir, "results")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(results, 0o755); err != nil {
		return err
	}
	return os.Chmod(results, 0o777)
}
