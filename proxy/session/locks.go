package session

import (
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// locks is what the session holds of advisory locks, counted as PostgreSQL counts them: one taken twice needs two
// releases. Where results do not tell, the server is asked.
type locks struct {
	depth  int  // of session-level locks, from results
	some   bool // the server says that there are some; how deep is not known
	unsure bool // there may be some, or fewer than depth: the server is to be asked
	xact   bool // the transaction may hold locks of its own
	shown  bool // what was said last by Hold
}

const (
	sessionLevel = sql.SessionAcquire | sql.SessionTry | sql.SessionRelease | sql.UnlockAll | sql.Unknown
	takesSession = sql.SessionAcquire | sql.SessionTry | sql.Unknown
	takesXact    = sql.XactAcquire | sql.XactTry | sql.Unknown
)

// any tells whether the session may hold session-level locks.
func (l *locks) any() bool { return l.depth > 0 || l.some || l.unsure }

// ran notes that a statement with such effects came to its end. Counted tells that its rows were counted already.
func (l *locks) ran(effects sql.Effect, counted bool) {
	if effects&sessionLevel != 0 && !counted {
		l.doubt(effects)
	}
	if effects&takesXact != 0 && (!counted || effects&sql.XactAcquire != 0) {
		l.xact = true
	}
}

// doubt notes that a statement with such effects may or may not have had them.
func (l *locks) doubt(effects sql.Effect) {
	if effects&takesSession != 0 || l.any() && effects&sessionLevel != 0 {
		l.unsure = true
	}
}

// count takes one result of a lock function. Value is nil for NULL: these functions are strict, and did nothing.
func (l *locks) count(effect sql.Effect, value []byte) {
	yes := len(value) == 1 && (value[0] == 't' || value[0] == 1)
	switch effect {
	case sql.SessionAcquire:
		if value != nil {
			l.depth++
		}
	case sql.SessionTry:
		if yes {
			l.depth++
		}
	case sql.XactTry:
		l.xact = l.xact || yes
	case sql.SessionRelease:
		if yes {
			l.release()
		}
	case sql.UnlockAll:
		*l = locks{xact: l.xact, shown: l.shown}
	}
}

func (l *locks) release() {
	if l.depth--; l.depth < 0 || l.some {
		l.depth = max(l.depth, 0)
		l.unsure = true
	}
}

// told takes the server's word for how many session-level locks there are.
func (l *locks) told(rows int) {
	if rows == 0 {
		*l = locks{xact: l.xact, shown: l.shown}
		return
	}
	l.some = l.some || l.unsure || l.depth == 0
	l.unsure = false
}

// countRow counts the results of a DataRow that passes by.
func (s *Session) countRow(r *request, frame []byte) {
	for i := range r.unit.Columns {
		effect := r.unit.Columns[i]
		if effect == 0 {
			continue
		}
		value, ok := column(frame[protocol.HeadSize:], i)
		if !ok {
			s.held.doubt(r.lock)
			return
		}
		s.held.count(effect, value)
	}
}

// column gives a column's value in the body of a DataRow: nil for NULL. It gives false where there is none.
func column(body []byte, i int) (value []byte, ok bool) {
	if len(body) < 2 || i >= int(body[0])<<8|int(body[1]) {
		return nil, false
	}
	for p := body[2:]; len(p) >= 4; i-- {
		n := int(int32(uint32(p[0])<<24 | uint32(p[1])<<16 | uint32(p[2])<<8 | uint32(p[3])))
		p = p[4:]
		if n > len(p) {
			return nil, false
		}
		if i == 0 {
			if n < 0 {
				return nil, true
			}
			return p[:n:n], true
		}
		p = p[max(n, 0):]
	}
	return nil, false
}

// counts tells whether a message's results are counted row by row.
func (r *request) counts() bool { return r.unit != nil && r.unit.Simple && r.lock != 0 }

// showHold says whether the session holds advisory locks, when that has changed.
func (s *Session) showHold() {
	holds := s.held.any() || s.held.xact
	if holds != s.held.shown {
		s.held.shown = holds
		s.do(Action{Op: Hold, On: holds})
	}
}
