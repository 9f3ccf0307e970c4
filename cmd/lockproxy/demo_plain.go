package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// printer tells a show in lines, as for a pipe or a log.
type printer struct {
	out          io.Writer
	begun, ended bool
	plain, proxy teller
}

// teller is how much of a round has been told.
type teller struct {
	state  state
	latest time.Duration // When the last line was about.
}

// pause is the time between two lines about a round.
const pause = time.Second

func (p *printer) update(s *show) {
	if !p.begun {
		p.begun = true
		p.print(append(s.introduction(), s.status)...)
	}
	if t := (&p.plain); t.news(&s.plain) {
		p.tell(t, &s.plain, "1  "+s.plainTitle(), s.plainLine(), s.plainSentence())
	}
	if t := (&p.proxy); t.news(&s.proxy) {
		p.tell(t, &s.proxy, "2  "+s.proxyTitle(), s.proxyLine(), s.proxySentence())
	}
	if s.over && !p.ended {
		p.ended = true
		c := &canvas{width: 79}
		c.conclusion(s)
		p.print(append([]string{""}, c.text()...)...)
	}
}

func (p *printer) end(word string) {
	if word != "" {
		p.print(word)
	}
}

func (p *printer) print(lines ...string) {
	_, _ = fmt.Fprintln(p.out, strings.Join(lines, "\n")) // Who has closed the pipe reads nothing anyway.
}

// news reports whether a round has begun or ended, or it is time for another line.
func (t *teller) news(r *round) bool {
	return t.state != r.state || r.state == underWay && r.elapsed >= t.latest+pause
}

func (p *printer) tell(t *teller, r *round, title, line, sentence string) {
	if t.state == ahead {
		p.print("", title)
	}
	if r.elapsed >= t.latest+pause || r.state != underWay {
		p.print(fmt.Sprintf("   %5s  %s", seconds(r.elapsed), line))
		t.latest = r.elapsed
	}
	if t.state != r.state {
		p.print("   " + sentence)
	}
	t.state = r.state
}

// plainLine says what the first round's slots do.
func (s *show) plainLine() string {
	return s.counts(&s.plain) + "; slots: " + inWords(s.plain.slots)
}

// proxyLine says what the slots of lockproxy's pools do.
func (s *show) proxyLine() string {
	lock, admin := s.proxySlots()
	return s.counts(&s.proxy) + "; lock pool: " + inWords(lock) + "; admin pool: " + inWords(admin)
}

func (s *show) counts(r *round) string {
	return fmt.Sprintf("%d of %d, %s, %s without a slot", r.done, s.jobs, plural(r.failed, "error"),
		plural(r.count(waits), "worker"))
}

func inWords(slots []slot) string {
	if len(slots) == 0 {
		return "none open"
	}
	words := make([]string, len(slots))
	for i, s := range slots {
		words[i] = s.String()
	}
	return strings.Join(words, ", ")
}
