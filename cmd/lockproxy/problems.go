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
