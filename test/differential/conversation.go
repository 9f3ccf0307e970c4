package differential

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// conversation is what several clients say, each step by one of them.
type conversation struct {
	clients [][]string // startup parameters, names and values in turn; without the database
	steps   []step
	guests  int // how many of the clients, the last ones, do nothing but look at what the others have left
}

// step is what a client sends at once, in one write or cut into several. The next step, which may be another client's,
// comes when all answers are here, or when the client waits for a lock that another holds.
type step struct {
	client   int
	messages []message
	cuts     []int
}

func (s step) size() (n int) {
	for _, m := range s.messages {
		n += len(m)
	}
	return n
}

// nameOf gives a client's name in transcripts.
func nameOf(client int) string { return string(rune('A' + client)) }

func spellStart(client int, parameters []string) string {
	var quoted []string
	for _, p := range parameters {
		quoted = append(quoted, strconv.Quote(p))
	}
	return nameOf(client) + " connects " + strings.Join(quoted, " ")
}

// spellStep writes a step, a line a message.
func spellStep(s step) (lines []string) {
	if len(s.cuts) > 0 {
		lines = append(lines, fmt.Sprint(nameOf(s.client), " > cut ", s.cuts))
	}
	for _, m := range s.messages {
		lines = append(lines, nameOf(s.client)+" > "+spellClient(m))
	}
	return lines
}

// readConversation reads a transcript: what the clients say, without the answers, which mark where steps end.
func readConversation(r io.Reader) (c conversation, err error) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	starts := true
	for n := 1; in.Scan(); n++ {
		text := in.Text()
		if text == "" || text[0] == '#' {
			continue
		}
		if err := c.readLine(text, &starts); err != nil {
			return c, fmt.Errorf("line %d: %w: %s", n, err, text)
		}
	}
	return c, in.Err()
}

func (c *conversation) readLine(text string, starts *bool) error {
	name, rest, _ := strings.Cut(text, " ")
	verb, rest, _ := strings.Cut(rest, " ")
	client := int(name[0] - 'A')
	switch verb {
	case "connects":
		return c.readStart(client, rest)
	case ">":
		if *starts || c.steps[len(c.steps)-1].client != client {
			c.steps = append(c.steps, step{client: client})
		}
		*starts = false
		return c.steps[len(c.steps)-1].readLine(rest)
	case "<":
		*starts = true
		return nil
	}
	return fmt.Errorf("it is not said who does what")
}

func (c *conversation) readStart(client int, rest string) error {
	if client < 0 || client > 25 {
		return fmt.Errorf("clients are called A, B, C")
	}
	for len(c.clients) <= client {
		c.clients = append(c.clients, nil)
	}
	w := words{rest: rest}
	for w.err == nil && strings.TrimSpace(w.rest) != "" {
		c.clients[client] = append(c.clients[client], w.quoted('"'))
	}
	return w.err
}

func (s *step) readLine(text string) error {
	if cuts, ok := strings.CutPrefix(text, "cut ["); ok {
		for _, one := range strings.Fields(strings.TrimSuffix(cuts, "]")) {
			n, err := strconv.Atoi(one)
			if err != nil {
				return err
			}
			s.cuts = append(s.cuts, n)
		}
		return nil
	}
	m, err := readClient(text)
	s.messages = append(s.messages, m)
	return err
}
