package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// regressSuites are PostgreSQL's own: its regression tests and those with interleaved sessions.
func regressSuites() []suite {
	return []suite{regression.suite("regression"), isolation.suite("isolation")}
}

// ownSuite is a suite of PostgreSQL's source. The programs that drive it come with the server, in folders named as
// those of the source.
type ownSuite struct {
	folder      string // below the source's src/test
	driver      string
	schedule    string
	connections int    // how many tests run at once; each keeps at most one transaction open
	database    string // what the expected output calls it
	admin, lock int
}

var (
	regression = ownSuite{
		folder: "regress", driver: "pg_regress", schedule: "parallel_schedule", connections: 4, database: "regression",
	}
	// A test has up to eight sessions in transactions, and one more asks whom they wait for.
	isolation = ownSuite{
		folder: "isolation", driver: "pg_isolation_regress", schedule: "isolation_schedule", connections: 1,
		database: "isolation_regression", admin: 9, lock: 4,
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
	bin, err := postgres.Programs()
	if err != nil {
		return r, err
	}
	// All suites of the source share a folder.
	source := filepath.Join(filepath.Dir(s.cache), "postgresql")
	if _, err := s.command(ctx, root(), nil, "nice", "test/compat/regress/get-suites", bin, source); err != nil {
		return r, err
	}
	direct, err := o.baseline(ctx, s, bin, source)
	if err != nil {
		return r, err
	}
	through, err := o.drive(ctx, s, bin, source, "through", nil)
	if err != nil {
		return r, err
	}
	listed, err := o.listed()
	if err != nil {
		return r, err
	}
	return compare(direct, through, listed), nil
}

// compare counts the tests that pass directly by what became of them. Of the others nothing is expected.
func compare(direct, through, listed map[string]string) (r result) {
	for _, name := range slices.Sorted(maps.Keys(direct)) {
		_, known := listed[name]
		switch passed := through[name] == "ok"; {
		case passed && known:
			r.failed = append(r.failed, name+": passes, though it is listed")
		case passed:
			r.passed++
		case direct[name] != "ok":
		case known:
			r.listed++
		default:
			r.failed = append(r.failed, name+": passes directly")
		}
	}
	return r
}

// baseline tells how the tests go on a server like the stage's, without lockproxy. It is kept for as long as the server's
// version is the same.
func (o ownSuite) baseline(ctx context.Context, s *stage, bin, source string) (map[string]string, error) {
	version, err := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return nil, err
	}
	kept := filepath.Join(s.cache, "direct.txt")
	if text, err := os.ReadFile(kept); err == nil && strings.HasPrefix(string(text), string(version)) {
		return outcomes(string(text)), nil
	}
	server, err := postgres.Run(ctx, postgres.Config{MaxConnections: 100, Settings: o.settings()})
	if err != nil {
		return nil, err
	}
	defer server.Close()
	if _, err := createDatabase(server, o.database); err != nil {
		return nil, err
	}
	all, err := o.drive(ctx, s, bin, source, "direct", []string{"PGPORT=" + strconv.Itoa(server.Port)})
	if err != nil {
		return nil, err
	}
	text := string(version)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		text += fmt.Sprintf("test %s ... %s\n", name, all[name])
	}
	return all, os.WriteFile(kept, []byte(text), 0o644)
}

// drive runs the suite and gives each test's outcome. What the tests printed stays in a folder of the cache.
func (o ownSuite) drive(ctx context.Context, s *stage, bin, source, folder string, env []string) (map[string]string, error) {
	out := filepath.Join(s.cache, folder)
	if err := os.RemoveAll(out); err != nil {
		return nil, err
	}
	// The server, which runs as another user, writes there too (COPY TO).
	results := filepath.Join(out, "results")
	if err := os.MkdirAll(results, 0o755); err != nil {
		return nil, err
	}
	if err := os.Chmod(results, 0o777); err != nil {
		return nil, err
	}
	input := filepath.Join(source, "src/test", o.folder)
	text, err := s.command(ctx, out, env, "nice", filepath.Join(bin, "../lib/pgxs/src/test", o.folder, o.driver),
		"--bindir="+bin, "--dlpath="+filepath.Join(source, "lib"), "--inputdir="+input, "--outputdir="+out,
		"--schedule="+filepath.Join(input, o.schedule), "--max-connections="+strconv.Itoa(o.connections),
		"--use-existing", "--dbname="+o.database)
	all := outcomes(text)
	if len(all) == 0 {
		return nil, fmt.Errorf("no test ran: %w", err)
	}
	return all, nil // that some failed is no error here
}

// outcome is a line of pg_regress about a test: "ok", "FAILED", or "failed (ignored)".
var outcome = regexp.MustCompile(`(?m)^(?:test | +)(\S+) +\.\.\. (ok|FAILED|failed \(ignored\))`)

func outcomes(text string) map[string]string {
	all := make(map[string]string)
	for _, m := range outcome.FindAllStringSubmatch(text, -1) {
		all[m[1]] = m[2]
	}
	return all
}

// listed gives the tests that must differ through lockproxy, with the reasons: lines "test: reason".
func (o ownSuite) listed() (map[string]string, error) {
	text, err := os.ReadFile(filepath.Join(root(), "test/compat/regress", o.folder+".txt"))
	if err != nil {
		return nil, err
	}
	all := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if name, reason, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && !strings.HasPrefix(line, "#") {
			all[name] = reason
		}
	}
	return all, nil
}
