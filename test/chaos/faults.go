package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// faults does one thing after the other that may happen to an installation.
type faults struct {
	*stage
	random *rand.Rand
	sizes  int
}

// fault is one of them; the more of weight it has the more often it comes.
type fault struct {
	name   string
	weight int
	happen func(f *faults, ctx context.Context) error
}

// sizes are the pools' that reloads alternate between.
var sizes = []limits{{admin: 8, lock: 5}, {admin: 3, lock: 2}, {admin: 12, lock: 3}}

var kinds = []fault{
	{"a backend is terminated", 30, (*faults).terminate},
	{"a statement is canceled by an administrator", 10, (*faults).cancelOne},
	{"lockproxy's network to the server is cut", 6, (*faults).cutServer},
	{"lockproxy's network to the server stalls", 6, (*faults).stallServer},
	{"lockproxy's network to the server is slow", 4, (*faults).slowServer},
	{"clients' network is cut", 6, (*faults).cutClients},
	{"clients' network stalls", 6, (*faults).stallClients},
	{"the server restarts", 2, func(f *faults, ctx context.Context) error { return f.restart(ctx, postgres.Fast) }},
	{"the server crashes", 1, func(f *faults, ctx context.Context) error { return f.restart(ctx, postgres.Immediate) }},
	{"the configuration is reloaded", 8, (*faults).reload},
	{"lockproxy's process is exchanged", 3, (*faults).exchange},
}

func newFaults(s *stage) *faults {
	return &faults{stage: s, random: rand.New(rand.NewPCG(s.seed, 1))}
}

// goOn has faults happen until the time is over: each kind once at least, where there is time.
func (f *faults) goOn(ctx context.Context) error {
	end := time.Now().Add(f.length)
	order := f.random.Perm(len(kinds))
	for i := 0; time.Now().Before(end); i++ {
		if err := f.pause(ctx, 50, 400); err != nil {
			return err
		}
		k := f.any()
		if i < len(order) {
			k = &kinds[order[i]]
		}
		// What lockproxy uses is compared within one process, so that the last one must have some time.
		if k.name == "lockproxy's process is exchanged" && time.Until(end) < f.length/3 {
			continue
		}
		f.journal.count(k.name)
		if err := k.happen(f, ctx); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		f.remember()
	}
	return nil
}

// any chooses by weight.
func (f *faults) any() *fault {
	all := 0
	for _, k := range kinds {
		all += k.weight
	}
	n := f.random.IntN(all)
	for i := range kinds {
		if n -= kinds[i].weight; n < 0 {
			return &kinds[i]
		}
	}
	panic("the weights have changed")
}

// pause is the time between two faults, or the time that one lasts: there is no event to wait for.
func (f *faults) pause(ctx context.Context, low, high int) error {
	select {
	case <-time.After(time.Duration(low+f.random.IntN(high-low)) * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *faults) terminate(context.Context) error { return f.signal("pg_terminate_backend") }

func (f *faults) cancelOne(context.Context) error { return f.signal("pg_cancel_backend") }

// signal picks one of the server's processes that work for lockproxy.
func (f *faults) signal(function string) error {
	_, err := f.server.Query("postgres", fmt.Sprintf(`SELECT %s(pid) FROM (SELECT pid FROM pg_stat_activity
		WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1) one`, function))
	return err
}

func (f *faults) cutServer(ctx context.Context) error { return f.cut(ctx, f.behind) }

func (f *faults) cutClients(ctx context.Context) error { return f.cut(ctx, f.before) }

func (f *faults) cut(ctx context.Context, c *cable) error {
	if err := c.cut(ctx); err != nil {
		return err
	}
	if err := f.pause(ctx, 1, 700); err != nil {
		return err
	}
	return c.mend(ctx)
}

func (f *faults) stallServer(ctx context.Context) error { return f.stall(ctx, f.behind) }

func (f *faults) stallClients(ctx context.Context) error { return f.stall(ctx, f.before) }

// stall lets nothing through in one direction, and closes nothing.
func (f *faults) stall(ctx context.Context, c *cable) error {
	stream := []string{"upstream", "downstream"}[f.random.IntN(2)]
	return f.spoilFor(ctx, c, "bandwidth", stream, map[string]any{"rate": 0})
}

func (f *faults) slowServer(ctx context.Context) error {
	return f.spoilFor(ctx, f.behind, "latency", "downstream", map[string]any{"latency": 20, "jitter": 20})
}

func (f *faults) spoilFor(ctx context.Context, c *cable, kind, stream string, attributes map[string]any) error {
	if err := c.spoil(ctx, kind, stream, attributes); err != nil {
		return err
	}
	if err := f.pause(ctx, 100, 1500); err != nil {
		return err
	}
	return c.clean(ctx, kind)
}

func (f *faults) restart(ctx context.Context, mode postgres.Mode) error {
	if err := f.server.Stop(mode); err != nil {
		return err
	}
	if err := f.pause(ctx, 1, 500); err != nil {
		return err
	}
	return f.server.StartAgain(ctx)
}

func (f *faults) reload(context.Context) error {
	f.sizes = (f.sizes + 1) % len(sizes)
	return f.program.reload(sizes[f.sizes])
}

func (f *faults) exchange(ctx context.Context) error {
	err := f.program.exchange(ctx)
	f.early, f.since = use{}, time.Now()
	return err
}

// heal ends the faults: from here on everything must work.
func (s *stage) heal(ctx context.Context) error {
	if err := s.program.reload(sizes[0]); err != nil {
		return err
	}
	return s.server.StartAgain(ctx)
}
