package sim

import (
	"encoding/binary"
	"strconv"
	"strings"
	"time"

	"github.com/lockproxy/lockproxy/protocol"
)

// execution is a statement that runs, and how far it has come: it may wait for locks and for COPY data.
type execution struct {
	st       *statement
	params   []*string
	binary   bool
	describe bool // rows are described before they come: a simple query
	silent   bool // nothing is shown: a function call
	portal   *portal
	zone     string // when its text was read
	limit    int    // rows at a time; 0: all

	started bool
	passed  bool // the row at hand meets the WHERE
	row     int
	cells   []*string
	last    []*string // the latest row
	sent    int
	copied  []string
	tail    []byte // of a COPY line that is not all here
}

// outcome is how far an execution came.
type outcome uint8

const (
	completes outcome = iota
	suspends          // its limit of rows is reached
	waits
	copies // it takes COPY data
)

// run goes on until the end, an error, or a wait.
func (x *execution) run(e *engine) (outcome, *protocol.Error) {
	switch x.st.verb {
	case vSelect, vDo, vCopyOut:
		return x.selects(e)
	case vCopyIn:
		e.emit(message(protocol.CopyInResponse, []byte{0, 0, 1, 0, 0}))
		return copies, nil
	}
	tag, err := x.command(e)
	if err != nil {
		return completes, err
	}
	e.emit(protocol.AppendComplete(nil, tag))
	return completes, nil
}

// selects goes through the rows of a SELECT, a DO or a COPY TO.
func (x *execution) selects(e *engine) (outcome, *protocol.Error) {
	if !x.started {
		x.started = true
		switch {
		case x.st.verb == vCopyOut:
			e.emit(message(protocol.CopyOutResponse, []byte{0, 0, 1, 0, 0}))
		case x.describe && x.st.verb == vSelect:
			e.emit(rowDescription(x.st))
		}
	}
	for ; x.row < x.st.rows; x.row++ {
		if err := e.fault(atRow); err != nil {
			return completes, err
		}
		if x.limit > 0 && x.sent == x.limit {
			e.emit([]byte{protocol.PortalSuspended, 0, 0, 0, 4})
			return suspends, nil
		}
		end, show, err := x.oneRow(e)
		if err != nil || end == waits {
			return end, err
		}
		if show {
			x.show(e)
		}
		x.cells, x.passed = nil, false
	}
	if err := e.fault(atRow); err != nil {
		return completes, err
	}
	switch {
	case x.silent:
	case x.limit > 0 && x.sent == x.limit:
		e.emit([]byte{protocol.PortalSuspended, 0, 0, 0, 4})
		return suspends, nil
	case x.st.verb == vDo:
		e.emit(protocol.AppendComplete(nil, "DO"))
	case x.st.verb == vCopyOut:
		e.emit(message(protocol.CopyDone, nil))
		if err := e.fault(atRow); err != nil {
			return completes, err
		}
		e.emit(protocol.AppendComplete(nil, "COPY "+strconv.Itoa(x.sent)))
	default:
		e.emit(protocol.AppendComplete(nil, "SELECT "+strconv.Itoa(x.sent)))
	}
	return completes, nil
}

// oneRow evaluates the row at hand.
func (x *execution) oneRow(e *engine) (end outcome, show bool, err *protocol.Error) {
	if x.st.where != nil && !x.passed {
		v, end, err := x.evaluate(e, x.st.where)
		if err != nil || end == waits {
			return end, false, err
		}
		if v == nil || *v != "t" {
			return completes, false, nil
		}
		x.passed = true
	}
	for len(x.cells) < len(x.st.columns) {
		c := &x.st.columns[len(x.cells)]
		v, end, err := x.evaluate(e, c)
		if err != nil || end == waits {
			return end, false, err
		}
		if x.binary && v != nil && boolean(c) {
			b := map[string]string{"t": "\x01", "f": "\x00"}[*v]
			v = &b
		}
		x.cells = append(x.cells, v)
	}
	x.last = x.cells
	return completes, true, nil
}

func boolean(c *call) bool {
	f, is := lockFunctions[c.fn]
	return is && (f.try || f.release)
}

// show sends the row at hand.
func (x *execution) show(e *engine) {
	x.sent++
	switch {
	case x.silent || x.st.verb == vDo:
	case x.st.verb == vCopyOut:
		e.emit(message(protocol.CopyData, []byte(*x.cells[0]+"\n")))
	default:
		body := binary.BigEndian.AppendUint16(nil, uint16(len(x.cells)))
		for _, v := range x.cells {
			body = field(body, v)
		}
		e.emit(message(protocol.DataRow, body))
	}
}

func rowDescription(st *statement) []byte {
	n := max(1, len(st.columns))
	body := binary.BigEndian.AppendUint16(nil, uint16(n))
	for i := range n {
		oid := uint32(25)
		if i < len(st.columns) && boolean(&st.columns[i]) {
			oid = 16
		}
		body = append(body, "?column?\x00\x00\x00\x00\x00\x00\x00"...)
		body = binary.BigEndian.AppendUint32(body, oid)
		body = append(body, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0)
	}
	return message(protocol.RowDescription, body)
}

func (x *execution) value(o *operand) *string {
	switch {
	case o.null:
		return nil
	case o.param > 0:
		return x.params[o.param-1]
	case o.row:
		s := strconv.Itoa(x.row + 1)
		return &s
	}
	return &o.text
}

// evaluate calls a function. All of them are strict.
func (x *execution) evaluate(e *engine, c *call) (*string, outcome, *protocol.Error) {
	args := make([]string, len(c.args))
	for i := range c.args {
		v := x.value(&c.args[i])
		if v == nil {
			return nil, completes, nil
		}
		args[i] = *v
	}
	if c.fn == "" {
		return &args[0], completes, nil
	}
	if f, is := lockFunctions[c.fn]; is {
		return x.lock(e, f, lock{strings.Join(args, ","), f.shared})
	}
	result := ""
	switch c.fn {
	case "pg_advisory_unlock_all":
		e.locks.unlockAll()
	case "pg_backend_pid":
		result = e.pid()
	case "frozen": // stands for a constant such as a timestamptz: read once, in the time zone of then
		result = e.frozen(x.zone, e.set[varZone].text)
	case "pg_sleep":
		return x.sleep(e, args[0])
	case "boom":
		return nil, completes, &protocol.Error{Severity: "ERROR", Code: "22012", Message: "division by zero"}
	case "int4in":
		return nil, completes, &protocol.Error{Severity: "ERROR", Code: "22P02", Message: `invalid input syntax for type integer: "` + args[0] + `"`}
	case "repeat":
		n, _ := strconv.Atoi(args[1])
		result = strings.Repeat(args[0], n)
	case "listens":
		result = strconv.FormatBool(e.listening)
	case "current_setting":
		id := variableOf(args[0])
		if id < 0 {
			e.strange("setting " + args[0])
			return nil, completes, nil
		}
		result = e.set[id].text
	case "set_config":
		if err := e.assign(args[0], args[1], args[2] == "t" || args[2] == "true"); err != nil {
			return nil, completes, err
		}
		result = e.set[max(0, variableOf(args[0]))].text
	default:
		e.strange("function " + c.fn)
	}
	return &result, completes, nil
}

// lock calls one of the lock functions.
func (x *execution) lock(e *engine, f lockFunction, l lock) (*string, outcome, *protocol.Error) {
	yes, no, void := "t", "f", ""
	switch {
	case f.release:
		if e.locks.unlock(l) {
			return &yes, completes, nil
		}
		e.emit(protocol.AppendError(nil, notOwned(l)))
		return &no, completes, e.fault(atRow)
	case !e.free(l, f.try) && f.try:
		return &no, completes, nil
	case !f.try && !e.free(l, false):
		if e.waiting == nil {
			e.waiting, e.since = &l, e.now()
		}
		return nil, waits, nil
	}
	e.waiting = nil
	e.locks.takes(l, f.session)
	if f.try {
		return &yes, completes, nil
	}
	return &void, completes, nil
}

func (x *execution) sleep(e *engine, seconds string) (*string, outcome, *protocol.Error) {
	void := ""
	if e.sleeping.IsZero() {
		n, _ := strconv.Atoi(seconds)
		e.sleeping = e.now().Add(time.Duration(n) * time.Second)
	}
	if e.now().Before(e.sleeping) {
		return nil, waits, nil
	}
	e.sleeping = time.Time{}
	return &void, completes, nil
}

// copyMessage takes a message while COPY data is awaited (copyfromparse.c, CopyGetData).
func (e *engine) copyMessage(kind byte, body []byte) {
	x := e.copyIn
	if kind == protocol.Sync || kind == protocol.Flush {
		// Ignored; but an error that nothing else is sent before must have come before this Sync.
		if len(e.in) == 0 && kind == protocol.Sync {
			if err := e.fault(atSync); err != nil {
				e.fail(err)
				e.sync()
			}
		}
		return
	}
	if err := e.fault(atCopy); err != nil {
		e.fail(err)
		return
	}
	switch kind {
	case protocol.CopyData:
		x.tail = append(x.tail, body...)
		for {
			line, rest, found := strings.Cut(string(x.tail), "\n")
			if !found {
				return
			}
			if x.tail = []byte(rest); line == "bad" {
				e.fail(&protocol.Error{Severity: "ERROR", Code: "22P04", Message: "missing data for column"})
				return
			}
			x.copied = append(x.copied, line)
		}
	case protocol.CopyDone:
		e.rows = append(e.rows, x.copied...)
		e.copyIn = nil
		if x.portal != nil {
			x.portal.done = true
		}
		e.emit(protocol.AppendComplete(nil, "COPY "+strconv.Itoa(len(x.copied))))
	case protocol.CopyFail:
		e.fail(&protocol.Error{Severity: "ERROR", Code: protocol.QueryCanceled, Message: copyFailed + text(body)})
	default:
		// The message's end is lost, and so is the connection (copyfromparse.c, CopyGetData; postgres.c, PostgresMain).
		e.fail(&protocol.Error{Severity: "ERROR", Code: protocol.ProtocolViolation, Message: "unexpected message type during COPY from stdin"})
		e.emit(protocol.AppendError(nil, protocol.Fatal(protocol.ProtocolViolation,
			"terminating connection because protocol synchronization was lost")))
		e.over = true
	}
}

const copyFailed = "COPY from stdin failed: "
