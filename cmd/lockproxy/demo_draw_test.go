package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// scenes are the moments of a show that look different.
func scenes() map[string]*show {
	of := func(change func(s *show)) *show {
		s := newShow(plan{workers: 8, jobs: 200, pool: 4})
		s.status = ""
		change(s)
		return s
	}
	hang := func(s *show) {
		s.plain = round{state: hung, elapsed: 4100 * time.Millisecond, still: 4 * time.Second,
			workers: []activity{holds, waits, holds, holds, waits, holds, waits, waits},
			slots:   []slot{{locked, 4, true}, {locked, 1, true}, {locked, 6, true}, {locked, 3, true}}}
	}
	end := func(s *show) {
		hang(s)
		s.over = true
		s.proxy = round{state: finished, done: 200, rows: 200, elapsed: 3 * time.Second,
			workers: []activity{rested, rested, rested, rested, rested, rested, rested, rested},
			slots:   []slot{{idle, 0, true}, {idle, 0, false}, {idle, 0, true}}}
	}
	return map[string]*show{
		"start": newShow(plan{workers: 1, jobs: 1, pool: 1}),
		"hang":  of(hang),
		"proxy": of(func(s *show) {
			hang(s)
			s.proxy = round{state: underWay, done: 90, elapsed: 1500 * time.Millisecond,
				workers: []activity{works, waits, works, works, waits, holds, waits, waits},
				slots:   []slot{{locked, 4, true}, {inserting, 1, false}, {locked, 1, true}, {idle, 0, false}, {locked, 6, true}, {locked, 3, true}, {inserting, 3, false}}}
		}),
		"end": of(end),
		"failure": of(func(s *show) {
			end(s)
			s.proxy.done, s.proxy.failed, s.proxy.rows, s.proxy.err = 199, 1, 199, errors.New("ERROR: no slot\nHINT: none")
		}),
		"crowded": of(func(s *show) {
			s.plan = plan{workers: maxDemoWorkers, jobs: maxDemoJobs, pool: maxDemoPool}
			s.plain.state, s.plain.failed, s.plain.err = finished, maxDemoJobs, errors.New(strings.Repeat("long ", 50))
			s.plain.workers = make([]activity, maxDemoWorkers)
			for i := range maxDemoPool {
				s.plain.slots = append(s.plain.slots, slot{inserting, i + 1, false})
			}
			s.proxy = s.plain
		}),
	}
}

// wide is what 80 columns leave for a frame: the last one stays free, so that no terminal breaks the line.
const wide = 79

func TestFramesLookAsTheyDid(t *testing.T) {
	for name, s := range scenes() {
		path := filepath.Join("testdata", "demo", name+".txt")
		got := strings.Join(s.draw(wide, false), "\n") + "\n"
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

func TestFramesFitIntoTheirWidth(t *testing.T) {
	for name, s := range scenes() {
		for _, width := range []int{1, 20, 48, leastWidth - 1, wide, 200} {
			lines := s.draw(width, false)
			if len(lines) != frameHeight {
				t.Errorf("%s: every frame has the same height, got %d", name, len(lines))
			}
			for _, l := range lines {
				if n := utf8.RuneCountInString(l); n > width {
					t.Errorf("%s: %d cells of %d: %q", name, n, width, l)
				}
			}
		}
	}
}

var rendition = regexp.MustCompile("\x1b\\[([0-9;]*)m")

func TestColorsChangeNoText(t *testing.T) {
	withoutEdges := strings.NewReplacer("[", " ", "]", " ")
	for name, s := range scenes() {
		plain, colored := s.draw(wide, false), s.draw(wide, true)
		for i := range plain {
			got := strings.TrimRight(withoutEdges.Replace(rendition.ReplaceAllString(colored[i], "")), " ")
			if want := strings.TrimRight(withoutEdges.Replace(plain[i]), " "); got != want {
				t.Errorf("%s, line %d: got %q, want %q", name, i, got, want)
			}
			codes := rendition.FindAllStringSubmatch(colored[i], -1)
			if len(codes) > 0 && codes[len(codes)-1][1] != "0" {
				t.Errorf("%s, line %d: a color goes on after its line: %q", name, i, colored[i])
			}
			if strings.Contains(plain[i], "\x1b") {
				t.Errorf("%s, line %d: NO_COLOR means no color, got %q", name, i, plain[i])
			}
		}
	}
}

func TestColorsTellStatesApart(t *testing.T) {
	for _, c := range []struct {
		scene string
		text  string
		color color
	}{
		{"hang", " lock 4    ", onRed},
		{"hang", "Deadlock: ", red},
		{"hang", "2  through lockproxy", faint},
		{"proxy", " lock 4    ", onYellow},
		{"proxy", " insert 1  ", onGreen},
		{"proxy", " idle      ", onGray},
		{"proxy", "[         ]", faint},
		{"end", "   lockproxy", green},
		{"end", "   plain pool", red},
		{"failure", "   lockproxy", red},
		{"failure", "A job failed: ERROR: no slot", red},
	} {
		frame := strings.Join(scenes()[c.scene].draw(wide, true), "\n")
		if want := "\x1b[" + string(c.color) + "m" + c.text; !strings.Contains(frame, want) {
			t.Errorf("%s: no %q in\n%q", c.scene, want, frame)
		}
	}
}

func TestVerdictNamesWhoFailed(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(s *show)
		want  string
	}{
		{"all is well", func(*show) {}, "Same code, another DATABASE_URL. A larger plain pool hangs too: --pool 8"},
		{"no pool of that size can be asked for", func(s *show) { s.workers = 20 }, "Same code, another DATABASE_URL."},
		{"no hang", func(s *show) { s.plain.state = finished }, "The plain pool did not hang, so there was nothing to solve."},
		{"lockproxy hangs", func(s *show) { s.proxy.state = hung }, "This is not what lockproxy promises."},
		{"a row is not there", func(s *show) { s.proxy.rows-- }, "This is not what lockproxy promises."},
		{"neither hang nor success", func(s *show) { s.plain.state, s.proxy.failed = finished, 1 }, "This is not what lockproxy promises."},
	} {
		s := scenes()["end"]
		if c.spoil(s); s.verdict() != c.want {
			t.Errorf("%s: got %q", c.name, s.verdict())
		}
	}
}
