package main

import "strings"

// problem is one thing that is wrong with the configuration.
type problem struct {
	where string // "lockproxy.toml:14: pools.admin.max", or the name of an environment variable or of a flag.
	what  string // What is wrong, and what would be right. Never a password.
}

// String is the problem in one line.
func (p problem) String() string {
	return p.where + ": " + p.what
}

// problems is an error that tells all of them, a line each.
type problems []problem

func (ps problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// orNil is the error, or nil when there is no problem.
func (ps problems) orNil() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// nearest returns the candidate that is most like a mistyped name, "" if none is like it.
func nearest(name string, candidates []string) string {
	best, distance := "", max(2, len(name)/3)+1
	for _, candidate := range candidates {
		if d := editDistance(name, candidate); d < distance {
			best, distance = candidate, d
		}
	}
	return best
}

// editDistance is Levenshtein's: how many letters to insert, delete or replace, one after the other.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
