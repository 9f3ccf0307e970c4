// Command chaos runs applications through lockproxy while everything around it fails: backends are killed, the server restarts
// and crashes, the network stalls and is cut, clients vanish, the configuration is reloaded and lockproxy's process exchanged.
// Whatever happens, no commit that was acknowledged may be lost, no lock stay behind, no session hang, and no client see an
// error that is not one of those promised.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o := options{out: os.Stdout}
	flag.DurationVar(&o.length, "for", 5*time.Minute, "how long the faults go on")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "which faults there are, and when")
	flag.BoolVar(&o.race, "race", false, "build lockproxy with the race detector")
	flag.Parse()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// options are what the flags say.
type options struct {
	out    io.Writer
	length time.Duration
	seed   uint64
	race   bool
}

// run is one run from the start of the server to the last check.
func run(ctx context.Context, o options) (err error) {
	fmt.Fprintf(o.out, "chaos for %v, seed %d\n", o.length, o.seed)
	s, err := newStage(ctx, o)
	if err != nil {
		return err
	}
	defer func() { s.close() }()
	load := newLoad(s)
	load.start(ctx)
	faults := newFaults(s)
	if err := faults.goOn(ctx); err != nil {
		load.stop()
		return err
	}
	if err := s.heal(ctx); err != nil {
		load.stop()
		return err
	}
	load.everybodyWorks()
	load.stop()
	s.nothingIsLeft(ctx, load)
	s.journal.print(o.out)
	return s.journal.verdict()
}
