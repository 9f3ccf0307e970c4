package session

import (
	"bytes"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// A unit is a simple query, a function call, or a batch of the extended protocol up to Sync or Flush: what is decided
// about as one (ROUTING.md, "Which statements are lock statements").

// gather looks at frames until the unit at the head is whole, or as much of it as may be kept. It gives false where
// more bytes are needed.
func (s *Session) gather() bool {
	for i := 0; ; i++ {
		if i >= s.ahead.len() {
			if s.sized > 0 && len(s.view) > s.cfg.MaxBuffer {
				return true // what is here must do: the rest streams
			}
			if !s.look() || s.phase != resting {
				return false
			}
		}
		r := s.ahead.at(i)
		switch {
		case r.ends():
			return true
		case i > 0 && (r.kind == protocol.Flush || r.kind == protocol.Terminate):
			return true
		case i == 0 && needsNothing(r):
			if r.kind == protocol.Terminate {
				s.terminate()
				return false
			}
			s.take(true)
			i--
		case s.skip:
			s.take(true)
			i--
		}
	}
}

// needsNothing tells messages that mean nothing outside a batch: a server discards what is left of a COPY that failed
// (postgres.c, PostgresMain; PITFALLS, B#1470), and has nothing to flush.
func needsNothing(r *request) bool {
	if r.has(flagMalformed) {
		return false
	}
	switch r.kind {
	case protocol.CopyData, protocol.CopyDone, protocol.CopyFail, protocol.Flush, protocol.Terminate:
		return true
	}
	return false
}

// decide answers the gathered unit here, or asks for the server that it needs.
func (s *Session) decide() {
	switch {
	case s.skip:
		s.skipped()
	case s.cancelNext:
		s.cancelNext = false
		s.answerUnit(canceled())
	case s.owed != nil && !s.endsHere():
		s.answerOwed()
	case s.answersHere():
		s.answer()
	default:
		s.kind = pools.Admin
		if s.unitLocks() {
			s.kind = pools.Lock
		}
		s.checkout()
	}
}

// checkout asks for a server: at once, unless the pools are to hear of something else from this step first.
func (s *Session) checkout() {
	s.phase = queueing
	if s.o.Pools == nil || len(s.o.Actions) > 0 || s.o.Redefined != NotRedefined {
		s.do(Action{Op: Checkout, Kind: s.kind})
		return
	}
	if srv := s.o.Pools.Checkout(s.kind); srv != nil {
		s.srv = srv
		s.attach()
	}
}

// answerOwed tells the client what became of its transaction while it asked nothing. A COMMIT that is answered so has
// ended it.
func (s *Session) answerOwed() {
	e := s.owed
	s.owed = nil
	s.answerCloses()
	if s.ahead.len() > 0 && s.ahead.front().has(flagEnd) {
		s.settleBegin()
		s.tx = 'I'
	}
	s.answerUnit(e)
}

// skipped ends a batch that failed here: its Sync is answered.
func (s *Session) skipped() {
	if r, _ := s.take(true); r.kind == protocol.Sync {
		s.skip = false
		s.tellReady()
	}
}

// unitLocks tells whether the unit at the head of ahead, as far as it has been looked at, is to run on a lock backend.
// A unit that only prepares a lock statement need not; but if its backend is to stay, because it begins a transaction or
// its batch goes on behind a Flush, then what comes next is the statement itself, and a promotion would come too late
// for a crowd of such clients (asyncpg and pgx prepare first, in the transaction).
func (s *Session) unitLocks() bool {
	for i := range s.ahead.len() {
		r := s.ahead.at(i)
		if s.takesLocks(r) {
			return true
		}
		if r.ends() {
			return len(s.begin) > 0 && s.unitPrepares()
		}
	}
	return s.unitPrepares()
}

// unitPrepares tells whether it prepares a lock statement.
func (s *Session) unitPrepares() bool {
	return s.unitHas(func(r *request) bool {
		return r.kind == protocol.Parse && r.stmt != nil && s.effects(&r.stmt.unit)&acquires != 0
	})
}

// unitHas tells whether the unit at the head of ahead has such a message, as far as it has been looked at.
func (s *Session) unitHas(such func(*request) bool) bool {
	for i := range s.ahead.len() {
		r := s.ahead.at(i)
		if such(r) {
			return true
		}
		if r.ends() {
			break
		}
	}
	return false
}

// acquires are the effects of functions that may take a lock.
const acquires = takesSession | takesXact

// takesLocks tells whether a message needs a lock backend. What only releases, for a session that holds nothing, does
// not: pools' reset queries do so at every return.
func (s *Session) takesLocks(r *request) bool {
	const releases = sql.SessionRelease | sql.UnlockAll
	return r.lock&^releases != 0 || (r.lock != 0 && s.held.any())
}

// mayWait are the effects of functions that may wait for a lock: what only tries, or releases, does not.
const mayWait = sql.SessionAcquire | sql.XactAcquire | sql.Unknown

// unitWaits tells whether the unit at the head of ahead may wait for a lock, as far as it has been looked at, or prepares what may.
func (s *Session) unitWaits() bool {
	return s.unitHas(func(r *request) bool {
		return r.lock&mayWait != 0 || r.kind == protocol.Parse && r.stmt != nil && s.effects(&r.stmt.unit)&mayWait != 0
	})
}

// endsHere tells whether the unit is a ROLLBACK, which even a transaction that is lost for good answers well.
func (s *Session) endsHere() bool {
	r := s.ahead.front()
	return r.kind == protocol.Query && r.has(flagEnd) && !r.has(flagCommit)
}

// answersHere tells whether the unit needs no server at all: a BEGIN, which is sent with what follows it, the end of a
// transaction that no server knows of, a reset of a session that left nothing anywhere, or nothing but Sync and Close.
func (s *Session) answersHere() bool {
	r := s.ahead.front()
	if r.kind == protocol.Query {
		return s.runsHere(r) || s.resetsNothing(r)
	}
	return s.batchRunsHere()
}

// batchRunsHere tells the same of a batch: it may run one BEGIN or END, in a portal that it binds, and describe what it uses.
func (s *Session) batchRunsHere() bool {
	var portal []byte
	bound, executed := false, false
	at := 0
	for i := range s.ahead.len() {
		r := s.ahead.at(i)
		body := s.view[min(at+protocol.HeadSize, len(s.view)):min(at+r.size, len(s.view))]
		at += r.size
		if r.has(flagMalformed) {
			return false
		}
		switch r.kind {
		case protocol.Sync:
			return !bound || executed || len(s.begin) == 0 // else a portal stays that is run later
		case protocol.Parse:
			if r.has(flagTooLong|flagTwice) || !s.textRunsHere(r.stmt) || len(r.stmt.body) > len(r.stmt.text())+3 {
				return false // or it has parameters of its own
			}
		case protocol.Bind:
			if bound || r.stmt == nil || !r.has(flagPlain) || !s.textRunsHere(r.stmt) {
				return false
			}
			portal, _, bound = protocol.BindNames(body)
			if s.beginAs != nil && len(portal) > 0 {
				return false // the name may be taken
			}
		case protocol.Describe:
			// An END takes its portal with it.
			if r.stmt == nil && (body[0] != 'P' || !bound || executed && len(s.begin) > 0 || !isOf(body[1:], portal)) || r.stmt != nil && !s.textRunsHere(r.stmt) {
				return false
			}
		case protocol.Execute:
			if executed || !bound || !s.runsHere(r) || !isOf(body, portal) {
				return false
			}
			executed = true
		case protocol.Close:
			if r.reply != replyClosed {
				return false
			}
		default:
			return false
		}
	}
	return false
}

// isOf tells whether what is left of a message begins with the name.
func isOf(body, name []byte) bool {
	first, _, ok := protocol.CString(body)
	return ok && bytes.Equal(first, name)
}

// runsHere tells whether a message runs nothing but a BEGIN or an END that this session can answer.
func (s *Session) runsHere(r *request) bool {
	if len(s.begin) == 0 {
		return r.has(flagBegin) && s.tx == 'I'
	}
	keeps := s.anew && !s.failed && r.has(flagCommit) // what comes with the BEGIN
	return r.has(flagEnd) && !keeps
}

// textRunsHere tells the same of a prepared statement.
func (s *Session) textRunsHere(st *statement) bool {
	if st == nil {
		return false
	}
	var r request
	s.classify(&r, &st.unit)
	return s.runsHere(&r)
}

// resetsNothing tells whether the message is a DISCARD ALL of a session that has nothing to discard.
func (s *Session) resetsNothing(r *request) bool {
	return r.has(flagDiscardAll) && s.tx == 'I' && s.state.settings.Equal(s.defaults)
}

// answer answers the gathered unit here.
func (s *Session) answer() {
	for {
		r, p := s.take(true)
		switch r.kind {
		case protocol.Query:
			s.answerRun(&r, queryText(p))
			s.tellReady()
			return
		case protocol.Sync:
			s.tellReady()
			return
		case protocol.Parse:
			s.o.Parses++
			s.prepared(&r)
			r.stmt.shape = &shape{print: noColumns, params: "\x00\x00"}
			s.reply(protocol.AppendParseComplete)
		case protocol.Bind:
			s.reply(protocol.AppendBindComplete)
		case protocol.Close:
			s.reply(protocol.AppendCloseComplete)
		case protocol.Describe:
			if r.stmt != nil {
				s.reply(appendNoParameters)
			}
			s.reply(protocol.AppendNoData)
		case protocol.Execute:
			if portal, _, _ := protocol.CString(p[protocol.HeadSize:]); r.has(flagBegin) {
				s.beginAs = &unnamedPortal
				if len(portal) > 0 {
					name := string(portal)
					s.beginAs = &name
				}
			}
			s.answerRun(&r, []byte(r.stmt.text()))
		}
	}
}

// appendNoParameters writes a ParameterDescription without parameters.
func appendNoParameters(dst []byte) []byte {
	return append(appendHead(dst, protocol.ParameterDescription, 2), 0, 0)
}

func (s *Session) reply(build func([]byte) []byte) {
	at := len(s.o.scratch)
	s.o.scratch = build(s.o.scratch)
	s.toClient(s.o.since(at))
}

// answerRun does what the BEGIN, the END or the DISCARD ALL means here.
func (s *Session) answerRun(r *request, text []byte) {
	switch {
	case r.has(flagBegin):
		s.begin = append(s.begin[:0], text...)
		s.tx = 'T'
		s.tellComplete(beginTag(s.begin))
	case r.has(flagEnd):
		tag := "ROLLBACK"
		if r.has(flagCommit) && !s.failed {
			tag = "COMMIT"
		}
		s.settleBegin()
		s.owed = nil
		s.tx = 'I'
		s.tellComplete(tag)
		s.tellBack()
	default:
		s.discarded()
		s.tellComplete("DISCARD ALL")
	}
}

// unnamedPortal is the name of the portal that most BEGINs of the extended protocol are executed in.
var unnamedPortal = ""

// settleBegin forgets the BEGIN that was answered: it is on its way, or its transaction is over.
func (s *Session) settleBegin() {
	s.begin, s.beginAs, s.failed, s.anew = s.begin[:0], nil, false, false
	if s.fresh == 0 && cap(s.begin) > keptBegin {
		s.begin = nil
	}
}

// beginTag is the command tag of a BEGIN or a START TRANSACTION: by the first letter that is no comment's.
func beginTag(text []byte) string {
	if verb := sql.FirstWord(text); len(verb) > 0 && verb[0]|0x20 == 's' {
		return "START TRANSACTION"
	}
	return "BEGIN"
}

// answerUnit answers the unit at the head of ahead with an error, as a server would, and drops the rest of it.
func (s *Session) answerUnit(e *protocol.Error) {
	if s.answerCloses() && s.ahead.len() == 0 && !s.look() {
		if !s.goodbye {
			s.owed = e // to what comes next, which may be a query: behind an error it would be skipped, as all is up to Sync
		}
		return
	}
	s.tellError(e)
	if s.tx == 'T' {
		if s.anew && !containsFold(s.begin, "savepoint") { // else what came before one stays set
			s.tellBack()
		}
		s.abandon()
	}
	s.undoAhead()
	if s.ahead.len() > 0 && s.ahead.front().kind == protocol.Query {
		s.unnamed = nil // a query that fails destroys it as well
	}
	s.skip = s.ahead.len() == 0 || !s.ahead.front().ends()
	for first := true; s.ahead.len() > 0 && (first || s.skip); first = false {
		if r, _ := s.take(true); r.kind == protocol.Sync { // a query in the middle of a batch does not end it
			s.skip = false
		}
	}
	if s.ahead.clear(); s.stream == 0 {
		s.sized = 0
	}
	if !s.skip {
		s.tellReady()
	}
}

// answerCloses answers Close messages at the beginning of a unit that is to fail: they cannot, and their answer needs no server. The error
// is that of what follows: behind one for the Close a query would be skipped, as all is up to Sync. It tells whether there were any.
func (s *Session) answerCloses() (some bool) {
	for s.ahead.len() > 0 && s.ahead.front().reply == replyClosed {
		s.take(true)
		s.reply(protocol.AppendCloseComplete)
		some = true
	}
	return some
}

// abandon makes the transaction one that has failed, with no server yet that knows: it is begun and aborted there when
// one is needed.
func (s *Session) abandon() {
	s.tx = 'E'
	s.failed = true
	if len(s.begin) == 0 {
		s.begin = append(s.begin, "BEGIN"...)
	}
}
