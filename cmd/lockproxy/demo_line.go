package main

import (
	"strings"
	"unicode/utf8"
)

// color is a Select Graphic Rendition of terminals (ECMA-48, 8.3.117).
type color string

const (
	ordinary color = ""
	bold     color = "1"
	faint    color = "2"
	red      color = "31"
	green    color = "32"
	yellow   color = "33"
	onRed    color = "97;41"
	onGreen  color = "30;42"
	onYellow color = "30;43"
	onGray   color = "37;100"
)

// line is one line of a terminal under construction. All its characters are one cell wide; what does not fit is cut.
type line struct {
	text    strings.Builder
	cells   int // Used so far.
	width   int
	colored bool
}

// add appends text in a color.
func (l *line) add(c color, text string) {
	runes := []rune(text)
	runes = runes[:min(len(runes), l.width-l.cells)]
	if len(runes) == 0 {
		return
	}
	l.cells += len(runes)
	if !l.colored || c == ordinary {
		l.text.WriteString(string(runes))
		return
	}
	l.text.WriteString("\x1b[" + string(c) + "m" + string(runes) + "\x1b[0m")
}

// to fills up with blanks to a column.
func (l *line) to(column int) {
	l.add(ordinary, strings.Repeat(" ", max(0, column-l.cells)))
}

// right puts text at the right edge.
func (l *line) right(c color, text string) {
	l.to(l.width - utf8.RuneCountInString(text))
	l.add(c, text)
}

func (l *line) String() string {
	return strings.TrimRight(l.text.String(), " ")
}
