package main

import (
	"context"
	"fmt"
	"strings"
)

// programSuites are PostgreSQL's own client programs.
func programSuites() []suite {
	return []suite{{name: "psql", run: runPsql}}
}

func runPsql(ctx context.Context, s *stage) (r result, err error) {
	out, err := s.command(ctx, s.dir, nil, "psql", "-XAtc", "SELECT 1 + 1")
	if err != nil {
		return r, err
	}
	if strings.TrimSpace(out) != "2" {
		return r, fmt.Errorf("psql printed %q", out)
	}
	r.passed++
	return r, nil
}
