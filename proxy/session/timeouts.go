package session

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/lockproxy/lockproxy/protocol"
)

// Timeouts bound how long a client may take; 0: no bound. A client that waits for a server is not idle, nor does its
// statement run or its transaction go on: the pools bound that wait.
type Timeouts struct {
	ClientIdle        time.Duration // outside a transaction, from the last answer to the next statement
	Query             time.Duration // of one unit, from its sending to its ReadyForQuery
	Transaction       time.Duration // of one transaction on its server; a unit outside of one is one
	IdleInTransaction time.Duration // within a transaction, from the last answer to the next statement
}

// timeout is one of them.
type timeout uint8

const (
	noTimeout timeout = iota
	clientIdle
	queryTimeout
	transactionTimeout
	idleInTransaction
)

// Overdue tells whether Expire has anything to do.
func (s *Session) Overdue(now time.Time, t *Timeouts) bool { return s.overdue(now, t) != noTimeout }

// Expire ends what has taken too long: the statement, or the client. Its server is cleaned and stays.
func (s *Session) Expire(o *Output, now time.Time, t *Timeouts) {
	s.step(o, now)
	defer s.finish()
	switch s.overdue(now, t) {
	case clientIdle:
		s.dismissFor(idleSession)
	case idleInTransaction:
		s.dismissFor(idleTimeout)
	case transactionTimeout:
		s.dismissFor(wholeTransaction)
	case queryTimeout:
		s.overtime = t.Query
		s.deadline = now.Add(cleanWithin) // for the cancel request to be of use
		s.cancelRunning()
	}
}

// overdue finds what has taken too long. It is asked now and then for every client, so that nothing is set or looked at for
// each message but the time of its step.
func (s *Session) overdue(now time.Time, t *Timeouts) timeout {
	over := func(bound time.Duration, since time.Time) bool { return bound > 0 && now.Sub(since) >= bound }
	switch s.phase {
	case resting, attached, promoting:
	default:
		return noTimeout
	}
	if s.goodbye {
		return noTimeout
	}
	began, runs := s.quiet, false
	if s.srv != nil {
		if runs = s.runsForClient(); s.begun {
			began = s.srv.began
		}
	}
	idle := !runs && s.phase != promoting && !s.open && !s.copying.in && !s.skip && s.ahead.len() == 0
	switch {
	case (runs || s.tx != 'I') && over(t.Transaction, began):
		return transactionTimeout
	case runs && s.overtime == 0 && over(t.Query, s.srv.asked):
		return queryTimeout
	case idle && s.tx == 'I' && over(t.ClientIdle, s.quiet):
		return clientIdle
	case idle && s.tx != 'I' && over(t.IdleInTransaction, s.quiet):
		return idleInTransaction
	}
	return noTimeout
}

// unitBegins notes when the server was asked, and when its transaction began. What the server is at for the client, it ends
// first.
func (s *Session) unitBegins() {
	if s.srv.flight.firstOfClient() != nil {
		return
	}
	s.srv.asked = s.now
	if s.tx == 'I' || !s.begun {
		s.srv.began = s.now
	}
}

// unitEnds notes that a unit is answered, and that the next one, if it is on its way, runs from now on.
func (s *Session) unitEnds() {
	s.quiet, s.srv.asked = s.now, s.now
	if s.tx == 'I' {
		s.srv.began = s.now
	}
	s.inTime()
}

// inTime takes it that nothing runs any more that has taken too long.
func (s *Session) inTime() {
	if s.overtime != 0 {
		s.overtime, s.deadline = 0, time.Time{}
	}
}

// The settings of PostgreSQL's own that bound how long a session may idle, beside idleTimeout.
const (
	idleSession      = "idle_session_timeout" // outside of a transaction (since 14)
	wholeTransaction = "transaction_timeout"  // within one, whatever it does (since 17)
)

// mayIdleUntil tells when a client that has no server has idled for as long as its own settings let it, and which of them that is; zero:
// there is no such bound. A server of its own sees to that itself.
func (s *Session) mayIdleUntil() (at time.Time, setting string) {
	if s.phase != resting || s.goodbye || s.ahead.len() > 0 || len(s.view) > 0 || len(s.kept) > 0 {
		return at, ""
	}
	bounds := []string{idleSession}
	if s.tx != 'I' {
		bounds = []string{wholeTransaction, idleTimeout} // the first counts where they are the same (postgres.c, PostgresMain)
	}
	for _, name := range bounds {
		value, _ := s.state.settings.Get(name)
		if bound := duration(value); bound > 0 && (at.IsZero() || s.quiet.Add(bound).Before(at)) {
			at, setting = s.quiet.Add(bound), name
		}
	}
	return at, setting
}

// duration reads a setting of time, whose unit is a millisecond unless it names one (guc.c, parse_int and time_unit_conversion_table);
// 0 for what is none.
func duration(value string) time.Duration {
	value = strings.TrimSpace(value)
	digits := len(value) - len(strings.TrimLeft(value, "0123456789."))
	number, err := strconv.ParseFloat(value[:digits], 64)
	unit, known := units[strings.TrimSpace(value[digits:])]
	if err != nil || !known || number > math.MaxInt32*float64(time.Millisecond)/float64(unit) {
		return 0
	}
	return time.Duration(number * float64(unit))
}

var units = map[string]time.Duration{"": time.Millisecond, "us": time.Microsecond, "ms": time.Millisecond, "s": time.Second,
	"min": time.Minute, "h": time.Hour, "d": 24 * time.Hour}

// dismissFor dismisses a client that has taken longer than a setting lets it.
func (s *Session) dismissFor(setting string) {
	switch setting {
	case idleSession:
		s.dismiss(protocol.IdleSessionTimeout, "terminating connection due to idle-session timeout")
	case idleTimeout:
		s.dismiss(protocol.IdleInTransactionSessionTimeout, "terminating connection due to idle-in-transaction timeout")
	case wholeTransaction:
		s.dismiss(protocol.TransactionTimeout, "terminating connection due to transaction timeout")
	}
}

// dismiss tells the client that it has to go. What it leaves behind is cleaned up as if it had gone by itself.
func (s *Session) dismiss(code, message string) {
	if !s.midMessage() {
		s.tellError(protocol.Fatal(code, message))
	}
	s.do(Action{Op: CloseClient, Reason: ReasonTimeout, Text: message})
	s.leave()
	s.cancelRunning()
}

// overtimeError is what a statement ends with that has run for too long.
func (s *Session) overtimeError() *protocol.Error {
	return &protocol.Error{Severity: "ERROR", Code: protocol.QueryCanceled, Message: "canceling statement due to query_timeout",
		Detail: "It ran for longer than " + s.overtime.String() + ", which is lockproxy's setting query_timeout."}
}

// giveUpStatement closes a server that heeds no cancel request.
func (s *Session) giveUpStatement() {
	e := s.overtimeError()
	e.Detail += " The server did not end it within " + cleanWithin.String() + " of the cancel request: its connection is closed."
	s.lost(e)
}
