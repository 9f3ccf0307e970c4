package sql

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Reader reads texts. It knows which functions take locks; it does not change after NewReader, and may be used by
// any number of goroutines at once.
type Reader struct {
	// users holds the user's own functions that matter, by name. Without a schema one may be in any.
	users  map[string][]Function
	wanted wanted
	unseen [UnseenAlways + 1]Function // what functions do together that are called without being named
	hidden bool                       // they do anything
	leaves bool                       // some function leaves anything behind
}

// Dialect is what of a session's settings changes how its text is read.
type Dialect struct {
	BackslashQuotes bool     // standard_conforming_strings is off
	Encoding        Encoding // of client_encoding
}

// NewReader gives a Reader that takes the named functions for lock functions, besides PostgreSQL's own, and knows what was
// found out of others. A name may have its schema before it, and folds unless it is quoted, as in SQL: "acquire",
// "app.acquire", `"App".acquire`. The error names the entry that is not such a name.
func NewReader(locks []string, found ...Function) (*Reader, error) {
	r := &Reader{users: make(map[string][]Function)}
	for name := range lockFunctions {
		r.want(name)
	}
	for name := range touchingFunctions {
		r.want(name)
	}
	for name := range touchingNames {
		r.want(name)
	}
	for name, texts := range textsOf {
		r.add(Function{Schema: "pg_catalog", Name: name, Texts: texts})
	}
	r.want("set_config")
	r.want("into")
	r.want("default")
	r.want("pg_settings")
	for _, name := range []string{"pg_temp", "pg_temp_1", "pg_temp_12", "pg_temp_123", "pg_temp_1234", "pg_temp_12345"} {
		r.want(name)
	}
	for _, entry := range locks {
		schema, name, ok := parseFunction(entry)
		if !ok {
			return nil, fmt.Errorf("%q is not the name of a function: want name or schema.name", entry)
		}
		r.add(Function{Schema: schema, Name: name, Locks: true})
	}
	for _, f := range found {
		if !f.Matters() && lockFunctions[f.Name] == 0 { // one that has the name of PostgreSQL's own may be called in its place
			continue
		}
		if f.Name != "" {
			r.add(f)
		}
		r.calledUnseen(&f)
	}
	return r, nil
}

func (r *Reader) add(f Function) {
	r.users[f.Name] = append(r.users[f.Name], f)
	r.want(f.Name)
}

// calledUnseen notes what a function does when nothing names it. Its locks are the transaction's or are asked for, since a
// lock pool for all that writes would be none.
func (r *Reader) calledUnseen(f *Function) {
	r.leaves = r.leaves || f.Leaves()
	if all := &r.unseen[f.Unseen]; f.Unseen != UnseenNever {
		if all.Touches |= f.Touches; f.Unseen == UnseenAlways {
			all.Touches &^= TouchAdvance // whoever asks for a number asks for that of a row it has written
		}
		all.Settings = append(all.Settings, f.Settings...)
		slices.Sort(all.Settings)
		all.Settings = slices.Compact(all.Settings)
		r.hidden = r.hidden || all.Touches != 0 || len(all.Settings) > 0
	}
}

// want makes the name worth a look. It may be written longer than it is: with doubled quotes, or before it is cut.
func (r *Reader) want(name string) {
	written := len(name) + strings.Count(name, `"`)
	bits := uint64(1) << min(written, nameSize)
	if len(name) > nameSize-utf8.UTFMax {
		bits |= 1 << nameSize
	}
	r.wanted[name[0]] |= bits
	if c := name[0]; c >= 'a' && c <= 'z' {
		r.wanted[c-0x20] |= bits
	}
}

// parseFunction takes name or schema.name apart.
func parseFunction(entry string) (schema, name string, ok bool) {
	var l lexer
	l.begin([]byte(entry), Dialect{})
	var parts [2]string
	for n := 0; ; n++ {
		if !l.next() || n == len(parts) || l.tok.kind != word && l.tok.kind != quoted {
			return "", "", false
		}
		var b nameBuffer
		if parts[n] = string(l.name(l.tok, &b)); parts[n] == "" {
			return "", "", false
		}
		if !l.next() {
			if n == 0 {
				return "", parts[0], true
			}
			return parts[0], parts[1], true
		}
		if !l.at(l.tok, '.') {
			return "", "", false
		}
	}
}

// Read reads a text, without its terminating zero byte. Any bytes will do. It keeps nothing of text, and allocates
// only for a text that changes settings, uses SQL-level prepared statements, holds a DO block, or is in an
// encoding that is not Plain.
func (r *Reader) Read(text []byte, d Dialect) Unit {
	var s scan
	s.reader = r
	s.lexer.begin(text, d)
	for s.statement() {
	}
	s.finish()
	return s.unit
}

// FirstWord gives the first word of a text, after white space and comments, as it is written; nil if the text begins
// with something else. It is a part of text.
func FirstWord(text []byte) []byte {
	var l lexer
	l.begin(text, Dialect{})
	for l.next() && l.at(l.tok, ';') {
	}
	if l.tok.kind != word {
		return nil
	}
	return text[l.tok.start:l.tok.end]
}
