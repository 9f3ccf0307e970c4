package proxy

import (
	"container/list"
	"time"
)

// asking is the connections that log in, in the order in which they came, and one timer for all of them: a timer for each would
// wake a thread of Go's for each (proc.go, wakeNetPoller). It is guarded by the server's mutex.
type asking struct {
	list.List // of *visitor
	timer     *time.Timer
	rings     time.Time // when the timer does; zero: it does not
}

// ask adds a connection whose login is to be over in time.
func (s *Server) ask(v *visitor, within time.Duration) {
	v.place, v.due = s.asking.PushBack(v), time.Now().Add(within)
	s.callFor(v.due)
}

// callFor has those ended who are late by then. Called with the mutex held.
func (s *Server) callFor(due time.Time) {
	a := &s.asking
	if !a.rings.IsZero() && !due.Before(a.rings) {
		return
	}
	a.rings = due
	if a.timer == nil {
		a.timer = time.AfterFunc(time.Until(due), s.endLate)
		return
	}
	a.timer.Reset(time.Until(due))
}

// endLate ends the logins that have taken too long.
func (s *Server) endLate() {
	for _, v := range s.late(time.Now()) {
		v.expire()
	}
}

// late gives them, and has the timer ring for the next.
func (s *Server) late(now time.Time) (late []*visitor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asking.rings = time.Time{}
	for e := s.asking.Front(); e != nil; e = e.Next() {
		if v := e.Value.(*visitor); v.due.After(now) {
			s.callFor(v.due)
		} else {
			late = append(late, v)
		}
	}
	return late
}

// manyAsking is how many connections may be logging in at least, however few clients there may be: a login that goes on
// takes a few kilobytes.
const manyAsking = 8000

// makeRoom ends the login that has taken longest, where there are too many: whoever is served in time is through long
// before, and who opens connections to leave them so must not keep others out. Called with the mutex held.
func (s *Server) makeRoom(r *rules) {
	if s.asking.Len() < max(manyAsking, r.MaxClients) {
		return
	}
	longest := s.asking.Front()
	s.asking.MoveToBack(longest) // the next one is another's turn
	s.work.Go(longest.Value.(*visitor).expire)
}
