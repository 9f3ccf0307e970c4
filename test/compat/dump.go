package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/lockproxy/lockproxy/test/project"
)

// dumpers is how many processes dump or restore at once where the format allows it.
const dumpers = 4

// dumps are the formats of pg_dump, with what makes a dump and what restores it.
var dumps = []struct {
	name          string
	dump, restore []string
}{
	{"plain", []string{"--format=plain"}, []string{"psql", "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--dbname=", "--file="}},
	{"plain, inserts", []string{"--format=plain", "--rows-per-insert=100", "--serializable-deferrable"},
		[]string{"psql", "--quiet", "--no-psqlrc", "--single-transaction", "--set=ON_ERROR_STOP=1", "--dbname=", "--file="}},
	{"custom", []string{"--format=custom"}, []string{"pg_restore", "--exit-on-error", "--single-transaction", "--dbname=", ""}},
	{"custom, parallel", []string{"--format=custom"}, []string{"pg_restore", "--exit-on-error", "--jobs=" + strconv.Itoa(dumpers), "--dbname=", ""}},
	{"tar", []string{"--format=tar", "--blobs"}, []string{"pg_restore", "--exit-on-error", "--dbname=", ""}},
	{"directory, parallel", []string{"--format=directory", "--jobs=" + strconv.Itoa(dumpers)},
		[]string{"pg_restore", "--exit-on-error", "--jobs=" + strconv.Itoa(dumpers), "--dbname=", ""}},
}

// runDump dumps a database through lockproxy in every format, restores it through lockproxy, and compares what comes out
// with the first.
func runDump(ctx context.Context, s *stage) (r result, err error) {
	make := filepath.Join(project.Root(), "test/compat/tools/pg_dump/database.sql")
	if _, err := s.command(ctx, s.dir, s.directly(s.database), "psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--file="+make); err != nil {
		return r, err
	}
	r.check("the same dump as directly", s.sameDump(ctx))
	for i, d := range dumps {
		file := filepath.Join(s.dir, "dump"+strconv.Itoa(i))
		r.check(d.name, s.dumpAndRestore(ctx, file, d.dump, d.restore))
		if err := os.RemoveAll(file); err != nil {
			return r, err
		}
	}
	r.check("nothing is left behind", s.nothingLeft())
	return r, nil
}

// sameDump compares a dump that went through lockproxy with one that did not, line by line.
func (s *stage) sameDump(ctx context.Context) error {
	want, err := s.command(ctx, s.dir, s.directly(s.database), "pg_dump")
	if err != nil {
		return err
	}
	got, err := s.command(ctx, s.dir, nil, "pg_dump")
	if err != nil {
		return err
	}
	return sameLines(strings.Split(comparable(want), "\n"), strings.Split(comparable(got), "\n"))
}

// dumpAndRestore dumps the stage's database into a file and restores it into another, whose name completes an argument.
func (s *stage) dumpAndRestore(ctx context.Context, file string, dump, restore []string) error {
	copied, err := s.server.CreateDatabase()
	if err != nil {
		return err
	}
	if _, err := s.command(ctx, s.dir, nil, "pg_dump", append(dump, "--file="+file)...); err != nil {
		return err
	}
	var args []string
	for _, arg := range restore[1:] {
		switch arg {
		case "--dbname=":
			arg += copied
		case "--file=", "":
			arg += file
		}
		args = append(args, arg)
	}
	if _, err := s.command(ctx, s.dir, nil, restore[0], args...); err != nil {
		return err
	}
	return s.same(ctx, s.database, copied, "none at all")
}
