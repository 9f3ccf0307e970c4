package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// display is where a show can be seen.
type display interface {
	// update shows what is new.
	update(s *show)
	// end leaves the display as it should stay; a last word that is not empty comes below. It may be called more than
	// once, and during an update.
	end(word string)
}

// leastWidth is the width below which lines say more than a frame whose ends are cut.
const leastWidth = 72

// newDisplay draws if there is a terminal that is large enough, and prints lines if not.
func newDisplay(w streams, plain bool) display {
	if file, ok := w.out.(*os.File); ok && !plain && w.environment("TERM") != "dumb" && term.IsTerminal(int(file.Fd())) {
		size := func() (width, height int) {
			width, height, err := term.GetSize(int(file.Fd()))
			if err != nil {
				return 0, 0
			}
			return width, height
		}
		if width, height := size(); width >= leastWidth && height > frameHeight {
			return &screen{out: file, size: size, colored: w.environment("NO_COLOR") == ""}
		}
	}
	return &printer{out: w.out}
}

// screen draws frames in place, each over the one before. The cursor rests below the frame.
type screen struct {
	out           io.Writer
	size          func() (width, height int)
	colored       bool
	width, height int // When the last frame was drawn.
	drawn         int // Lines of it.
}

// Sequences of terminals (xterm, "Control Sequences"). A terminal that does not know how to hold back output until a
// frame is complete ignores that.
const (
	hideCursor   = "\x1b[?25l"
	showCursor   = "\x1b[?25h"
	holdBack     = "\x1b[?2026h"
	letGo        = "\x1b[?2026l"
	clearToRight = "\x1b[K"
	clearBelow   = "\x1b[J"
	clearAll     = "\x1b[H\x1b[2J"
)

// update writes a whole frame at once.
func (d *screen) update(s *show) {
	width, height := d.size()
	var text strings.Builder
	text.WriteString(holdBack)
	switch {
	case d.drawn == 0:
		text.WriteString(hideCursor)
	case width != d.width || height != d.height:
		text.WriteString(clearAll) // Nobody knows where the terminal has put the old lines.
	default:
		fmt.Fprintf(&text, "\r\x1b[%dA", d.drawn)
	}
	lines := s.draw(max(width-1, 1), d.colored)
	lines = lines[:min(len(lines), max(height-1, 0))]
	for _, line := range lines {
		text.WriteString(line + clearToRight + "\r\n")
	}
	text.WriteString(clearBelow + letGo)
	d.width, d.height, d.drawn = width, height, len(lines)
	_, _ = io.WriteString(d.out, text.String()) // Who has closed the terminal sees nothing anyway.
}

func (d *screen) end(word string) {
	_, _ = io.WriteString(d.out, "\r"+clearToRight+word+strings.Repeat("\n", min(len(word), 1))+showCursor)
}
