package main

import (
	"fmt"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// outcome is how a test of PostgreSQL's own went.
type outcome struct {
	passed bool
	places int // where its output differs from every output that PostgreSQL expects
}

// expected is a line of a list of tests that must differ through lockproxy, each with its reason:
//
//	name: reason
//	name 2: reason
//	name?: reason
//
// With a number, output that differs in more places than that is not what was expected. With a question mark, it differs
// by chance.
type expected struct {
	places int // 0: any number
	chance bool
	reason string
}

// reported is a line of pg_regress about a test: "ok", "FAILED", or "failed (ignored)".
var reported = regexp.MustCompile(`(?m)^(?:test | +)(\S+) +\.\.\. (ok|FAILED|failed)`)

// readOutcomes reads what pg_regress printed, and the file of differences that it wrote.
func readOutcomes(printed, diffs string) map[string]outcome {
	places := make(map[string]int)
	name := ""
	for line := range strings.Lines(diffs) {
		if strings.HasPrefix(line, "diff ") {
			name = strings.TrimSuffix(path.Base(strings.TrimSpace(line)), ".out")
		}
		if strings.HasPrefix(line, "@@ ") {
			places[name]++
		}
	}
	all := make(map[string]outcome)
	for _, m := range reported.FindAllStringSubmatch(printed, -1) {
		all[m[1]] = outcome{passed: m[2] == "ok", places: places[m[1]]}
	}
	return all
}

// listedTest is a line of a list.
var listedTest = regexp.MustCompile(`^([\w.-]+)(\??)(?: (\d+))?: (.+)$`)

func readList(file string) (map[string]expected, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	all := make(map[string]expected)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		m := listedTest.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("%s: not a test with a reason: %s", file, line)
		}
		places, _ := strconv.Atoi(m[3]) // digits, or nothing
		all[m[1]] = expected{places: places, chance: m[2] != "", reason: m[4]}
	}
	return all, nil
}

// compare counts the tests that pass directly by what became of them. Of the others nothing is expected.
func compare(direct, through map[string]outcome, listed map[string]expected) (r result) {
	for _, name := range slices.Sorted(maps.Keys(direct)) {
		list, known := listed[name]
		switch t, ran := through[name]; {
		case !ran:
			r.failed = append(r.failed, name+": did not run")
		case t.passed && known && !list.chance:
			r.failed = append(r.failed, name+": passes, though it is listed: "+list.reason)
		case t.passed:
			r.passed++
		case !direct[name].passed:
		case known && (list.places == 0 || t.places <= list.places):
			r.listed++
		default:
			r.failed = append(r.failed, fmt.Sprintf("%s: passes directly, differs in %d places, %d of them listed", name, t.places, list.places))
		}
	}
	return r
}
