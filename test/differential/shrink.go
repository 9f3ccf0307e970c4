package differential

import (
	"slices"
	"strings"
	"time"

	"github.com/lockproxy/lockproxy/protocol"
)

// shrinker makes a conversation shorter for as long as it still shows a difference.
type shrinker struct {
	differs func(conversation) string
	until   time.Time

	best       conversation
	difference string
}

// shrink leaves out clients, steps, messages, statements and startup parameters, over and over until nothing helps.
func (s *shrinker) shrink() {
	for {
		before := s.size()
		s.clients()
		for n := len(s.best.steps) / 2; n > 0; n /= 2 {
			s.stepsBy(n)
		}
		s.messages()
		s.statements()
		s.parameters()
		if s.size() == before {
			return
		}
	}
}

func (s *shrinker) size() (n int) {
	for _, one := range s.best.steps {
		n += one.size() + len(one.cuts) + 1
	}
	for _, p := range s.best.clients {
		n += len(p)
	}
	return n
}

// try keeps a shorter conversation if it differs too.
func (s *shrinker) try(c conversation) bool {
	if time.Now().After(s.until) {
		return false
	}
	difference := s.differs(c)
	if difference != "" {
		s.best, s.difference = c, difference
	}
	return difference != ""
}

func (s *shrinker) withSteps(steps []step) bool {
	return s.try(conversation{clients: s.best.clients, steps: steps})
}

func (s *shrinker) clients() {
	for client := range s.best.clients {
		steps := slices.DeleteFunc(slices.Clone(s.best.steps), func(one step) bool { return one.client == client })
		if len(steps) < len(s.best.steps) {
			s.withSteps(steps)
		}
	}
}

func (s *shrinker) stepsBy(n int) {
	for from := len(s.best.steps) - n; from >= 0; from -= n {
		if from+n <= len(s.best.steps) {
			s.withSteps(slices.Concat(s.best.steps[:from], s.best.steps[from+n:]))
		}
	}
}

// change tries another form of one step.
func (s *shrinker) change(i int, one step) bool {
	steps := slices.Clone(s.best.steps)
	steps[i] = one
	return s.withSteps(steps)
}

func (s *shrinker) messages() {
	for i := range s.best.steps {
		if one := s.best.steps[i]; len(one.cuts) > 0 {
			one.cuts = nil
			s.change(i, one)
		}
		for j := len(s.best.steps[i].messages) - 1; j >= 0; j-- {
			one := s.best.steps[i]
			if len(one.messages) > 1 {
				one.messages = slices.Concat(one.messages[:j], one.messages[j+1:])
				s.change(i, one)
			}
		}
	}
}

// statements leaves out parts of simple queries between semicolons.
func (s *shrinker) statements() {
	for i := range s.best.steps {
		for j, m := range s.best.steps[i].messages {
			if m[0] != protocol.Query {
				continue
			}
			parts := strings.Split(strings.TrimSuffix(string(m[protocol.HeadSize:]), "\x00"), ";")
			for k := len(parts) - 1; k >= 0 && len(parts) > 1; k-- {
				fewer := slices.Concat(parts[:k], parts[k+1:])
				one := s.best.steps[i]
				one.messages = slices.Clone(one.messages)
				one.messages[j] = query(strings.TrimSpace(strings.Join(fewer, ";")))
				if s.change(i, one) {
					parts = fewer
				}
			}
		}
	}
}

func (s *shrinker) parameters() {
	for client := range s.best.clients {
		for i := len(s.best.clients[client]) - 2; i >= 2; i -= 2 {
			clients := slices.Clone(s.best.clients)
			clients[client] = slices.Concat(clients[client][:i], clients[client][i+2:])
			s.try(conversation{clients: clients, steps: s.best.steps})
		}
	}
}
