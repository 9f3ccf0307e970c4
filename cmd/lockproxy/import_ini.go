package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// iniEntry is one line of a file in PgBouncer's format.
type iniEntry struct {
	file       string
	line       int // Counted from 1.
	section    string
	key, value string
}

// place says where the entry stands: "pgbouncer.ini:12". A default stands in no line.
func (e iniEntry) place() string {
	if e.line == 0 {
		return e.file
	}
	return fmt.Sprintf("%s:%d", e.file, e.line)
}

// iniReader reads a file and those that it includes, as PgBouncer does (parse_ini_file_internal in its cfparser.c).
type iniReader struct {
	read    func(path string) ([]byte, error)
	section string // An included file goes on in the section of the one that includes it, and leaves it changed.
	entries []iniEntry
	again   []iniEntry // Where a section began a second time.
}

// maxIncludes is how deep files may include each other (MAX_INCLUDE in cfparser.c).
const maxIncludes = 10

func (r *iniReader) readFile(path string, depth int) error {
	text, err := r.read(path)
	if err != nil {
		return err
	}
	if !utf8.Valid(text) {
		return fmt.Errorf("%s: is not UTF-8", path)
	}
	for i, line := range strings.Split(string(text), "\n") {
		e := iniEntry{file: path, line: i + 1}
		if err := r.readLine(e, line, depth); err != nil {
			return err
		}
	}
	return nil
}

// iniSpace is what isspace(3) takes.
const iniSpace = " \t\r\v\f"

// readLine reads one line: a comment, an include, or a section, an entry, or an entry behind its section's name.
func (r *iniReader) readLine(e iniEntry, line string, depth int) error {
	line = strings.Trim(line, iniSpace)
	if file, ok := strings.CutPrefix(line, "%include"); ok && file != "" && strings.ContainsRune(" \t", rune(file[0])) {
		return r.include(e, strings.Trim(file, iniSpace), depth)
	}
	switch {
	case line == "" || line[0] == '#' || line[0] == ';':
		return nil
	case line[0] == '[':
		name, rest, closed := strings.Cut(line[1:], "]")
		if !closed {
			return e.wrong("the name of a section ends with ]")
		}
		r.begin(e, name)
		return r.readLine(e, rest, depth)
	}
	return r.readEntry(e, line)
}

func (r *iniReader) include(e iniEntry, file string, depth int) error {
	if depth >= maxIncludes {
		return e.wrong("files include each other more than %d deep", maxIncludes)
	}
	if err := r.readFile(file, depth+1); err != nil {
		return fmt.Errorf("%s: %%include: %w", e.place(), err)
	}
	return nil
}

// begin enters a section. PgBouncer gives all settings of [pgbouncer] their defaults whenever it begins, so that of two
// such sections only the second counts (fill_defaults in cfparser.c).
func (r *iniReader) begin(e iniEntry, name string) {
	r.section = name
	if name != mainSection {
		return
	}
	var kept []iniEntry
	for _, old := range r.entries {
		if old.section == name {
			r.again = append(r.again, old)
		} else {
			kept = append(kept, old)
		}
	}
	r.entries = kept
}

func (r *iniReader) readEntry(e iniEntry, line string) error {
	key, rest, err := e.cutKey(line)
	if err != nil {
		return err
	}
	value, ok := strings.CutPrefix(strings.TrimLeft(rest, " \t"), "=")
	if key == "" || !ok {
		return e.wrong("want key = value")
	}
	if r.section == "" {
		return e.wrong("%s stands before the first [section]", key)
	}
	e.section, e.key, e.value = r.section, key, strings.Trim(value, iniSpace)
	r.entries = append(r.entries, e)
	return nil
}

// cutKey takes the key off a line. It is of letters, digits and _.-*; any other stands in quotes, double ones as in SQL or
// single ones.
func (e iniEntry) cutKey(line string) (key, rest string, err error) {
	switch line[0] {
	case '"':
		return e.cutQuoted(line[1:])
	case '\'':
		key, rest, closed := strings.Cut(line[1:], "'")
		if !closed {
			return "", "", e.wrong("the quote of the key is not closed")
		}
		return key, rest, nil
	}
	end := strings.IndexFunc(line, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("_.-*", c))
	})
	if end < 0 {
		return line, "", nil
	}
	return line[:end], line[end:], nil
}

// cutQuoted takes off an identifier behind its first quote; "" stands for one quote in it.
func (e iniEntry) cutQuoted(text string) (name, rest string, err error) {
	var out strings.Builder
	for {
		part, after, closed := strings.Cut(text, `"`)
		if !closed {
			return "", "", e.wrong("the quote of the key is not closed")
		}
		out.WriteString(part)
		if !strings.HasPrefix(after, `"`) {
			return out.String(), after, nil
		}
		out.WriteByte('"')
		text = after[1:]
	}
}

// wrong is a mistake in this line.
func (e iniEntry) wrong(format string, args ...any) error {
	return problems{{e.place(), fmt.Sprintf(format, args...)}}
}

// iniWord is one key=value of a connection string.
type iniWord struct{ key, value string }

// words reads the entry's value as a connection string: key=value pairs between spaces, the values perhaps in single
// quotes, with ” for one of them (cstr_get_pair in PgBouncer's loader.c). No error quotes it: there may be a password.
func (e iniEntry) words() ([]iniWord, error) {
	var all []iniWord
	for text := strings.TrimLeft(e.value, " "); text != ""; text = strings.TrimLeft(text, " ") {
		key, rest, found := strings.Cut(text, "=")
		key = strings.TrimRight(key, " ")
		if !found || key == "" || strings.Contains(key, " ") {
			return nil, e.wrong("%s: want key=value pairs with spaces between them", e.key)
		}
		value, rest, closed := cutValue(strings.TrimLeft(rest, " "))
		switch {
		case !closed:
			return nil, e.wrong("%s: the quote of %s is not closed", e.key, key)
		case value == "":
			return nil, e.wrong("%s: %s has no value", e.key, key)
		}
		all = append(all, iniWord{key, value})
		text = rest
	}
	return all, nil
}

// cutValue takes a value, quoted or not, off the text.
func cutValue(text string) (value, rest string, closed bool) {
	if !strings.HasPrefix(text, "'") {
		value, rest, _ = strings.Cut(text, " ")
		return value, rest, true
	}
	var out strings.Builder
	for text = text[1:]; ; text = text[1:] {
		part, after, found := strings.Cut(text, "'")
		if !found {
			return "", "", false
		}
		out.WriteString(part)
		if !strings.HasPrefix(after, "'") {
			return out.String(), after, true
		}
		out.WriteByte('\'')
		text = after
	}
}
