package differential

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
)

// Golden are conversations that once showed a difference, with the answers as PostgreSQL gives them.
type Golden struct{ stage *stage }

// NewGolden starts what they are held with.
func NewGolden(ctx context.Context) (*Golden, error) {
	s, err := newStage(ctx, nil)
	return &Golden{s}, err
}

// Close ends it.
func (g *Golden) Close() error { return g.stage.close() }

// Replay holds the conversation of a file, before a lockproxy of its own. It gives what is wrong with its answers: those of
// PostgreSQL, which update writes into the file instead, or those through lockproxy.
func (g *Golden) Replay(path string, update bool) (wrong string, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	c, err := readConversation(bytes.NewReader(text))
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	difference, lines, err := g.stage.holdAlone(c)
	if err != nil || difference != "" {
		return difference, err
	}
	now := withComments(string(text)) + strings.Join(lines, "\n") + "\n"
	if update {
		return "", os.WriteFile(path, []byte(now), 0o644)
	}
	if now != string(text) {
		return "PostgreSQL says\n" + now, nil
	}
	return "", nil
}

// withComments gives the comments at the beginning of a transcript.
func withComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			break
		}
		b.WriteString(line)
	}
	return b.String()
}
