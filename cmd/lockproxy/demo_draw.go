package main

import (
	"fmt"
	"strings"
)

// canvas collects the lines of a frame.
type canvas struct {
	width   int
	colored bool
	lines   []*line
}

func (c *canvas) line() *line {
	l := &line{width: c.width, colored: c.colored}
	c.lines = append(c.lines, l)
	return l
}

// frameHeight is the number of lines of every frame: with the cursor's they fit into 24.
const frameHeight = 21

// draw makes a frame of the show. It has frameHeight lines, none longer than width.
func (s *show) draw(width int, colored bool) []string {
	c := &canvas{width: width, colored: colored}
	c.line().add(bold, "lockproxy demo")
	for _, text := range s.introduction() {
		c.line().add(ordinary, text)
	}
	c.line()
	c.title(1, s.plainTitle(), &s.plain)
	c.slots("slots", s.plain.slots, s.pool, s.plain.deadlocked(s.pool))
	c.progress(&s.plain, s.jobs)
	c.sentence(s.plainSentence(), &s.plain, s.plain.deadlocked(s.pool))
	c.line()
	c.title(2, s.proxyTitle(), &s.proxy)
	lock, admin := s.proxySlots()
	c.slots("lock pool", lock, s.pool, false)
	c.slots("admin pool", admin, s.pool, false)
	c.progress(&s.proxy, s.jobs)
	c.sentence(s.proxySentence(), &s.proxy, s.proxy.state == hung)
	c.line()
	c.conclusion(s)
	return c.text()
}

func (c *canvas) text() []string {
	text := make([]string, len(c.lines))
	for i, l := range c.lines {
		text[i] = l.String()
	}
	return text
}

// margin is the column where pictures begin, after their names.
const margin = 14

func (c *canvas) title(number int, text string, r *round) {
	l := c.line()
	shade := bold
	if r.state == ahead {
		shade = faint
	}
	l.add(shade, fmt.Sprintf("%d  %s", number, text))
	if r.state != ahead {
		l.right(ordinary, seconds(r.elapsed))
	}
}

// progress draws the workers and the bar of a round.
func (c *canvas) progress(r *round, jobs int) {
	l := c.line()
	l.add(ordinary, "   workers")
	l.to(margin)
	if r.state != ahead {
		l.crowd(r)
	}
	l = c.line()
	l.add(ordinary, "   jobs")
	l.to(margin)
	l.bar(r.done, jobs, max(0, c.width-margin-34))
	l.add(ordinary, fmt.Sprintf("  %d of %d", r.done, jobs))
	shade := ordinary
	if r.failed > 0 {
		shade = red
	}
	l.right(shade, plural(r.failed, "error"))
}

// crowd draws a sign for each worker, and counts the signs.
func (l *line) crowd(r *round) {
	signs := map[activity]string{waits: "○", holds: "◐", works: "●", rested: "·"}
	shades := map[activity]color{waits: red, holds: yellow, works: green, rested: faint}
	for _, a := range r.workers {
		l.add(shades[a], signs[a])
	}
	for _, about := range []struct {
		activity activity
		text     string
	}{{waits, "wait"}, {holds, "hold a lock"}, {works, "insert"}} {
		l.add(ordinary, "  ")
		l.add(shades[about.activity], signs[about.activity])
		l.add(ordinary, fmt.Sprintf(" %d %s", r.count(about.activity), about.text))
	}
}

// bar draws how much of a whole is done.
func (l *line) bar(part, whole, cells int) {
	full := part * cells / whole
	l.add(green, strings.Repeat("█", full))
	l.add(faint, strings.Repeat("░", cells-full))
}

func (c *canvas) sentence(text string, r *round, alarm bool) {
	shade := ordinary
	switch {
	case alarm || r.failed > 0:
		shade = red
	case r.state == finished:
		shade = green
	}
	l := c.line()
	l.add(ordinary, "   ")
	l.add(shade, firstLine(text))
}

// conclusion puts both rounds below each other, once both are over.
func (c *canvas) conclusion(s *show) {
	lines := []*line{c.line(), c.line(), c.line(), c.line()}
	if !s.over {
		return
	}
	columns := func(l *line, shade color, cells ...string) {
		for i, at := range []int{0, margin + 3, margin + 21, margin + 31} {
			l.to(at)
			l.add(shade, cells[i])
		}
	}
	columns(lines[0], bold, "VERDICT", "jobs done", "errors", "time")
	columns(lines[1], shadeOf(&s.plain), "   plain pool", done(&s.plain, s.jobs), fmt.Sprint(s.plain.failed), s.ending(&s.plain))
	columns(lines[2], shadeOf(&s.proxy), "   lockproxy", done(&s.proxy, s.jobs), fmt.Sprint(s.proxy.failed), s.ending(&s.proxy))
	lines[3].add(bold, s.verdict())
}

func done(r *round, jobs int) string {
	return fmt.Sprintf("%d of %d", r.done, jobs)
}

// shadeOf tells good rounds from bad ones.
func shadeOf(r *round) color {
	if r.state == finished && r.failed == 0 {
		return green
	}
	return red
}

func firstLine(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	return first
}
