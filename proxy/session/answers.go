package session

import (
	"bytes"
	"slices"
	"time"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// serverSide is what is under way on the server, beyond the messages in flight.
type serverSide struct {
	batch      int // the number of the batch at hand, from firstBatch
	unitsAhead int // ReadyForQuery messages to come
	comparing  int // descriptions to come of statements that have run ahead

	overtime time.Duration // how long the statement might run that is being cancelled for it; 0: none is

	notMade *protocol.Error // why a statement could not be made for the message that comes next

	known *Catalog // what was known of functions when it was granted, or when it was last found out what they left

	copying copying
	passing passing
	rest    int // bytes still to come of an answer whose beginning is through

	heard      heard
	syncError  *protocol.Error // why the session's settings could not be put in place
	unswitched *protocol.Error // why the lock pool's timeouts could not be switched, and the transaction has failed
	last       []byte          // the server's FATAL

	// Flags, together: each idle client has these.
	begun      bool // the client's first unit is on its way
	open       bool // messages of a batch are sent, and its Sync is not
	flushed    bool // its answers are asked for, so that it is known whether it stands
	erred      bool // the unit at hand has had its error
	failing    bool // the batch in flight has failed for the client
	forgets    bool // of the messages in flight some may deallocate statements
	resets     bool // of the messages in flight some may give settings their defaults back
	copies     bool // of the messages in flight some may begin a COPY
	opens      bool // of the messages in flight some may begin a transaction
	rolledBack bool // of the messages in flight some end a transaction that has failed, or what failed of it
	alone      bool // when it was granted it held nothing that was not known
	restDrop   bool // the rest of that answer is not for the client
	asking     bool // our question is in flight
	startsOver bool // its transaction is to begin anew on a server of the lock pool
	cancelling bool // a cancel request is under way: what comes after must not be hit
	endangered bool // one may still arrive at any time: nobody else is to have the server
	cancelDue  bool // one is to be sent when it can hit nothing of ours
	broken     bool // a question or cleaning of ours failed: what the server holds is not known
	unheard    byte // how often in a row a question was cancelled
	srvStatus  byte // by its last ReadyForQuery; 0: as when it was granted, 'I'
	halfway    bool // a query in the midst of a batch left it in the transaction that a batch is
	toMove     bool // the slot is being moved outside a unit
	moveFailed bool // and could not be; not again on this server
}

// passing is the piece of the server's bytes that goes to the client as it is, in one part.
type passing struct {
	p        []byte
	from, to int
}

// maxAnswer bounds what is kept of an answer that must be seen whole, in bytes; a longer one passes unread.
const maxAnswer = 1 << 20

// ServerBytes takes what the server sent. P holds until the outputs are done with.
func (s *Session) ServerBytes(o *Output, now time.Time, p []byte) {
	s.step(o, now)
	defer s.finish()
	if s.srv != nil {
		s.fromServer(s.streamServer(p))
	}
}

// fromServer takes what the server sent, behind what is kept of it.
func (s *Session) fromServer(p []byte) {
	srv := s.srv
	kept := srv.partial
	if len(kept) > 0 {
		kept = append(kept, p...)
		p = kept
	}
	if s.keptBack() {
		if srv.partial = kept; len(kept) > maxAnswer {
			s.giveUpExplaining()
		}
		return
	}
	rest := s.answers(p)
	if s.srv != srv {
		return
	}
	switch {
	case len(rest) == 0:
		srv.partial = nil
	case len(kept) > 0:
		srv.partial = rest
	default:
		srv.partial = append([]byte(nil), rest...)
	}
}

func (s *Session) streamServer(p []byte) []byte {
	if s.rest == 0 {
		return p
	}
	n := min(s.rest, len(p))
	if s.rest -= n; !s.restDrop {
		s.toClient(p[:n:n])
	}
	return p[n:]
}

// answers takes the frames of p one after the other and gives what is left of an incomplete one.
func (s *Session) answers(p []byte) (rest []byte) {
	s.passing = passing{p: p}
	for {
		s.takeTurns()
		at := s.passing.to
		if len(p)-at < protocol.HeadSize {
			break
		}
		kind, size := protocol.Head(p[at:])
		if size == 0 {
			s.outOfStep("a message without a length")
			return nil
		}
		end := min(at+size, len(p))
		if missing := at + size - end; missing > 0 {
			if s.seenWhole(kind) && size <= maxAnswer {
				break
			}
			s.rest = missing
		}
		if kind == protocol.ErrorResponse && end == at+size && s.keepsBack(p[at:end]) {
			break
		}
		visible := s.answer1(kind, p[at:end])
		if s.srv == nil {
			return nil
		}
		if !visible {
			s.pass()
			s.passing.from = end
		}
		s.restDrop = !visible
		s.passing.to = end
	}
	s.pass()
	rest = p[s.passing.to:]
	s.passing = passing{}
	return rest
}

// pass hands on what goes to the client as it is, so far.
func (s *Session) pass() {
	t := &s.passing
	if t.from < t.to && !s.goodbye {
		s.o.Client = append(s.o.Client, t.p[t.from:t.to:t.to])
	}
	t.from = t.to
}

// seenWhole tells whether an answer must be here whole before it is taken.
func (s *Session) seenWhole(kind byte) bool {
	switch kind {
	case protocol.ReadyForQuery, protocol.CommandComplete, protocol.ErrorResponse, protocol.ParameterStatus,
		protocol.FunctionCallResponse, protocol.NoticeResponse, protocol.Notification:
		return true
	case protocol.RowDescription, protocol.ParameterDescription:
		return s.srv.flight.len() > 0 && s.srv.flight.front().shape != nil
	case protocol.DataRow:
		return s.srv.flight.len() > 0 && (s.srv.flight.front().counts() || s.srv.flight.front().purpose != theirs)
	}
	return false
}

// answer1 takes one answer and tells whether the client is to see it. It moves the flight on.
func (s *Session) answer1(kind byte, frame []byte) (visible bool) {
	flight := &s.srv.flight
	switch kind {
	case protocol.ParameterStatus:
		return s.reported(frame)
	case protocol.Notification:
		return s.notification(frame)
	case protocol.ErrorResponse:
		return s.failure(frame)
	}
	if kind == protocol.ReadyForQuery && s.copying.expects(flight) {
		return s.readyLate(frame)
	}
	if flight.len() == 0 {
		if kind == protocol.NoticeResponse {
			return true
		}
		s.outOfStep("an answer to nothing")
		return false
	}
	head := flight.front()
	visible = head.purpose == theirs
	switch kind {
	case protocol.DataRow:
		if head.added.ours() {
			return false
		}
		if head.counts() {
			s.countRow(head, frame)
		} else if head.purpose == forQuestion {
			s.hear(frame)
		}
	case protocol.ReadyForQuery:
		return s.ready(frame)
	case protocol.CommandComplete, protocol.EmptyQueryResponse, protocol.PortalSuspended:
		if head.added.ends() {
			s.toClient(head.added.released())
			return false
		}
		if head.has(flagEnded) {
			visible = false
			s.tellComplete("ROLLBACK")
		}
		if kind == protocol.EmptyQueryResponse && visible && s.syncError != nil && s.tx == 'T' {
			visible = false // the one query that does not fail with the block that its settings have left failed
			s.tellError(s.syncError)
		}
		s.completed(head, kind, frame)
		if head.added.ours() && head.done == head.unit.Statements {
			head.added.held = slices.Clone(frame)
			return false
		}
	case protocol.ParseComplete:
		s.prepared(head)
		s.expect(head, protocol.Parse)
	case protocol.BindComplete:
		s.expect(head, protocol.Bind)
	case protocol.CloseComplete:
		if head.purpose == forSyncs {
			s.syncsKnown()
		}
		s.expect(head, protocol.Close)
	case protocol.RowDescription, protocol.NoData:
		visible = visible && !head.added.ours()
		if head.kind == protocol.Describe {
			visible = visible && !head.has(flagChanged)
			head.shape.learn(kind, frame)
			was := *head
			flight.pop()
			s.described(&was)
		}
	case protocol.CopyInResponse:
		s.copyBegins(head)
	case protocol.FunctionCallResponse:
		s.functionResult(head, frame)
	case protocol.ParameterDescription:
		head.shape.learn(kind, frame)
	case protocol.NoticeResponse:
		visible = visible && !head.has(flagEnded) // that there is no transaction
		if visible && head.added != nil {
			s.tellOriginal(head.added, frame)
			visible = false
		}
	case protocol.CopyOutResponse, protocol.CopyData,
		protocol.CopyDone, protocol.CopyBothResponse:
	default:
		s.outOfStep("a message of an unknown kind")
	}
	return visible
}

// expect moves on from a message that was answered, if it is the one that such an answer belongs to.
func (s *Session) expect(head *request, kind byte) {
	if head.kind != kind {
		s.outOfStep("an answer out of turn")
		return
	}
	s.srv.flight.pop()
}

// prepared notes that the statement of a Parse message is there now.
func (s *Session) prepared(r *request) {
	if r.kind != protocol.Parse {
		return
	}
	if r.shared != nil {
		r.shared.there = true
	}
	if r.stmt == nil {
		return
	}
	r.stmt.there = true
	if s.srv != nil && s.srv.unnamed.of == r.stmt {
		s.srv.unnamed.there = true
	}
}

// takeTurns gives the answers of our own whose turn has come, if there are any.
func (s *Session) takeTurns() (any bool) {
	if s.midMessage() {
		return false
	}
	flight := &s.srv.flight
	for flight.len() > 0 {
		head := flight.front()
		switch {
		case head.reply == replyParsed:
			s.prepared(head)
			s.reply(protocol.AppendParseComplete)
		case head.reply == replyClosed:
			s.reply(protocol.AppendCloseComplete)
		case head.reply == replyDescribed:
			s.tellParameters(head.shape)
			s.reply(protocol.AppendNoData)
		case isCopyEnd(head.kind):
		default:
			return any
		}
		flight.pop()
		any = true
	}
	return any
}

// completed takes the end of a statement's results.
func (s *Session) completed(head *request, kind byte, frame []byte) {
	if head.kind != protocol.Query && head.kind != protocol.Execute {
		s.outOfStep("an answer out of turn")
		return
	}
	s.copying.ends()
	if s.state.defines && (head.kind == protocol.Query && s.tx == 'I' || isCommit(frame)) {
		s.o.Redefined = max(s.o.Redefined, RedefinedHere) // it may be committed already
	}
	if head.touches.Has(sql.TouchDiscardAll) {
		s.noteResets()
	}
	if head.lock != 0 {
		s.held.ran(head.lock, head.counts())
		s.countLock(head, "")
		s.gotLocks(head)
		s.lockOver()
	}
	if head.touches.Has(sql.TouchDiscardAll) && bytes.HasPrefix(frame[protocol.HeadSize:], []byte("DISCARD ALL")) {
		s.srv.settings = nil
		if head.purpose == theirs {
			s.lookAgain()
			s.discarded()
			s.touchAgain()
			if head.kind == protocol.Execute {
				s.touchDefaults()
			}
		}
	}
	if bytes.HasPrefix(frame[protocol.HeadSize:], []byte("ROLLBACK")) {
		s.state.maybeReset = true
	}
	if head.touches.Has(sql.TouchDiscardOther) && bytes.HasPrefix(frame[protocol.HeadSize:], []byte("DISCARD SEQUENCES")) {
		s.sequencesDiscarded()
	}
	s.namesRan(head)
	head.added.behind(head.done - 1)
	if head.kind == protocol.Execute {
		s.srv.flight.pop()
	}
}

func isCommit(complete []byte) bool {
	return bytes.HasPrefix(complete[min(len(complete), protocol.HeadSize):], []byte("COMMIT"))
}

// functionResult takes what a function called by FunctionCall gave: its length, and its bytes.
func (s *Session) functionResult(head *request, frame []byte) {
	if head.lock == 0 {
		return
	}
	row := append([]byte{0, 1}, frame[protocol.HeadSize:]...)
	if value, ok := column(row, 0); ok && head.counts() {
		s.held.count(head.lock, value)
	}
	s.held.ran(head.lock, head.counts())
	s.countLock(head, "")
}

// ready takes ReadyForQuery.
func (s *Session) ready(frame []byte) (visible bool) {
	flight := &s.srv.flight
	head := *flight.front()
	if len(frame) != protocol.HeadSize+1 || !head.ends() {
		s.outOfStep("ReadyForQuery out of turn")
		return false
	}
	flight.pop()
	if head.kind == protocol.Query && head.unit != nil {
		defer s.o.units.keep(head.unit, maxUnits)
	}
	s.unitsAhead--
	s.lockOver()
	status := frame[protocol.HeadSize]
	if head.kind != protocol.Sync { // a query, or a FunctionCall
		s.halfway = status == 'T' && (s.halfway || s.srvStatus != 'T' && head.purpose == theirs && !head.has(flagOpens))
	}
	s.srvStatus = status
	s.resets = s.resets && flight.len() > 0
	s.opens = s.opens && flight.len() > 0
	s.rolledBack = status == 'E' && s.rollsBackLater()
	s.forgets = s.forgets && flight.len() > 0
	if head.kind == protocol.Sync && head.has(flagFailed) && s.failTransaction(status) {
		return false
	}
	switch head.purpose {
	case theirs:
		visible = s.readyForClient(&head, status)
		s.endHalfway(&head)
		return visible
	case forSettings:
		switch {
		case flight.len() > 0 && flight.front().purpose == forSettings:
		case s.syncError == nil && flight.len() > 0 && flight.front().purpose == forBegin:
			s.state.agreed = s.srv.Reported // the client may know already what is set again with the BEGIN
		case s.syncError == nil:
			s.tellReported()
		case s.runsForClient() && (status == 'I' || s.endsLater()): // the failed block holds nothing up
			s.failsAlone("the session's settings could not be put in place", s.syncError)
		}
	case forBegin:
		// Else the transaction is to fail, which undoes it, or without its settings, and what is in place is somebody else's.
		if s.syncError == nil && (flight.len() == 0 || flight.front().purpose != forBegin) {
			agreed := s.state.agreed
			s.tellReported()
			s.state.agreed = agreed
		}
	case forEnd:
		if !s.startsOver { // else what it undoes is done again
			s.tellReported()
		}
	case forQuestion:
		switch s.asking = false; {
		case s.heard.unheard:
			s.unheard++ // what is to be asked still is
		case !s.broken:
			s.answered()
		}
	}
	return false
}

// endHalfway ends a transaction that a server keeps although it says that there is none: behind a batch with a query in it, whose
// Sync does not end it where that has not begun anything since (PostgreSQL 18, postgres.c: exec_simple_query leaves the implicit block of
// exec_execute_message, and finish_xact_command takes it for finished). Whatever comes next fails for that, and it must be nothing of
// somebody else's.
func (s *Session) endHalfway(head *request) {
	if !s.halfway || head.kind != protocol.Sync {
		return
	}
	if s.halfway = false; s.srvStatus == 'I' && s.srv.flight.len() == 0 {
		s.sendQuery(forSettings, "")
		s.mayFail()
	}
}

func (s *Session) readyForClient(head *request, status byte) (visible bool) {
	for _, name := range s.state.resetting {
		if !s.erred {
			s.tellDefault(name) // where the server had nothing to report
		}
	}
	if s.srv.refused != nil {
		s.mended(s.erred)
	}
	unread := s.erred && head.has(flagEnded) && head.done == 0
	s.state.resetting, s.erred, s.unswitched = nil, false, nil
	if unread && status == 'I' && s.srv.flight.len() == 0 {
		s.failAgain()
		return false
	}
	if s.syncError != nil {
		// The server stands in the failed block that put the settings in place.
		if s.tx != 'I' {
			s.tx = 'E'
		}
		s.tellReady()
		return false
	}
	if s.tx = status; status == 'E' {
		s.fresh = 0 // what failed is not to be done again, even where a savepoint undoes it
	}
	s.unitEnds()
	if status == 'I' {
		s.countTransaction()
		s.transactionOver()
		s.schemaSettled()
		st := &s.state
		st.unasked = st.unasked || len(st.touched) > 0 || st.resetAll || st.everything
		if head.names != nil {
			s.describeLate(head)
		}
		s.tellOthersAgain()
	}
	s.o.Queries++
	return true
}

// countTransaction tells the surroundings of a transaction that ended, and of what kept its server for the session.
func (s *Session) countTransaction() {
	s.o.Transactions++
	if s.state.pins != 0 {
		s.o.Pinned = append(s.o.Pinned, pinNames(s.state.pins)...)
	}
	if s.held.any() {
		s.o.Pinned = append(s.o.Pinned, "advisory lock")
	}
}

// midMessage tells whether the client has the beginning of an answer: nothing else can be said to it now.
func (s *Session) midMessage() bool { return s.rest > 0 && !s.restDrop }

// transactionOver takes the end of a transaction.
func (s *Session) transactionOver() {
	s.state.transactionOver()
	s.definesNoMore()
	s.state.agreed = s.state.told
	if s.fresh, s.again = 0, 0; len(s.begin) == 0 && cap(s.begin) > keptBegin {
		s.begin = nil
	}
	s.held.xact = false
	s.transactionNamesOver()
}

// outOfStep gives up a server whose answers do not fit what it was sent: nobody may have it any more.
func (s *Session) outOfStep(what string) {
	if s.goodbye {
		s.remove(ReasonProtocol, "the server sent "+what)
		s.end()
		return
	}
	s.impossible("the server sent " + what)
}
