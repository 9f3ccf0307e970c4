package main

import (
	"slices"
	"testing"
	"time"
)

func TestLineOfPgbenchsLogIsRead(t *testing.T) {
	latency, at, err := readLine("3 17 2241 0 1700000000 123456\n")
	if err != nil || latency != 2241*time.Microsecond || !at.Equal(time.UnixMicro(1700000000123456)) {
		t.Errorf("got %v at %v, %v", latency, at, err)
	}
	for _, line := range []string{"", "3 17 2241 0 1700000000", "3 17 failed 0 1700000000 123456"} {
		if _, _, err := readLine(line); err == nil {
			t.Errorf("%q is no transaction", line)
		}
	}
}

func TestQuantileIsTheLeastValueThatThePartDoesNotExceed(t *testing.T) {
	var values []time.Duration
	for i := range 200 {
		values = append(values, time.Duration(200-i))
	}
	for part, want := range map[float64]time.Duration{0.99: 198, 0.5: 100, 1: 200} {
		if got := quantile(values, part); got != want {
			t.Errorf("%v: got %d, want %d", part, got, want)
		}
	}
	if got := quantile(values[:1], 0.99); got != 200 {
		t.Errorf("of one: got %d", got)
	}
}

func TestProcessIsReadWhateverItsNameIs(t *testing.T) {
	got, err := parseProcess("7 (a) S 1 (b) S 5 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 9 0 0\n")
	want := process{parent: 5, user: 10 * tick, system: 20 * tick, children: 70 * tick}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if _, err := parseProcess("7 (a) S 5 7"); err == nil {
		t.Error("the times are missing")
	}
}

func TestFamilyIsWhoDescends(t *testing.T) {
	all := map[int]process{1: {}, 5: {parent: 1}, 6: {parent: 5}, 7: {parent: 6}, 8: {parent: 1}, 20: {parent: 21}, 21: {parent: 20}}
	var family []int
	for pid := range all {
		if descends(all, pid, 5) {
			family = append(family, pid)
		}
	}
	slices.Sort(family)
	if !slices.Equal(family, []int{5, 6, 7}) {
		t.Errorf("got %v", family)
	}
}

func TestMarksAreOfMedians(t *testing.T) {
	took := func(each ...time.Duration) (all []sample) {
		for _, d := range each {
			all = append(all, sample{cpu: d * time.Microsecond, transactions: 1})
		}
		return all
	}
	ours, theirs := took(6, 30, 8), took(8, 8, 4)
	c := compare(cpu(1), ours, theirs)
	if c.ratio != 1 || !c.met() || c.low != 0.75 || c.high != 3.75 {
		t.Errorf("got %+v", c)
	}
	if c := compare(cpu(0.99), ours, theirs); c.met() {
		t.Errorf("got %+v", c)
	}
	if got := median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("of an even number: got %v", got)
	}
}

func TestAbsoluteMarkIsOurOwnWhateverTheOtherTakes(t *testing.T) {
	ours, theirs := []sample{{memory: 1900}}, []sample{{memory: 100}}
	if c := compare(memory(2), ours, theirs); !c.met() || c.marked() != "<= 2.00 kB" {
		t.Errorf("got %+v, marked %s", c, c.marked())
	}
}

func TestWhatWasNotMeasuredMeetsNoMark(t *testing.T) {
	for _, f := range []figure{cpu(1), tps(1), throughput(1.5)} {
		if c := compare(f, []sample{{}}, []sample{{}}); c.met() {
			t.Errorf("%s: got %+v", f.name, c)
		}
	}
}

func TestOthersAreWhatWeAreNot(t *testing.T) {
	first := reading{at: time.Unix(0, 0)}
	last := reading{at: time.Unix(1, 0), cpu: 300 * time.Millisecond, user: 10 * tick, system: 20 * tick,
		busy: 500 * time.Millisecond, ours: 500 * time.Millisecond}
	s := between(first, last)
	if s.others != 0 || s.user != 100*time.Millisecond || s.elapsed != time.Second {
		t.Errorf("got %+v", s)
	}
	last.ours = 0
	if s := between(first, last); s.others <= 0 {
		t.Errorf("got %+v", s)
	}
}

func TestCopiedBlockIsWholeLines(t *testing.T) {
	if b := block(); len(b) > 8192 || b[len(b)-1] != '\n' || len(b)%len(line(1)) != 0 {
		t.Errorf("got %d bytes", len(b))
	}
}
