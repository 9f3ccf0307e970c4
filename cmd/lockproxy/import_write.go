package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// importTable is a table of the file that is written.
type importTable struct {
	name  string
	lines []importLine
}

type importLine struct {
	name  string
	value any    // As package toml gives values.
	from  string // The settings of PgBouncer's that it comes from; may be empty.
}

// set puts a value into a table of the file.
func (t *translation) set(table, name string, value any, from string) {
	for _, one := range t.tables {
		if one.name == table {
			one.lines = append(one.lines, importLine{name, value, from})
			return
		}
	}
	t.tables = append(t.tables, &importTable{table, []importLine{{name, value, from}}})
}

// text is the file.
func (t *translation) text(source string) string {
	var out strings.Builder
	writeComment(&out, "Made of "+source+" by lockproxy import. Behind each setting stands what it comes from; what is not here has "+
		"lockproxy's default. `lockproxy check` tests this file and looks at its databases.")
	writeNotes(&out, "Beware, lockproxy lets in more than PgBouncer does:", t.warnings)
	writeNotes(&out, "These have no counterpart, or another meaning:", t.notes)
	for _, table := range t.tables {
		out.WriteString("\n")
		if table.name == "pools.lock" {
			writeLockPool(&out)
		}
		fmt.Fprintf(&out, "[%s]\n", table.name)
		table.write(&out)
	}
	return out.String()
}

// writeNotes writes a list of comments, in the order of the places that they are about.
func writeNotes(out *strings.Builder, title string, notes []iniNote) {
	if len(notes) == 0 {
		return
	}
	out.WriteString("#\n# " + title + "\n")
	byPlace := func(a, b iniNote) int { return cmp.Or(strings.Compare(a.file, b.file), a.line-b.line) }
	for _, note := range slices.SortedStableFunc(slices.Values(notes), byPlace) {
		writeNote(out, note.text)
	}
}

// writeNote writes one of a list of comments.
func writeNote(out *strings.Builder, text string) {
	mark := "# * "
	for _, line := range wrap(text, lineWidth-len(mark), lineWidth-len(mark)) {
		out.WriteString(mark + line + "\n")
		mark = "#   "
	}
}

// writeLockPool says of the pool that PgBouncer does not have how large it is to be, and what is off in it.
func writeLockPool(out *strings.Builder) {
	writeComment(out, fmt.Sprintf("PgBouncer has no lock pool: sessions that ask for, wait for or hold advisory locks have these "+
		"connections besides those of the admin pool. Its size is lockproxy's default, max = %d; how long connections are waited for "+
		"and live is as for the admin pool. %s The connections may come to more than PgBouncer opened: lower max in either pool if "+
		"the server has not as many.", lockSize, sizingRule))
	writeComment(out, "The two timeouts below are off, as with PgBouncer. With lockproxy's defaults nobody waits for ever for a lock "+
		"that nobody gives back, and a client that does nothing in its transaction does not keep a lock from all others.")
}

func (table *importTable) write(out *strings.Builder) {
	width := 0
	for _, l := range table.lines {
		width = max(width, len(l.name))
	}
	for _, l := range table.lines {
		line := fmt.Sprintf("%-*s = %s", width, l.name, literal(l.value))
		if l.from != "" {
			line = fmt.Sprintf("%-*s  # %s", commentColumn-len("  "), line, l.from)
		}
		out.WriteString(line + "\n")
	}
}
