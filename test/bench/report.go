package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/lockproxy/lockproxy/test/project"
)

// report is the table, a line for each figure of each row.
type report struct {
	*stage
	outcomes []*outcome
}

// The table is Markdown; the widths are for those who read it as it is printed.
const format = "| %-34s | %-23s | %11s | %11s | %6s | %-11s | %-11s | %-7s |\n"

func (r *report) begin(w io.Writer) {
	fmt.Fprintf(w, format, "workload", "figure", r.subject.name, r.peer.name, "ratio", "from - to", "mark", "verdict")
	fmt.Fprintln(w, "|---|---|---:|---:|---:|---|---|---|")
}

func (r *report) add(w io.Writer, o *outcome) {
	r.outcomes = append(r.outcomes, o)
	for _, c := range o.comparisons {
		verdict := "met"
		if !c.met() {
			verdict = "MISSED"
		}
		fmt.Fprintf(w, format, o.name, c.name, c.amount(c.subject), c.amount(c.base), fmt.Sprintf("%.3f", c.ratio),
			fmt.Sprintf("%.2f - %.2f", c.low, c.high), c.marked(), verdict)
	}
}

// end says how the table came about.
func (r *report) end(w io.Writer) {
	fmt.Fprintf(w, "\n%d rounds of %v for each side, in turn; medians, their ratio, and the least and the greatest ratio of one round.\n",
		r.rounds, r.length)
	if len(r.outcomes) == 0 {
		return
	}
	again, disturbed := 0, []string{}
	for _, o := range r.outcomes {
		again += o.again
		if o.disturbed > 0 {
			disturbed = append(disturbed, fmt.Sprintf("%s (%d of %d)", o.name, o.disturbed, o.rounds))
		}
	}
	fmt.Fprintf(w, "Rounds in which other processes took over a tenth of the machine: %d were run again", again)
	if len(disturbed) > 0 {
		fmt.Fprintf(w, "; too many of them to run all again in: %s", strings.Join(disturbed, ", "))
	}
	fmt.Fprint(w, ".\n\n")
}

// verdict is an error where marks are missed.
func (r *report) verdict() error {
	marks, missed := 0, 0
	for _, o := range r.outcomes {
		for _, c := range o.comparisons {
			marks++
			if !c.met() {
				missed++
			}
		}
	}
	if missed > 0 {
		return fmt.Errorf("%d of %d marks are missed", missed, marks)
	}
	return nil
}

// write writes it all to a file of the project.
func (r *report) write() error {
	file, err := os.Create(filepath.Join(project.Root(), "test/bench/RESULTS.md"))
	if err != nil {
		return err
	}
	defer file.Close()
	if err := r.print(file); err != nil {
		return err
	}
	return file.Close()
}

func (r *report) print(w io.Writer) error {
	version, err := r.server.Query("postgres", "SHOW server_version")
	if err != nil {
		return err
	}
	command := "make bench"
	if r.quick {
		command += " QUICK=1"
	}
	fmt.Fprintf(w, "# What `%s` printed\n\n", command)
	fmt.Fprintf(w, "* %s, on %s, %d processors, %s\n", time.Now().Format(time.DateOnly), processor(), runtime.NumCPU(), kernel())
	fmt.Fprintf(w, "* %s\n* %s\n* PostgreSQL %s, pgbench's tables at scale %d, %d server connections, transaction mode\n\n",
		r.subject.version, r.peer.version, version[0][0], scale, poolSize)
	again := report{stage: r.stage}
	again.begin(w)
	for _, o := range r.outcomes {
		again.add(w, o)
	}
	again.end(w)
	return nil
}

// processor is the name of the first one's model.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(text)) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
