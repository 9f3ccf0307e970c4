package differential

import (
	"fmt"
	"strings"
)

// batches are one or several batches of the extended protocol, sent at once.
func (w *writer) batches() (all []message) {
	for range 1 + w.Intn(3)/2 + w.Intn(9)/8*w.Intn(6) {
		for range 1 + w.Intn(3) {
			all = append(all, w.messages()...)
		}
		all = append(all, sync)
		if w.one(20) {
			all = append(all, w.pickMessage(sync, query(w.texts()), flush, copyDone, copyData("late")))
		}
	}
	return all
}

func (w *writer) pickMessage(of ...message) message { return of[w.Intn(len(of))] }

// messages prepare, bind and execute a statement, or do a part of that.
func (w *writer) messages() (all []message) {
	name, portal := w.pick("", "", "s1", "s2", "s3", "q"), w.pick("", "", "", "p1", "p2", "c")
	p := w.parameterized()
	if w.Intn(3) > 0 {
		if w.one(6) {
			all = append(all, closing("S", name))
		}
		all = append(all, parse(name, p.text, p.types...))
		all = w.maybe(all, 2, describe("S", name))
	}
	switch {
	case w.one(12):
		return append(all, w.oddity())
	case w.one(8):
		return all
	}
	all = append(all, w.binding(portal, name, p))
	all = w.maybe(all, 2, describe("P", portal))
	all = append(all, execute(portal, []int{0, 0, 0, 2, 1}[w.Intn(5)]))
	all = w.maybe(all, 6, execute(portal, w.Intn(4)))
	all = w.maybe(all, 8, flush)
	all = w.maybe(all, 8, closing("S", name))
	return w.maybe(all, 8, closing("P", portal))
}

// maybe adds a message, once in n times.
func (w *writer) maybe(all []message, n int, m message) []message {
	if w.one(n) {
		return append(all, m)
	}
	return all
}

func (w *writer) binding(portal, name string, p parameterized) message {
	switch {
	case p.binary != nil && w.one(2):
		return bindAs(portal, name, 1, w.Intn(2), p.binary...)
	case w.one(4):
		return bindAs(portal, name, 0, 1, p.values...)
	case w.one(30):
		return bind(portal, name, append(p.values, "more")...)
	}
	return bind(portal, name, p.values...)
}

// oddity is a message that stands alone, or out of order.
func (w *writer) oddity() message {
	name := w.pick("s1", "s2", "q", "nosuch", "")
	portal := w.pick("p1", "p2", "c", "nosuch", "")
	switch w.Intn(8) {
	case 0:
		return closing("S", name)
	case 1:
		return closing("P", portal)
	case 2:
		return describe("S", name)
	case 3:
		return describe("P", portal)
	case 4:
		return execute(portal, w.Intn(3))
	case 5:
		return w.pickMessage(copyFail("what for"), copyDone, flush)
	case 6:
		return w.functionCall()
	}
	return bind(portal, name)
}

// functionCall calls functions of PostgreSQL's own by their oids.
func (w *writer) functionCall() message {
	object, key := int32s(w.key+1000), "\x00\x00\x00\x00"+int32s(w.key+w.Intn(3))
	switch w.Intn(12) {
	case 0:
		return call(177, 1, int32s(40), int32s(2)) // int4pl
	case 1:
		return call(2882, 1, key) // pg_try_advisory_lock
	case 2:
		return call(2884, 1, key) // pg_advisory_unlock
	case 3:
		return call(2892, 0) // pg_advisory_unlock_all
	case 4:
		return call(715, 1, object) // lo_create
	case 5:
		return call(952, 1, object, int32s(393216)) // lo_open
	case 6:
		return call(955, 1, int32s(0), "bytes") // lowrite
	case 7:
		return call(954, 1, int32s(0), int32s(3)) // loread
	case 8:
		return call(953, 0, "0") // lo_close
	case 9:
		return call(2078, 0, w.pick("work_mem", "app.user_id"), "21", w.pick("t", "f")) // set_config
	case 10:
		return call(154, 0, "0") // int4div without its other argument
	}
	return call(2077, 0, w.pick("work_mem", "app.tenant", "DateStyle")) // current_setting
}

// parameterized is a statement with parameters: their types, where it says so, and values.
type parameterized struct {
	text   string
	types  []int
	values []string
	binary []string
}

func (w *writer) parameterized() parameterized {
	if w.one(2) {
		return parameterized{text: w.text()}
	}
	id := w.Intn(22)
	key := "\x00\x00\x00\x00" + int32s(w.key)
	all := []parameterized{
		{"SELECT v FROM t WHERE id = $1", nil, []string{fmt.Sprint(id)}, []string{int32s(id)}},
		{"SELECT * FROM t WHERE id = $1", []int{23}, []string{fmt.Sprint(id)}, []string{int32s(id)}},
		{"SELECT pg_try_advisory_lock($1)", []int{20}, []string{fmt.Sprint(w.key)}, []string{key}},
		{"SELECT pg_advisory_lock($1::bigint)", nil, []string{fmt.Sprint(w.key + 1)}, []string{"\x00\x00\x00\x00" + int32s(w.key+1)}},
		{"SELECT pg_advisory_unlock($1)", []int{20}, []string{fmt.Sprint(w.key)}, []string{key}},
		{"SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", nil, []string{"name"}, nil},
		{"SELECT $1::text, $2::int + 1", nil, []string{"é'\\", "41"}, []string{"é'\\", int32s(41)}},
		{"SELECT $1, $2::date", []int{25, 0}, []string{null, "2024-02-03"}, nil},
		{"SELECT set_config('app.user_id', $1, false)", nil, []string{fmt.Sprint(w.Intn(9))}, nil},
		{"SELECT set_config($1, $2, $3::bool)", nil, []string{w.pick("work_mem", "app.user_id", "datestyle"), w.pick("22MB", "German"), w.pick("t", "f")}, nil},
		{"UPDATE t SET v = $1 WHERE id = $2 RETURNING *", nil, []string{"p", fmt.Sprint(id % 4)}, nil},
		{"INSERT INTO u (n) VALUES ($1) RETURNING id", nil, []string{"5"}, []string{int32s(5)}},
		{"SELECT generate_series(1, least($1, 50))", nil, []string{"6"}, []string{int32s(6)}},
		{"INSERT INTO t VALUES ($1, $2) ON CONFLICT DO NOTHING", nil, []string{fmt.Sprint(60 + id), "q"}, nil},
		{"SELECT 1 / $1", nil, []string{"0"}, []string{int32s(0)}},
		{"SELECT pg_notify('ch', $1)", nil, []string{"bound"}, nil},
		{"COPY t TO STDOUT", nil, nil, nil},
		{"SELECT nullif(current_setting($1, true), '')", nil, []string{w.pick("app.user_id", "work_mem", "DateStyle", "search_path", "TimeZone")}, nil},
		{"BEGIN", nil, nil, nil}, {"COMMIT", nil, nil, nil}, {"ROLLBACK", nil, nil, nil}, {"SELECT '2024-02-03'::date, now() IS NULL", nil, nil, nil},
	}
	return all[w.Intn(len(all))]
}

// copyIn is a COPY FROM STDIN with its data and its end. Before its first line and behind lines that are right, other
// messages may stand which the COPY ignores.
func (w *writer) copyIn() (all []message) {
	text := w.pick("COPY t FROM STDIN", "COPY t FROM STDIN", "COPY nosuch FROM STDIN", "COPY t (id) FROM STDIN", "COPY t FROM STDIN; SELECT 1", "BEGIN; COPY t FROM STDIN; COMMIT", "SELECT 1/0; COPY t FROM STDIN", "COPY t FROM STDIN; COPY t FROM STDIN")
	simple := w.one(2) || strings.Contains(text, ";")
	if simple {
		all = append(all, query(text))
	} else {
		all = append(all, parse("", text), bind("", ""), execute("", 0))
		all = w.maybe(all, 4, flush)
	}
	for range 1 + strings.Count(text, "; COPY") {
		if w.one(6) && !simple {
			all = append(all, w.pickMessage(sync, flush))
		}
		for range w.Intn(3) {
			all = append(all, copyData(fmt.Sprintf("%d\tc\n", 100+w.Intn(1000))))
		}
		all = w.maybe(all, 5, copyData(w.pick("bad line\n", "1\tdup\n", "half a line", "\\.\n")))
		all = append(all, w.pickMessage(copyDone, copyDone, copyDone, copyFail("no more")))
	}
	if !simple {
		all = append(all, sync)
	} else if w.one(8) {
		all = append(all, w.batches()...)
	}
	return all
}
