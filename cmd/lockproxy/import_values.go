package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// integer reads a number as strtol(3) does with base 0, which is how PgBouncer does it.
func (t *translation) integer(e iniEntry, name, value string) int {
	n, err := strconv.ParseInt(value, 0, 32)
	if err != nil || strings.Contains(value, "_") {
		t.wrong(e, "%s must be an integer", name)
	}
	return int(n)
}

// decimal reads a number of a connection string, which is decimal (PgBouncer takes it by atoi(3)).
func (t *translation) decimal(e iniEntry, name, value string) int {
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil {
		t.wrong(e, "%s must be an integer", name)
	}
	return int(n)
}

// seconds reads a timeout of a connection string, and writes it as the configuration file has it. It is a whole number there,
// and a negative one so large that it never passes.
func (t *translation) seconds(e iniEntry, name, value string) string {
	n, err := strconv.ParseInt(value, 10, 32)
	switch {
	case err != nil:
		t.wrong(e, "%s must be a whole number of seconds", name)
		return "0s"
	case n < 0 || n > int64(longest/time.Second):
		return longestText
	}
	return durationText(time.Duration(n) * time.Second)
}

// within gives the nearest number that lockproxy takes, and says so where it is another.
func (t *translation) within(e iniEntry, name string, n, low, high int) int {
	nearest := max(low, min(n, high))
	if nearest != n {
		t.note(e, name, fmt.Sprintf("lockproxy takes numbers from %d to %d, so that it is %d", low, high, nearest))
	}
	return nearest
}

// longestText stands for no bound, where a duration must have one.
var longestText = durationText(longest.Truncate(time.Hour))

// duration reads a number of seconds and writes it as the configuration file has it.
func (t *translation) duration(e iniEntry, name, value string) string {
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(n) || n < 0 {
		t.wrong(e, "%s must be a number of seconds", name)
		return "0s"
	}
	if n > longest.Seconds() {
		return longestText
	}
	d := time.Duration(n * float64(time.Second)).Round(time.Millisecond)
	if d == 0 && n > 0 {
		d = time.Millisecond
	}
	return durationText(d)
}

// durationText writes 1h, not 1h0m0s.
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// splitList takes a list with commas between its members apart.
func splitList(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.Trim(part, iniSpace); part != "" && !yield(part) {
				return
			}
		}
	}
}

func asList(text string) []any {
	var all []any
	for one := range splitList(text) {
		all = append(all, one)
	}
	return all
}
