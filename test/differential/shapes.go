package differential

import (
	"fmt"
	"strings"
)

// shapes are batches in the rarer shapes that the protocol allows, and some that it does not.
func (w *writer) shapes() [][]message {
	many, list := make([]string, 120), make([]string, 120)
	for i := range many {
		many[i], list[i] = fmt.Sprint(i), fmt.Sprintf("$%d::int", i+1)
	}
	formats := func(portal, name string, in, out []int, params ...string) message {
		return frame('B', portal, "\x00", name, "\x00", int16s(append([]int{len(in)}, in...)...), values(params), int16s(append([]int{len(out)}, out...)...))
	}
	two := "SELECT $1::int, $2::text, '2024-02-03'::date"
	all := [][]message{
		{parse("", "SELECT "+strings.Join(list, "+")), describe("S", ""), bind("", "", many...), execute("", 0)},
		{parse("", "SELECT id FROM t WHERE id IN ("+strings.Join(list, ",")+") ORDER BY id"), bindAs("", "", 0, 1, many...), execute("", 3), execute("", 0)},
		{parse("s1", two), formats("", "s1", []int{1, 0}, []int{1, 0, 0}, int32s(5), "a"), describe("P", ""), execute("", 0)},
		{parse("s1", two), formats("", "s1", []int{0, 0, 0}, nil, "5", "a"), execute("", 0)},
		{parse("s1", two), formats("", "s1", nil, []int{1, 1}, "5", "a"), execute("", 0)},
		{parse("s1", two), formats("", "s1", []int{2}, nil, "5", "a"), execute("", 0)},
		{parse("s1", two, 20, 1043), describe("S", "s1"), bind("", "s1", null, null), execute("", 0)},
		{parse("s1", "SELECT $1 + 1", 16), describe("S", "s1")}, {parse("s1", "SELECT $1", 705), describe("S", "s1"), bind("", "s1", "x"), execute("", 0)}, {parse("s1", "SELECT $1", 99999999)}, {parse("s1", "SELECT 1", 23, 25), describe("S", "s1"), bind("", "s1", "1", "a"), execute("", 0)},
		{parse("s1", "SELECT $2::int", 0), describe("S", "s1")}, {parse("s1", "SELECT $1; SELECT $2")}, {parse("s1", "/* only a comment */"), bind("", "s1"), describe("P", ""), execute("", 0)}, {parse("s1", " ;"), describe("S", "s1"), bind("", "s1"), execute("", 0)},
		{parse("s1", "SELECT id FROM t ORDER BY id"), bind("p1", "s1"), execute("p1", 2), closing("S", "s1"), execute("p1", 2), describe("P", "p1"), bind("p1", "s1")}, {bind("p1", "s1"), bind("p1", "s1")}, {bind("p1", ""), execute("p1", -1)},
		{parse("", "UPDATE t SET v = 'r' WHERE id < 5 RETURNING id"), bind("p1", ""), execute("p1", 1), execute("p1", 1), execute("p1", 0)}, {parse("", "INSERT INTO u DEFAULT VALUES RETURNING n"), bindAs("", "", 0, 1), execute("", 1), execute("", 1)},
		{parse("", "WITH a AS (UPDATE t SET v = 'w' WHERE id = 2 RETURNING id) SELECT * FROM a"), bind("", ""), execute("", 1), closing("P", "")}, {parse("", "EXPLAIN (COSTS off) SELECT 1"), bind("p1", ""), execute("p1", 1), execute("p1", 1)}, {parse("", "SHOW work_mem"), bind("", ""), describe("P", ""), execute("", 1), execute("", 1)},
		{parse("", "FETCH 2 FROM c"), describe("S", ""), bind("", ""), execute("", 0)}, {parse("", "CALL commits('52MB')"), bind("", ""), execute("", 0)}, {parse("", "DO $$ BEGIN COMMIT; END $$"), bind("", ""), execute("", 0)}, {parse("", "VACUUM u"), bind("", ""), execute("", 0)}, {parse("", "BEGIN"), bind("", ""), execute("", 0), parse("", "SELECT 1/0"), bind("", ""), execute("", 0)},
		{parse("", "SET LOCAL work_mem = '53MB'"), bind("", ""), execute("", 0), parse("", "SHOW work_mem"), bind("", ""), execute("", 0)}, {parse("", "SAVEPOINT a"), bind("", ""), execute("", 0), parse("", "ROLLBACK TO a"), bind("", ""), execute("", 0)}, {parse("", "DISCARD ALL"), bind("", ""), execute("", 0), bind("", "s1"), execute("", 0)},
		{parse("", "PREPARE q AS SELECT 'q'"), bind("", ""), execute("", 0), parse("", "EXECUTE q"), describe("S", ""), bind("", ""), execute("", 0)}, {parse("", "DEALLOCATE s1"), bind("", ""), execute("", 0), bind("", "s1"), execute("", 0)}, {describe("S", "s1"), describe("P", ""), describe("P", "p1")}, {execute("p1", 0), execute("", 0)}, {closing("S", ""), bind("", ""), execute("", 0)}, {flush, flush}, {sync, sync}, {},
		{query("SELECT 1"), execute("", 0)}, {query("BEGIN"), parse("", "SELECT 1"), bind("", ""), execute("", 0)}, {query("")}, {parse("s1", w.text()), parse("s2", w.text()), describe("S", "s1"), bind("", "s1"), bind("p1", "s2"), execute("p1", 0), execute("", 0)},
	}
	var steps [][]message
	for range 2 + w.Intn(4) {
		var batch []message
		for range 1 + w.Intn(2) {
			batch = append(batch, all[w.Intn(len(all))]...)
		}
		steps = append(steps, append(batch, sync))
	}
	return append(steps, []message{query(w.pick("COMMIT", "ROLLBACK"))}, []message{closing("S", "s1"), closing("S", "s2"), sync})
}

// copies are COPYs in all formats, in batches and in strings of several statements, complete and not.
func (w *writer) copies() [][]message {
	ends := []message{copyDone, copyDone, copyFail("enough")}
	in := func(text string, data ...message) []message {
		all := []message{query(text)}
		if w.one(2) && !strings.Contains(text, ";") {
			all = append([]message{parse("", text), bind("", ""), execute("", 0)}, data...)
			return append(all, ends[w.Intn(3)], sync)
		}
		return append(append(all, data...), ends[w.Intn(3)])
	}
	out := func(text string) []message {
		if w.one(2) {
			return []message{query(text)}
		}
		return append(extendedOpen(text), w.pickMessage(sync, execute("", 0)), sync)
	}
	header := "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	all := []func() []message{
		func() []message { return out("COPY t TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE *)") }, func() []message {
			return out("COPY (SELECT id, v FROM t ORDER BY id LIMIT 2) TO STDOUT (FORMAT binary)")
		}, func() []message { return out("COPY t TO STDOUT (DELIMITER '|', NULL 'none')") },
		func() []message { return out("COPY (UPDATE t SET v = 'copied' WHERE id = 1 RETURNING id) TO STDOUT") }, func() []message { return out("COPY nosuch TO STDOUT") }, func() []message { return out("COPY (SELECT 1 / (id - 2) FROM t ORDER BY id) TO STDOUT") }, func() []message { return out("COPY (SELECT set_config('app.user_id', 'copied', false)) TO STDOUT") },
		func() []message { return out("COPY t FROM '/nosuch'") }, func() []message { return out("COPY setting_view TO STDOUT") }, func() []message { return out("COPY (SELECT * FROM setting_view) TO STDOUT") }, func() []message {
			return []message{query("COPY (SELECT 1) TO STDOUT; COPY (SELECT 2) TO STDOUT; SELECT 3")}
		},
		func() []message {
			return in("COPY t (id, v) FROM STDIN (FORMAT csv)", copyData("800,\"a,\nb\"\n80"), copyData("1,x\n"))
		},
		func() []message { return in("COPY t FROM STDIN WITH CSV HEADER", copyData("id,v\n802,y\n")) },
		func() []message {
			return in("COPY t (id) FROM STDIN (FORMAT binary)", copyData(header), copyData("\x00\x01"+int32s(4, 803)), copyData("\xff\xff"))
		},
		func() []message { return in("COPY t (id) FROM STDIN (FORMAT binary)", copyData("no header")) },
		func() []message { return in("COPY t FROM STDIN WHERE id > 805", copyData("804\tn\n806\ty\n\\.\n")) },
		func() []message {
			return in("COPY logged (what) FROM STDIN", copyData("a\nconfig\n"), copyData("late\n"))
		},
		func() []message { return in("COPY u (n) FROM STDIN", copyData("1\n2\n"), copyData("x\n")) },
		func() []message { return in("COPY kid FROM STDIN", copyData("999\n")) },
		func() []message { return in("COPY setting_view FROM STDIN", copyData("a\n")) },
		func() []message {
			return []message{query("BEGIN; COPY u (n) FROM STDIN; SELECT count(*) FROM u; COPY u (n) TO STDOUT; ROLLBACK"), copyData("5\n"), copyDone}
		},
		func() []message {
			return []message{query("COPY u (n) FROM STDIN; SELECT 1/0"), copyData("5\n"), copyDone}
		},
		func() []message { return []message{query("COPY t FROM STDIN"), query("SELECT 1")} },
	}
	steps := w.say(w.pick("SELECT 1", "BEGIN", "BEGIN READ ONLY"))
	for range 1 + w.Intn(4) {
		steps = append(steps, all[w.Intn(len(all))]())
	}
	return append(steps, w.say(w.pick("COMMIT", "ROLLBACK"), "SELECT count(*) FROM t WHERE id > 799", "SELECT nullif(current_setting('app.user_id', true), ''), current_setting('work_mem')")...)
}
