package session

import (
	"bytes"
	"maps"
	"slices"
	"strconv"

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
	}
}

// endsFirst tells whether a text ends a transaction and then uses names: ROLLBACK; EXECUTE q.
func endsFirst(r *request) bool {
	return r.kind == protocol.Query && r.names != nil && r.unit.TransactionInside && (r.unit.Verb == sql.Rollback || r.unit.Verb == sql.Commit)
}

// endFirst ends a failed transaction ahead of such a text, since no name can be made within it. The text then ends nothing,
// of which the client does not hear. With AND CHAIN it would be an error: that stays as it is.
func (s *Session) endFirst(r *request, text []byte) {
	if s.tx != 'E' || !endsFirst(r) || bytes.Contains(bytes.ToLower(text), []byte("chain")) {
		return
	}
	s.sendQuery(forEnd, "ROLLBACK")
	s.rolledBack = true
	r.flags |= flagEnded
}

// neededOf gives the uses of names that the server is to know for a message. A text that is parsed only has the columns of
// what it executes looked up (plancache.c, PlanCacheComputeResultDesc): what was prepared when its names meant something else
// stays out of it, since now it may be an error.
func (s *Session) neededOf(r *request) []nameUse {
	other := func(use nameUse) bool { return use.before != nil && !use.before.under.resolvesAs(s.state.settings) }
	if r.kind != protocol.Parse || !slices.ContainsFunc(r.names, other) {
		return r.names
	}
	return slices.DeleteFunc(slices.Clone(r.names), other)
}

// nameFailed takes the error of a statement that could not be made again, because what it names has gone for one: that is
// the answer to the message that uses it.
func (s *Session) nameFailed(e *protocol.Error) {
	if r := s.srv.flight.firstOfClient(); r != nil {
		r.instead = withoutValues(r.names, e)
		return
	}
	s.notMade = e
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
	if text != nil && statements > 1 {
		text = text[op.Text.From:op.Text.To]
	}
	st := &statement{name: op.Name, source: string(text)}
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
		if known != nil && known.means(st, st.sharedKey(s.state.settings)) && s.fits(&known.parsing, st) {
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
	s.setApart(st)
	p := s.parsingNow(st)
	s.srv.own.add(ownName{name: name, key: st.sharedKey(s.state.settings), parsing: p})
	making := []nameUse{{op: sql.OpPrepare, name: name, before: st, after: st}}
	if st.source != "" {
		s.runInBatch([]byte(st.source), why)
		execute := s.srv.flight.at(s.srv.flight.len() - 3)
		execute.names, execute.sent = making, true
	} else {
		at := len(s.o.scratch)
		s.o.scratch = appendParse(s.o.scratch, name, st.body)
		s.toServer(s.o.since(at))
		s.pushed(request{kind: protocol.Parse, purpose: why, names: making, sent: true})
	}
	s.describeOurs(name, p.shape, why)
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
	s.srv.own.add(ownName{name: name, key: anything})
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

// namesGone forgets the names that the server knew and does not know any more, after a statement that may have forgotten some. It comes
// before it is heard which settings that statement has changed: what the server knew was made under those before.
func (s *Session) namesGone(list []Setting) {
	s.lookAgain()
	for _, name := range s.srv.own.names() {
		if slices.ContainsFunc(list, func(one Setting) bool { return one.Name == name }) {
			continue
		}
		if st := s.statements[name]; st != nil && s.srv.own.find(name).key == st.sharedKey(s.state.settings) {
			delete(s.statements, name)
		}
		s.srv.own.drop(name)
	}
}

// namesHeard takes over the names that the server has come to know.
func (s *Session) namesHeard(list []Setting) {
	for _, one := range list {
		if s.srv.own.find(one.Name) == nil {
			s.nameHeard(one.Name, []byte(one.Value))
		}
	}
}

// sharedHeard forgets what a server had prepared under names of ours, where a function deallocated it. If that was all of it, so
// are the client's statements, but for those that are there now.
func (s *Session) sharedHeard(count string, there []Setting) {
	left, err := strconv.Atoi(count)
	if err != nil || left >= len(s.srv.prepared.byKey) {
		return
	}
	s.srv.prepared.clear()
	if left == 0 {
		maps.DeleteFunc(s.statements, func(name string, _ *statement) bool {
			return name != "" && !slices.ContainsFunc(there, func(one Setting) bool { return one.Name == name })
		})
	}
}

// nameHeard takes over a statement that was prepared where no text showed it.
func (s *Session) nameHeard(name string, text []byte) {
	own := ownName{name: name}
	unit := s.readText(text)
	for _, op := range unit.Prepared {
		if op.Op == sql.OpPrepare && op.Name == name {
			st := preparedBySQL(&op, text, unit.Statements)
			st.there, st.unseen = true, true
			s.setName(name, st)
			own.key = st.sharedKey(s.state.settings)
		}
	}
	s.srv.own.add(own)
}

// namesSent notes what a message on its way will do to the server's names.
func (s *Session) namesSent(r *request) {
	r.sent = true
	for i := range r.names {
		switch use := &r.names[i]; {
		case use.op == sql.OpDeallocateAll:
			s.srv.own.doubt("", true)
		case use.before == use.after:
		case use.after == nil:
			s.srv.own.drop(use.name)
		default:
			if r.kind == protocol.Execute {
				use.after.batch = s.batch
			}
			if use.op == sql.OpPrepare && use.before == nil {
				s.setApart(use.after)
			}
			key := use.after.sharedKey(s.state.settings)
			s.srv.own.add(ownName{name: use.name, key: key, of: use.after, parsing: s.parsingNow(use.after)})
		}
	}
}

// describesWell tells whether what a text prepares may be described to us behind it. Should that fail, for the text has
// failed or what it prepared has gone again, no transaction of the client's may be open that would fail with it.
func (s *Session) describesWell(r *request) bool {
	switch u := r.unit; {
	case u == nil || u.Prepared == nil:
		return false
	case u.Statements == 1:
		return u.Verb == sql.Prepare // if that has failed, so has the transaction
	default:
		return s.tx == 'I' && !s.opens && !u.TransactionInside
	}
}

// describeLate has what a text has prepared described, now that it is known that it left no transaction.
func (s *Session) describeLate(r *request) {
	if r.kind != protocol.Query || !r.unit.TransactionInside || s.srv.flight.len() > 0 {
		return
	}
	stays := func(use nameUse) bool {
		return use.op == sql.OpPrepare && use.before == nil && s.statements[use.name] == use.after && !use.after.shape.known()
	}
	if slices.ContainsFunc(r.names, stays) {
		s.describeNames(r.names, forColumns)
		s.syncOurs(forColumns)
	}
}

// describeNames has the server describe to us what a message of the client's that is on its way prepares by SQL.
func (s *Session) describeNames(uses []nameUse, why purpose) {
	for i := range uses {
		again := func(later nameUse) bool { return later.name == uses[i].name || later.op == sql.OpDeallocateAll }
		if use := &uses[i]; use.op == sql.OpPrepare && use.before == nil && !slices.ContainsFunc(uses[i+1:], again) {
			s.describeOurs(use.name, use.after.shape, why)
		}
	}
}

// namesRan notes that the next statement of a message's text has come to its end.
func (s *Session) namesRan(r *request) {
	for i := range r.names {
		use := &r.names[i]
		if use.index != r.done && r.kind == protocol.Query {
			continue
		}
		switch {
		case use.op == sql.OpDeallocateAll:
			s.srv.own.clear()
		case use.op == sql.OpPrepare && use.after != nil:
			use.after.there = true
			s.srv.own.settle(use.after)
		}
	}
	r.done++
	r.flags &^= flagEnded
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

// showNames makes the names that the server knows those of the client, and no others: all of them, or those that were prepared
// where no text showed it.
func (s *Session) showNames(r *request, inBatch, all bool) {
	why := forNames(inBatch)
	began := s.srv.flight.len()
	before := s.meantBefore(r)
	for _, name := range s.srv.own.names() {
		if before[name] == nil {
			s.closeOwn(name, why)
		}
	}
	if !inBatch && s.srv.flight.len() > began {
		s.syncOurs(forName)
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		st := before[name]
		if !st.there || !all && !st.unseen {
			continue
		}
		if inBatch {
			s.tellName(name, st, why)
			continue
		}
		before := s.srv.flight.len()
		if s.tellName(name, st, forShow); s.srv.flight.len() > before {
			s.syncOurs(forShow) // each on its own: one that cannot be made is not shown
		}
	}
}

// ownNames are the clients' own names that one server knows, the oldest first.
type ownNames struct{ list []ownName }

type ownName struct {
	name string
	key  string     // what it means there; "" is not known, or nothing
	of   *statement // whose making is under way
	parsing
}

// means tells whether the name stands for a statement with that key.
func (n *ownName) means(st *statement, key string) bool { return n.of == st || n.key == key }

// maxOwnNames bounds how many a server keeps beyond those that are in use.
const maxOwnNames = 100

func (o *ownNames) find(name string) *ownName {
	for i := range o.list {
		if o.list[i].name == name {
			return &o.list[i]
		}
	}
	return nil
}

func (o *ownNames) add(n ownName) {
	o.drop(n.name)
	o.list = append(o.list, n)
}

func (o *ownNames) drop(name string) {
	o.list = slices.DeleteFunc(o.list, func(n ownName) bool { return n.name == name })
}

// full gives the name that makes room for another, or "".
func (o *ownNames) full() string {
	if len(o.list) < maxOwnNames {
		return ""
	}
	return o.list[0].name
}

// doubt notes that it is not known what a name means, or any of them.
func (o *ownNames) doubt(name string, all bool) {
	if n := o.find(name); n == nil && !all {
		o.add(ownName{name: name})
	}
	for i := range o.list {
		if all || o.list[i].name == name {
			o.list[i].key, o.list[i].of = "", nil
		}
	}
}

// settle notes that a statement is there.
func (o *ownNames) settle(st *statement) {
	for i := range o.list {
		if o.list[i].of == st {
			o.list[i].of = nil
		}
	}
}

func (o *ownNames) clear() { o.list = nil }

func (o *ownNames) names() (list []string) {
	for _, n := range o.list {
		list = append(list, n.name)
	}
	return list
}
