package main

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// crowded is the share of the machine that others may take in a round before it is run again.
const crowded = 0.1

// outcome is a row as it was measured.
type outcome struct {
	row
	comparisons []comparison
	rounds      int
	again       int // rounds that were run again
	disturbed   int // rounds that count though others took more than their share: nothing better was to be had
}

// measure runs the rows one after the other and prints the table as it grows.
func (s *stage) measure(ctx context.Context, chosen []row) (*report, error) {
	r := &report{stage: s}
	r.begin(os.Stdout)
	for _, one := range chosen {
		o, err := s.measureRow(ctx, one)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.name, err)
		}
		r.add(os.Stdout, o)
	}
	r.end(os.Stdout)
	return r, nil
}

// measureRow measures a row on two poolers of its own, which run at one time, though only one has something to do.
func (s *stage) measureRow(ctx context.Context, r row) (o *outcome, err error) {
	subject, base, err := s.sides(ctx, r)
	defer func() { err = errors.Join(err, subject.close(), base.close()) }()
	if err != nil {
		return nil, err
	}
	o = &outcome{row: r, rounds: s.rounds}
	if r.steady {
		o.rounds = (s.rounds + 2) / 3
	}
	var ours, theirs []sample
	for len(ours) < o.rounds {
		a, err := r.run(ctx, subject)
		if err != nil {
			return nil, subject.failed(err)
		}
		b, err := r.run(ctx, base)
		if err != nil {
			return nil, base.failed(err)
		}
		if max(a.others, b.others) > crowded {
			if o.again < s.repeats {
				o.again++
				continue
			}
			o.disturbed++
		}
		ours, theirs = append(ours, a), append(theirs, b)
	}
	for _, f := range r.figures {
		o.comparisons = append(o.comparisons, compare(f, ours, theirs))
	}
	return o, nil
}

// sides starts what a row compares.
func (s *stage) sides(ctx context.Context, r row) (subject, base *side, err error) {
	if subject, err = s.start(ctx, s.subject, r); err != nil {
		return nil, nil, err
	}
	if r.crowd == 0 {
		base, err = s.start(ctx, s.peer, r)
		return subject, base, err
	}
	if base, err = s.start(ctx, s.subject, r); err != nil {
		return subject, nil, err
	}
	base.name += " alone"
	return subject, base, subject.gather(ctx, r.crowd)
}
