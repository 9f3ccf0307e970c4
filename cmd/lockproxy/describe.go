package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/lockproxy/lockproxy/proxy"
)

// describe prints every setting with its default and meaning, as a configuration file.
func describe(_ context.Context, args []string, w streams) error {
	if err := parse(newFlags("settings", w), args); err != nil {
		return err
	}
	_, err := io.WriteString(w.out, exampleFile())
	return err
}

// What stands for the databases and users that a file may name.
const (
	exampleDatabase = "databases.app"
	exampleUser     = "users.app"
)

// described are the tables that are worth showing, with those of one database in their place.
func described() sections {
	var shown sections
	for _, s := range defaults().sections() {
		switch {
		case s.name == "databases":
			own := new(database).sections()[0]
			shown = append(shown, section{exampleDatabase, own.meaning, own.settings})
		case s.name == "users":
			shown = append(shown, section{exampleUser, userMeaning, userSettings(new(proxy.User))})
		case len(s.settings) > 0:
			shown = append(shown, s)
		}
	}
	return shown
}

// Widths of the example file, in characters.
const (
	lineWidth     = 120
	commentColumn = 39
	longName      = 20 // The names are set in a column; this and longer ones stand out.
)

const exampleHeader = `Every setting, with its default (only databases.app.url is an example). Environment variables win over the file; they ` +
	`are named beside the settings. LOCKPROXY_UPSTREAM is the url of databases."*": with it alone no file is needed. ` +
	"Durations: \"500ms\", \"30s\", \"1h\". `lockproxy check` says what is wrong with a file and with its databases."

// exampleFile is lockproxy.toml.
func exampleFile() string {
	var out strings.Builder
	writeComment(&out, exampleHeader)
	for _, s := range described() {
		out.WriteString("\n")
		if s.meaning != "" {
			writeComment(&out, s.meaning)
		}
		fmt.Fprintf(&out, "[%s]\n", s.name)
		width := nameWidth(s.settings)
		for _, one := range s.settings {
			one.writeLine(&out, width, variableOf(s.name+"."+one.name))
		}
	}
	return out.String()
}

func nameWidth(settings []setting) int {
	width := 0
	for _, s := range settings {
		if len(s.name) < longName {
			width = max(width, len(s.name))
		}
	}
	return width
}

// writeLine writes the setting with its default, and beside them what it means.
func (s setting) writeLine(out *strings.Builder, width int, variable string) {
	line := fmt.Sprintf("%-*s = %s", width, s.name, s.standard())
	comment := s.meaning
	if s.bind.choices != nil {
		comment = strings.Join(s.bind.choices, " | ") + ": " + comment
	}
	if variable != "" {
		comment = variable + ": " + comment
	}
	line = fmt.Sprintf("%-*s  # ", commentColumn-len("  "), line)
	for _, text := range wrap(comment, lineWidth-len(line), lineWidth-commentColumn-len("# ")) {
		out.WriteString(line + text + "\n")
		line = strings.Repeat(" ", commentColumn) + "# "
	}
}

// standard is the default as the file says it, or what may stand in its place.
func (s setting) standard() string {
	if s.fallback == nil {
		return literal(s.example)
	}
	return literal(s.fallback)
}

// literal writes a value, as package toml gives it, in TOML.
func literal(value any) string {
	text, err := toml.Marshal(map[string]any{"v": value})
	if err != nil {
		panic(err) // Nothing that can be written in TOML once is refused later.
	}
	return strings.TrimSpace(strings.TrimPrefix(string(text), "v = "))
}

func writeComment(out *strings.Builder, text string) {
	for _, line := range wrap(text, lineWidth-len("# "), lineWidth-len("# ")) {
		out.WriteString("# " + line + "\n")
	}
}

// wrap breaks a text between its words into a first line of one width and others of another; a word that is wider has a
// line of its own.
func wrap(text string, width, others int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+len(" ")+len(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
			width = others
		}
	}
	return append(lines, line)
}

// variableOf names the environment variable that wins over a setting, if there is one.
func variableOf(path string) string {
	for _, v := range variables() {
		if slices.Contains(v.settings, path) {
			return v.name
		}
	}
	return ""
}
