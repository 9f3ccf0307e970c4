package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// entry is a table or a value of a configuration file.
type entry struct {
	path  toml.Key
	value any // As package toml gives values; a map[string]any is a table.
	line  int // Counted from 1; 0 where the file does not name the table itself; byOperator.
}

// byOperator is the line of what is in no file.
const byOperator = -1

func (e entry) isTable() bool {
	_, ok := e.value.(map[string]any)
	return ok
}

// readDocument lists everything in a TOML text in the order of its lines, a table before what is in it.
func readDocument(text string) ([]entry, error) {
	var root map[string]toml.Primitive
	meta, err := toml.Decode(text, &root)
	if err != nil {
		return nil, err
	}
	entries, err := walk(&meta, nil, root)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return a.line - b.line })
	return entries, nil
}

func walk(meta *toml.MetaData, above toml.Key, table map[string]toml.Primitive) ([]entry, error) {
	var entries []entry
	for name, primitive := range table {
		e := entry{path: append(slices.Clone(above), name)}
		var err error
		if e.value, e.line, err = probe(meta, primitive); err != nil {
			return nil, err
		}
		if !e.isTable() {
			entries = append(entries, e)
			continue
		}
		var inner map[string]toml.Primitive
		if err := meta.PrimitiveDecode(primitive, &inner); err != nil {
			return nil, err
		}
		below, err := walk(meta, e.path, inner)
		if err != nil {
			return nil, err
		}
		entries = append(append(entries, atFirstLine(e, below)), below...)
	}
	return entries, nil
}

// atFirstLine moves a table without a line of its own (a in [a.b]), or one that is opened again below its first use, to
// the first line of what is in it.
func atFirstLine(table entry, below []entry) entry {
	for _, e := range below {
		if e.line > 0 && (table.line == 0 || e.line < table.line) {
			table.line = e.line
		}
	}
	return table
}

// errProbed makes package toml tell where a value stands: it gives positions of errors only.
var errProbed = errors.New("probed")

type probed struct{ value any }

// UnmarshalTOML implements toml.Unmarshaler.
func (p *probed) UnmarshalTOML(value any) error {
	p.value = value
	return errProbed
}

func probe(meta *toml.MetaData, primitive toml.Primitive) (value any, line int, err error) {
	var p probed
	err = meta.PrimitiveDecode(primitive, &p)
	var at toml.ParseError
	if !errors.As(err, &at) {
		return nil, 0, fmt.Errorf("a value without a position: %w", err)
	}
	return p.value, at.Position.Line, nil
}

// mistakenLine is where a text is no TOML. Package toml counts the line's end among what it has read when it finds that
// something is missing, and so names the next line, or, where the end is \r\n, the one before. Its offset is right, but for a
// byte that may stand nowhere: there the line is.
func mistakenLine(text string, at toml.ParseError) int {
	if strings.HasPrefix(at.Message, "TOML files cannot contain") || strings.HasPrefix(at.Message, "invalid UTF-8") {
		return at.Position.Line
	}
	text = strings.TrimPrefix(text, "\ufeff") // package toml does not count it
	last := at.Position.Start + at.Position.Len - 1
	return 1 + strings.Count(text[:max(0, min(last, len(text)))], "\n")
}
