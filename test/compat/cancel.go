package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/lockproxy/lockproxy/test/project"
)

// cancelSuites race cancel requests against the ends of the statements that they are meant for.
func cancelSuites() []suite {
	return []suite{{name: "cancel race", needs: []string{"compiler"}, run: runCancels}}
}

// cancels is how many requests are raced. None may hit another client's statement, or a later one.
const cancels = 10000

func runCancels(ctx context.Context, s *stage) (r result, err error) {
	out, err := s.command(ctx, project.Root(), []string{fmt.Sprint("CANCELS=", cancels)}, "go", "test", "./test", "-run", "Cancel", "-count=1", "-timeout=30m", "-v")
	if err != nil {
		return r, err
	}
	r.passed = strings.Count(out, "\n--- PASS")
	return r, nil
}
