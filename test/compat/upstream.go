package main

import (
	"context"
	"embed"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// upstreamSuites are the test suites that drivers have of themselves, as their package managers fetch them.
func upstreamSuites() []suite {
	return []suite{
		{name: "pgx tests", admin: 8, kills: true, run: own(pgxTests)}, // stdlib's leave clients with temporary tables behind
		{name: "lib-pq tests", database: "pqgo", kills: true, run: own(pqTests())},
		{name: "lib-pq tests, binary", database: "pqgo", kills: true, run: own(pqTests("PQTEST_BINARY_PARAMETERS=1"))},
		{name: "node-postgres tests", needs: []string{"node"}, kills: true, run: own(nodeTests)},
	}
}

// ownTests are the tests of a driver, fetched and built.
type ownTests struct {
	list  string   // the file in upstream/ with those that must differ
	setup []string // SQL, a command each
	// run runs all of them, or, if names are given, no fewer than those: what others leave behind is a part of a test.
	run func(ctx context.Context, at place, only []string) (outcomes, error)
}

// outcomes are what came of tests, by name: pass, fail or skip.
type outcomes map[string]string

// failures are the names of the tests that failed, in order.
func (o outcomes) failures() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if o[name] == "fail" {
			names = append(names, name)
		}
	}
	return names
}

// place is where tests find a database.
type place struct {
	port       int    // on 127.0.0.1
	socketDir  string // the folder of a unix socket,
	socketPort int    // and the port that its name has
	database   string
}

// proxySocketPort is the port in the name of lockproxy's unix socket.
const proxySocketPort = 6432

// conninfo is libpq's description of the place, as the superuser.
func (p place) conninfo() string { return conninfo("127.0.0.1", p.port, p.database) }

// socket is the same by the unix socket.
func (p place) socket() string { return conninfo(p.socketDir, p.socketPort, p.database) }

// url is the same as a URL, for what is too old to know more of them.
func (p place) url() string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s", postgres.Superuser, p.port, p.database)
}

func conninfo(host string, port int, database string) string {
	return fmt.Sprintf("host=%s port=%d user=%s dbname=%s sslmode=disable", host, port, postgres.Superuser, database)
}

// environment is libpq's.
func (p place) environment() []string {
	return []string{"PGHOST=127.0.0.1", fmt.Sprintf("PGPORT=%d", p.port), "PGUSER=" + postgres.Superuser, "PGDATABASE=" + p.database}
}

// own runs the tests that prepare gets.
func own(prepare func(ctx context.Context, s *stage) (*ownTests, error)) func(context.Context, *stage) (result, error) {
	return func(ctx context.Context, s *stage) (result, error) {
		tests, err := prepare(ctx, s)
		if err != nil {
			return result{}, err
		}
		j, err := newJudge(tests.list)
		if err != nil {
			return result{}, err
		}
		if err := setUp(s.server, s.database, tests.setup); err != nil {
			return result{}, err
		}
		at := place{port: s.port, socketDir: s.dir, socketPort: proxySocketPort, database: s.database}
		if j.through, err = tests.run(ctx, at, nil); err != nil {
			return result{}, err
		}
		if open := j.open(); len(open) > 0 {
			if j.again, err = tests.run(ctx, at, open); err != nil {
				return result{}, err
			}
		}
		if open := j.open(); len(open) > 0 {
			if j.direct, err = s.runDirectly(ctx, tests, open); err != nil {
				return result{}, err
			}
		}
		return j.verdict(), nil
	}
}

func setUp(server *postgres.Server, database string, commands []string) error {
	for _, command := range commands {
		if _, err := server.Query(database, command); err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
	}
	return nil
}

// runDirectly runs tests without lockproxy, on a server that no test has run on.
func (s *stage) runDirectly(ctx context.Context, tests *ownTests, only []string) (o outcomes, err error) {
	server, err := postgres.Run(ctx, postgres.Config{MaxConnections: 100})
	if err != nil {
		return nil, err
	}
	defer func() {
		if closed := server.Close(); err == nil {
			err = closed
		}
	}()
	if _, err := createDatabase(server, s.database); err != nil {
		return nil, err
	}
	if err := setUp(server, s.database, tests.setup); err != nil {
		return nil, err
	}
	return tests.run(ctx, place{server.Port, server.SocketDir, server.Port, s.database}, only)
}

// judge tells which failures are lockproxy's fault: not those of tests that the list names, nor of those that fail
// directly as well. One that passes when all is run again depends on how busy the machine is.
type judge struct {
	expected               map[string]string // the list: the reason by the name of a test
	through, again, direct outcomes
}

// lists are the tests that must differ: a name -- and the reason on each line, and comments.
//
//go:embed upstream/*.txt
var lists embed.FS

func newJudge(list string) (*judge, error) {
	text, err := lists.ReadFile("upstream/" + list)
	if err != nil {
		return nil, err
	}
	j := &judge{expected: map[string]string{}}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, reason, _ := strings.Cut(line, " -- ")
		if reason == "" {
			return nil, fmt.Errorf("%s: %s is there without a reason", list, name)
		}
		j.expected[name] = reason
	}
	return j, nil
}

// listed is the entry of the list for a test: its own, or that of one that it is a part of.
func (j *judge) listed(name string) (entry string, found bool) {
	for entry = name; ; {
		if _, found = j.expected[entry]; found {
			return entry, true
		}
		cut := strings.LastIndexByte(entry, '/')
		if cut < 0 {
			return "", false
		}
		entry = entry[:cut]
	}
}

// open are the tests that failed whenever they ran, and are not listed.
func (j *judge) open() []string {
	return slices.DeleteFunc(j.through.failures(), func(name string) bool {
		_, listed := j.listed(name)
		return listed || j.again[name] == "pass"
	})
}

// verdict adds it all up.
func (j *judge) verdict() (r result) {
	differed := map[string]bool{}
	for name, outcome := range j.through {
		entry, listed := j.listed(name)
		switch {
		case outcome == "pass" || j.again[name] == "pass":
			r.passed++
		case outcome == "fail" && listed:
			r.listed++
			differed[entry] = true
		}
	}
	for _, name := range j.open() {
		if j.direct[name] == "pass" {
			r.failed = append(r.failed, name)
		}
	}
	r.note("fail directly as well", j.open(), func(name string) bool { return j.direct[name] != "pass" })
	r.note("passed at the second try", j.through.failures(), func(name string) bool { return j.again[name] == "pass" })
	r.note("are listed, and passed", slices.Sorted(maps.Keys(j.expected)), func(entry string) bool { return !differed[entry] })
	return r
}

// note adds a note with those names that are chosen, if there are any.
func (r *result) note(text string, names []string, chosen func(name string) bool) {
	names = slices.DeleteFunc(names, func(name string) bool { return !chosen(name) })
	if len(names) > 0 {
		r.notes = append(r.notes, fmt.Sprintf("%d %s: %s", len(names), text, strings.Join(names, ", ")))
	}
}

// install has a folder of the cache filled once: by fill, in a folder that gets its name when it is complete.
func install(dir string, fill func(dir string) error) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	partial := dir + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if err := fill(partial); err != nil {
		return err
	}
	return os.Rename(partial, dir)
}
