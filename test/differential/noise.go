package differential

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// startNoise has other clients run transactions meanwhile, each with settings and statements of its own under names that
// the conversations use too.
func startNoise(address string) (stop func() error) {
	const clients = 2
	end, done := make(chan bool), make(chan error)
	for i := range clients {
		go func() { done <- noise(address, i, end) }()
	}
	return func() error {
		close(end)
		var all []error
		for range clients {
			all = append(all, <-done)
		}
		return errors.Join(all...)
	}
}

func noise(address string, i int, end chan bool) error {
	own := []string{"German", "Postgres"}[i]
	p, answers, err := dial(address, "database", database, "user", "postgres", "application_name", "noise", "DateStyle", own)
	if err != nil || p.closed {
		return fmt.Errorf("noise: %v %v", err, spellAll(answers))
	}
	defer p.close()
	p.send([]message{parse("s1", fmt.Sprintf("SELECT 'noise %d'", i)), sync}, nil)
	for {
		p.send([]message{query("BEGIN; SELECT pg_sleep(0.002), current_setting('DateStyle'); COMMIT"), bind("", "s1"), execute("", 0), sync}, nil)
		var all []string
		for !p.complete() {
			f, err := p.take(30 * time.Second)
			if err != nil {
				return fmt.Errorf("noise: %w", err)
			}
			all = append(all, spellServer(f))
		}
		if text := strings.Join(all, "\n"); !strings.Contains(text, own) || !strings.Contains(text, fmt.Sprintf("'noise %d'", i)) && !strings.Contains(text, fmt.Sprintf("\"noise %d\"", i)) {
			return fmt.Errorf("noise: %s", text)
		}
		select {
		case <-end:
			return nil
		case <-time.After(10 * time.Millisecond):
		}
	}
}
