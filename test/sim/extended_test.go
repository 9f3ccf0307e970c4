package sim

import (
	"encoding/binary"
	"strconv"

	"github.com/lockproxy/lockproxy/protocol"
)

// The extended protocol of an engine (manual, "Extended Query"; postgres.c, exec_parse_message and what follows it).

func (e *engine) sync() {
	if err := e.fault(atSync); err != nil {
		e.emit(protocol.AppendError(nil, err))
		e.abort()
	}
	e.skipping = false
	if e.tx == 'I' {
		e.commit()
	}
	e.ready()
}

func (e *engine) parse(body []byte) {
	name := text(body)
	query := text(body[len(name)+1:])
	if name == "" {
		e.unnamed = nil
	}
	list, ok := e.understand(query)
	switch {
	case !ok:
		e.fail(syntaxError())
		return
	case len(list) > 1:
		e.fail(&protocol.Error{Severity: "ERROR", Code: protocol.SyntaxError,
			Message: "cannot insert multiple commands into a prepared statement"})
		return
	}
	p := &prepared{zone: e.set[varZone].text}
	if len(list) == 1 {
		p.st, p.params = list[0], list[0].params
	}
	switch {
	case e.tx == 'E' && p.st != nil && !p.st.exits() && (name == "" || !e.parsed()):
		e.fail(aborted())
		return
	case name != "" && e.prepared[name] != nil:
		e.fail(&protocol.Error{Severity: "ERROR", Code: protocol.DuplicatePreparedStatement,
			Message: `prepared statement "` + name + `" already exists`})
		return
	}
	e.begin()
	if name == "" {
		e.unnamed = p
	} else {
		e.prepared[name] = p
	}
	e.emit(protocol.AppendParseComplete(nil))
}

func (e *engine) lookup(name string) *prepared {
	if name == "" {
		return e.unnamed
	}
	return e.prepared[name]
}

func (e *engine) bind(body []byte) {
	to := text(body)
	body = body[len(to)+1:]
	name := text(body)
	p := &portal{prepared: e.lookup(name)}
	p.params, p.binary = bindValues(body[len(name)+1:])
	switch st := p.prepared; {
	case st == nil:
		e.fail(noStatement(name))
		return
	case len(p.params) != st.params:
		e.fail(&protocol.Error{Severity: "ERROR", Code: protocol.ProtocolViolation, Message: "bind message supplies " +
			strconv.Itoa(len(p.params)) + " parameters, but prepared statement requires " + strconv.Itoa(st.params)})
		return
	case e.tx == 'E' && st.st != nil && !st.st.exits():
		e.fail(aborted())
		return
	case to != "" && e.portals[to] != nil:
		e.fail(&protocol.Error{Severity: "ERROR", Code: "42P03", Message: `cursor "` + to + `" already exists`})
		return
	}
	e.begin()
	e.portals[to] = p
	e.emit(protocol.AppendBindComplete(nil))
}

// bindValues reads a Bind message behind its names: the parameters, in text, and whether results are to be binary.
func bindValues(p []byte) (params []*string, binaryResults bool) {
	next := func() int {
		n := int(binary.BigEndian.Uint16(p))
		p = p[2:]
		return n
	}
	for n := next(); n > 0; n-- {
		next()
	}
	for n := next(); n > 0; n-- {
		size := int32(binary.BigEndian.Uint32(p))
		p = p[4:]
		if size < 0 {
			params = append(params, nil)
			continue
		}
		value := string(p[:size])
		params, p = append(params, &value), p[size:]
	}
	for n := next(); n > 0; n-- {
		binaryResults = next() == 1
	}
	return params, binaryResults
}

func (e *engine) describe(what byte, name string) {
	var p *prepared
	if what == 'S' {
		if p = e.lookup(name); p == nil {
			e.fail(noStatement(name))
			return
		}
	} else if o := e.portals[name]; o != nil {
		p = o.prepared
	} else {
		e.fail(noPortal(name))
		return
	}
	rows := p.st != nil && p.st.hasRows()
	if e.tx == 'E' && rows {
		e.fail(aborted())
		return
	}
	e.begin()
	if what == 'S' {
		body := binary.BigEndian.AppendUint16(nil, uint16(p.params))
		for range p.params {
			body = binary.BigEndian.AppendUint32(body, 25)
		}
		e.emit(message(protocol.ParameterDescription, body))
		if err := e.fault(atRow); err != nil {
			e.fail(err)
			return
		}
	}
	if !rows {
		e.emit(protocol.AppendNoData(nil))
		return
	}
	e.emit(rowDescription(p.st))
}

func noPortal(name string) *protocol.Error {
	return &protocol.Error{Severity: "ERROR", Code: protocol.InvalidCursorName, Message: `portal "` + name + `" does not exist`}
}

func (e *engine) execute(body []byte) {
	name := text(body)
	limit := int(binary.BigEndian.Uint32(body[len(name)+1:]))
	p := e.portals[name]
	switch {
	case p == nil:
		e.fail(noPortal(name))
		return
	case p.prepared.st == nil:
		e.emit([]byte{protocol.EmptyQueryResponse, 0, 0, 0, 4})
		return
	case e.tx == 'E' && !p.prepared.st.exits():
		e.fail(aborted())
		return
	case p.done && !p.prepared.st.hasRows():
		e.fail(&protocol.Error{Severity: "ERROR", Code: protocol.ObjectNotInPrerequisiteState,
			Message: `portal "` + name + `" cannot be run`})
		return
	}
	e.begin()
	if p.running == nil {
		st, zone := p.prepared.st, p.prepared.zone
		if st.verb == vExecute {
			if zone, st = e.prepared[st.name].zoneOf(), e.executed(st.name); st == nil {
				return
			}
		}
		p.running = &execution{st: st, params: p.params, binary: p.binary, portal: p, zone: zone}
	}
	e.several = false
	p.running.limit, p.running.sent = limit, 0
	e.running = p.running
}

func (e *engine) close(what byte, name string) {
	e.begin()
	switch {
	case what == 'P':
		delete(e.portals, name)
	case name == "":
		e.unnamed = nil
	default:
		delete(e.prepared, name)
	}
	e.emit(protocol.AppendCloseComplete(nil))
}

// functionCall takes a FunctionCall message (manual, "Function Call").
func (e *engine) functionCall(body []byte) {
	e.function = true
	if e.tx == 'E' {
		e.fail(aborted())
		return
	}
	oid := binary.BigEndian.Uint32(body)
	key := strconv.FormatUint(binary.BigEndian.Uint64(body[12:]), 10)
	name := map[uint32]string{oidLock: "pg_advisory_lock", oidUnlock: "pg_advisory_unlock"}[oid]
	e.begin()
	e.running = &execution{st: &statement{verb: vSelect, rows: 1, columns: []call{{name, []operand{{text: key}}}}},
		binary: true, silent: true}
}

// The oids of pg_advisory_lock(bigint) and pg_advisory_unlock(bigint) (pg_proc.dat).
const (
	oidLock   = 2880
	oidUnlock = 2884
)

func (e *engine) functionDone(x *execution) {
	e.function = false
	e.emit(message(protocol.FunctionCallResponse, field(nil, x.last[0])))
	if err := e.fault(atSync); err != nil {
		e.function = true
		e.fail(err)
		return
	}
	if e.tx == 'I' {
		e.commit()
	}
	e.ready()
}

// field writes a length and bytes; nil is NULL.
func field(dst []byte, value *string) []byte {
	if value == nil {
		return binary.BigEndian.AppendUint32(dst, 1<<32-1)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(*value)))
	return append(dst, *value...)
}

// message writes a message.
func message(kind byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(body))), body...)
}
