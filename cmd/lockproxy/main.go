// Lockproxy is a connection pooler for PostgreSQL in which advisory locks cannot exhaust the pool.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/lockproxy/lockproxy/spelling"
)

// command is one of the words that may follow the program's name.
type command struct {
	name, summary string
	run           func(ctx context.Context, args []string, w streams) error
}

// streams is what a command sees of the process around it; tests give their own.
type streams struct {
	out, err    io.Writer
	environment func(name string) string
}

func commands() []command {
	return []command{
		{"serve", "run the pooler until SIGTERM or SIGINT", serve},
		{"check", "read the configuration, connect to each database and say what is wrong", untilSignal(check)},
		{"import", "write a lockproxy.toml that does what a pgbouncer.ini does", importINI},
		{"settings", "print every setting with its default and meaning, as a lockproxy.toml to begin with", describe},
		{"run", "start a throw-away PostgreSQL and lockproxy before it, to try things out", untilSignal(run)},
		{"demo", "show the deadlock on one plain pool, and the same workload through lockproxy", untilSignal(demo)},
		{"version", "print the version", version},
	}
}

// exit statuses.
const (
	failed     = 1
	misused    = 2
	helpHeader = `lockproxy is a connection pooler for PostgreSQL in which advisory locks cannot exhaust the pool.

usage: lockproxy COMMAND [flags]

`
)

// errReported ends the program with a failure that the command has told already.
var errReported = errors.New("reported")

// usageError is a mistake on the command line.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func main() {
	os.Exit(dispatch(context.Background(), os.Args[1:], streams{os.Stdout, os.Stderr, os.Getenv}))
}

// untilSignal has a command end in good order at SIGTERM and SIGINT. A second one ends the program at once.
func untilSignal(run func(context.Context, []string, streams) error) func(context.Context, []string, streams) error {
	return func(ctx context.Context, args []string, w streams) error {
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		context.AfterFunc(ctx, stop)
		return run(ctx, args, w)
	}
}

// dispatch runs the command that args name and returns the exit status.
func dispatch(ctx context.Context, args []string, w streams) int {
	if len(args) == 0 {
		printHelp(w.err)
		return misused
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		printHelp(w.out)
		return 0
	case "-version", "--version":
		args[0] = "version"
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.status(c.run(ctx, args[1:], w), w.err)
		}
	}
	fmt.Fprintf(w.err, "lockproxy: unknown command %q%s; see lockproxy help\n", args[0], didYouMean(args[0]))
	return misused
}

// status tells of an error and turns it into an exit status.
func (c command) status(err error, to io.Writer) int {
	var usage usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errReported):
		return failed
	case errors.As(err, &usage):
		fmt.Fprintf(to, "lockproxy %s: %v\n", c.name, err)
		return misused
	}
	fmt.Fprintln(to, err)
	return failed
}

func printHelp(to io.Writer) {
	fmt.Fprint(to, helpHeader)
	for _, c := range commands() {
		fmt.Fprintf(to, "  %-8s  %s\n", c.name, c.summary)
	}
	fmt.Fprint(to, "\nlockproxy COMMAND -h lists the command's flags.\n")
}

func didYouMean(name string) string {
	names := []string{"help"}
	for _, c := range commands() {
		names = append(names, c.name)
	}
	if found := spelling.Nearest(name, names); found != "" {
		return fmt.Sprintf("; did you mean %s?", found)
	}
	return ""
}

// newFlags makes the flag set of a command.
func newFlags(name string, w streams) *flag.FlagSet {
	flags := flag.NewFlagSet("lockproxy "+name, flag.ContinueOnError)
	flags.SetOutput(w.err)
	return flags
}

// parse reads a command's flags; nothing may follow them.
func parse(flags *flag.FlagSet, args []string) error {
	if err := parseFlags(flags, args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return usageError{fmt.Sprintf("unexpected argument %q", flags.Arg(0))}
	}
	return nil
}

func parseFlags(flags *flag.FlagSet, args []string) error {
	err := flags.Parse(args)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	return usageError{"see -h"} // Package flag has told what is wrong.
}

// parseOne reads a command's flags and the one argument that it has before, between or behind them.
func parseOne(flags *flag.FlagSet, args []string, what string) (string, error) {
	var found []string
	for {
		if err := parseFlags(flags, args); err != nil {
			return "", err
		}
		if flags.NArg() == 0 {
			break
		}
		found, args = append(found, flags.Arg(0)), flags.Args()[1:]
	}
	switch len(found) {
	case 0:
		return "", usageError{"name " + what}
	case 1:
		return found[0], nil
	}
	return "", usageError{fmt.Sprintf("unexpected argument %q", found[1])}
}

// defaultPath is the configuration file that is read where no flag names one.
const defaultPath = "lockproxy.toml"

// sourceFlags adds the flags that say where the configuration comes from. The function returned makes the source of
// them, after they are parsed.
func sourceFlags(flags *flag.FlagSet, w streams) func() (source, error) {
	path := flags.String("config", "", "the configuration `file` (default "+defaultPath+", if there is one)")
	var listen []string
	flags.Func("listen", "an `address` to listen on instead of the file's: host:port, or a folder for a unix socket; "+
		"may be repeated", func(address string) error {
		listen = append(listen, strings.TrimSpace(address))
		return nil
	})
	return func() (source, error) {
		from := source{path: *path, environment: w.environment, listen: listen}
		if from.path != "" {
			return from, nil
		}
		if _, err := os.Stat(defaultPath); err == nil {
			from.path = defaultPath
		} else if w.environment(upstreamVariable) == "" {
			return from, fmt.Errorf("there is no configuration: write a %s, name one with --config, or set %s to the URL "+
				"of a PostgreSQL server", defaultPath, upstreamVariable)
		}
		return from, nil
	}
}
