package sim

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/lockproxy/lockproxy/protocol"
)

// What applications say. Statements are drawn with regard to what the application knows to be the state of its session;
// when it does not, because it did not wait for answers, they may fail, and the oracle knows how.

// idea is one statement that may be drawn.
type idea struct {
	weight int
	make   func(a *app) (text string, params []string)
}

func fixed(texts ...string) func(*app) (string, []string) {
	return func(a *app) (string, []string) { return texts[a.w.rng.Intn(len(texts))], nil }
}

// made gives an idea whose text has %s for something unique.
func made(format string) func(*app) (string, []string) {
	return func(a *app) (string, []string) { return strings.ReplaceAll(format, "%s", a.unique()), nil }
}

func keyed(formats ...string) func(*app) (string, []string) {
	return func(a *app) (string, []string) {
		return strings.ReplaceAll(formats[a.w.rng.Intn(len(formats))], "%k", a.key()), nil
	}
}

// key draws the key of a lock, out of few.
func (a *app) key() string { return a.w.plan.keys[a.w.rng.Intn(len(a.w.plan.keys))] }

// ordinary are statements that may stand anywhere.
var ordinary = []idea{
	{10, made("select '%s'")},
	{4, made("select '%s', current_setting('app.tenant'), current_setting('application_name')")},
	{4, func(a *app) (string, []string) { return "select $1", []string{a.unique()} }},
	{4, func(a *app) (string, []string) { return "insert into t values ($1)", []string{a.row()} }},
	{4, func(a *app) (string, []string) { return "insert into t values ('" + a.row() + "')", nil }},
	{2, fixed("select pg_backend_pid()")},
	{3, fixed("select 1", "SELECT 1;")},
	{1, made("select '%s', repeat('x', 3000)")},
	{1, made("select '%s', k from generate_series(1, 7) k")},
	{1, fixed("select boom()", "selec 1", "set work_mem = 'much'", "select 'a', boom()")},
	{2, fixed("show app.tenant", "show work_mem", "show search_path", "show timezone", "select current_setting('work_mem')")},
	{2, (*app).set},
	{2, fixed("select frozen()")},
	{1, fixed("select pg_sleep(1)", "select pg_sleep(3)")},
	{1, func(a *app) (string, []string) {
		if a.oracle.engine.standard[varLockTimeout].text == "0" {
			return "select 'no timeout of its own'", nil // and so the lock pool's, while it is there
		}
		return "show lock_timeout", nil
	}},
}

// locking are statements that take or release advisory locks.
var locking = []idea{
	{3, keyed("select pg_advisory_lock(%k)", "select pg_advisory_lock_shared(%k)", "SELECT pg_catalog.pg_advisory_lock(%k)")},
	{2, keyed("select pg_try_advisory_lock(%k)", "select pg_try_advisory_lock_shared(%k)")},
	{4, keyed("select pg_advisory_unlock(%k)", "select pg_advisory_unlock_shared(%k)")},
	{5, keyed("select pg_advisory_xact_lock(%k)", "select pg_advisory_xact_lock_shared(%k)")},
	{2, keyed("select pg_try_advisory_xact_lock(%k)", "select pg_try_advisory_xact_lock_shared(%k)")},
	{2, func(a *app) (string, []string) { return "select pg_advisory_xact_lock($1)", []string{a.key()} }},
	{1, func(a *app) (string, []string) { return "select pg_advisory_unlock($1)", []string{a.key()} }},
	{1, keyed("select 'x' where pg_try_advisory_lock(%k)", "select 'x', pg_advisory_lock(%k)", "select pg_advisory_lock(%k), boom()")},
	{1, keyed("do 'begin perform pg_advisory_lock(%k); end'", "select app.acquire(%k)")},
	{1, keyed("select pg_advisory_lock(k) from generate_series(1, 2) k", "select pg_advisory_unlock(k) from generate_series(1, 2) k")},
	{1, keyed("select pg_advisory_lock(null)", "select pg_advisory_lock(%k), pg_advisory_unlock(%k)")},
}

// alone are statements that stand for themselves, as simple queries.
var alone = []idea{
	{3, fixed("discard all", "select pg_advisory_unlock_all()")},
	{2, fixed("deallocate all", "deallocate s1", "deallocate s2")},
	{2, made("prepare s3 as select '%s'")},
	{2, fixed("execute s1", "execute s2", "execute s3")},
	{2, fixed("listen news", "unlisten *", "select listens()")},
	{2, fixed("", ";")},
	{1, keyed("set lock_timeout = '%k00ms'", "set idle_in_transaction_session_timeout = '20s'", "set lock_timeout = 0")},
}

// set draws a change of a setting.
func (a *app) set() (string, []string) {
	name := []string{"app.tenant", "application_name", "work_mem", "search_path", "timezone"}[a.w.rng.Intn(5)]
	value := a.unique()
	if name == "work_mem" {
		value = fmt.Sprint(1+a.w.rng.Intn(20), "MB")
	}
	switch a.w.rng.Intn(6) {
	case 0, 1:
		return "select set_config('" + name + "', '" + value + "', false)", nil
	case 2:
		if a.oracle.engine.tx == 'T' {
			return "set local " + name + " = '" + value + "'", nil
		}
	case 3:
		if v := variableOf(name); a.oracle.engine.standard[v].text == variables[v].standard {
			return "reset " + name, nil
		}
	}
	return "set " + name + " = '" + value + "'", nil
}

// row gives a row to insert, which the unit at hand will have inserted.
func (a *app) row() string {
	row := a.unique()
	a.w.drafted = append(a.w.drafted, row)
	return row
}

func (a *app) draw(ideas []idea) (string, []string) {
	sum := 0
	for i := range ideas {
		sum += ideas[i].weight
	}
	n := a.w.rng.Intn(sum)
	for i := range ideas {
		if n -= ideas[i].weight; n < 0 {
			return ideas[i].make(a)
		}
	}
	panic("unreachable")
}

// plain draws a statement for the inside of transactions.
func (a *app) plain() (string, []string) {
	if !a.works && a.w.chance(a.w.plan.locks) {
		return a.draw(locking)
	}
	return a.draw(ordinary)
}

// script makes the next unit.
func (a *app) script() *unitOfWork {
	a.w.drafted = nil
	u := a.anyUnit()
	u.rows = a.w.drafted
	return u
}

func (a *app) anyUnit() *unitOfWork {
	status := a.oracle.engine.tx
	n := a.w.rng.Intn(100)
	switch {
	case a.left == 0:
		return a.lastUnit()
	case status == 'E' && n < 60:
		return ending(a.w.one("rollback", "commit", "rollback to savepoint a", "abort"))
	case status == 'T' && n < 30:
		return ending(a.w.one("commit", "commit", "commit", "rollback", "end"))
	case status == 'T' && n < 36:
		return simple(a.w.one("savepoint a", "savepoint b", "rollback to savepoint a", "release savepoint b"))
	case status == 'I' && n < 25:
		return simple(a.w.one("begin", "begin", "BEGIN", "start transaction"))
	case n < 45:
		return a.several()
	case n < 52:
		text, params := a.draw(alone)
		if len(params) == 0 {
			return simple(text)
		}
	case n < 57:
		return a.copies()
	case n < 60 && !a.works:
		return a.calls()
	case n < 80:
		return a.batch()
	}
	text, params := a.plain()
	if len(params) > 0 {
		return a.batchOf(func(u *unitOfWork, p []byte) []byte { return a.runUnnamed(p, text, params) })
	}
	u := simple(text)
	if a.w.chance(10) { // within a batch, which it ends
		u.parts[0] = append(named(protocol.Close, 'S', a.w.one("s1", "s4", "")), u.parts[0]...)
	}
	return u
}

// lastUnit ends the script with nothing open.
func (a *app) lastUnit() *unitOfWork {
	if a.oracle.engine.tx != 'I' {
		return ending("rollback")
	}
	return simple("select '" + a.unique() + "'")
}

func simple(text string) *unitOfWork { return &unitOfWork{parts: [][]byte{queryMessage(text)}} }

func ending(text string) *unitOfWork {
	u := simple(text)
	u.ends = !strings.Contains(text, "savepoint")
	return u
}

// several makes a simple query of several statements.
func (a *app) several() *unitOfWork {
	var texts []string
	for range 1 + a.w.rng.Intn(3) {
		for {
			if text, params := a.plain(); len(params) == 0 {
				texts = append(texts, text)
				break
			}
		}
	}
	begin, end := "", ""
	switch a.w.rng.Intn(6) {
	case 0:
		begin, end = "begin;", "; commit"
	case 1:
		begin = "begin; "
	case 2:
		end = "; commit"
	}
	u := simple(begin + strings.Join(texts, "; ") + end)
	u.ends = begin+end != "" || len(texts) > 1
	return u
}

// calls makes a FunctionCall message.
func (a *app) calls() *unitOfWork {
	oid := uint32(oidLock)
	if a.w.chance(60) {
		oid = oidUnlock
	}
	b := binary.BigEndian.AppendUint32(nil, oid)
	b = append(b, 0, 1, 0, 1, 0, 1, 0, 0, 0, 8)
	b = binary.BigEndian.AppendUint64(b, uint64(1+a.w.rng.Intn(3)))
	return &unitOfWork{parts: [][]byte{message(protocol.FunctionCall, append(b, 0, 1))}}
}

// copies makes a COPY in one direction or the other.
func (a *app) copies() *unitOfWork {
	if a.w.chance(30) {
		return simple("copy (select '" + a.unique() + "' from generate_series(1, 9) k) to stdout")
	}
	var data []byte
	for range a.w.rng.Intn(4) {
		data = append(data, message(protocol.CopyData, []byte(a.row()+"\n"))...)
	}
	if a.w.chance(20) {
		data = append(data, message(protocol.CopyData, []byte("bad\nworse\n"))...)
	}
	if a.w.chance(80) {
		data = append(data, message(protocol.CopyDone, nil)...)
	} else {
		data = append(data, message(protocol.CopyFail, []byte("no more\x00"))...)
	}
	first := queryMessage("copy t from stdin")
	if a.w.chance(40) {
		first = append(parseMessage("", "copy t from stdin"), bindMessage("", "", nil, false)...)
		first = append(first, executeMessage("", 0)...)
		data = append(data, message(protocol.Sync, nil)...)
		if a.w.chance(50) { // as libpq does in its pipelines: the server ignores it
			first = append(first, message(protocol.Sync, nil)...)
		} else {
			first = append(first, message(protocol.Flush, nil)...)
		}
	}
	return &unitOfWork{parts: [][]byte{first, data}, after: "G", wants: 1}
}

// batch makes a batch of the extended protocol.
func (a *app) batch() *unitOfWork {
	if a.w.chance(8) {
		return &unitOfWork{parts: [][]byte{message(protocol.Sync, nil)}}
	}
	return a.batchOf(func(u *unitOfWork, p []byte) []byte {
		for range 1 + a.w.rng.Intn(3) {
			p = a.piece(u, p)
		}
		return p
	})
}

func (a *app) batchOf(fill func(u *unitOfWork, p []byte) []byte) *unitOfWork {
	u := &unitOfWork{}
	p := fill(u, nil)
	if a.w.chance(15) {
		// Flush, wait, and only then Sync.
		u.parts = [][]byte{append(p, message(protocol.Flush, nil)...), message(protocol.Sync, nil)}
		u.after, u.wants = "123nTCsI", count(p) // what each message is answered with at last
		return u
	}
	u.parts = [][]byte{append(p, message(protocol.Sync, nil)...)}
	return u
}

// count counts messages.
func count(p []byte) (n int) {
	for ; len(p) > 0; n++ {
		_, size := protocol.Head(p)
		p = p[size:]
	}
	return n
}

// piece adds a statement to a batch, in one of the ways in which drivers do.
func (a *app) piece(u *unitOfWork, p []byte) []byte {
	e := a.oracle.engine
	name := a.w.one("s1", "s2", "s1", "s2", "s4", "s5")
	switch n := a.w.rng.Intn(100); {
	case n < 30:
		text, params := a.plain()
		return a.runUnnamed(p, text, params)
	case n < 40:
		text := a.w.one("begin", "commit", "rollback", "begin")
		u.ends = u.ends || text != "begin"
		return a.runUnnamed(p, text, nil)
	case n < 47:
		return append(p, named(protocol.Close, 'S', name)...)
	case n < 50:
		return append(p, bindMessage("", a.w.one("", "none"), nil, false)...)
	case e.prepared[name] == nil || n < 55:
		text, params := a.plain()
		if len(params) == 0 && strings.HasPrefix(text, "insert") {
			text = "select 'once'" // such a row can be inserted only once
		}
		p = append(p, parseMessage(name, text)...)
		if a.w.chance(40) {
			p = append(p, named(protocol.Describe, 'S', name)...)
		}
		if a.w.chance(30) {
			return p // prepared, and not run
		}
		return a.run(p, name, params)
	}
	var params []string
	for range e.prepared[name].params {
		if text := e.prepared[name].st.text; strings.Contains(text, "lock") {
			params = append(params, a.key())
		} else {
			params = append(params, a.row())
		}
	}
	return a.run(p, name, params)
}

func (a *app) runUnnamed(p []byte, text string, params []string) []byte {
	p = append(p, parseMessage("", text)...)
	return a.run(p, "", params)
}

// run binds and executes a prepared statement.
func (a *app) run(p []byte, name string, params []string) []byte {
	portal := ""
	if a.w.chance(20) {
		portal = a.unique()
	}
	p = append(p, bindMessage(portal, name, params, a.w.chance(20))...)
	if a.w.chance(60) {
		p = append(p, named(protocol.Describe, 'P', portal)...)
	}
	if a.w.chance(15) {
		p = append(p, executeMessage(portal, 1+a.w.rng.Intn(3))...)
	}
	p = append(p, executeMessage(portal, 0)...)
	if portal != "" && a.w.chance(30) {
		p = append(p, named(protocol.Close, 'P', portal)...)
	}
	return p
}

func queryMessage(text string) []byte { return message(protocol.Query, []byte(text+"\x00")) }

func parseMessage(name, text string) []byte {
	return message(protocol.Parse, []byte(name+"\x00"+text+"\x00\x00\x00"))
}

func bindMessage(portal, name string, params []string, binaryResults bool) []byte {
	b := []byte(portal + "\x00" + name + "\x00\x00\x00")
	b = binary.BigEndian.AppendUint16(b, uint16(len(params)))
	for i := range params {
		b = field(b, &params[i])
	}
	if binaryResults {
		return message(protocol.Bind, append(b, 0, 1, 0, 1))
	}
	return message(protocol.Bind, append(b, 0, 0))
}

func executeMessage(portal string, limit int) []byte {
	return message(protocol.Execute, binary.BigEndian.AppendUint32([]byte(portal+"\x00"), uint32(limit)))
}

func named(kind, what byte, name string) []byte {
	return message(kind, []byte(string(what)+name+"\x00"))
}
