package differential

import "fmt"

// scenarios are steps that belong together, between which other clients may speak.
func (w *writer) scenario() [][]message {
	all := []func() [][]message{w.portals, w.unnamedAcross, w.pipeline, w.changedResult, w.copyInPieces, w.savedSettings, w.cursorWithHold, w.lockAndRelease, w.listens,
		w.twoPhase, w.sameNames, w.temporaryLife, w.flushed, w.errorInside, w.largeObject, w.mixed, w.rolesLife, w.policies, w.deferred, w.application, w.application, w.cursorsLife, w.portalsOfSQL,
		w.encodings, w.savedLocks, w.shapes, w.copies}
	return all[w.Intn(len(all))]()
}

func (w *writer) say(texts ...string) (steps [][]message) {
	for _, text := range texts {
		steps = append(steps, []message{query(text)})
	}
	return steps
}

// extended is a statement in a batch of its own.
func extended(text string) []message { return append(extendedOpen(text), sync) }

// extendedOpen is a statement in a batch that goes on.
func extendedOpen(text string) []message {
	return []message{parse("", text), bind("", ""), describe("P", ""), execute("", 0)}
}

// portals are fetched from by turns, over several batches of a transaction.
func (w *writer) portals() [][]message {
	steps := [][]message{{query(w.pick("BEGIN", "BEGIN", "BEGIN READ ONLY", "SELECT 1"))}, {parse("s1", "SELECT generate_series(1, least($1, 50))", 23), bind("p1", "s1", "9"), execute("p1", 3), sync}}
	steps = append(steps, []message{bind("p2", "s1", "5"), execute("p2", 2), w.pickMessage(sync, sync, flush)}, []message{execute("p1", 2), execute("p2", 0), sync})
	if w.one(2) {
		steps = append(steps, []message{query(w.setting())})
	}
	return append(steps, []message{describe("P", "p1"), execute("p1", 0), closing("P", "p2"), w.pickMessage(sync, execute("p2", 0)), sync}, []message{query(w.pick("COMMIT", "ROLLBACK"))}, []message{execute("p1", 1), sync})
}

// unnamedAcross parses the unnamed statement in one batch and binds it in the next, as lib/pq does.
func (w *writer) unnamedAcross() [][]message {
	p := w.parameterized()
	steps := [][]message{{parse("", p.text, p.types...), describe("S", ""), sync}}
	if w.one(4) {
		steps = append(steps, []message{query(w.text())})
	}
	return append(steps, []message{bind("", "", p.values...), execute("", 0), sync}, []message{bind("", "", p.values...), describe("P", ""), execute("", 1), sync})
}

// pipeline has BEGIN and COMMIT in batches that are sent without waiting.
func (w *writer) pipeline() [][]message {
	var all []message
	for range 1 + w.Intn(3) {
		all = append(all, extended("BEGIN")...)
		for range w.Intn(4) {
			all = append(all, w.messages()...)
			all = w.maybe(all, 2, sync)
		}
		if w.one(3) {
			all = append(all, query(w.texts()))
		}
		all = append(all, extended(w.pick("COMMIT", "COMMIT", "ROLLBACK"))...)
	}
	return [][]message{all}
}

// changedResult changes the table below a prepared statement.
func (w *writer) changedResult() [][]message {
	steps := [][]message{{parse("s2", "SELECT * FROM t WHERE id = $1"), describe("S", "s2"), bind("", "s2", "1"), execute("", 0), sync}}
	if w.one(2) {
		steps = w.say("PREPARE q AS SELECT * FROM t WHERE id = 1", "EXECUTE q")
	}
	steps = append(steps, w.say(w.definition())...)
	use := [][]message{{bind("", "s2", "2"), describe("P", ""), execute("", 0), sync}, {query("EXECUTE q")}, {describe("S", "s2"), sync}}
	steps = append(steps, use[w.Intn(3)], use[w.Intn(3)])
	return append(steps, []message{closing("S", "s2"), parse("s2", "SELECT * FROM t WHERE id = $1"), bind("", "s2", "3"), describe("P", ""), execute("", 0), sync})
}

// copyInPieces sends a COPY's data in several steps.
func (w *writer) copyInPieces() [][]message {
	begin := []message{query(w.pick("COPY t (id) FROM STDIN", "BEGIN; COPY t (id) FROM STDIN"))}
	if w.one(2) {
		begin = []message{parse("", "COPY t (id) FROM STDIN"), bind("", ""), execute("", 0), w.pickMessage(sync, flush)}
	}
	steps := [][]message{begin, {copyData(fmt.Sprintf("%d\n", 2000+w.Intn(1000)))}}
	if w.one(3) {
		steps = append(steps, []message{w.pickMessage(sync, flush, copyData("8"))})
	}
	end := []message{w.pickMessage(copyDone, copyDone, copyFail("left"), query("SELECT 1"), parse("", "SELECT 1"))}
	return append(steps, append(end, sync), []message{query("SELECT count(*) FROM t")}, []message{query(w.pick("COMMIT", "ROLLBACK"))})
}

// savedSettings sets between savepoints.
func (w *writer) savedSettings() [][]message {
	return w.say("BEGIN", w.setting(), "SAVEPOINT a", w.setting(), w.pick("ROLLBACK TO a", "RELEASE a", "SELECT 1/0"), w.setting(), w.pick("ROLLBACK TO a", "SHOW work_mem", "SAVEPOINT b"), w.pick("COMMIT", "ROLLBACK", "COMMIT AND CHAIN"),
		"SELECT current_setting('work_mem'), nullif(current_setting('app.user_id', true), ''), current_setting('DateStyle'), current_setting('search_path'), '2024-02-03'::date")
}

func (w *writer) cursorWithHold() [][]message {
	return w.say("BEGIN", "DECLARE h CURSOR WITH HOLD FOR SELECT generate_series(1, 10)", w.pick("FETCH 2 FROM h", "SELECT 1"), w.pick("COMMIT", "COMMIT", "ROLLBACK"), "FETCH 3 FROM h", w.pick("MOVE 2 IN h", "FETCH ALL FROM h"), w.pick("CLOSE h", "CLOSE ALL", "DISCARD ALL", "FETCH 1 FROM h"), "FETCH 1 FROM h")
}

// lockAndRelease may wait for another client, or have one wait.
func (w *writer) lockAndRelease() [][]message {
	k := w.key + w.Intn(2)
	shared := w.pick("", "", "_shared")
	take, give := fmt.Sprintf("SELECT pg_advisory_lock%s(%d)", shared, k), fmt.Sprintf("SELECT pg_advisory_unlock%s(%d)", shared, k)
	if w.one(2) {
		take, give = fmt.Sprintf("SELECT pg_advisory_xact_lock%s(%d)", shared, k), w.pick("COMMIT", "ROLLBACK")
		return w.say("BEGIN", w.text(), take, w.ordinary(), give)
	}
	if w.one(2) {
		return [][]message{extended(take), {query(w.text())}, extended(give)}
	}
	return w.say(take, w.text(), w.pick(take, w.setting()), give, w.pick(give, "SELECT pg_advisory_unlock_all()"))
}

func (w *writer) listens() [][]message {
	return w.say(w.pick("LISTEN ch", "BEGIN; LISTEN ch; COMMIT"), w.ordinary(), w.pick("NOTIFY ch, 'mine'", "SELECT pg_notify('ch', 'mine')", "BEGIN; NOTIFY ch, 'late'; SELECT 1; COMMIT"), w.text(), w.pick("UNLISTEN ch", "UNLISTEN *", "DISCARD ALL"), "SELECT 1")
}

func (w *writer) twoPhase() [][]message {
	gid := fmt.Sprintf("'g%d'", w.key)
	return w.say("BEGIN", w.pick("INSERT INTO u DEFAULT VALUES", w.setting(), "SELECT 1"), w.pick("SELECT 1", w.lock()), "PREPARE TRANSACTION "+gid, w.setting(), "SELECT count(*) FROM pg_prepared_xacts WHERE gid = "+gid, w.pick("COMMIT PREPARED ", "ROLLBACK PREPARED ")+gid)
}

// sameNames uses one name for statements of the protocol's and of SQL's.
func (w *writer) sameNames() [][]message {
	name := w.pick("s1", "s2", "q")
	use := [][]message{{query("EXECUTE " + name)}, {query("DEALLOCATE " + name)}, {bind("", name), execute("", 0), sync}, {closing("S", name), sync}, {query("PREPARE " + name + " AS SELECT 'sql'")}, {parse(name, "SELECT 'protocol'"), sync},
		{describe("S", name), sync}, {query("DEALLOCATE ALL")}, {query("BEGIN")}, {query("ROLLBACK")}, {parse("", "EXECUTE "+name), bind("", ""), describe("P", ""), execute("", 0), sync}, {parse(name, "SELECT 'second'"), bind("", name), execute("", 0), sync},
		{query("SELECT name, from_sql FROM pg_prepared_statements WHERE name !~ '^lockproxy' ORDER BY 1")}}
	var steps [][]message
	for range 3 + w.Intn(6) {
		steps = append(steps, use[w.Intn(len(use)-1)])
	}
	return steps
}

func (w *writer) temporaryLife() [][]message {
	return w.say(w.pick("BEGIN", "SELECT 1"), w.temporary(), w.temporary(), w.temporary(), w.pick("COMMIT", "ROLLBACK"), w.temporary(), w.pick("DROP TABLE tmp", "DISCARD TEMP", "DISCARD ALL"), w.temporary())
}

// flushed asks for answers without a Sync.
func (w *writer) flushed() [][]message {
	p := w.parameterized()
	return [][]message{{parse("s3", p.text, p.types...), describe("S", "s3"), flush}, {bind("p1", "s3", p.values...), flush}, {execute("p1", 1), flush}, {execute("p1", 0), w.pickMessage(flush, closing("P", "p1"))}, {sync}, {closing("S", "s3"), sync}}
}

// errorInside fails in the middle of batches.
func (w *writer) errorInside() [][]message {
	bad := w.pickMessage(parse("s1", "SELEC 1"), bind("", "nosuch"), execute("nosuch", 0), parse("s2", "SELECT * FROM nosuch"), query("SELECT 1/0"), describe("S", "nosuch"))
	all := append(w.messages(), bad)
	all = append(append(all, w.messages()...), sync)
	return [][]message{append(append(all, w.messages()...), sync), {parse("s1", "SELECT 'again'"), bind("", "s1"), execute("", 0), sync}}
}

func (w *writer) largeObject() [][]message {
	id := int32s(w.key + 1000)
	return [][]message{{query("BEGIN")}, {call(715, 1, id)}, {call(952, 1, id, int32s(393216))}, {call(955, 1, int32s(0), "hello")}, {query("SELECT lo_lseek(0, 1, 0)")}, {call(954, 1, int32s(0), int32s(3))}, {w.functionCall()}, {query(w.pick("COMMIT", "ROLLBACK"))}, {query(w.object())}}
}

// mixed has simple queries, batches and calls in one write.
func (w *writer) mixed() [][]message {
	var all []message
	for range 2 + w.Intn(3) {
		switch w.Intn(4) {
		case 0:
			all = append(all, query(w.texts()))
		case 1:
			all = append(all, w.functionCall())
		default:
			all = append(all, w.batches()...)
		}
	}
	return [][]message{all}
}

func (w *writer) rolesLife() [][]message {
	return w.say(w.role(), w.pick("SELECT 1", "BEGIN"), w.role(), w.pick("SELECT * FROM t LIMIT 1", "CREATE TABLE x (a int)"), w.pick("COMMIT", "ROLLBACK", w.role()), w.pick("RESET ROLE", "RESET ALL", "DISCARD ALL", "RESET SESSION AUTHORIZATION"), "SELECT current_user, session_user")
}
