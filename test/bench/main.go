// Command bench measures lockproxy against PgBouncer, both before one throw-away PostgreSQL: what a transaction costs the
// pooler's process, how many there are in a second, how long they take. Each row of its table (rows.go) is measured in
// rounds that alternate between the two, and has marks. A mark that is missed is printed as such and is a failure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are what the flags say.
type options struct {
	rounds  int
	length  time.Duration // of a round of one side
	repeats int           // how many rounds of a row may be run again because others used the machine
	quick   bool
	only    *regexp.Regexp

	proxy, against string // programs; empty: lockproxy as it is built from here, and PgBouncer
}

func run(ctx context.Context, args []string) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	var chosen []row
	for _, r := range rows() {
		if o.only.MatchString(r.name) {
			chosen = append(chosen, r)
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("no row has a name like %s", o.only)
	}
	if err := raiseFileLimit(); err != nil {
		return err
	}
	s, err := newStage(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	report, err := s.measure(ctx, chosen)
	if err != nil {
		return err
	}
	// What RESULTS.md says is the whole table, against what the marks were set against.
	if len(chosen) == len(rows()) && o.against == "" {
		if err := report.write(); err != nil {
			return err
		}
	}
	return report.verdict()
}

func parse(args []string) (*options, error) {
	var o options
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.IntVar(&o.rounds, "rounds", 9, "rounds of each side")
	seconds := set.Int("seconds", 5, "seconds that a round lasts")
	set.BoolVar(&o.quick, "quick", false, "three rounds of one second, to see whether something is far off: about three minutes")
	only := set.String("only", "", "measure the rows whose names match this regular expression, and leave RESULTS.md as it is")
	set.StringVar(&o.proxy, "proxy", "", "a lockproxy that is built already")
	set.StringVar(&o.against, "against", "", "another lockproxy, to compare with it instead of with PgBouncer")
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	o.repeats = o.rounds
	if o.quick {
		o.rounds, *seconds, o.repeats = 3, 1, 1
	}
	o.length = time.Duration(*seconds) * time.Second
	if o.rounds < 1 || *seconds < 1 {
		return nil, fmt.Errorf("%d rounds of %d seconds measure nothing", o.rounds, *seconds)
	}
	var err error
	o.only, err = regexp.Compile(*only)
	return &o, err
}

// raiseFileLimit lets this process and those that it starts open a file for each of many clients. Only root may raise
// the upper limit.
func raiseFileLimit() error {
	const wanted = crowdClients + 1000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Max = max(limit.Max, wanted)
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("%d open files are needed (ulimit -Hn): %w", wanted, err)
	}
	return nil
}
