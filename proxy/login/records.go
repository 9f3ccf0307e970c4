package login

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The files that say who gets in have one form, that of tokenize_auth_file in src/backend/libpq/hba.c: a record a line,
// its fields apart by blanks, the words of a field by commas.

// record is one line. An error about it names file and line.
type record struct {
	place  string // "pg_hba.conf:3"
	fields []field
}

type field []word

// word is a word with its quotes taken off.
type word struct {
	text   string
	quoted bool // its first letter was in quotes: it is no keyword
}

// deepest is how many files may include one another.
const deepest = 10

// readRecords reads a file and those that it includes.
func readRecords(path string, depth int) (records []record, err error) {
	if depth > deepest {
		return nil, fmt.Errorf("%s: more than %d files include one another", path, deepest)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for _, l := range splitLines(string(text)) {
		r := record{place: fmt.Sprintf("%s:%d", path, l.number), fields: splitFields(l.text)}
		if len(r.fields) == 0 {
			continue
		}
		included, found, err := r.include(path, depth)
		if err == nil && !found {
			err = r.expand(path, depth)
			included = []record{r}
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.place, err)
		}
		records = append(records, included...)
	}
	return records, nil
}

// line is one line, those that a backslash continues being one.
type line struct {
	number int
	text   string
}

func splitLines(text string) (lines []line) {
	continued := false
	for i, one := range strings.Split(text, "\n") {
		one = strings.TrimSuffix(one, "\r")
		one, more := strings.CutSuffix(one, `\`)
		if continued {
			lines[len(lines)-1].text += one
		} else {
			lines = append(lines, line{i + 1, one})
		}
		continued = more
	}
	return lines
}

// splitFields takes a line apart, up to a comment: next_field_expand and next_token.
func splitFields(text string) (fields []field) {
	more := false // a comma came last: the next word is of the same field
	for {
		w, rest, found, comma := nextWord(text)
		if !found {
			return fields
		}
		if more {
			fields[len(fields)-1] = append(fields[len(fields)-1], w)
		} else {
			fields = append(fields, field{w})
		}
		text, more = rest, comma
	}
}

const blanks = " \t\r"

// nextWord reads one word; comma tells whether one ends it.
func nextWord(text string) (w word, rest string, found, comma bool) {
	text = strings.TrimLeft(text, blanks+",")
	var b strings.Builder
	inQuote, wasQuote, sawQuote := false, false, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case inQuote:
		case strings.IndexByte(blanks, c) >= 0:
			return word{b.String(), w.quoted}, text[i:], true, false
		case c == '#':
			return word{b.String(), w.quoted}, "", sawQuote || b.Len() > 0, false
		case c == ',':
			return word{b.String(), w.quoted}, text[i+1:], true, true
		}
		if c != '"' || wasQuote {
			b.WriteByte(c)
		}
		wasQuote = inQuote && c == '"' && !wasQuote // two quotes stand for one
		if c == '"' {
			inQuote, sawQuote = !inQuote, true
			w.quoted = w.quoted || b.Len() == 0
		}
	}
	return word{b.String(), w.quoted}, "", sawQuote || b.Len() > 0, false
}

// include reads the files that the record includes, if it is such a record.
func (r *record) include(path string, depth int) (records []record, found bool, err error) {
	const both = 2
	if len(r.fields) != both {
		return nil, false, nil
	}
	target := beside(path, r.fields[1][0].text)
	switch r.fields[0][0].text {
	case "include":
		records, err = readRecords(target, depth+1)
	case "include_if_exists":
		if records, err = readRecords(target, depth+1); errors.Is(err, fs.ErrNotExist) {
			records, err = nil, nil
		}
	case "include_dir":
		records, err = readFolder(target, depth)
	default:
		return nil, false, nil
	}
	return records, true, err
}

// readFolder reads the files of a folder that end in .conf, in the order of their names.
func readFolder(folder string, depth int) (records []record, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, e := range entries { // sorted
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") || !strings.HasSuffix(e.Name(), ".conf") {
			continue
		}
		more, err := readRecords(filepath.Join(folder, e.Name()), depth+1)
		if err != nil {
			return nil, err
		}
		records = append(records, more...)
	}
	return records, nil
}

// expand puts the words of a file in the place of "@file".
func (r *record) expand(path string, depth int) error {
	for i, f := range r.fields {
		for j := len(f) - 1; j >= 0; j-- {
			if w := f[j]; !w.quoted && len(w.text) > 1 && w.text[0] == '@' {
				words, err := readWords(beside(path, w.text[1:]), depth+1)
				if err != nil {
					return err
				}
				f = slices.Replace(f, j, j+1, words...)
			}
		}
		if r.fields[i] = f; len(f) == 0 {
			return errors.New("the file that a field names is empty")
		}
	}
	return nil
}

// readWords reads all words of a file, whatever its lines.
func readWords(path string, depth int) (words []word, err error) {
	records, err := readRecords(path, depth)
	for _, r := range records {
		for _, f := range r.fields {
			words = append(words, f...)
		}
	}
	return words, err
}

// beside gives a path that is relative to the folder of the file that names it.
func beside(file, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}
