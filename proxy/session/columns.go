package session

import (
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// PostgreSQL settles what columns a prepared statement gives when it parses its text, and answers a use after they have
// changed, by ALTER TABLE for one, with an error. Drivers keep the first description and count on that. Here a statement
// may be parsed again, on another server, when they have changed already: so they are described to us as well, and
// compared with what they were.

// Schema counts the changes of a database's schema that lockproxy knows of.
type Schema interface {
	Version() uint64
	Changed() // as something was defined or dropped, or that was rolled back
}

// shape is the columns that a statement gives since it was parsed, and the parameters that it takes. All that came of the same
// Parse message have the same.
type shape struct {
	print   uint64 // of the columns' description; 0: not known
	params  string // the body of the parameters' description; "": not known
	version uint64 // of the schema when the parameters' types were found out
}

// takesValues tells whether the statement may have parameters.
func (h *shape) takesValues() bool { return h.params != "\x00\x00" }

// noColumns is the print of a statement that gives no rows.
const noColumns = 1

func (h *shape) known() bool { return h != nil && h.print != 0 }

func (h *shape) differs(other *shape) bool {
	return h != other && h.known() && other.known() && h.print != other.print
}

// learn takes a description of the statement, if none has come before.
func (h *shape) learn(kind byte, frame []byte) {
	switch {
	case h == nil || h.print != 0:
	case kind == protocol.ParameterDescription:
		h.params = string(frame[protocol.HeadSize:])
	case kind == protocol.NoData:
		h.print = noColumns
	default:
		h.print = printOf(frame[protocol.HeadSize:])
	}
}

// printOf gives the print of a RowDescription's body: of names, types and what modifies them, as PostgreSQL compares them
// (tupdesc.c, equalRowTypes). Which table a column is of, and in which format it comes, is another matter.
func printOf(body []byte) uint64 {
	const field = 18 // bytes behind a column's name
	h := uint64(fnvOffset)
	for body = body[min(2, len(body)):]; len(body) > 0; body = body[field:] {
		name, rest, ok := protocol.CString(body)
		if !ok || len(rest) < field {
			return 0
		}
		h = mixed(mixed(mixed(h, name), rest[6:10]), rest[12:16])
		body = rest
	}
	return max(h, noColumns+1)
}

// mixed takes a part into an FNV-1a sum, with its end.
func mixed(h uint64, part []byte) uint64 {
	for _, c := range part {
		h = (h ^ uint64(c)) * fnvPrime
	}
	return (h ^ 0x100) * fnvPrime
}

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// parsing is what is known of a text as a server has parsed it.
type parsing struct {
	shape   *shape
	version uint64 // of the schema, then
}

// parsingNow is that of a text that is about to be parsed for a statement. One that gives no rows will never give any.
func (s *Session) parsingNow(st *statement) parsing {
	p := parsing{shape: st.shape, version: s.cfg.Schema.Version()}
	switch {
	case st.shape.known() && st.shape.print == noColumns:
		return p
	case st.shape.known():
		p.shape = &shape{version: st.shape.version}
		return p
	case st.shape == nil && st.name == "":
		p.shape = &st.own
	default:
		p.shape = new(shape)
	}
	p.shape.version = p.version
	st.shape = p.shape
	return p
}

// typesMayDiffer tells whether the schema has changed since it was found out of which types a statement's parameters are.
func (s *Session) typesMayDiffer(st *statement) bool {
	return st.shape.known() && st.shape.takesValues() && st.shape.version != s.cfg.Schema.Version() && !st.namesTypes()
}

// fits tells whether a server's parsing of its text will do for a statement: it takes the same parameters, and gives the
// columns that the statement gave, or those that the text gives by now.
func (s *Session) fits(p *parsing, st *statement) bool {
	switch {
	case p.shape == st.shape || !st.shape.known():
		return true
	case !p.shape.known():
		return s.toldSoon(p.shape)
	case p.shape.params != st.shape.params:
		return false
	}
	return !st.shape.differs(p.shape) || p.version == s.cfg.Schema.Version()
}

// toldSoon tells whether the description of a statement is under way.
func (s *Session) toldSoon(h *shape) bool {
	return s.srv.flight.any(func(r *request) bool { return r.shape == h })
}

// describeOurs has the server describe a statement, if its columns are not known.
func (s *Session) describeOurs(name string, h *shape, why purpose) {
	if h.known() {
		return
	}
	at := len(s.o.scratch)
	s.o.scratch = appendNamed(s.o.scratch, protocol.Describe, name)
	s.toServer(s.o.since(at))
	s.pushed(request{kind: protocol.Describe, purpose: why, shape: h})
}

// changesSchema are the touches after which a text may mean something else to whoever parses it anew.
const changesSchema = sql.TouchSchema | sql.TouchTemp | sql.TouchDynamic | sql.TouchFunction | sql.TouchDiscardOther

// schemaTouched notes that a message may change the schema, or undo such a change. What is parsed behind it is new, and
// so is what is parsed once its transaction is over.
func (s *Session) schemaTouched(t sql.Touch) {
	s.redefines = s.redefines || t.Has(changesSchema)
	if s.redefines && t.Has(changesSchema|sql.TouchRollbackTo) {
		s.cfg.Schema.Changed()
	}
}

// schemaSettled notes that the transaction is over, with what it did to the schema.
func (s *Session) schemaSettled() {
	if s.redefines {
		s.redefines = false
		s.cfg.Schema.Changed()
	}
}

// compared makes sure that the columns of the prepared statements which a message uses are what they were. It has a
// statement prepared where it is missing, and gives false while the server has not said what its columns are there.
func (s *Session) compared(r *request) bool {
	switch {
	case s.aborted(), s.copying.in:
		return true // that is the error then
	case s.comparing > 0 && !s.harmless(r):
		s.awaitColumns(r)
		return false
	case r.kind == protocol.Bind && r.stmt != nil && asksPids(r.stmt.unit.Touches, r.stmt.unit.Lock):
		return true // its text is parsed for each Bind, and its columns are PostgreSQL's own
	case r.stmt != nil && (r.kind == protocol.Bind || r.kind == protocol.Describe):
		return s.comparedOne(r, r.stmt, r.stmt.source != "")
	case r.kind == protocol.Parse || r.kind == protocol.Bind:
		return true
	}
	if s.notMade != nil && r.names != nil {
		r.flags |= flagChanged
		return true
	}
	for i := range r.names {
		use := &r.names[i]
		if use.op == sql.OpExecute && use.before != nil && !s.comparedOne(r, use.before, true) {
			return false
		}
	}
	return true
}

// comparedOne does so for one statement, by the client's own name or by the server's. Where the columns are others, the
// message is marked.
func (s *Session) comparedOne(r *request, st *statement, own bool) bool {
	p := s.parsedAs(st, own)
	if !st.shape.known() || p == nil && st.shape.print == noColumns {
		return true
	}
	if p == nil || !s.fits(p, st) && !r.has(flagAwaits) {
		s.prepareFor(r, st)
		s.begun = s.begun || s.open
		if p = s.parsedAs(st, own); p == nil || r.kind == protocol.Bind && s.runsAhead(st, p) {
			return true
		}
	}
	switch {
	case p.shape != st.shape && !p.shape.known():
		s.awaitColumns(r)
		return false
	case !st.shape.differs(p.shape):
		return true
	case s.unitUnderWay():
		return false // the transaction may have failed: then that is the error
	}
	r.flags |= flagChanged
	return true
}

// parsedAs gives what is known of a statement as the server has it, or nil.
func (s *Session) parsedAs(st *statement, own bool) *parsing {
	switch {
	case own:
		if n := s.srv.own.find(st.name); n != nil && n.means(st, s.sharedKey(st)) {
			return &n.parsing
		}
	case st.name == "":
		if s.srv.unnamed.of == st {
			return &s.srv.unnamed.parsing
		}
	default:
		if sh := s.srv.prepared.find(s.sharedKey(st)); sh != nil {
			return &sh.parsing
		}
	}
	return nil
}

// prepareFor has a statement prepared as the message needs it: behind what its text executes, which gives it its columns
// (utility.c, UtilityTupleDescriptor).
func (s *Session) prepareFor(r *request, st *statement) {
	s.tellNames(r.names, r.kind != protocol.Query)
	if r.kind == protocol.Bind || r.kind == protocol.Describe {
		s.serverName(st)
	}
}

// awaitColumns has the message wait for what the server says of its statement. In the middle of a batch the server is to
// be asked to say it.
func (s *Session) awaitColumns(r *request) {
	if s.open && !s.flushed {
		s.flushOurs()
		s.flushed = true
	}
	r.flags |= flagAwaits
}

// runsAhead tells whether a statement may be run before it is known whether its columns are what they were: it changes
// nothing, so that nothing has happened if nobody hears of it. Its description is under way, and will be compared.
func (s *Session) runsAhead(st *statement, p *parsing) bool {
	flight := &s.srv.flight
	if flight.len() == 0 || !st.onlyReads() {
		return false
	}
	if r := flight.at(flight.len() - 1); r.shape == p.shape {
		r.stmt = st
		r.flags |= flagCompares
		s.comparing++
		return true
	}
	return false
}

// harmless tells whether a message may go to the server while it may turn out that its batch has failed.
func (s *Session) harmless(r *request) bool {
	switch r.kind {
	case protocol.Sync, protocol.Flush, protocol.Describe, protocol.Terminate:
		return true
	case protocol.Bind, protocol.Execute:
		return r.stmt != nil && r.stmt.onlyReads()
	}
	return false
}

// described takes the description of a statement that has run ahead.
func (s *Session) described(r *request) {
	if !r.has(flagCompares) {
		return
	}
	s.comparing--
	if r.stmt.shape.differs(r.shape) && !s.erred {
		s.failUnderWay()
	}
}

// failUnderWay fails a batch that the server goes on with: the client hears of nothing more of it.
func (s *Session) failUnderWay() {
	s.tellError(resultChanged())
	s.erred = true
	flight := &s.srv.flight
	for i := range flight.len() {
		r := flight.at(i)
		if r.kind == protocol.Sync {
			r.flags |= flagFailed
			s.failing = true
			return
		}
		r.purpose = forNobody
	}
	at := len(s.o.scratch)
	s.o.scratch = appendNamed(s.o.scratch, protocol.Describe, nobody)
	s.toServer(s.o.since(at))
	s.pushed(request{kind: protocol.Describe, purpose: forNobody})
	s.lookAgain()
	s.skip = true
}

// failTransaction fails the transaction of a batch that has come to its end on the server, and had failed for the client.
// It gives false where there is none.
func (s *Session) failTransaction(status byte) bool {
	s.failing = false
	if status != 'T' {
		return false
	}
	s.sendQuery(theirs, failing)
	s.mayFail()
	return true
}

// refuseChanged answers a use of a statement whose columns are others by now, or that cannot be made. A Describe has its parameters described
// first (postgres.c, exec_describe_statement_message).
func (s *Session) refuseChanged() {
	if r := s.ahead.front(); r.kind == protocol.Describe && r.stmt != nil {
		at := len(s.o.scratch)
		s.o.scratch = appendNamed(s.o.scratch, protocol.Describe, s.serverName(r.stmt))
		s.toServer(s.o.since(at))
		s.pushed(request{kind: protocol.Describe, flags: flagChanged})
	}
	e := s.notMade
	if s.notMade = nil; e == nil {
		e = resultChanged()
	} else {
		e = withoutValues(s.ahead.front().names, e)
	}
	s.refuseNext(e)
}

// resultChanged is PostgreSQL's error. Drivers prepare the statement again when they see its code, its routine or its
// words.
func resultChanged() *protocol.Error {
	return &protocol.Error{Severity: "ERROR", Code: protocol.FeatureNotSupported,
		Message: "cached plan must not change result type", File: "plancache.c", Routine: "RevalidateCachedQuery"}
}
