// Command compat runs the world's own programs through lockproxy: drivers, their test suites, PostgreSQL's, migration
// tools and job queues, none of them changed. It prints a table, one line a suite, and fails on any red line.
//
// What it fetches and builds stays in a cache outside of the project (-cache). See suite.go for what a suite is.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "compat:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("compat", flag.ContinueOnError)
	only := set.String("only", "", "run the suites whose names match this regular expression")
	list := set.Bool("list", false, "list the suites and run none")
	direct := set.Bool("direct", false, "have the programs connect to PostgreSQL itself, to see whether a failure is lockproxy's")
	cache := set.String("cache", defaultCache(), "where what is fetched and built stays")
	if err := set.Parse(args); err != nil {
		return err
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	var chosen []suite
	for _, s := range suites() {
		if wanted.MatchString(s.name) {
			s.direct = *direct
			chosen = append(chosen, s)
		}
	}
	if *list {
		for _, s := range chosen {
			fmt.Println(s.name)
		}
		return nil
	}
	if err := os.MkdirAll(*cache, 0o755); err != nil {
		return err
	}
	return runAll(ctx, chosen, *cache)
}

// defaultCache is a folder that every account can read: PostgreSQL's own suites do not run as root.
func defaultCache() string {
	if dir := os.Getenv("COMPAT_CACHE"); dir != "" {
		return dir
	}
	return filepath.Join(os.TempDir(), "lockproxy-compat")
}
