package sim

import (
	"time"

	"github.com/lockproxy/lockproxy/protocol"
)

// engine is one PostgreSQL server session as an automaton: messages in, answers out. Scripted servers run one each;
// every scripted application has another, which says what a direct connection would have answered (oracle).
//
// What it says follows postgres.c, xact.c and the manual, "Message Flow".
type engine struct {
	hooks
	in   []byte // sent to it and not yet read
	over bool   // it has read a Terminate message

	tx        byte // 'I', 'T' or 'E': of the transaction block
	open      bool // a transaction is open, in a block or not
	start     snapshot
	saved     []savepoint
	rows      []string // written by the transaction
	set, base values   // in effect; and without what SET LOCAL did
	standard  values   // what RESET gives
	told      values   // by ParameterStatus
	locks     lockBook
	listening bool
	listens   int8 // at commit: 1 begins, -1 ends

	prepared map[string]*prepared
	unnamed  *prepared
	portals  map[string]*portal
	skipping bool // up to Sync, after an error

	todo     []*statement // of the simple query under way
	inString bool
	several  bool // it has several statements
	running  *execution
	copyIn   *execution // it takes COPY data
	function bool       // what runs was asked for by FunctionCall

	sleeping time.Time // the time until which the statement under way sleeps
	waiting  *lock     // that it waits for
	since    time.Time // when the wait began
}

func (p *prepared) zoneOf() string {
	if p == nil {
		return ""
	}
	return p.zone
}

// hooks are an engine's surroundings.
type hooks struct {
	now     func() time.Time
	emit    func(frame []byte)
	free    func(l lock, try bool) bool // whether nobody else's lock excludes it
	fault   func(at moment) *protocol.Error
	publish func(rows []string) // a transaction committed
	pid     func() string
	version func() string                 // of the functions
	frozen  func(then, now string) string // what a text meant then, when it was prepared
	parsed  func() bool                   // whether a Parse is answered well in a failed transaction
	strange func(what string)             // it does not understand
}

// moment says where an engine asks whether something goes wrong.
type moment uint8

const (
	atMessage moment = iota
	atSync
	atStatement
	atRow
	atWait
	atCopy
)

// snapshot is what a rollback restores.
type snapshot struct {
	set, base values
	rows      int
	locks     int
	listens   int8
}

type savepoint struct {
	name string
	snapshot
}

// prepared is a prepared statement; st is nil for an empty text.
type prepared struct {
	st     *statement
	params int
	zone   string // the time zone of then: constants of the text were read with it
}

// portal is a prepared statement with its parameters, and how far it ran.
type portal struct {
	prepared *prepared
	params   []*string
	binary   bool
	running  *execution
	done     bool
}

func newEngine(h hooks, standard values) *engine {
	return &engine{
		hooks: h, tx: 'I', set: standard, base: standard, standard: standard, told: standard,
		prepared: map[string]*prepared{}, portals: map[string]*portal{},
	}
}

// step does the next piece of work; false: there is none until a message comes, or what it waits for.
func (e *engine) step() bool {
	switch {
	case e.over:
		return false
	case e.running != nil:
		return e.goOn()
	case e.inString && e.copyIn == nil:
		e.nextStatement()
		return true
	}
	return e.nextMessage()
}

// busy tells whether it is in the middle of something.
func (e *engine) busy() bool { return e.running != nil || e.inString || e.copyIn != nil }

// idle tells whether it has answered all it was sent.
func (e *engine) idle() bool { return !e.busy() && len(e.in) == 0 && !e.skipping }

func (e *engine) nextMessage() bool {
	if len(e.in) < protocol.HeadSize {
		return false
	}
	kind, size := protocol.Head(e.in)
	if size > len(e.in) {
		return false
	}
	body := e.in[protocol.HeadSize:size]
	e.in = e.in[size:]
	e.message(kind, body)
	return true
}

// message takes one message.
func (e *engine) message(kind byte, body []byte) {
	switch {
	case kind == protocol.Terminate:
		e.over = true
		return
	case e.copyIn != nil:
		e.copyMessage(kind, body)
		return
	case kind == protocol.Sync:
		e.sync()
		return
	case e.skipping || kind == protocol.Flush || kind == protocol.CopyData || kind == protocol.CopyDone || kind == protocol.CopyFail:
		return
	}
	if err := e.fault(atMessage); err != nil {
		if e.inString = kind == protocol.Query; e.inString {
			e.unnamed = nil
		}
		e.function = kind == protocol.FunctionCall
		e.fail(err)
		return
	}
	switch kind {
	case protocol.Query:
		e.query(text(body))
	case protocol.Parse:
		e.parse(body)
	case protocol.Bind:
		e.bind(body)
	case protocol.Describe:
		e.describe(body[0], text(body[1:]))
	case protocol.Execute:
		e.execute(body)
	case protocol.Close:
		e.close(body[0], text(body[1:]))
	case protocol.FunctionCall:
		e.functionCall(body)
	default:
		e.strange("message " + string(kind))
	}
}

// fail reports an error: the transaction block has failed, or what was open without one is undone.
func (e *engine) fail(err *protocol.Error) {
	e.emit(protocol.AppendError(nil, err))
	inString, function := e.inString, e.function
	e.todo, e.inString, e.running, e.copyIn, e.function = nil, false, nil, nil, false
	e.waiting, e.sleeping = nil, time.Time{}
	e.abort()
	if inString || function {
		e.ready()
		return
	}
	e.skipping = true
}

// ready ends the answer to a Query, a Sync or a FunctionCall.
func (e *engine) ready() {
	for i := range variables {
		if v := &variables[i]; v.spelled != "" && e.told[i].text != e.set[i].text {
			e.told[i] = e.set[i]
			e.emit(protocol.AppendParameterStatus(nil, v.spelled, e.set[i].text))
		}
	}
	e.emit(protocol.AppendReady(nil, e.tx))
}

// query takes a simple query.
func (e *engine) query(text string) {
	e.unnamed = nil
	delete(e.portals, "")
	e.inString = true
	list, ok := e.understand(text)
	if !ok {
		e.fail(syntaxError())
		return
	}
	e.todo, e.several = list, len(list) > 1
	if len(list) == 0 {
		e.emit([]byte{protocol.EmptyQueryResponse, 0, 0, 0, 4})
		return // what follows is as for any string
	}
}

func (e *engine) understand(text string) ([]*statement, bool) {
	list, ok, unknown := understand(text)
	if unknown != "" {
		e.strange("statement " + unknown)
	}
	return list, ok
}

func syntaxError() *protocol.Error {
	return &protocol.Error{Severity: "ERROR", Code: protocol.SyntaxError, Message: "syntax error"}
}

// nextStatement begins the next statement of a simple query, or ends the query.
func (e *engine) nextStatement() {
	if len(e.todo) == 0 {
		if err := e.fault(atSync); err != nil {
			e.fail(err)
			return
		}
		e.inString = false
		if e.tx == 'I' {
			e.commit()
		}
		e.ready()
		return
	}
	st := e.todo[0]
	e.todo = e.todo[1:]
	if e.tx == 'E' && !st.exits() {
		e.fail(aborted())
		return
	}
	zone := e.set[varZone].text
	if st.verb == vExecute {
		if zone, st = e.prepared[st.name].zoneOf(), e.executed(st.name); st == nil {
			return
		}
	}
	e.begin()
	e.running = &execution{st: st, describe: true, zone: zone}
}

// executed finds the statement of an EXECUTE, which never gives parameters; nil: it fails.
func (e *engine) executed(name string) *statement {
	switch p := e.prepared[name]; {
	case p == nil:
		e.fail(noStatement(name))
	case p.params > 0:
		e.fail(&protocol.Error{Severity: "ERROR", Code: protocol.SyntaxError, Message: "wrong number of parameters"})
	case p.st == nil:
		e.strange("EXECUTE of an empty statement")
	default:
		return p.st
	}
	return nil
}

func aborted() *protocol.Error {
	return &protocol.Error{Severity: "ERROR", Code: protocol.InFailedSQLTransaction,
		Message: "current transaction is aborted, commands ignored until end of transaction block"}
}

func noStatement(name string) *protocol.Error {
	message := `prepared statement "` + name + `" does not exist`
	if name == "" {
		message = "unnamed prepared statement does not exist"
	}
	return &protocol.Error{Severity: "ERROR", Code: protocol.InvalidSQLStatementName, Message: message}
}

// goOn runs the statement under way until it ends, fails or waits.
func (e *engine) goOn() bool {
	at := atStatement
	if e.waiting != nil || !e.sleeping.IsZero() {
		at = atWait
	}
	x := e.running
	if err := e.fault(at); err != nil {
		e.fail(err)
		return true
	}
	end, err := x.run(e)
	switch {
	case err != nil:
		e.fail(err)
	case end == waits:
		return false
	case end == copies:
		e.copyIn, e.running = x, nil
	default:
		e.running = nil
		if e.function {
			e.functionDone(x)
		}
		if x.portal != nil {
			x.portal.done = end == completes
		}
	}
	return true
}

// begin opens a transaction if there is none.
func (e *engine) begin() {
	if !e.open {
		e.open = true
		e.start = e.snapshot()
	}
}

func (e *engine) snapshot() snapshot {
	return snapshot{e.set, e.base, len(e.rows), len(e.locks.taken), e.listens}
}

func (e *engine) restore(s *snapshot) {
	e.set, e.base, e.listens = s.set, s.base, s.listens
	e.rows = e.rows[:s.rows]
	e.locks.releaseTo(s.locks)
}

// commit ends the transaction.
func (e *engine) commit() {
	if !e.open {
		return
	}
	rows := e.rows
	if e.listens != 0 {
		e.listening = e.listens > 0
	}
	e.set = e.base
	e.end()
	if len(rows) > 0 {
		e.publish(rows)
	}
}

// rollBack undoes the transaction and ends it.
func (e *engine) rollBack() {
	if e.open {
		e.restore(&e.start)
		e.end()
	}
}

func (e *engine) end() {
	e.locks.releaseTo(0)
	e.tx, e.open, e.rows, e.saved, e.listens = 'I', false, nil, nil, 0
	clear(e.portals)
}

// abort takes an error: a block goes on as a failed one, and all since the last savepoint is undone at once
// (xact.c, AbortCurrentTransaction).
func (e *engine) abort() {
	switch {
	case e.tx == 'T':
		last := &e.start
		if n := len(e.saved); n > 0 {
			last = &e.saved[n-1].snapshot
		}
		e.restore(last)
		e.tx = 'E'
		clear(e.portals)
	case e.tx == 'I':
		e.rollBack()
	}
}

func text(body []byte) string {
	s, _, _ := protocol.CString(body)
	return string(s)
}
