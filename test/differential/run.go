// Package differential holds conversations, each with PostgreSQL itself and with PostgreSQL through lockproxy, and compares
// every message that comes back, byte for byte: random ones, and those that once showed a difference.
package differential

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// Config says which conversations are held, and where.
type Config struct {
	Conversations int
	Seed          int64                         // of the first; the others follow
	Length        int                           // roughly how many steps each has
	Server        *postgres.Server              // the one behind Proxy; nil: one is started
	Proxy         string                        // lockproxy's address; "": one is started
	Report        func(text string, again bool) // again: it was seen again when the conversation was held once more
	Stop          int                           // after so many differences; 0: after the last conversation
	Within        time.Duration                 // no conversation begins later; 0: whenever
	ShrinkFor     time.Duration
}

// Run holds random conversations and reports the differences, each shrunk to a short transcript. It gives how many
// conversations had none, and how many had one.
func Run(ctx context.Context, cfg Config) (same, different int, err error) {
	s, err := newStage(ctx, cfg.Server)
	if err != nil {
		return 0, 0, err
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
			return 0, 0, err
		}
		s.stop = append(s.stop, stop)
	}
	s.stop = append(s.stop, startNoise(address, s.databases[1]))
	t, err := s.twins(address)
	if err != nil {
		return 0, 0, err
	}
	defer t.close()
	began := time.Now()
	for i := range cfg.Conversations {
		if ctx.Err() != nil || cfg.Stop > 0 && different >= cfg.Stop || cfg.Within > 0 && time.Since(began) > cfg.Within {
			break
		}
		seed := cfg.Seed + int64(i)
		c := generate(seed, cfg.Length)
		difference, err := t.hold(c)
		if err != nil {
			return same, different, fmt.Errorf("seed %d: %w", seed, err)
		}
		if difference == "" {
			same++
			continue
		}
		different++
		text, again := s.explain(c, difference, t, cfg.ShrinkFor)
		cfg.Report(fmt.Sprintf("seed %d: %s", seed, text), again)
	}
	return same, different, nil
}

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
