package session

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// serverSide is what is under way on the server, beyond the messages in flight.
type serverSide struct {
	batch      int // the number of the batch at hand
	unitsAhead int // ReadyForQuery messages to come
	comparing  int // descriptions to come of statements that have run ahead

	overtime time.Duration // how long the statement might run that is being cancelled for it; 0: none is

	notMade *protocol.Error // why a statement could not be made for the message that comes next

	known *Catalog // what was known of functions when it was granted, or when it was last found out what they left

	copying copying
	passing passing
	rest    int // bytes still to come of an answer whose beginning is through

	heard     heard
	syncError *protocol.Error // why the session's settings could not be put in place
	last      []byte          // the server's FATAL

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
	cancelling bool // a cancel request is under way: what comes after must not be hit
	cancelDue  bool // one is to be sent when it can hit nothing of ours
	broken     bool // a question or cleaning of ours failed: what the server holds is not known
	srvStatus  byte // by its last ReadyForQuery; 0: as when it was granted, 'I'
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
			return false
		}
		if head.has(flagEnded) {
			visible = false
			s.tellComplete("ROLLBACK")
		}
		s.completed(head, kind, frame)
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

// takeTurns gives the answers of our own whose turn has come.
func (s *Session) takeTurns() {
	if s.midMessage() {
		return
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
			return
		}
		flight.pop()
	}
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

// reported takes a ParameterStatus: what the server says of a setting of its session.
func (s *Session) reported(frame []byte) (visible bool) {
	name, rest, ok1 := protocol.CString(frame[protocol.HeadSize:])
	value, _, ok2 := protocol.CString(rest)
	if !ok1 || !ok2 {
		s.outOfStep("a malformed ParameterStatus")
		return false
	}
	s.srv.Reported = s.srv.Reported.With(string(name), string(value))
	if s.srv.flight.len() > 0 && s.srv.flight.front().purpose != theirs {
		return false
	}
	lower := strings.ToLower(string(name))
	if slices.Contains(s.state.resetting, lower) || s.srv.flight.len() > 0 && s.resetsOne(s.srv.flight.front(), lower) {
		s.tellDefault(lower)
		return false
	}
	before := s.state.told
	if s.state.told = before.With(string(name), string(value)); s.state.told == before {
		return false // a reset that the client was not told of is undone
	}
	if s.srv.flight.len() > 0 && !s.srv.flight.front().touches.Has(saysSettings) {
		// No SET to be seen: a function did it, or the end of a transaction undid it.
		s.touchReported(lower)
	}
	return true
}

// superuserStatus is a setting that nobody sets: it follows from who the session acts as.
const superuserStatus = "is_superuser"

// touchReported notes a setting that changed without a text that says so. Some are reported and cannot be set: they follow
// from who the session acts as, or are the server's (guc_tables.c, GUC_REPORT).
func (s *Session) touchReported(name string) {
	switch name {
	case superuserStatus, authorization:
		s.touchName(authorization)
		s.touchName(roleSetting)
	case "server_version", "server_encoding", "integer_datetimes", "in_hot_standby":
		return
	default:
		s.touchName(name)
	}
	// A function set it, or a rollback undid it; or the server's configuration was read again, which is nobody's setting.
	s.state.unclear, s.state.maybeReset = true, true
}

// saysSettings are the touches of texts that show that they change settings.
const saysSettings = sql.TouchSettings | sql.TouchLocalSettings | sql.TouchDynamic | sql.TouchRollbackTo | sql.TouchDiscardAll

// noteResets remembers which startup parameters a DISCARD ALL gave the server's defaults. The server reports them with its
// ReadyForQuery.
func (s *Session) noteResets() {
	for _, one := range s.client.Settings.All() {
		if s.state.resetting = append(s.state.resetting, one.Name); slices.Contains(identity, one.Name) {
			s.state.resetting = append(s.state.resetting, superuserStatus)
		}
	}
}

// resetsOne tells whether running a message gives a startup parameter its default. Before PostgreSQL 14 servers report what it
// is meanwhile.
func (s *Session) resetsOne(r *request, name string) (resets bool) {
	if _, own := s.client.Settings.Get(name); !own || !r.has(flagResets) {
		return false
	}
	if r.unit == nil {
		return r.touches.Has(sql.TouchDiscardAll)
	}
	for _, one := range r.unit.Settings {
		if one.Name == name && one.Op == sql.OpSet {
			resets = false
		}
		resets = resets || slices.ContainsFunc(s.ownDefaults(one), func(own Setting) bool { return own.Name == name })
	}
	return resets
}

// tellDefault tells the client what a reset means for a startup parameter: its value is the session's default, which
// is put in place again before it matters.
func (s *Session) tellDefault(name string) {
	value, _ := s.state.welcomed.Get(name)
	if told, _ := s.state.told.Get(name); told == value {
		return
	}
	s.state.told = s.state.told.With(name, value)
	at := len(s.o.scratch)
	s.o.scratch = protocol.AppendParameterStatus(s.o.scratch, reportedName(name), value)
	s.toClient(s.o.since(at))
}

// failure takes an ErrorResponse. It tells whether the client is to see it.
func (s *Session) failure(frame []byte) (visible bool) {
	e := protocol.ReadError(frame[protocol.HeadSize:])
	if e.Severity == "FATAL" || e.Severity == "PANIC" {
		s.last = append([]byte(nil), frame...) // the connection's end will tell what to do with it
		return false
	}
	flight := &s.srv.flight
	if flight.len() == 0 {
		return true
	}
	head := flight.front()
	if head.purpose == forSyncs {
		s.knockFails(head)
		return false
	}
	s.state.unclear, s.state.maybeReset = true, true
	s.copying.fails()
	if head.lock != 0 {
		s.held.doubt(head.lock)
		s.countLock(head, e.Code)
	}
	switch {
	case head.purpose == forSettings:
		s.syncError = &e
	case head.purpose == forQuestion || head.purpose == forCleaning:
		s.broken = true
	}
	visible = head.purpose == theirs && !head.has(flagFails) || head.purpose == forStatement || head.purpose == forTimeouts && s.inTheirBatch()
	if visible {
		s.erred = true
		s.describesParameters(head, e.Code)
		visible = s.unreplaced(head, e.Code, frame)
	}
	if head.ends() {
		if head.names != nil {
			s.lookAgain()
			s.undoNames(head)
		}
		return visible
	}
	if head.purpose == forName {
		s.nameFailed(&e)
	}
	failed := *head
	if e.Code == protocol.FeatureNotSupported {
		s.retire(head)
	}
	s.skipBatch()
	if failed.kind == protocol.Parse && failed.stmt != nil && failed.stmt.name == "" {
		s.renameBefore(0, "", failed.prev, nil) // it is dropped before the new text is looked at (postgres.c, exec_parse_message)
	}
	return visible
}

// describesParameters tells the client the parameters of a statement that it wants described, where that cannot be made again: a
// server says so once it has described them (postgres.c, exec_describe_statement_message).
func (s *Session) describesParameters(making *request, code string) {
	if making.purpose != forStatement || code == protocol.InFailedSQLTransaction {
		return
	}
	if r := s.madeFor(); r != nil && r.kind == protocol.Describe && r.stmt != nil && r.stmt.shape.known() && r.stmt.shape.params != "" {
		s.tellParameters(r.stmt.shape)
	}
}

// madeFor gives the client's message that the statement at hand is made for: on its way, or waiting for that.
func (s *Session) madeFor() *request {
	for i := range s.srv.flight.len() {
		if r := s.srv.flight.at(i); r.purpose == theirs {
			return r
		}
	}
	if s.ahead.len() > 0 && s.ahead.front().has(flagAwaits) {
		return s.ahead.front()
	}
	return nil
}

func (s *Session) tellParameters(h *shape) {
	at := len(s.o.scratch)
	s.o.scratch = append(appendHead(s.o.scratch, protocol.ParameterDescription, len(h.params)), h.params...)
	s.toClient(s.o.since(at))
}

// retire takes the shared statement that a message used out of use. Its result may have changed since it was prepared, by
// ALTER TABLE for one, which servers refuse (plancache.c, RevalidateCachedQuery: "cached plan must not change result
// type"): drivers prepare it again then, and must get a new one.
func (s *Session) retire(r *request) {
	if r.kind != protocol.Bind && r.kind != protocol.Describe || r.stmt == nil || r.stmt.name == "" {
		return
	}
	if sh := s.srv.prepared.find(r.stmt.sharedKey(s.state.settings)); sh != nil {
		s.srv.prepared.retire(sh)
		s.cfg.Schema.Changed() // by somebody that lockproxy did not see
	}
}

// inTheirBatch tells whether the message at the head of the flight belongs to a batch of the client's, which fails with
// it.
func (s *Session) inTheirBatch() bool {
	for i := range s.srv.flight.len() {
		if r := s.srv.flight.at(i); r.ends() {
			return r.kind == protocol.Sync && r.purpose == theirs
		}
	}
	return true
}

// unreplaced tells whether the server's error is the one to show; else it has shown ours.
func (s *Session) unreplaced(head *request, code string, frame []byte) bool {
	switch {
	case head.instead != nil:
		s.tellError(head.instead)
	case s.overtime != 0 && code == protocol.QueryCanceled:
		s.tellError(s.overtimeError())
	case s.syncError != nil:
		s.tellError(s.syncError)
	case head.added != nil:
		at := len(s.o.scratch)
		s.o.scratch = head.added.original(s.o.scratch, frame)
		s.toClient(s.o.since(at))
	case bytes.Contains(frame, []byte(ourNames)) && head.stmt != nil:
		at := len(s.o.scratch)
		s.o.scratch = renamed(s.o.scratch, frame, head.stmt.name)
		s.toClient(s.o.since(at))
	default:
		return !s.explained(frame)
	}
	return false
}

// renamed writes an ErrorResponse with the client's name of a prepared statement in place of ours.
func renamed(dst, frame []byte, name string) []byte {
	body := ourName.ReplaceAllLiteral(frame[protocol.HeadSize:], []byte(`"`+name+`"`))
	return append(appendHead(dst, protocol.ErrorResponse, len(body)), body...)
}

var ourName = regexp.MustCompile(`"` + ourNames + `(\d+|pids|taken)"`)

// skipBatch follows a server that skips all messages up to the next Sync after an error (manual, "Extended Query"):
// what they did to names is undone, latest first.
func (s *Session) skipBatch() {
	s.lookAgain()
	flight := &s.srv.flight
	n := 0
	for n < flight.len() && flight.at(n).kind != protocol.Sync {
		n++
	}
	s.skip = s.skip || n == flight.len() || flight.at(n).purpose == forSyncs // what is still to come of the batch is dropped
	for i := n - 1; i >= 0; i-- {
		s.undo(flight.at(i), n)
	}
	for range n {
		if flight.front().ends() {
			s.unitsAhead--
		}
		if flight.front().has(flagCompares) {
			s.comparing--
		}
		flight.pop()
	}
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
	s.srvStatus = status
	s.resets = s.resets && flight.len() > 0
	s.opens = s.opens && flight.len() > 0
	s.rolledBack = s.rolledBack && s.rollsBackLater()
	s.forgets = s.forgets && flight.len() > 0
	if head.kind == protocol.Sync && head.has(flagFails) && s.failTransaction(status) {
		return false
	}
	switch head.purpose {
	case theirs:
		return s.readyForClient(&head, status)
	case forSettings:
		if last := flight.len() == 0 || flight.front().purpose != forSettings; last && s.syncError == nil {
			s.tellReported()
		}
	case forEnd:
		s.tellReported()
	case forQuestion:
		if !s.broken {
			s.answered()
		}
	}
	return false
}

func (s *Session) readyForClient(head *request, status byte) (visible bool) {
	for _, name := range s.state.resetting {
		if !s.erred {
			s.tellDefault(name) // where the server had nothing to report
		}
	}
	s.state.resetting, s.erred = nil, false
	if s.syncError != nil {
		// The server stands in the failed block that put the settings in place.
		if s.tx != 'I' {
			s.tx = 'E'
		}
		s.tellReady()
		return false
	}
	s.tx = status
	s.unitEnds()
	if status == 'I' {
		s.countTransaction()
		s.transactionOver()
		s.schemaSettled()
		st := &s.state
		st.unasked = st.unasked || len(st.touched) > 0 || st.resetAll || st.everything
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
