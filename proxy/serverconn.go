package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/proxy/link"
	"github.com/lockproxy/lockproxy/proxy/session"
)

// serverConn is one server connection: the owner of its link. What it says goes to the client whose session holds it.
type serverConn struct {
	pool   *pool
	conn   *backend.Conn
	facts  *session.Server // of who holds the slot, or under the pool's mutex while it is idle
	slot   *pools.Backend
	holder atomic.Pointer[client] // whose session has it; nil: none
	dead   atomic.Bool            // its link is over
	looked *session.Settings      // what it had reported when it was last seen not to have changed sides

	tally tally
	fate  string // why it is closed; "": nobody here wanted that. Under the pool's mutex

	notifier atomic.Uint32 // the process id of the client whose NOTIFY ran on it last

	starting sync.Mutex // held until link is known: the link may call before it has been returned
	link     link.Link
}

func newServerConn(p *pool, conn *backend.Conn) *serverConn {
	facts := session.NewServer(conn.Pid, session.NewReported(settingsOf(conn.Parameters)), time.Now())
	facts.OwnLockTimeout, facts.OwnIdleTimeout = conn.OwnLockTimeout, conn.OwnIdleTimeout
	facts.SearchPath, facts.BoundsStatements = conn.SearchPath, conn.BoundsStatements
	sc := &serverConn{pool: p, conn: conn, facts: facts}
	p.server.backends.Store(conn.Pid, sc)
	p.mu.Lock()
	p.open++
	p.ledger.births++
	p.mu.Unlock()
	return sc
}

// settingsOf gives what a server told as sessions know it.
func settingsOf(parameters []backend.Parameter) (list []session.Setting) {
	for _, one := range parameters {
		list = append(list, session.Setting{Name: one.Name, Value: one.Value})
	}
	return list
}

// over takes it off the books.
func (sc *serverConn) over() {
	sc.pool.server.backends.CompareAndDelete(sc.conn.Pid, sc)
	sc.pool.mu.Lock()
	sc.pool.open--
	sc.pool.ledger.died(sc)
	sc.pool.mu.Unlock()
}

// theLink waits until the link is known. Whoever was granted the connection need not: it was known before.
func (sc *serverConn) theLink() link.Link {
	sc.starting.Lock()
	defer sc.starting.Unlock()
	return sc.link
}

// Received takes what the server sent.
func (sc *serverConn) Received(p []byte) { sc.ReceivedIn(nil, p) }

// ReceivedIn takes it within a batch.
func (sc *serverConn) ReceivedIn(b *link.Batch, p []byte) {
	if c := sc.holder.Load(); c != nil {
		c.serverBytes(b, sc, p)
		return
	}
	sc.idleBytes(p)
}

// idleBytes takes what a server says that nobody asked anything. It is about to close, or not to be trusted: an idle
// one is dropped, and its own words are for the log.
func (sc *serverConn) idleBytes(p []byte) {
	text := "it spoke unasked"
	if len(p) > protocol.HeadSize && p[0] == protocol.ErrorResponse {
		e := protocol.ReadError(p[protocol.HeadSize:])
		text = e.Message
	}
	sc.pool.mu.Lock()
	sc.fate = "spoke unasked"
	sc.pool.mu.Unlock()
	sc.pool.server.log.Info("an idle backend is dropped", "database", sc.pool.name.database, "user", sc.pool.name.user, "pid", sc.conn.Pid, "reason", text)
	sc.theLink().Close()
}

// Closed takes the end of the connection. If a session has it, the session decides; else its slot is free.
func (sc *serverConn) Closed(err error) {
	sc.dead.Store(true)
	sc.conn.Close()
	sc.over()
	defer sc.pool.parted()
	if c := sc.holder.Load(); c != nil {
		c.serverLost(sc, err)
		return
	}
	sc.pool.server.deliver(nil, sc.pool.do(nil, func(pair *pools.Pair) {
		if sc.slot != nil && sc.slot.Holder() == nil {
			pair.Remove(time.Now(), sc.slot)
		}
	}))
}

// Drained lets the client go on that had sent more than the server took.
func (sc *serverConn) Drained() {
	if c := sc.holder.Load(); c != nil {
		c.serverDrained(sc)
	}
}

// hangUp ends the connection in good order.
func (sc *serverConn) hangUp() {
	l := sc.theLink()
	l.Write(protocol.AppendTerminate(nil))
	l.CloseAfterFlush(time.Second)
}
