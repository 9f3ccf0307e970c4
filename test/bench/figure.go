package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// sample is what one side did in one round.
type sample struct {
	transactions int
	bytes        int64
	elapsed      time.Duration
	cpu, user    time.Duration // of the pooler's process: all, and what of it was not the kernel's
	p99          time.Duration
	memory       float64 // bytes for each client
	others       float64 // the share of the machine that processes took which have no part in this
}

// each is a sum of the round's for one of its transactions.
func (s sample) each(sum float64) float64 { return sum / float64(s.transactions) }

// figure is something that is read from samples and has a mark.
type figure struct {
	name, unit string
	value      func(sample) float64
	mark       mark
}

func (f figure) called(name string) figure {
	f.name = name
	return f
}

// mark is what lockproxy's figure should be, in proportion to the other side's.
type mark struct {
	limit    float64
	atLeast  bool
	absolute bool // it is lockproxy's figure itself
}

func (m mark) String() string {
	if m.atLeast {
		return fmt.Sprintf(">= %.2f", m.limit)
	}
	return fmt.Sprintf("<= %.2f", m.limit)
}

// comparison is a figure of both sides over all rounds.
type comparison struct {
	figure
	subject, base float64 // medians
	ratio         float64 // of them
	low, high     float64 // the least and the greatest ratio of a single round
}

func compare(f figure, subject, base []sample) comparison {
	ours, theirs := values(f, subject), values(f, base)
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = ours[i] / theirs[i]
	}
	c := comparison{figure: f, subject: median(ours), base: median(theirs), low: slices.Min(ratios), high: slices.Max(ratios)}
	c.ratio = c.subject / c.base
	return c
}

// met tells whether the mark is met, to the digits that are printed. What has no value, for nothing was done, meets none.
func (c comparison) met() bool {
	got := c.ratio
	if c.mark.absolute {
		got = c.subject
	}
	got = math.Round(got*1000) / 1000
	if c.mark.atLeast {
		return got >= c.mark.limit
	}
	return got <= c.mark.limit
}

// marked is the mark with its unit, where it is no ratio.
func (c comparison) marked() string {
	if c.mark.absolute {
		return c.mark.String() + " " + c.unit
	}
	return c.mark.String()
}

// amount writes a value with three digits or more, and its unit.
func (f figure) amount(value float64) string {
	digits := 0
	switch {
	case value < 10:
		digits = 2
	case value < 100:
		digits = 1
	}
	return strings.TrimSpace(fmt.Sprintf("%.*f %s", digits, value, f.unit))
}

func values(f figure, samples []sample) []float64 {
	all := make([]float64, len(samples))
	for i, s := range samples {
		all[i] = f.value(s)
	}
	return all
}

// median is the middle one, or what is in the middle between two.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}
