package session

import (
	"bytes"
	"slices"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// PREPARE, EXECUTE and DEALLOCATE name prepared statements by the client's own names, and so do Parse, Bind and Close:
// to PostgreSQL they are one set (prepare.c). Servers are shared, so that a server may know a client's name, or not, or
// in another client's sense. Before a message whose text uses such a name, the server is made to know it as the client
// does; afterwards it may keep it, since nobody else uses a name without that.

// nameUse is what a message's text does to one name.
type nameUse struct {
	op            sql.PrepareOp
	index         int    // of the statement that does it, in the text
	name          string // "" of DEALLOCATE ALL
	bare          bool   // an EXECUTE without arguments
	before, after *statement
	all           map[string]*statement // of DEALLOCATE ALL: what it forgets
}

// useNames finds out what the PREPARE, EXECUTE and DEALLOCATE of a text mean, and what they do to locks and to the
// session besides. Where they run, the client's names mean from now on what they will mean once it has run; undoNames
// takes that back. The text is of as many statements as the server will see in one message.
func (s *Session) useNames(r *request, u *sql.Unit, text []byte, run bool) {
	if u.Prepared == nil {
		return
	}
	n := naming{s: s, r: r, now: make(map[string]*statement)}
	for i := range u.Prepared {
		if op := &u.Prepared[i]; n.use(op, op.Index, text, u.Statements, 0) {
			break
		}
	}
	if run {
		s.changeNames(r.names)
	}
}

// naming goes through what a text does to names, in order.
type naming struct {
	s         *Session
	r         *request
	now       map[string]*statement // as far as the text has changed it
	forgotten bool                  // by DEALLOCATE ALL
}

// means gives what a name means by now.
func (n *naming) means(name string) *statement {
	st, changed := n.now[name]
	if !changed && !n.forgotten {
		return n.s.statements[name]
	}
	return st
}

// maxExecutes bounds how deep an EXECUTE of an EXECUTE is followed. PostgreSQL does so until its stack is full.
const maxExecutes = 4

// use takes one statement about a name, the client's of that index. It tells whether that is an error, which ends the text.
func (n *naming) use(op *sql.PreparedOp, index int, text []byte, statements, deep int) (ends bool) {
	st := n.means(op.Name)
	use := nameUse{op: op.Op, index: index, name: op.Name, bare: op.Bare, before: st, after: st}
	switch op.Op {
	case sql.OpPrepare:
		if use.after == nil {
			use.after = preparedBySQL(op, text, statements)
			use.after.readWith, use.after.dialect = n.s.cfg.Catalog().reader, n.s.state.dialect
			use.after.under = n.s.state.settings
		}
	case sql.OpExecute:
		n.s.executes(n.r, op, st)
	case sql.OpDeallocate:
		use.after = nil
	case sql.OpDeallocateAll:
		n.forgotten = true
		clear(n.now)
	}
	n.now[op.Name] = use.after
	n.r.names = append(n.r.names, use)
	if op.Op == sql.OpExecute && op.Runs && st != nil && st.source == "" && deep < maxExecutes {
		for i := range st.unit.Prepared { // a Parse message may hold one of these, too
			if n.use(&st.unit.Prepared[i], index, []byte(st.text()), 1, deep+1) {
				return true
			}
		}
	}
	return op.Op == sql.OpPrepare && st != nil || op.Op == sql.OpDeallocate && st == nil
}

// aborted tells whether the transaction has failed as far as is known: but for ROLLBACK, nothing can be made or used in it.
func (s *Session) aborted() bool { return s.tx == 'E' && !s.rolledBack }

// rollsBackLater tells whether a message in flight ends the failed transaction.
func (s *Session) rollsBackLater() bool { return s.srv.flight.any((*request).rollsBack) }

// endsLater tells whether a message in flight ends a transaction.
func (s *Session) endsLater() bool {
	return s.srv.flight.any(func(r *request) bool { return r.purpose == theirs && (r.has(flagEnd) || r.rollsBack()) })
}

// endsFirst tells whether a text ends a transaction and then uses names, or what nextval left: ROLLBACK; EXECUTE q.
func endsFirst(r *request) bool {
	return r.kind == protocol.Query && (r.names != nil || r.touches.Has(sql.TouchSequence)) && r.unit != nil && r.unit.TransactionInside && (r.unit.Verb == sql.Rollback || r.unit.Verb == sql.Commit)
}

// endFirst ends a failed transaction ahead of such a text, since nothing can be made ready for it within it. The text then ends nothing,
// of which the client does not hear. With AND CHAIN it would be an error: that stays as it is.
func (s *Session) endFirst(r *request, text []byte) {
	if s.tx != 'E' || !endsFirst(r) || bytes.Contains(bytes.ToLower(text), []byte("chain")) {
		return
	}
	s.sendQuery(forEnd, "ROLLBACK")
	s.rolledBack = true
	r.flags |= flagEnded
}

// failAgain has a transaction fail in the place of the one that was ended ahead of a text that could not be read, and so ended nothing.
func (s *Session) failAgain() {
	s.sendQuery(forBegin, "BEGIN")
	s.sendQuery(forBegin, failing)
	s.mayFail()
	s.unitEnds()
	s.tellReady()
}

// executes notes what an EXECUTE does: what was prepared.
func (s *Session) executes(r *request, op *sql.PreparedOp, st *statement) {
	if !op.Runs || st == nil {
		return
	}
	s.readAgain(st)
	r.lock |= st.unit.Lock
	r.touches |= st.unit.Touches &^ sql.TouchPrepare
	if slices.ContainsFunc(st.unit.Settings, isReset) {
		r.flags |= flagResets
	}
	if r.unit != nil && len(st.unit.Settings) > 0 {
		both := *r.unit
		both.Settings = slices.Clone(both.Settings)
		for _, one := range st.unit.Settings {
			one.Index, one.End = op.Index, op.Text.To
			both.Settings = append(both.Settings, one)
		}
		r.unit = &both
	}
}

// preparedBySQL makes the statement of a PREPARE. Where it is all of its text, that text is kept to the letter, since
// pg_prepared_statements shows it and errors count its characters.
func preparedBySQL(op *sql.PreparedOp, text []byte, statements int) *statement {
	query := op.Query
	if text != nil && statements > 1 {
		text = text[op.Text.From:op.Text.To]
	} else {
		query += op.Text.From
	}
	st := &statement{name: op.Name, source: string(text), query: query, types: op.Types}
	st.unit = preparedUnit(op)
	st.batch = inNoBatch
	return st
}

// preparedUnit gives what running a statement does that SQL's PREPARE kept.
func preparedUnit(op *sql.PreparedOp) sql.Unit {
	return sql.Unit{Lock: op.Effects, Touches: op.Touches, Settings: op.Settings}
}

// inNoBatch is the batch of what a simple query prepares: nothing else can be in it.
const inNoBatch = -1

// changeNames has the client's names mean what they mean after a message.
func (s *Session) changeNames(uses []nameUse) {
	for i := range uses {
		switch use := &uses[i]; {
		case use.op == sql.OpDeallocateAll:
			use.all = s.statements
			s.statements = nil
		case use.before != use.after:
			s.setName(use.name, use.after)
		}
	}
}

// undoNames takes back what a message that failed did to the client's names, but for the statements of its text that
// had run before.
func (s *Session) undoNames(r *request) {
	for i, use := range slices.Backward(r.names) {
		if use.index < r.done {
			return
		}
		switch {
		case !r.runsNames():
		case use.op == sql.OpDeallocateAll:
			s.statements = use.all
		case use.before != use.after && s.statements[use.name] == use.after:
			s.setName(use.name, use.before)
		}
		if s.srv != nil && r.sent && use.op != sql.OpExecute {
			s.srv.own.doubt(use.name, use.op == sql.OpDeallocateAll)
		}
		r.names = r.names[:i]
	}
}

// runsNames tells whether the message runs the text whose names it has, rather than prepares it.
func (r *request) runsNames() bool { return r.kind == protocol.Query || r.kind == protocol.Execute }

func (s *Session) setName(name string, st *statement) {
	if st == nil {
		delete(s.statements, name)
		return
	}
	if s.statements == nil {
		s.statements = make(map[string]*statement)
	}
	s.statements[name] = st
}
