package session

import (
	"bytes"
	"strconv"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// maxFlight bounds the messages that await answers: a server has sent some long before, since each answer has five
// bytes at least and its buffer 8 kB (pqcomm.c, PQ_SEND_BUFFER_SIZE).
const maxFlight = 16 << 10

// maxUnitsAhead bounds the units sent before the first is answered, so that a client that always has another in the
// pipe comes to the end of its turn.
const maxUnitsAhead = 64

// forward sends the next message to the server. It gives false when there is none, or none that may go yet.
func (s *Session) forward() bool {
	if s.goodbye || s.srv.flight.len() >= maxFlight {
		return false
	}
	if s.ahead.len() == 0 && (!s.look() || s.phase != attached) {
		return false
	}
	r := s.ahead.front()
	if s.copying.unsure > 0 && !s.passesUnsure(r.kind) {
		return false
	}
	if r.kind == protocol.Terminate && s.isOwed() {
		return false
	}
	if s.skip && r.kind != protocol.Sync {
		if r.kind == protocol.Terminate {
			s.terminate()
			return false
		}
		s.take(true)
		return true
	}
	if s.copies && !s.copying.in && !belongsToCopy(r.kind) && !s.copiesNot() {
		return false
	}
	if !s.open && !s.copying.in && !needsNothing(r) && r.reply != replyClosed && !s.mayBegin() {
		return false
	}
	if s.cancelNext && (r.kind == protocol.Sync || !s.open && needsNothing(r)) {
		s.cancelNext = false // it was for a batch, or what is left of a COPY, that has nothing to cancel
	}
	if s.cancelNext && r.kind != protocol.Terminate && r.reply != replyClosed {
		s.cancelNext, s.begun = false, true
		s.refuseNext(canceled())
		return true
	}
	if s.open && !s.copying.in && (r.kind == protocol.Query || r.kind == protocol.FunctionCall) && !s.batchStands() {
		return false
	}
	if s.open && s.takesLocks(r) && !s.lockInBatch() {
		return false
	}
	if !s.named(r) {
		return false
	}
	if s.comesInPieces(r) {
		return false
	}
	if !s.bindsWell(r) {
		return s.phase == attached
	}
	if !s.compared(r) {
		return false
	}
	if s.phase == attached {
		s.send()
	}
	return s.phase == attached
}

// batchStands tells whether nothing of the batch at hand has failed, once it is known. A server takes a query in the middle
// of a batch for the batch's end, unless an error came before: then it skips it, as it does everything up to Sync.
func (s *Session) batchStands() bool {
	if s.srv.flight.len() == 0 {
		s.flushed = false
		return true
	}
	if !s.flushed {
		s.flushOurs()
		s.flushed = true
	}
	return false
}

// named tells whether it is known what a statement's name in the message means, here and on the server: not while an
// earlier batch that prepares it is under way, and may fail.
func (s *Session) named(r *request) bool {
	if s.srv.flight.len() == 0 {
		return true
	}
	if (r.names != nil || r.touches.Has(sql.TouchNames) || r.has(flagResets) && r.touches.Has(sql.TouchLocalSettings)) && s.unitUnderWay() {
		return false // such statements are rare: whatever comes before is to be known
	}
	if r.kind != protocol.Parse && r.names != nil && s.busyWith(forShow) {
		return false // what it executes is tried to be made ahead of the batch, and may be impossible
	}
	names := r.kind != protocol.Execute && (r.stmt != nil || r.has(flagUnknown))
	if s.forgets && names && s.forgetsEarlier() {
		return s.open && s.batchStands()
	}
	st := r.stmt
	if r.has(flagTwice) {
		st = r.prev
	}
	if st != nil && st.source != "" && s.unitUnderWay() {
		return false
	}
	if (r.has(flagUnknown) || r.kind == protocol.Parse && st != nil && st.name != "") && s.closesEarlier() {
		return false
	}
	if st == nil || r.kind == protocol.Execute || r.kind == protocol.Close && r.reply == replyNone {
		return true
	}
	fresh := r.kind == protocol.Parse && st == r.stmt
	if !fresh && !st.usable(s.batch) {
		return false
	}
	if st.name == "" {
		return fresh || s.srv.unnamed.of != st || s.srv.unnamed.usable(s.batch)
	}
	sh := s.srv.prepared.byKey[s.sharedKey(st)]
	return sh == nil || sh.usable(s.batch)
}

// unitUnderWay tells whether an earlier unit of the client's is, and may fail.
func (s *Session) unitUnderWay() bool {
	return s.srv.flight.any(func(r *request) bool { return r.purpose == theirs && r.ends() })
}

// isOwed tells whether an earlier unit of the client's is to be answered before anything can be said to what comes behind it. A COPY is not,
// which waits for the client.
func (s *Session) isOwed() bool { return s.srv != nil && !s.copying.in && s.unitUnderWay() }

// closesEarlier tells whether an earlier batch that is under way, and may fail, closes a statement: the client's, or for it what the
// server knows by a name that the client has not.
func (s *Session) closesEarlier() bool {
	closes := false
	for i := range s.srv.flight.len() {
		r := s.srv.flight.at(i)
		closes = closes || r.kind == protocol.Close && (r.prev != nil || r.names != nil)
		if closes && r.kind == protocol.Sync {
			return true
		}
	}
	return false
}

// forgetsEarlier tells whether an earlier unit that is under way may deallocate statements, or a DISCARD ALL of the same batch.
func (s *Session) forgetsEarlier() bool {
	forgets := false
	for i := range s.srv.flight.len() {
		r := s.srv.flight.at(i)
		if r.kind == protocol.Execute && r.touches.Has(sql.TouchDiscardAll) {
			return true
		}
		forgets = forgets || r.touches.Has(sql.TouchDeallocate|sql.TouchDiscardAll)
		if forgets && r.ends() {
			return true
		}
	}
	return false
}

// mayBegin tells whether the next unit may go to the server now; it starts what must come first.
func (s *Session) mayBegin() bool {
	switch {
	case s.srv.refused != nil && s.begun:
		return false // nothing else may run without that
	case s.busyWith(forSettings) && (s.mends() || s.endsBlock() || s.unitUnderWay()):
		return false // until it is known whether that could be put in place; somebody may cancel it, which one unit is to fail with
	case s.busyWith(forCleaning):
		return false // the server is about to go back
	case s.syncError != nil && s.srv.flight.len() == 0 && s.putOthers():
		return false
	}
	if s.syncError != nil && s.srv.flight.len() == 0 {
		s.begun = true
		s.refuseNext(s.syncError) // it waited for what was to be made for it under these settings
		return false
	}
	if s.startsOver || s.asking || s.cancelling || s.comparing > 0 || s.failing || s.syncError != nil || s.unitsAhead >= maxUnitsAhead {
		return false
	}
	if s.resets = s.resets && s.srv.flight.len() > 0; s.resets {
		return false // the client's own defaults must be put in place again
	}
	s.followCurrent()
	locks := s.lookThroughUnit()
	if s.phase != attached {
		return false
	}
	if s.kind == pools.Admin && s.didNothing() {
		locks = locks || s.unitPrepares() // when it runs, a batch may be under way, and it is too late to begin anew
	}
	if s.kind == pools.Admin && (locks || s.ahead.front().has(flagBegin)) && s.staysForReading() {
		return false // until the server has gone back: it takes its locks from the lock pool's queue, as anybody does
	}
	if locks && s.kind == pools.Admin {
		if s.srv.flight.len() == 0 {
			s.promote()
		}
		return false // until it is known what came before
	}
	asker := s.asker()
	if (endsFirst(s.ahead.front()) || asker != nil) && s.srv.flight.firstOfClient() != nil {
		return false // until it is known whether the transaction has failed
	}
	if waits := locks && s.unitWaits(); s.kind == pools.Lock && !s.ahead.front().has(flagEnd) && s.needsTimeouts(waits) {
		if s.srv.flight.len() > 0 {
			return false
		}
		s.putTimeouts(waits)
	}
	if asker != nil {
		s.sequencesAhead(asker)
	}
	return true
}

// staysForReading tells whether the session is between transactions, and has its server for nothing else than that the functions
// are being read again.
func (s *Session) staysForReading() bool {
	return s.tx == 'I' && s.state.pins == 0 && !s.held.any() && s.functionsUnread()
}

// lookThroughUnit looks at the rest of the unit at hand, as far as it is here, and tells whether it takes locks.
func (s *Session) lookThroughUnit() bool {
	locks := false
	for i := 0; ; i++ {
		if i >= s.ahead.len() && (!s.look() || s.phase != attached) {
			return locks
		}
		r := s.ahead.at(i)
		if locks = locks || s.takesLocks(r); locks || r.ends() {
			return locks
		}
	}
}

// lockInBatch makes ready for a message that takes locks, in a batch that began without a sign of it.
func (s *Session) lockInBatch() bool {
	if s.kind == pools.Admin {
		s.promote()
		return false
	}
	if s.ahead.front().lock&mayWait != 0 && s.needsTimeouts(true) {
		s.putTimeoutsInBatch()
	}
	return true
}

func (s *Session) promote() {
	s.phase = promoting
	s.do(Action{Op: Promote})
}

// send sends the message at the head of ahead.
func (s *Session) send() {
	r := s.ahead.front()
	if !s.open {
		s.unitBegins()
		s.beginsFresh(r)
	}
	s.begun = true
	if s.fresh != 0 {
		s.stayFresh(r)
	}
	switch {
	case r.has(flagTooLong):
		s.refuseNext(&protocol.Error{Severity: "ERROR", Code: protocol.ProgramLimitExceeded,
			Message: "statement of " + strconv.Itoa(r.size-protocol.HeadSize) + " bytes is longer than lockproxy reads",
			Hint:    "The setting server.max_statement bounds it; values can go as parameters, which are not bounded."})
		return
	case r.has(flagUnknown) && r.kind != protocol.Close && s.unknownStatement():
		return
	case r.has(flagChanged) && s.notMade != nil && (r.kind == protocol.Query || r.kind == protocol.Execute):
		s.sendUnmade(r)
		return
	case r.has(flagChanged):
		s.refuseChanged()
		return
	}
	if s.copying.in && !belongsToCopy(r.kind) {
		if s.copying.syncs > 0 {
			s.knock(r.kind)
		} else {
			s.sendAsIs(false) // the COPY takes it for its error
		}
		return
	}
	if r.has(flagMalformed) && r.kind != protocol.Sync && !s.copying.in {
		s.sendAsIs(true)
		return
	}
	s.showFirst(r)
	switch r.kind {
	case protocol.Query:
		s.sendText()
	case protocol.Parse:
		s.sendParse()
	case protocol.Bind:
		s.sendBind()
	case protocol.Describe:
		s.sendDescribe()
	case protocol.Close:
		s.sendClose()
	case protocol.Execute, protocol.FunctionCall:
		s.begins(r)
		s.sequencesFor(r, true)
		s.namesFor(r, true)
		s.namesSent(r)
		sent := *r
		s.sendAsIs(true)
		s.describeNames(sent.names, forStatement)
		s.sendDefaults(&sent)
	case protocol.Sync:
		s.sendSync()
	case protocol.CopyDone, protocol.CopyFail:
		marks := !s.copying.in && s.srv.flight.len() > 0
		s.copying.in = false
		s.sendAsIs(marks)
	case protocol.Terminate:
		s.terminate()
	default: // Flush, CopyData
		s.sendAsIs(false)
	}
}

// sendUnmade sends a message that uses by name what could not be made: the client is told why not, unless something else is wrong before.
func (s *Session) sendUnmade(r *request) {
	r.flags &^= flagChanged
	r.instead = s.notMade
	s.send()
	s.notMade = nil
}

// sendAsIs sends the next message unchanged; answered tells whether the server will answer it.
func (s *Session) sendAsIs(answered bool) {
	r, p := s.take(false)
	if r.kind == protocol.Query {
		if asksPids(r.touches, r.lock) {
			p = s.withServerPids(p)
		}
		p = s.withDefaults(&r, p)
	}
	s.toServer(p)
	if s.copying.in && r.kind != protocol.CopyData && r.kind != protocol.Flush && r.kind != protocol.Sync {
		s.copying.in = false // the COPY takes any other message for its error (copyfromparse.c, CopyGetData)
		return
	}
	if !answered {
		return
	}
	s.srv.flight.push(r)
	s.flushed = false
	if r.ends() {
		s.open = false
		s.unitsAhead++
	} else {
		s.open = s.open || !isCopyEnd(r.kind)
	}
}

func isCopyEnd(kind byte) bool { return kind == protocol.CopyDone || kind == protocol.CopyFail }

// sendSync ends a batch. In the middle of a COPY a server ignores it (manual, "COPY Operations").
func (s *Session) sendSync() {
	s.skip, s.flushed = false, false
	s.batch++
	if s.copying.in {
		s.copying.syncs++
	}
	s.sendAsIs(!s.copying.in)
}

// sendText sends a simple query.
func (s *Session) sendText() {
	r := s.ahead.front()
	s.begins(r)
	text := queryText(s.view[:min(r.size, len(s.view))])
	s.srv.recent.add(text)
	if namesLocks(r.lock) {
		s.nameLocks(r.lock, text, s.state.dialect, nil)
	}
	s.endFirst(r, text)
	s.sequencesFor(r, false)
	s.namesFor(r, false)
	s.srv.unnamed.of = nil
	s.namesSent(r)
	prepares := s.describesWell(r)
	names := r.names
	s.sendAsIs(true)
	if prepares {
		s.describeNames(names, forColumns)
		s.syncOurs(forColumns)
	}
}

func queryText(frame []byte) []byte {
	return frame[protocol.HeadSize : len(frame)-1]
}

// begins notes what running a message will leave behind.
func (s *Session) begins(r *request) {
	if r.kind == protocol.Execute && r.stmt != nil {
		s.srv.recent.addString(r.stmt.text())
	}
	if r.touches != 0 {
		s.touch(r)
		s.schemaTouched(r.touches)
	}
	s.state.opaque = s.state.opaque || s.known.doubt != certain
	s.copies = s.copies || r.has(flagCopies)
	s.opens = s.opens || r.has(flagOpens)
	s.rolledBack = s.rolledBack || s.tx == 'E' && r.rollsBack()
	s.resets = s.resets || s.defaults != nil && r.touches.Has(sql.TouchDiscardAll)
}

// sendClose closes a portal, or forgets a statement: others may use what the server has prepared. That begins no batch there.
func (s *Session) sendClose() {
	if s.ahead.front().reply != replyClosed {
		s.sendAsIs(true)
		return
	}
	r, _ := s.take(false)
	s.srv.flight.push(r)
}

// unknownStatement sees to it that the use of a prepared statement that there is not ends as it should. It gives false
// where the message can go as it is: the server knows best what is wrong with it. But a server has statements of other
// clients, an unnamed one and those under names of ours.
func (s *Session) unknownStatement() bool {
	r := s.ahead.front()
	p := s.view[protocol.HeadSize:]
	var name []byte
	if r.kind == protocol.Bind {
		_, name, _ = protocol.BindNames(p)
	} else {
		name, _, _ = protocol.CString(p[1:])
	}
	switch {
	case len(name) == 0:
		at := len(s.o.scratch)
		s.o.scratch = appendCloseStatement(s.o.scratch, "")
		s.toServer(s.o.since(at))
		s.srv.unnamed.of = nil
		s.pushed(request{kind: protocol.Close, purpose: forStatement})
	case bytes.HasPrefix(name, []byte(ourNames)):
		s.refuseNext(&protocol.Error{Severity: "ERROR", Code: protocol.InvalidSQLStatementName,
			Message: `prepared statement "` + string(name) + `" does not exist`})
		return true
	default:
		s.tellName(string(cutName(name)), nil, forStatement)
	}
	return false
}

// failing is a query that has any server fail, and its transaction if it has one.
const failing = `ROLLBACK TO SAVEPOINT "lockproxy: refused"`

// nobody is the name of a prepared statement that no server has: to use it is an error.
const nobody = "lockproxy: refused"

// refuseNext answers the next message with an error of ours, as if the server had found it: the server is made to fail
// as well, so that its transaction stands where the client thinks it does.
func (s *Session) refuseNext(e *protocol.Error) {
	s.undoAhead()
	r, _ := s.take(true)
	s.ahead.clear() // to be looked at again
	s.sized = 0
	at := len(s.o.scratch)
	if r.kind == protocol.Query || r.kind == protocol.FunctionCall {
		if r.kind == protocol.Query {
			s.unnamed = nil // which it destroys before it can fail
		}
		s.o.scratch = appendHead(s.o.scratch, protocol.Query, len(failing)+1)
		s.o.scratch = append(append(s.o.scratch, failing...), 0)
		s.toServer(s.o.since(at))
		s.srv.unnamed.of = nil
		s.srv.flight.push(request{kind: protocol.Query, instead: e})
		s.unitsAhead++
		return
	}
	s.o.scratch = appendNamed(s.o.scratch, protocol.Describe, nobody)
	s.toServer(s.o.since(at))
	r.instead, r.names = e, nil
	r.kind, r.reply = protocol.Describe, replyNone
	s.pushed(r)
	s.skip = true // as the server will
}
