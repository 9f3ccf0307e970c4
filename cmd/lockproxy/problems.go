package main

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/lockproxy/lockproxy/proxy"
)

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

// sort puts the problems of a file in the order of its lines; those of no line come last.
func (ps problems) sort(file string) {
	line := func(p problem) int {
		digits, _, _ := strings.Cut(strings.TrimPrefix(p.where, file+":"), ":")
		if n, err := strconv.Atoi(digits); err == nil {
			return n
		}
		return math.MaxInt
	}
	slices.SortStableFunc(ps, func(a, b problem) int { return cmp.Compare(line(a), line(b)) })
}

// locate makes an error of the server's about a setting a problem that says where it was set.
func (c *configuration) locate(err error) error {
	var about *proxy.SettingError
	if errors.As(err, &about) {
		return problems{{c.origin(about.Setting), about.Err.Error()}}
	}
	return err
}

// orNil is the error, or nil when there is no problem.
func (ps problems) orNil() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}
