package pools

import (
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestTraces replays testdata/*.txt: a command a line, and below what came of it, the pools' counts, and
// when Tick is due next. "pair" begins anew with the given settings. `go test -run Traces -rewrite` renews
// the files, and their diff is the review.
func TestTraces(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var r *rig
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "pair" {
				r = newRig(t, strings.Fields(d.Input)...)
				return r.status()
			}
			r.t = t
			line := d.Cmd
			for _, a := range d.CmdArgs {
				line += " " + a.String()
			}
			var out strings.Builder
			for _, e := range r.run(line) {
				out.WriteString(e + "\n")
			}
			return out.String() + r.status()
		})
	})
}

// status describes both pools and when Tick is due.
func (r *rig) status() string {
	next := "never"
	if at := r.p.Next(); !at.IsZero() {
		next = "in " + at.Sub(r.now).Round(time.Millisecond).String()
	}
	return "  " + r.counts(Admin) + " | " + r.counts(Lock) + " | tick " + next + "\n"
}
