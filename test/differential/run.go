// Package differential holds conversations, each with PostgreSQL itself and with PostgreSQL through lockproxy, and compares
// every message that comes back, byte for byte: random ones, and those that once showed a difference.
package differential

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// Config says which conversations are held, and where.
type Config struct {
	Conversations int
	Seed          int64                         // of the first; the others follow
	Length        int                           // roughly how many steps each has
	InARow        int                           // how often each is held before the next is; 0: once. The backends know its statements from the second time on
	Server        *postgres.Server              // the one behind Proxy; nil: one is started
	Proxy         string                        // lockproxy's address; "": one is started
	Report        func(text string, again bool) // again: it was seen again when the conversation was held once more
	Stop          int                           // after so many differences; 0: after the last conversation
	Within        time.Duration                 // no conversation begins later; 0: whenever
	ShrinkFor     time.Duration
}

// Result counts conversations.
type Result struct {
	Same, Different int
	Crashed         int // PostgreSQL itself, or it failed by a defect of its own: nothing can be said about them
}

// Run holds random conversations and reports the differences, each shrunk to a short transcript.
func Run(ctx context.Context, cfg Config) (r Result, err error) {
	s, err := newStage(ctx, cfg.Server)
	if err != nil {
		return r, err
	}
	defer func() {
		if e := s.close(); err == nil {
			err = e
		}
	}()
	address := cfg.Proxy
	if address == "" {
		var stop func() error
		if address, stop, err = s.startProxy(); err != nil {
			return r, err
		}
		s.stop = append(s.stop, stop)
	}
	began := time.Now()
	for seed := cfg.Seed; err == nil && !cfg.done(ctx, r, began); {
		seed, err = s.holdFrom(ctx, seed, address, cfg, &r, began)
	}
	return r, err
}

func (cfg *Config) done(ctx context.Context, r Result, began time.Time) bool {
	return ctx.Err() != nil || r.Same+r.Different >= cfg.Conversations || cfg.Stop > 0 && r.Different >= cfg.Stop || cfg.Within > 0 && time.Since(began) > cfg.Within
}

// holdFrom holds conversations up to the last, or to one in which PostgreSQL crashed, and gives the seed to go on with.
func (s *stage) holdFrom(ctx context.Context, seed int64, address string, cfg Config, r *Result, began time.Time) (next int64, err error) {
	t, err := s.twins(address)
	if err != nil {
		return seed, err
	}
	defer t.close()
	quiet := startNoise(address)
	defer func() {
		if e := quiet(); err == nil && !t.crashed {
			err = e
		}
	}()
	for held := 1; !cfg.done(ctx, *r, began); held++ {
		c := generate(seed, cfg.Length)
		difference, err := t.hold(c)
		switch {
		case (err != nil || difference != "") && t.serverCrashed():
			r.Crashed++
			return seed + 1, s.recovers(address)
		case err != nil:
			return seed, fmt.Errorf("seed %d: %w", seed, err)
		case strings.Contains(difference, ownDefect):
			r.Crashed++
		case difference == "":
			r.Same++
		default:
			r.Different++
			text, again := s.explain(c, difference, t, cfg.ShrinkFor)
			cfg.Report(fmt.Sprintf("seed %d: %s", seed, text), again)
		}
		if held >= cfg.InARow {
			seed, held = seed+1, 0
		}
	}
	return seed, nil
}

// ownDefect is an error of PostgreSQL 18 behind a batch with a query in its midst, for whatever comes next. Clients of lockproxy do not have it:
// the next might be somebody else (session.endHalfway).
const ownDefect = `M="StartTransactionCommand: unexpected state `

// serverCrashed tells whether the server that is asked directly has crashed: it ends all its connections then, and starts again. What a
// conversation did to it there it did to the other one as well.
func (t *twins) serverCrashed() bool {
	if slices.ContainsFunc(t.direct.peers, func(p *peer) bool { return p != nil && p.closed }) {
		_, _ = t.direct.watch.take(crashShows) // it says nothing but its last word
	}
	_, err := t.direct.run("SELECT 1")
	t.crashed = err != nil && t.direct.watch.closed
	return t.crashed
}

// crashShows is how long it takes a server at most to end its other connections, once one has crashed.
const crashShows = time.Second

// recovers waits until both servers let clients in again.
func (s *stage) recovers(address string) (err error) {
	for deadline := time.Now().Add(recoversWithin); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		var t *twins
		if t, err = s.twins(address); err == nil {
			t.close()
			return nil
		}
	}
	return err
}

const recoversWithin = time.Minute

// explain shrinks a conversation, each time before a lockproxy of its own so that nothing but its own words matters. Where
// it shows no difference so, it is told whole.
func (s *stage) explain(c conversation, difference string, t *twins, within time.Duration) (text string, again bool) {
	short := shrinker{best: c, difference: difference, until: time.Now().Add(within)}
	var lines []string
	short.differs = func(c conversation) string {
		difference, its, err := s.holdAlone(c)
		if err != nil {
			return ""
		}
		if difference != "" {
			lines = its
		}
		return difference
	}
	c.steps = c.steps[:t.at+1]
	for range 3 { // the timing of several clients may be part of it
		if again = short.try(c); again {
			break
		}
	}
	if !again {
		return fmt.Sprintf("%s\nIt was not seen again, in a conversation of\n%s\n", difference, strings.Join(t.direct.lines, "\n")), false
	}
	short.shrink()
	return fmt.Sprintf("%s\nin a conversation of\n%s\n", short.difference, strings.Join(lines, "\n")), true
}

// holdAlone holds a conversation before a lockproxy of its own, and gives the transcript of the direct side.
func (s *stage) holdAlone(c conversation) (difference string, lines []string, err error) {
	address, stop, err := s.startProxy()
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = stop() }()
	t, err := s.twins(address)
	if err != nil {
		return "", nil, err
	}
	defer t.close()
	difference, err = t.hold(c)
	return difference, t.direct.lines, err
}
