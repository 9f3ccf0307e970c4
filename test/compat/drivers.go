package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/lockproxy/lockproxy/test/project"
)

// driver is a script that uses what one driver is known for. It reads libpq's environment and DATABASE_URL alone, so that
// -direct runs it straight against the server: every check must pass there.
type driver struct {
	name  string
	needs []string
	// prepare fetches or builds what the program needs into the suite's cache.
	prepare func(ctx context.Context, s *stage) error
	// program is run in the folder of the drivers' scripts; @ stands for the suite's cache.
	program []string
	env     []string
	tls     bool
}

// driverTime is more than a script takes: a check that hangs has a shorter bound of its own.
const driverTime = 5 * time.Minute

// twoPhase allows PREPARE TRANSACTION.
var twoPhase = map[string]string{"max_prepared_transactions": "10"}

// driverSuites has one line of the table for each driver, or each mode of one.
func driverSuites() []suite {
	python := func(name, script, pkg string) driver {
		return driver{name: name, needs: []string{pkg}, program: []string{"/usr/bin/python3", "-B", "python/" + script}}
	}
	node := func(name, script string) driver {
		return driver{name: name, needs: []string{"node"}, prepare: fetchNode, program: []string{"node", "--no-deprecation", "node/" + script},
			env: []string{"NODE_PATH=@/node_modules"}}
	}
	java := func(mode string) driver {
		return driver{name: "jdbc " + mode, needs: []string{"java"}, prepare: compileJava,
			program: []string{"java", "-Xshare:auto", "-cp", "@:" + jdbcJar, "Main", mode}}
	}
	drivers := []driver{
		python("psycopg2", "psycopg2_checks.py", "psycopg"),
		python("psycopg 3", "psycopg3_checks.py", "psycopg"),
		python("psycopg 3 async", "psycopg3_async_checks.py", "psycopg"),
		python("asyncpg", "asyncpg_checks.py", "asyncpg"),
		node("node pg", "pg.js"),
		node("node postgres", "postgres.js"),
		{name: "lib/pq", prepare: buildGo("pq"), program: []string{"@/pq"}},
		{name: "DBD::Pg", needs: []string{"perl"}, program: []string{"perl", "perl/dbd.pl"}},
		{name: "php pdo", needs: []string{"php"}, program: []string{"php", "-d", "display_errors=stderr", "php/pdo.php"}},
		{name: "ruby pg", needs: []string{"ruby"}, program: []string{"ruby", "ruby/pg.rb"}},
		{name: "Active Record", needs: []string{"active-record"}, program: []string{"ruby", "ruby/active_record.rb"}},
	}
	for _, mode := range []string{"simple", "extended", "prepared", "cursor"} {
		drivers = append(drivers, java(mode))
	}
	for _, one := range []driver{java("extended"), drivers[1], drivers[4]} {
		one.name, one.tls = one.name+" over TLS", true
		drivers = append(drivers, one)
	}
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		drivers = append(drivers, driver{name: "pgx " + mode, prepare: buildGo("pgx"), program: []string{"@/pgx", mode}})
	}
	var all []suite
	for _, d := range drivers {
		all = append(all, suite{name: d.name, needs: d.needs, settings: twoPhase, tls: d.tls, run: d.run})
	}
	return all
}

// scripts is the folder of the drivers' scripts.
func scripts() string { return filepath.Join(project.Root(), "test", "compat", "drivers") }

// run runs the driver's script and counts what it says of its checks.
func (d driver) run(ctx context.Context, s *stage) (r result, err error) {
	ctx, cancel := context.WithTimeout(ctx, driverTime)
	defer cancel()
	if d.prepare != nil {
		if err := d.prepare(ctx, s); err != nil {
			return r, err
		}
	}
	program, env := inCache(s, d.program), inCache(s, d.env)
	out, err := s.command(ctx, scripts(), env, program[0], program[1:]...)
	r, plan := checks(out)
	if err == nil && plan != r.passed+len(r.failed) {
		err = fmt.Errorf("the script ran %d checks and ended with a plan of %d", r.passed+len(r.failed), plan)
	}
	return r, err
}

// inCache puts the suite's cache in the place of every @.
func inCache(s *stage, texts []string) []string {
	var all []string
	for _, text := range texts {
		all = append(all, strings.ReplaceAll(text, "@", s.cache))
	}
	return all
}

// checks reads what a script printed: "ok NAME" or "not ok NAME: why" for each check, and as the last thing "1..N", so
// that one that ended early is not taken for one that passed.
func checks(output string) (r result, plan int) {
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "ok "):
			r.passed++
		case strings.HasPrefix(line, "not ok "):
			r.failed = append(r.failed, strings.TrimPrefix(line, "not ok "))
		case strings.HasPrefix(line, "1.."):
			plan, _ = strconv.Atoi(strings.TrimPrefix(line, "1.."))
		}
	}
	return r, plan
}

// buildGo builds the program in a folder of scripts, which may be a module of its own.
func buildGo(folder string) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		_, err := s.command(ctx, filepath.Join(scripts(), "go", folder), nil, "go", "build", "-o", filepath.Join(s.cache, folder), ".")
		return err
	}
}

// fetchNode has npm fetch the versions that package.json names, once.
func fetchNode(ctx context.Context, s *stage) error {
	wanted, err := os.ReadFile(filepath.Join(scripts(), "node", "package.json"))
	if err != nil {
		return err
	}
	file, stamp := filepath.Join(s.cache, "package.json"), filepath.Join(s.cache, "fetched.json")
	if have, err := os.ReadFile(stamp); err == nil && string(have) == string(wanted) {
		return nil
	}
	if err := os.WriteFile(file, wanted, 0o644); err != nil {
		return err
	}
	if _, err := s.command(ctx, s.cache, nil, "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"); err != nil {
		return err
	}
	return os.WriteFile(stamp, wanted, 0o644)
}

// jdbcJar is where Debian puts the driver.
const jdbcJar = "/usr/share/java/postgresql.jar"

func compileJava(ctx context.Context, s *stage) error {
	files, err := filepath.Glob(filepath.Join(scripts(), "java", "*.java"))
	if err != nil {
		return err
	}
	_, err = s.command(ctx, s.cache, nil, "javac", append([]string{"-nowarn", "-cp", jdbcJar, "-d", s.cache}, files...)...)
	return err
}
