package session

import (
	"maps"
	"slices"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// What goes to a server so that it knows prepared statements by the client's names, as the client does.

// namesFor makes the server's names ready for a message.
func (s *Session) namesFor(r *request, inBatch bool) {
	if s.aborted() {
		return
	}
	if r.names != nil {
		s.tellNames(s.neededOf(r), inBatch)
	}
	switch {
	case r.touches.Has(sql.TouchNames):
		s.closeShareds(inBatch)
		s.showNames(r, inBatch, true)
	case r.touches.Has(sql.TouchDynamic):
		s.showNames(r, inBatch, false) // what it runs may name them again
		s.prepareSign(inBatch)
	}
}

// sign is the key of a statement of nothing that is only there to be missed.
const sign = "sign"

// prepareSign has the server prepare something where it has nothing of ours, ahead of a text that may deallocate all that there is: what is
// gone then tells of it (sharedHeard).
func (s *Session) prepareSign(inBatch bool) {
	if s.srv.prepared.oldest() != nil || len(s.statements) == 0 {
		return
	}
	sh, _ := s.srv.prepared.add(sign, s.batch, s.cfg.MaxPrepared)
	at := len(s.o.scratch)
	s.o.scratch = appendParse(s.o.scratch, sh.name, "\x00\x00\x00") // which no server refuses
	s.toServer(s.o.since(at))
	s.pushed(request{kind: protocol.Parse, purpose: forNames(inBatch), shared: sh})
	if !inBatch {
		s.syncOurs(forName)
	}
}

// neededOf gives the uses of names that the server is to know for a message. A text that is parsed only has the columns of
// what it executes looked up (plancache.c, PlanCacheComputeResultDesc): what was prepared when its names meant something else
// stays out of it, since now it may be an error. Ahead of a batch it can be tried (showFirst).
func (s *Session) neededOf(r *request) []nameUse {
	if r.kind != protocol.Parse || !slices.ContainsFunc(r.names, s.meantOther) {
		return r.names
	}
	return slices.DeleteFunc(slices.Clone(r.names), s.meantOther)
}

// meantOther tells whether what a text names was prepared when names meant something else.
func (s *Session) meantOther(use nameUse) bool {
	return use.before != nil && !use.before.under.resolvesAs(s.state.settings)
}

// unmade notes that what a message was to make cannot be made as things are.
func (s *Session) unmade(making *request) {
	if len(making.names) > 0 && making.names[0].before != nil {
		st := making.names[0].before
		st.unmade = s.sharedKey(st)
	}
}

// cannotBeMade tells whether that has been seen of a statement, as things are.
func (s *Session) cannotBeMade(st *statement) bool {
	return st.unmade != "" && st.unmade == s.sharedKey(st)
}

// nameFailed takes the error of a statement that could not be made again, because what it names has gone for one: that is
// the answer to the message that uses it.
func (s *Session) nameFailed(e *protocol.Error) {
	switch r := s.srv.flight.firstOfClient(); {
	case r == nil:
		s.notMade = e
	case r.instead == nil: // else that is why the transaction has failed
		r.instead = withoutValues(r.names, e)
	}
}

// withoutValues gives the error of a text whose prepared statement could not be made: that it executes one that takes values
// without any comes first (prepare.c, EvaluateParams).
func withoutValues(uses []nameUse, e *protocol.Error) *protocol.Error {
	if len(uses) != 1 || !uses[0].bare || uses[0].before == nil || !uses[0].before.shape.known() {
		return e
	}
	params := uses[0].before.shape.params
	if len(params) < 2 || params[:2] == "\x00\x00" {
		return e
	}
	return &protocol.Error{Severity: "ERROR", Code: protocol.SyntaxError,
		Message: `wrong number of parameters for prepared statement "` + uses[0].name + `"`,
		Detail:  "Expected " + countIn(params) + " parameters but got 0."}
}

// tellNames makes the server know the names that a text uses as the client does, before the text runs there: in the
// batch at hand, or in one of its own.
func (s *Session) tellNames(uses []nameUse, inBatch bool) {
	began := s.srv.flight.len()
	for i := range uses {
		use := &uses[i]
		if use.op == sql.OpDeallocateAll {
			break
		}
		if !slices.ContainsFunc(uses[:i], func(earlier nameUse) bool { return earlier.name == use.name }) {
			s.makeRoom(forNames(inBatch))
			if use.op == sql.OpExecute || use.before == nil {
				s.tellName(use.name, use.before, forNames(inBatch))
			} else {
				s.tellTaken(use.name, use.before, forNames(inBatch))
			}
		}
	}
	if !inBatch && s.srv.flight.len() > began {
		s.syncOurs(forName)
	}
}

// flushOurs asks the server for the answers that it owes by now.
func (s *Session) flushOurs() {
	at := len(s.o.scratch)
	s.o.scratch = appendHead(s.o.scratch, protocol.Flush, 0)
	s.toServer(s.o.since(at))
}

// syncOurs ends a batch of ours.
func (s *Session) syncOurs(why purpose) {
	at := len(s.o.scratch)
	s.o.scratch = appendHead(s.o.scratch, protocol.Sync, 0)
	s.toServer(s.o.since(at))
	s.srv.flight.push(request{kind: protocol.Sync, purpose: why})
	s.open = false
	s.unitsAhead++
}

// tellName makes the server know one name as the client does; nil: not at all.
func (s *Session) tellName(name string, st *statement, why purpose) {
	known := s.srv.own.find(name)
	if st != nil {
		if known != nil && known.means(st, s.sharedKey(st)) && s.fits(&known.parsing, st) {
			return
		}
	} else if known == nil {
		return
	}
	if known != nil {
		s.closeOwn(name, why)
	}
	if st == nil {
		return
	}
	if s.notMade != nil && st.shape.known() && s.cannotBeMade(st) {
		s.tellStandIn(name, st, why)
		return
	}
	st.unmade = ""
	s.setApart(st)
	p := s.parsingNow(st)
	s.addOwn(ownName{name: name, key: s.sharedKey(st), parsing: p})
	making := []nameUse{{op: sql.OpPrepare, name: name, before: st, after: st}}
	if st.source != "" && !s.typesMayDiffer(st) {
		s.runInBatch([]byte(st.source), why)
		execute := s.srv.flight.at(s.srv.flight.len() - 3)
		execute.names, execute.sent = making, true
	} else {
		at := len(s.o.scratch)
		s.o.scratch = appendParse(s.o.scratch, name, st.again())
		s.toServer(s.o.since(at))
		s.pushed(request{kind: protocol.Parse, purpose: why, names: making, sent: true})
	}
	s.describeOurs(name, p.shape, why)
}

// standIn is what a statement fails with that stands in for one that cannot be made.
const standIn = "lockproxy: cannot be made"

// tellStandIn makes the server know a statement that fails in place of one that cannot be made, with the same parameters: what is wrong
// with the values comes first (prepare.c, ExecuteQuery).
func (s *Session) tellStandIn(name string, st *statement, why purpose) {
	s.addOwn(ownName{name: name, key: anything})
	at := len(s.o.scratch)
	s.o.scratch = appendParse(s.o.scratch, name, "SELECT pg_catalog.int4in(pg_catalog.textout('"+standIn+"'))\x00"+st.shape.params)
	s.toServer(s.o.since(at))
	s.pushed(request{kind: protocol.Parse, purpose: why, names: []nameUse{{op: sql.OpPrepare, name: name, before: st, after: st}}, sent: true})
}

// anything is the key of a name that stands for no statement that anybody uses.
const anything = "anything"

// tellTaken makes the server know that a name means something: to deallocate it, or to be told that it is taken, that is enough,
// and what it means need not be possible any more.
func (s *Session) tellTaken(name string, st *statement, why purpose) {
	if known := s.srv.own.find(name); known != nil && known.key != "" {
		return
	} else if known != nil {
		s.closeOwn(name, why) // it may be there
	}
	s.addOwn(ownName{name: name, key: anything})
	at := len(s.o.scratch)
	s.o.scratch = appendParse(s.o.scratch, name, "\x00\x00\x00") // of nothing, which no server refuses
	s.toServer(s.o.since(at))
	s.pushed(request{kind: protocol.Parse, purpose: why, names: []nameUse{{op: sql.OpPrepare, name: name, before: st, after: st}}, sent: true})
}

// makeRoom closes names that were made known longest ago, where there are too many.
func (s *Session) makeRoom(why purpose) {
	for oldest := s.srv.own.full(); oldest != ""; oldest = s.srv.own.full() {
		s.closeOwn(oldest, why)
	}
}

// forNames is the purpose of what makes names known: an error in the client's own batch is the client's.
func forNames(inBatch bool) purpose {
	if inBatch {
		return forStatement
	}
	return forName
}

// closeOwn closes a name on the server, whatever it means there. Closing one that is not there is no error (manual,
// "Extended Query").
func (s *Session) closeOwn(name string, why purpose) {
	at := len(s.o.scratch)
	s.o.scratch = appendCloseStatement(s.o.scratch, name)
	s.toServer(s.o.since(at))
	s.pushed(request{kind: protocol.Close, purpose: why, names: []nameUse{{op: sql.OpDeallocate, name: name}}, sent: true})
	s.srv.own.drop(name)
}

// closeShareds closes what the server has prepared under names of ours, before a text that looks at them all
// (pg_prepared_statements).
func (s *Session) closeShareds(inBatch bool) {
	why := forNames(inBatch)
	began := s.srv.flight.len()
	for sh := s.srv.prepared.oldest(); sh != nil; sh = s.srv.prepared.oldest() {
		at := len(s.o.scratch)
		s.o.scratch = appendCloseStatement(s.o.scratch, sh.name)
		s.toServer(s.o.since(at))
		s.pushed(request{kind: protocol.Close, purpose: why, shared: sh})
		s.srv.prepared.drop(sh)
	}
	if s.srv.taken {
		s.closeOwn(ourNames+"taken", why)
		s.srv.taken = false
	}
	if s.srv.leftover {
		s.closeOwn(once, why)
		s.srv.leftover = false
	}
	if !inBatch && s.srv.flight.len() > began {
		s.syncOurs(forName)
	}
}

// meantBefore gives what the names mean for the client before a message that has been looked at.
func (s *Session) meantBefore(r *request) map[string]*statement {
	if r.names == nil {
		return s.statements
	}
	before := maps.Clone(s.statements)
	for _, use := range slices.Backward(r.names) {
		switch {
		case use.op == sql.OpDeallocateAll:
			before = maps.Clone(use.all)
		case use.before != nil:
			if before == nil {
				before = make(map[string]*statement)
			}
			before[use.name] = use.before
		default:
			delete(before, use.name)
		}
	}
	return before
}

// showFirst makes names known ahead of a batch in which a statement looks at them, or whose first has its columns from them: within it, one
// that cannot be made fails it. So it does with what a batch uses that SQL prepared, which is made by running that: behind whatever ran in a
// batch, some statements take it for a transaction block (xact.c, PreventInTransactionBlock).
func (s *Session) showFirst(r *request) {
	if s.open || s.tx != 'I' || s.opens || r.stmt == nil {
		return
	}
	if s.unitLooksAtNames() {
		s.showNames(r, false, true)
		return
	}
	for i := range s.ahead.len() {
		next := s.ahead.at(i)
		if next.names != nil && i > 0 || next.ends() {
			break // what a name means from there on is another matter
		}
		if (next.kind == protocol.Bind || next.kind == protocol.Describe) && next.stmt != nil && next.stmt.source != "" {
			s.tryName(next.stmt.name, next.stmt)
		}
	}
	if r.kind != protocol.Parse {
		return
	}
	for _, use := range r.names {
		if use.op == sql.OpExecute && s.meantOther(use) {
			s.tryName(use.name, use.before)
		}
	}
}

// unitLooksAtNames tells whether the batch at hand, as far as it is here, looks at prepared statements.
func (s *Session) unitLooksAtNames() bool {
	return s.unitHas(func(r *request) bool { return r.stmt != nil && r.stmt.unit.Touches.Has(sql.TouchNames) })
}

// tryName makes a name known if that is possible, outside a batch.
func (s *Session) tryName(name string, st *statement) {
	if s.cannotBeMade(st) {
		return
	}
	began := s.srv.flight.len()
	if s.tellName(name, st, forShow); s.srv.flight.len() > began {
		s.syncOurs(forShow) // each on its own
	}
}

// showNames makes the names that the server knows those of the client, and no others: all of them, or those that were prepared
// where no text showed it.
func (s *Session) showNames(r *request, inBatch, all bool) {
	why := forNames(inBatch)
	began := s.srv.flight.len()
	before := s.meantBefore(r)
	for _, name := range s.srv.own.names() {
		st := before[name]
		if st == nil || !st.there && !s.srv.own.find(name).means(st, s.sharedKey(st)) { // it is another client's
			s.closeOwn(name, why)
		}
	}
	if !inBatch && s.srv.flight.len() > began {
		s.syncOurs(forName)
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		st := before[name]
		switch there := st.there || inBatch && st.usable(s.batch); {
		case !there || !all && !st.unseen:
			continue
		case !inBatch:
			s.tryName(name, st) // one that cannot be made is not shown
		case !s.cannotBeMade(st):
			s.tellName(name, st, why)
		}
	}
}
