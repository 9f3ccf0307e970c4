package main

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/lockproxy/lockproxy/test/project"
)

// programSuites are PostgreSQL's own client programs.
func programSuites() []suite {
	return []suite{
		{name: "psql", run: runPsql},
		// A parallel dump has a transaction for each of its workers and one for the first that exports its snapshot.
		{name: "pg_dump", admin: dumpers + 1 + 4, run: runDump},
		{name: "pgbench", run: runPgbench},
	}
}

// runPsql runs scripts directly and through lockproxy, each in a database of its own. They print the same.
func runPsql(ctx context.Context, s *stage) (r result, err error) {
	scripts, err := filepath.Glob(filepath.Join(project.Root(), "test/compat/tools/psql/*.sql"))
	if err != nil {
		return r, err
	}
	for _, script := range scripts {
		for _, flags := range [][]string{{"--echo-all"}, {"--tuples-only", "--no-align", "--single-transaction"}} {
			name := strings.Join(append([]string{filepath.Base(script)}, flags...), " ")
			r.check(name, s.samePrint(ctx, append(flags, "--no-psqlrc", "--set=role=somebody", "--file="+script)))
		}
	}
	r.check("nothing is left behind", s.nothingLeft())
	return r, nil
}

// samePrint runs psql directly and through lockproxy and compares what it prints.
func (s *stage) samePrint(ctx context.Context, args []string) error {
	var printed [2][]string
	for i, environment := range []func(string) []string{s.directly, s.through} {
		database, err := s.server.CreateDatabase()
		if err != nil {
			return err
		}
		// The exit status says whether the last statement failed, which the text says as well.
		out, _ := s.command(ctx, s.dir, environment(database), "psql", args...)
		printed[i] = strings.Split(comparable(strings.ReplaceAll(out, database, "DATABASE")), "\n")
	}
	return sameLines(printed[0], printed[1])
}

// chance is what two runs of the same script do not have in common: process ids, ports, numbers of objects, and a random
// word for psql.
var chance = regexp.MustCompile(`(PID |port |lo_import |lo_unlink |restrict )\w+`)

// comparable is what a program printed without what is never the same twice.
func comparable(text string) string { return chance.ReplaceAllString(text, "${1}?") }

// sameLines tells of the first line that differs.
func sameLines(want, got []string) error {
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			return fmt.Errorf("line %d is %q, want %q, after %q", i+1, got[i], want[i], got[max(0, i-3):i])
		}
	}
	if len(want) != len(got) {
		return fmt.Errorf("%d lines, want %d", len(got), len(want))
	}
	return nil
}
