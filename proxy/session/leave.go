package session

import (
	"strings"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
)

// cleanWithin is how long a server has to come to an end of what a client left behind.
const cleanWithin = 5 * time.Second

// settled does what is due between units, when the server has answered all it was sent. It tells whether it changed
// the session's phase.
func (s *Session) settled() bool {
	if s.srv.flight.len() > 0 || s.open || s.copying.in || s.cancelling || s.asking || !s.begun && !s.goodbye {
		return false
	}
	if s.stream > 0 && !s.streamDrop {
		return false // the server waits for the rest of a message, were it one that it will ignore
	}
	if s.copying.unsure > 0 {
		s.askSyncs(0)
		return false
	}
	if s.syncError != nil {
		s.settingsFailed()
		return true
	}
	if s.broken {
		s.notTold()
		return true
	}
	if s.goodbye {
		return s.clean()
	}
	if s.startsOver {
		if s.srvInTransaction() {
			s.sendQuery(forEnd, "ROLLBACK") // once more: somebody's cancel request prevented it
			return false
		}
		return s.giveBack()
	}
	s.showHold()
	if s.tx != 'I' {
		return false
	}
	s.state.otherwise, s.state.otherPath = false, false
	if s.functionsUnread() {
		return s.restore() // what was called will be known; until then the server stays
	}
	s.recall()
	if s.state.mayHold || s.state.opaque && (s.held.any() || s.state.pins&^pinSession != 0) {
		s.state.mayHold, s.held.unsure = false, true // a server that is kept would not be asked
	}
	if s.held.unsure && s.ask() {
		return false
	}
	if s.draining && !s.held.any() && s.state.pins != 0 && len(s.view) == 0 {
		s.shutdown() // idle, though it keeps its server: what lives there need not be waited for
		return true
	}
	if s.state.pins&askable != 0 && s.state.pinsUnsure && s.ask() {
		return false
	}
	if s.held.any() || s.state.pins != 0 {
		return s.restore() || s.move() || s.demote()
	}
	if s.ask() {
		return false
	}
	if s.srv.refused == nil && s.lingers() {
		return s.putStartup()
	}
	if s.srv == nil {
		return true // what it looked at for that was no message, and ended the session
	}
	return s.giveBack()
}

// srvInTransaction tells whether the server was in a transaction by its last ReadyForQuery.
func (s *Session) srvInTransaction() bool { return s.srvStatus != 'I' && s.srvStatus != 0 }

// functionsUnread tells whether the functions may have changed and have not been read again.
func (s *Session) functionsUnread() bool {
	return s.o.Redefined != NotRedefined || s.cfg.Catalog().doubt == unread
}

// giveBack releases the server, unless that is to lose the client's own bound for idle sessions first: it would end itself in the pool, maybe
// under somebody else's first statement. It tells whether the server has gone.
func (s *Session) giveBack() bool {
	if value, set := s.srv.settings.Get(idleSession); set && duration(value) > 0 {
		s.srv.settings = s.srv.settings.With(idleSession, "0")
		s.sendQuery(forCleaning, string(appendSet(nil, idleSession, "0", false)))
		return false
	}
	s.release()
	return true
}

// rests tells whether nothing is under way, on a server that the session keeps.
func (s *Session) rests() bool {
	return s.phase == attached && s.tx == 'I' && s.srv.flight.len() == 0 && s.ahead.len() == 0 && s.stream == 0 && !s.open && !s.copying.in &&
		s.copying.unsure == 0 && !s.cancelling && !s.asking && !s.goodbye && !s.held.unsure && !s.state.mayHold
}

// restore finds out what became of the settings on a server that stays, and puts startup parameters in place again that
// were reset.
func (s *Session) restore() bool {
	st := &s.state
	if st.everything {
		return false
	}
	if len(st.touched) == 0 && !st.resetAll {
		st.unclear, st.maybeReset = false, false // that was about other settings
		return s.putStartup()
	}
	if st.unclear || st.opaque {
		return s.ask()
	}
	s.settingsReset()
	return s.putStartup()
}

// putStartup puts the session's settings in place where a startup parameter is not.
func (s *Session) putStartup() bool {
	for _, one := range s.defaults.All() {
		want, _ := s.state.settings.Get(one.Name)
		if now, ok := s.srv.settings.Get(one.Name); !ok || now != want {
			s.putSettings(false)
			return s.srv.flight.len() > 0
		}
	}
	return false
}

// release gives the server back, clean: or has it closed, where it is not safe for whoever has it next.
func (s *Session) release() {
	s.showHold()
	s.linger.until = time.Time{}
	s.state.unclear, s.state.maybeReset = false, false
	if s.endangered {
		s.remove(ReasonCancel, "a cancel request may still reach it")
		return
	}
	s.do(Action{Op: Release})
	s.letGo()
}

// move moves the slot of a session that turned out to hold locks to the lock pool, where holders belong.
func (s *Session) move() bool {
	if !s.held.any() || s.kind == pools.Lock || s.moveFailed {
		return false
	}
	s.toMove = true
	s.promote()
	return true
}

// demote moves the slot of a session that keeps its server for something else than locks back to the admin pool: in the lock pool it
// would be in the way of those who need one. It tells whether the lock pool's timeouts are to go first.
func (s *Session) demote() bool {
	if s.held.any() || s.kind == pools.Admin || s.ahead.len() > 0 || s.o.Pools == nil || !s.o.Pools.Demote() {
		return false // what comes next may be why it was promoted
	}
	s.kind, s.moveFailed = pools.Admin, false
	if s.needsTimeouts(false) {
		s.putTimeouts(false)
	}
	return s.srv.flight.len() > 0
}

// settingsFailed ends a server that stands without the session's settings. Its client was told; one that holds locks there, or has what
// cannot be made again, ends with it.
func (s *Session) settingsFailed() {
	e, unheard := s.syncError, s.tx == 'T'
	if s.endsWithServer() {
		s.fatal(&protocol.Error{Code: protocol.AdminShutdown, Message: "lockproxy: the session's settings could not be put in place: " + e.Message}, ReasonSettings)
		return
	}
	if s.tx == 'E' {
		s.begin, s.beginAs, s.failed = append(s.begin[:0], "BEGIN"...), nil, true
	}
	s.remove(ReasonSettings, e.Message)
	if unheard { // the transaction could not begin, and nothing of it that the client has asked for was sent
		s.owed = e
		s.abandon()
	}
}

// endsWithServer tells whether the session cannot go on without the server that it has: in session mode, as soon as it has used it.
func (s *Session) endsWithServer() bool {
	return s.held.any() || s.state.pins&^pinSession != 0 || s.state.pins.Has(pinSession) && s.begun || s.state.unasked
}

// notTold ends a server that could not answer our question: what it holds is not known. A session that holds locks
// there ends with it.
func (s *Session) notTold() {
	const text = "the server could not say what the session holds"
	if s.endsWithServer() {
		s.fatal(&protocol.Error{Code: protocol.AdminShutdown, Message: "lockproxy: " + text}, ReasonNotCleaned)
		return
	}
	s.remove(ReasonNotCleaned, text)
}

// ClientLost takes the end of the client's connection. A running statement is not to go on for nobody, unless the client said goodbye behind
// it; what it waits for may be a lock.
func (s *Session) ClientLost(o *Output, now time.Time) {
	s.step(o, now)
	defer s.finish()
	if s.goodbye {
		return
	}
	if s.ahead.len() > 0 && s.ahead.front().kind == protocol.Terminate {
		s.part()
		return
	}
	s.leave()
	s.cancelRunning()
}

// terminate takes a Terminate message, when what came before it is answered, or will not be.
func (s *Session) terminate() {
	s.part()
	s.do(Action{Op: CloseClient})
}

// part takes the goodbye of a client. What runs goes on, as on a direct connection, unless it waits for a lock.
func (s *Session) part() {
	s.leave()
	if s.phase == attached && s.waitsForLock() {
		s.cancelRunning()
	}
}

// leave begins the end: the client is gone, or said goodbye.
func (s *Session) leave() {
	s.goodbye = true
	s.view = nil
	s.ahead.clear()
	s.sized = 0
	switch s.phase {
	case starting, queueing:
		if s.srv == nil {
			s.do(Action{Op: Leave})
			s.end()
			return
		}
		s.phase = attached
		s.endBatch()
	case promoting:
		s.do(Action{Op: Leave})
		s.phase = attached
		s.endBatch()
	case attached:
		s.endBatch()
	}
}

// endBatch brings what is half sent to an end, so that the server can be cleaned.
func (s *Session) endBatch() {
	s.deadline = s.now.Add(cleanWithin)
	if s.stream > 0 && !s.streamDrop {
		// The server waits for the rest of a message that nobody can send: only closing ends that.
		s.cancelRunning()
		s.remove(ReasonClientLeft, "the client left in the middle of a message")
		s.end()
		return
	}
	at := len(s.o.scratch)
	if s.copying.in {
		s.o.scratch = appendHead(s.o.scratch, protocol.CopyFail, 1)
		s.o.scratch = append(s.o.scratch, 0)
		s.copying.in = false
	}
	if s.open {
		if !s.skip {
			// Sync would commit what the batch did. It fails first, as it does for a server whose client is gone.
			s.o.scratch = appendNamed(s.o.scratch, protocol.Describe, nobody)
			s.srv.flight.push(request{kind: protocol.Describe})
		}
		s.o.scratch = appendHead(s.o.scratch, protocol.Sync, 0)
		s.srv.flight.push(request{kind: protocol.Sync})
		s.unitsAhead++
		s.open = false
	}
	s.toServer(s.o.since(at))
}

// clean resets what the client left and gives the server back. It tells whether it is done.
func (s *Session) clean() bool {
	if s.srvInTransaction() {
		s.sendQuery(forCleaning, "ROLLBACK")
		return false
	}
	s.recall()
	st := &s.state
	switch {
	case st.pins.Has(unfit):
		s.remove(ReasonClientLeft, "what the client left cannot be reset: "+strings.Join(pinNames(st.pins&unfit), ", "))
		s.end()
		return true
	case st.pins != 0 || st.opaque || st.everything || st.resetAll || len(st.touched) > 0:
		s.sendQuery(forCleaning, "DISCARD ALL")
		s.srv.forget()
		s.discarded()
		st.pins = 0
		return false
	case s.held.any() || st.mayHold:
		st.mayHold = false
		s.sendQuery(forCleaning, "SELECT pg_catalog.pg_advisory_unlock_all()")
		s.held = locks{shown: s.held.shown}
		return false
	}
	s.held.xact = false
	if s.ask() || !s.giveBack() {
		return false
	}
	s.end()
	return true
}

// giveUpCleaning closes a server that could not be cleaned in time.
func (s *Session) giveUpCleaning() {
	if s.srv == nil {
		return
	}
	if s.phase == promoting {
		s.do(Action{Op: Leave})
	}
	s.remove(ReasonNotCleaned, "it did not come to rest in time")
	s.end()
}

// Drain has the session end its client as soon as it is idle.
func (s *Session) Drain(o *Output, now time.Time) {
	s.step(o, now)
	defer s.finish()
	s.draining = true
}

// Stop ends the client now, whatever it does.
func (s *Session) Stop(o *Output, now time.Time) {
	s.step(o, now)
	defer s.finish()
	if s.goodbye || s.phase == ended {
		return
	}
	s.shutdown()
}

func (s *Session) shutdown() {
	s.cancelRunning()
	s.fatal(&protocol.Error{Code: protocol.AdminShutdown,
		Message: "terminating connection due to administrator command"}, ReasonShutdown)
}
