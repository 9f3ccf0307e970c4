package sim

import (
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/lockproxy/lockproxy/protocol"
)

// command runs what is neither a SELECT nor a COPY and gives its tag.
func (x *execution) command(e *engine) (tag string, err *protocol.Error) {
	st := x.st
	switch st.verb {
	case vInsert:
		e.rows = append(e.rows, *x.value(&st.value))
		return "INSERT 0 1", nil
	case vBegin, vCommit, vRollback, vSavepoint, vRollbackTo, vReleaseSavepoint:
		return x.transaction(e)
	case vSet:
		if st.local && e.tx == 'I' && !e.several {
			e.warn("25P01", "SET LOCAL can only be used in transaction blocks")
			if err := e.fault(atRow); err != nil {
				return "", err
			}
		}
		if st.reset {
			return tagOfSet(st), e.reset(st.name, st.local)
		}
		return tagOfSet(st), e.assign(st.name, *x.value(&st.value), st.local)
	case vResetAll:
		e.set, e.base = e.standard, e.standard
		return "RESET", nil
	case vDiscardAll:
		return "DISCARD ALL", e.discardAll()
	case vListen:
		e.listens = 1
		return "LISTEN", nil
	case vUnlisten:
		e.listens = -1
		return "UNLISTEN", nil
	case vPrepare, vDeallocate, vDeallocateAll:
		return x.prepares(e)
	default:
		return x.asks(e)
	}
}

func tagOfSet(st *statement) string {
	if st.reset && st.text != "" && (st.text[0]|0x20) == 'r' {
		return "RESET"
	}
	return "SET"
}

func (e *engine) warn(code, text string) {
	e.emit(protocol.AppendError(nil, &protocol.Error{Severity: "WARNING", Code: code, Message: text}))
}

// transaction runs a statement that begins, ends or divides a transaction (xact.c).
func (x *execution) transaction(e *engine) (tag string, err *protocol.Error) {
	st := x.st
	block := e.tx != 'I'
	switch st.verb {
	case vBegin:
		if block {
			e.warn(protocol.ActiveSQLTransaction, "there is already a transaction in progress")
			if err := e.fault(atRow); err != nil {
				return "", err
			}
		}
		e.tx = 'T'
		return beginTag(st.text), nil
	case vCommit, vRollback:
		if !block {
			e.warn(protocol.NoActiveSQLTransaction, "there is no transaction in progress")
			if err := e.fault(atRow); err != nil {
				return "", err
			}
		}
		if st.verb == vRollback || e.tx == 'E' {
			e.rollBack()
			return "ROLLBACK", nil
		}
		e.commit()
		return "COMMIT", nil
	}
	name := map[verb]string{vSavepoint: "SAVEPOINT", vRollbackTo: "ROLLBACK TO SAVEPOINT", vReleaseSavepoint: "RELEASE SAVEPOINT"}
	if !block {
		return "", &protocol.Error{Severity: "ERROR", Code: protocol.NoActiveSQLTransaction,
			Message: name[st.verb] + " can only be used in transaction blocks"}
	}
	if st.verb == vSavepoint {
		e.saved = append(e.saved, savepoint{st.name, e.snapshot()})
		return "SAVEPOINT", nil
	}
	at := e.savedAt(st.name)
	if at < 0 {
		return "", &protocol.Error{Severity: "ERROR", Code: noSavepoint, Message: `savepoint "` + st.name + `" does not exist`}
	}
	if st.verb == vReleaseSavepoint {
		e.saved = e.saved[:at]
		return "RELEASE", nil
	}
	e.restore(&e.saved[at].snapshot)
	e.saved = e.saved[:at+1]
	e.tx = 'T'
	clear(e.portals)
	return "ROLLBACK", nil
}

// savedAt gives the place of the latest savepoint of a name; -1: there is none.
func (e *engine) savedAt(name string) int {
	at := len(e.saved) - 1
	for at >= 0 && e.saved[at].name != name {
		at--
	}
	return at
}

// beginTag gives the tag of BEGIN or START TRANSACTION; a text may hold either, not both.
func beginTag(text string) string {
	if len(text) > 0 && text[0]|0x20 == 's' && text[1]|0x20 == 't' {
		return "START TRANSACTION"
	}
	return "BEGIN"
}

// assign sets a setting.
func (e *engine) assign(name, text string, local bool) *protocol.Error {
	id := variableOf(name)
	if id < 0 {
		e.strange("setting " + name)
		return nil
	}
	text, err := canonical(id, text)
	if err != nil {
		return err
	}
	e.put(id, value{text, true}, local)
	return nil
}

func (e *engine) put(id int, v value, local bool) {
	e.set[id] = v
	if !local {
		e.base[id] = v
	}
}

func (e *engine) reset(name string, local bool) *protocol.Error {
	id := variableOf(name)
	if id < 0 {
		e.strange("setting " + name)
		return nil
	}
	e.put(id, e.standard[id], local)
	return nil
}

func (e *engine) discardAll() *protocol.Error {
	if e.tx != 'I' || e.several {
		return &protocol.Error{Severity: "ERROR", Code: protocol.ActiveSQLTransaction,
			Message: "DISCARD ALL cannot run inside a transaction block"}
	}
	e.set, e.base = e.standard, e.standard
	e.start.set, e.start.base = e.standard, e.standard
	e.locks.unlockAll()
	e.listening, e.listens = false, 0
	e.unnamed = nil
	clear(e.prepared)
	clear(e.portals)
	return nil
}

// prepares runs PREPARE and DEALLOCATE.
func (x *execution) prepares(e *engine) (tag string, err *protocol.Error) {
	st := x.st
	switch {
	case st.verb == vDeallocateAll:
		clear(e.prepared)
		return "DEALLOCATE ALL", nil
	case st.verb == vDeallocate && e.prepared[st.name] == nil:
		return "", noStatement(st.name)
	case st.verb == vDeallocate:
		delete(e.prepared, st.name)
		return "DEALLOCATE", nil
	case e.prepared[st.name] != nil:
		return "", &protocol.Error{Severity: "ERROR", Code: protocol.DuplicatePreparedStatement,
			Message: `prepared statement "` + st.name + `" already exists`}
	}
	e.prepared[st.name] = &prepared{st: st.inner, params: st.inner.params, zone: e.set[varZone].text}
	return "PREPARE", nil
}

// asks answers SHOW and the sessions' questions.
func (x *execution) asks(e *engine) (tag string, err *protocol.Error) {
	var rows [][]*string
	yes := func(s string) *string { return &s }
	switch x.st.verb {
	case vShow:
		id := variableOf(x.st.name)
		if id < 0 {
			e.strange("setting " + x.st.name)
			id = 0
		}
		rows = append(rows, []*string{yes(e.set[id].text)})
	case vAskLocks:
		rows = append(rows, []*string{yes("l"), yes(strconv.Itoa(len(e.locks.holds))), nil})
	case vAskSettings:
		for i := range variables {
			if e.set[i].own && !custom(i) {
				rows = append(rows, []*string{yes("s"), yes(variables[i].name), yes(inBaseUnit(i, e.set[i].text))})
			}
		}
	case vAskSetting:
		row := []*string{yes("s"), yes(x.st.name), nil}
		if id := variableOf(x.st.name); id >= 0 && e.set[id].own && !custom(id) {
			row[2] = yes(inBaseUnit(id, e.set[id].text))
		}
		rows = append(rows, row)
	case vAskCurrent:
		row := []*string{yes("s"), yes(x.st.name), nil}
		if id := variableOf(x.st.name); id >= 0 {
			row[2] = yes(e.set[id].text)
		}
		rows = append(rows, row)
	case vAskActing: // nobody is anybody else here
		rows = append(rows, []*string{yes("s"), yes(x.st.name), nil})
	case vAskVersion:
		rows = append(rows, []*string{yes("f"), yes(e.version()), nil})
	case vAskPins:
		channels := map[bool]string{true: "1", false: "0"}[e.listening]
		rows = append(rows, []*string{yes("p"), yes("0"), yes(channels + " 0")})
	case vAskNames: // what was prepared where no text showed it, which nothing here does, would need its text
		for _, name := range slices.Sorted(maps.Keys(e.prepared)) {
			if name != "" && !strings.HasPrefix(name, "lockproxy_") {
				rows = append(rows, []*string{yes("n"), yes(name), yes("")})
			}
		}
	case vAskElevated: // no function here has its owner's rights
		rows = append(rows, []*string{yes("e"), yes("0"), nil})
	case vAskShared:
		shared := " "
		for name := range e.prepared {
			if number, ours := strings.CutPrefix(name, "lockproxy_"); ours && number != "" && number[0] >= '0' && number[0] <= '9' {
				shared += name + " "
			}
		}
		rows = append(rows, []*string{yes("o"), yes(shared), nil})
	default:
		e.strange("statement " + x.st.text)
	}
	if x.describe {
		e.emit(rowDescription(x.st))
	}
	if err := e.fault(atRow); err != nil {
		return "", err
	}
	for _, row := range rows {
		body := binary.BigEndian.AppendUint16(nil, uint16(len(row)))
		for _, v := range row {
			body = field(body, v)
		}
		e.emit(message(protocol.DataRow, body))
	}
	if err := e.fault(atRow); err != nil {
		return "", err
	}
	if x.st.verb == vShow {
		return "SHOW", nil
	}
	return "SELECT " + strconv.Itoa(len(rows)), nil
}
