package session

import (
	"github.com/lockproxy/lockproxy/protocol"
)

// copying is what is known of COPY FROM STDIN. In the middle of one a server ignores Sync messages (copyfromparse.c,
// CopyGetData); once it has failed it answers them, and ignores the data (postgres.c, PostgresMain). When a COPY fails, nobody
// but the server knows which Sync messages it had read until then, and so how many ReadyForQuery messages will come: then it is
// asked, by a Sync and a Close of ours. All ReadyForQuery messages before CloseComplete but one are the client's.
type copying struct {
	in     bool  // the server takes data
	asking bool  // it is being asked
	knocks byte  // the kind of the message that went before the question, to fail the COPY if it was still on; 0: none
	syncs  int32 // sent to the COPY at hand
	unsure int32 // of those that were sent to COPYs that have failed: ReadyForQuery messages that may yet come
	late   int32 // ReadyForQuery messages that have come since it was asked
}

func (c *copying) ends() { c.in, c.syncs = false, 0 }

func (c *copying) fails() {
	c.unsure += c.syncs
	c.ends()
}

// expects tells whether a ReadyForQuery message is the answer to a Sync that might have been ignored.
func (c *copying) expects(flight *queue) bool {
	return c.unsure > 0 && (flight.len() == 0 || !flight.front().ends())
}

// copiesNot tells whether it is known that no COPY takes the next message, for its data or its error.
func (s *Session) copiesNot() bool {
	s.copies = s.srv.flight.any(func(r *request) bool { return r.has(flagCopies) })
	return !s.copies || s.batchStands()
}

// belongsToCopy tells the messages that a COPY takes; any other fails it (copyfromparse.c, CopyGetData).
func belongsToCopy(kind byte) bool {
	return kind == protocol.CopyData || isCopyEnd(kind) || kind == protocol.Flush || kind == protocol.Sync || kind == protocol.Terminate
}

// copyBegins takes CopyInResponse. Sync messages sent before it are lost, but for those that the COPY fails before (PITFALLS,
// B#1023).
func (s *Session) copyBegins(head *request) {
	if head.kind != protocol.Query && head.kind != protocol.Execute {
		s.outOfStep("COPY out of turn")
		return
	}
	s.copying.in = true
	flight := &s.srv.flight
	for i := 1; i < flight.len(); {
		switch kind := flight.at(i).kind; {
		case isCopyEnd(kind):
			s.copying.in = false
			return
		case kind == protocol.Sync:
			flight.remove(i)
			s.unitsAhead--
			s.open = true
			s.copying.syncs++
		default:
			s.copying.in = false // it ends the COPY with an error, and Sync messages behind it count again
			return
		}
	}
}

// passesUnsure tells whether a message may go to the server while it is not known how many ReadyForQuery messages are to come:
// one that is answered in any case, or ignored. For others it is asked.
func (s *Session) passesUnsure(kind byte) bool {
	if s.copying.asking {
		return false
	}
	if kind == protocol.Sync || kind == protocol.Terminate || needsNothing(&request{kind: kind}) {
		return true
	}
	if s.srv.flight.len() == 0 {
		s.askSyncs(0)
	}
	return false
}

// knock sends a message of the kind of the client's next, without a body: if the COPY is still on it fails for its kind, and the
// connection with it (postgres.c: "protocol synchronization was lost"). Else the COPY has failed, though nobody knows yet; then
// it fails for itself, or is skipped, and it is asked which of the two comes next for the client's.
func (s *Session) knock(kind byte) {
	s.copying.fails()
	s.askSyncs(kind)
}

// askSyncs asks the server which Sync messages it has ignored.
func (s *Session) askSyncs(knock byte) {
	open := s.open // the client's batch, which waits for its own Sync
	at := len(s.o.scratch)
	if s.copying.asking, s.copying.late, s.copying.knocks = true, 0, knock; knock != 0 {
		s.o.scratch = appendHead(s.o.scratch, knock, 0)
		s.srv.flight.push(request{kind: protocol.Describe, purpose: forSyncs})
	}
	s.toServer(s.o.since(at))
	s.syncOurs(forSyncs)
	s.closeNobody()
	s.syncOurs(forSyncs)
	s.open = open
}

func (s *Session) closeNobody() {
	at := len(s.o.scratch)
	s.o.scratch = appendCloseStatement(s.o.scratch, nobody)
	s.toServer(s.o.since(at))
	s.srv.flight.push(request{kind: protocol.Close, purpose: forSyncs})
}

// knockFails takes the error of the message that went before the question. A query without a body has a ReadyForQuery of its own.
func (s *Session) knockFails(head *request) {
	if s.copying.knocks == protocol.Query || s.copying.knocks == protocol.FunctionCall {
		s.copying.late--
	}
	if s.copying.knocks = 0; head.kind == protocol.Describe {
		s.srv.flight.pop()
	}
}

// readyLate takes the ReadyForQuery of a Sync that was not ignored.
func (s *Session) readyLate(frame []byte) (visible bool) {
	if len(frame) != protocol.HeadSize+1 {
		s.outOfStep("ReadyForQuery out of turn")
		return false
	}
	s.srvStatus = frame[protocol.HeadSize]
	if s.copying.asking {
		s.copying.late++
		return false
	}
	s.copying.unsure--
	return s.batchEndsLate()
}

// batchEndsLate takes the end of the batch that a COPY failed in: what comes behind it is another.
func (s *Session) batchEndsLate() (visible bool) {
	s.skip, s.open = false, false
	s.lookAgain() // what was looked at was to be skipped
	return s.readyForClient(&request{kind: protocol.Sync}, s.srvStatus)
}

// syncsKnown takes the answer to the question: all is here now.
func (s *Session) syncsKnown() {
	for range s.copying.late {
		if s.batchEndsLate() {
			s.tellReady()
		}
	}
	s.copying.unsure, s.copying.asking, s.copying.late = 0, false, 0
}
