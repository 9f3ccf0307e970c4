package console

import (
	"context"
	"encoding/binary"
	"strconv"

	"github.com/lockproxy/lockproxy/protocol"
)

// extended is what a client has prepared by the extended protocol.
type extended struct {
	statements map[string]*prepared
	portals    map[string]*portal
}

// prepared is a statement: one command, or none.
type prepared struct {
	command *command
	meaning *meaning
}

// portal is a statement that is about to run, or has run.
type portal struct {
	*prepared
	binary []bool // the columns whose values come in binary form; nil: none do
	ran    bool
	rows   [][]any // those that were not sent yet
}

// maxPrepared bounds the statements that one client may have prepared, and its portals.
const maxPrepared = 64

// extend answers a message of the extended protocol.
func (s *Session) extend(ctx context.Context, kind byte, body []byte) error {
	name, rest, ok := protocol.CString(body)
	if !ok {
		return malformed()
	}
	switch kind {
	case protocol.Parse:
		return s.parse(string(name), rest)
	case protocol.Bind:
		return s.bind(string(name), rest)
	case protocol.Execute:
		return s.execute(ctx, string(name), rest)
	}
	if len(name) == 0 || len(rest) > 0 { // the name of a Describe or a Close has its kind before it
		return malformed()
	}
	if kind == protocol.Describe {
		return s.describe(name[0], string(name[1:]))
	}
	return s.close(name[0], string(name[1:]))
}

func (s *Session) parse(name string, rest []byte) error {
	text, types, ok := protocol.CString(rest)
	if !ok || len(types) < 2 || len(types) != 2+4*int(binary.BigEndian.Uint16(types)) {
		return malformed()
	}
	if len(types) > 2 {
		return noParameters()
	}
	if name != "" && s.statements[name] != nil {
		return &protocol.Error{Severity: "ERROR", Code: protocol.DuplicatePreparedStatement, Message: `prepared statement "` + name + `" already exists`}
	}
	if len(s.statements) >= maxPrepared {
		return tooMany("prepared statements")
	}
	p := &prepared{}
	switch all := commands(string(text)); {
	case len(all) > 1:
		return &protocol.Error{Severity: "ERROR", Code: protocol.SyntaxError, Message: "cannot insert multiple commands into a prepared statement"}
	case len(all) == 1:
		m, err := read(&all[0])
		if err != nil {
			return err
		}
		p.command, p.meaning = &all[0], m
	}
	if s.statements == nil {
		s.statements = make(map[string]*prepared)
	}
	s.statements[name] = p
	s.out = protocol.AppendParseComplete(s.out)
	return nil
}

func (s *Session) bind(name string, rest []byte) error {
	statement, rest, ok := protocol.CString(rest)
	if !ok {
		return malformed()
	}
	p := s.statements[string(statement)]
	if p == nil {
		return unknownStatement(string(statement))
	}
	_, rest, ok = formats(rest)
	if !ok || len(rest) < 2 {
		return malformed()
	}
	if binary.BigEndian.Uint16(rest) > 0 {
		return noParameters()
	}
	results, rest, ok := formats(rest[2:])
	if !ok || len(rest) > 0 {
		return malformed()
	}
	if len(s.portals) >= maxPrepared {
		return tooMany("portals")
	}
	if s.portals == nil {
		s.portals = make(map[string]*portal)
	}
	one := &portal{prepared: p}
	if n := len(p.columns()); n > 0 && len(results) > 0 {
		if len(results) != 1 && len(results) != n {
			return &protocol.Error{Severity: "ERROR", Code: protocol.ProtocolViolation,
				Message: "bind message has " + strconv.Itoa(len(results)) + " result formats but query has " + strconv.Itoa(n) + " columns"}
		}
		one.binary = make([]bool, n)
		for i := range one.binary {
			one.binary[i] = results[min(i, len(results)-1)]
		}
	}
	s.portals[name] = one
	s.out = protocol.AppendBindComplete(s.out)
	return nil
}

// formats reads a list of format codes: true is binary.
func formats(p []byte) (list []bool, rest []byte, ok bool) {
	if len(p) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(p))
	if p = p[2:]; len(p) < 2*n {
		return nil, nil, false
	}
	for i := range n {
		list = append(list, binary.BigEndian.Uint16(p[2*i:]) == 1)
	}
	return list, p[2*n:], true
}

func (p *prepared) columns() []column {
	if p.meaning == nil || p.meaning.shows == nil {
		return nil
	}
	return p.meaning.shows.columns
}

func (s *Session) describe(kind byte, name string) error {
	var p *prepared
	var binary []bool
	switch kind {
	case 'S':
		if p = s.statements[name]; p == nil {
			return unknownStatement(name)
		}
		s.out = appendNoParameters(s.out)
	case 'P':
		one := s.portals[name]
		if one == nil {
			return unknownPortal(name)
		}
		p, binary = one.prepared, one.binary
	default:
		return malformed()
	}
	if columns := p.columns(); columns != nil {
		s.out = appendDescription(s.out, columns, binary)
	} else {
		s.out = protocol.AppendNoData(s.out)
	}
	return nil
}

func (s *Session) execute(ctx context.Context, name string, rest []byte) error {
	if len(rest) != 4 {
		return malformed()
	}
	p := s.portals[name]
	if p == nil {
		return unknownPortal(name)
	}
	if p.command == nil {
		s.out = appendEmpty(s.out)
		return nil
	}
	if !p.ran {
		if s.unsent() {
			return tooMany("open portals")
		}
		rows, err := s.run(ctx, p.meaning, p.command)
		if err != nil {
			return err
		}
		p.ran, p.rows = true, rows
	}
	most := len(p.rows)
	if limit := binary.BigEndian.Uint32(rest); limit > 0 && limit < uint32(most) {
		most = int(limit)
	}
	for _, row := range p.rows[:most] {
		s.out = appendRow(s.out, p.columns(), p.binary, row)
	}
	if p.rows = p.rows[most:]; len(p.rows) > 0 {
		s.out = appendSuspended(s.out)
		return nil
	}
	s.out = protocol.AppendComplete(s.out, p.meaning.tag)
	return nil
}

// unsent tells whether a portal has rows that were not fetched yet: they are kept for one at a time.
func (s *Session) unsent() bool {
	for _, p := range s.portals {
		if len(p.rows) > 0 {
			return true
		}
	}
	return false
}

// close forgets a statement or a portal. One that is not there is no error.
func (s *Session) close(kind byte, name string) error {
	switch kind {
	case 'S':
		delete(s.statements, name)
	case 'P':
		delete(s.portals, name)
	default:
		return malformed()
	}
	s.out = protocol.AppendCloseComplete(s.out)
	return nil
}

func unknownStatement(name string) error {
	return &protocol.Error{Severity: "ERROR", Code: protocol.InvalidSQLStatementName, Message: `prepared statement "` + name + `" does not exist`}
}

func unknownPortal(name string) error {
	return &protocol.Error{Severity: "ERROR", Code: protocol.InvalidCursorName, Message: `portal "` + name + `" does not exist`}
}

func noParameters() error {
	return &protocol.Error{Severity: "ERROR", Code: protocol.FeatureNotSupported, Message: "commands of the console have no parameters"}
}

func tooMany(what string) error {
	return &protocol.Error{Severity: "ERROR", Code: protocol.ProgramLimitExceeded, Message: "too many " + what + " in one console"}
}
