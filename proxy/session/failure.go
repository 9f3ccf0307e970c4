package session

import (
	"bytes"
	"regexp"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// What an error of the server means: whose it is, what the client is told, and what of a batch is skipped with it.

// failure takes an ErrorResponse. It tells whether the client is to see it.
func (s *Session) failure(frame []byte) (visible bool) {
	e := protocol.ReadError(frame[protocol.HeadSize:])
	if e.Severity == "FATAL" || e.Severity == "PANIC" {
		s.dies(frame)
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
	if head.purpose == forBegin && !head.has(flagMayFail) && s.syncError == nil { // else it failed with that, and so does all behind it
		s.failsAlone("the transaction could not begin", &e)
		return false
	}
	s.state.unclear, s.state.maybeReset = true, true
	s.copying.fails()
	if head.lock != 0 {
		s.held.doubt(head.lock)
		s.countLock(head, e.Code)
	}
	switch {
	case head.purpose == forSettings && head.has(flagMayFail):
	case head.purpose == forSettings:
		s.settingRefused(head, &e)
	case head.purpose == forTimeouts && !s.inTheirBatch():
		s.unswitched = &e
	case head.purpose == forQuestion && e.Code == protocol.QueryCanceled && s.unheard < askAgain:
		s.heard.unheard = true
	case head.purpose == forQuestion && e.Code == protocol.UntranslatableCharacter && s.heard.named:
		s.heard.unheard = true
		s.pin(pinLetters)
	case head.purpose == forQuestion || head.purpose == forCleaning:
		s.broken = true
	}
	visible = head.purpose == theirs && !head.has(flagFailed|flagMayFail) || head.purpose == forStatement || head.purpose == forTimeouts && s.inTheirBatch()
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
	switch head.purpose {
	case forName:
		s.unmade(head)
		s.nameFailed(&e)
	case forShow:
		s.unmade(head)
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

// failsAlone gives the server up where what had to come first has failed, and what was sent with it may be running by itself now:
// somebody has cancelled it.
func (s *Session) failsAlone(what string, e *protocol.Error) {
	s.lost(&protocol.Error{Code: protocol.ConnectionFailure, Message: "lockproxy: " + what + ": " + e.Message,
		Detail: "What was sent with it may have been run all the same."})
}

// describesParameters tells the client the parameters of a statement that it wants described, where that cannot be made again: a
// server says so once it has described them (postgres.c, exec_describe_statement_message).
func (s *Session) describesParameters(making *request, code string) {
	if making.purpose != forStatement || code == protocol.InFailedSQLTransaction {
		return
	}
	r := s.underWay()
	switch {
	case r == nil || r.kind != protocol.Describe || r.stmt == nil:
	case r.stmt.shape.known() && r.stmt.shape.params != "":
		s.tellParameters(r.stmt.shape)
	case r.stmt.unit.Verb == sql.Execute: // which has those that its Parse message names
		s.tellParameters(&shape{params: r.stmt.parameterTypes()})
	}
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
	if sh := s.srv.prepared.find(s.sharedKey(r.stmt)); sh != nil {
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
	case head.instead != nil && (head.names == nil || code == protocol.InvalidSQLStatementName || bytes.Contains(frame, []byte(standIn)) ||
		code == protocol.InFailedSQLTransaction && s.tx != 'E'): // which failed with what was to make the name known
		s.tellError(head.instead) // else it has not come to the name
	case s.overtime != 0 && code == protocol.QueryCanceled:
		s.tellError(s.overtimeError())
	case s.syncError != nil:
		s.tellError(s.syncError)
	case s.unswitched != nil && code == protocol.InFailedSQLTransaction:
		s.tellError(s.unswitched)
	case head.added != nil:
		s.tellOriginal(head.added, frame)
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
