package sim

import (
	"fmt"
	"time"

	"github.com/lockproxy/lockproxy/protocol"
)

// server is a scripted PostgreSQL process with its one connection, which leads to the proxy.
type server struct {
	w      *world
	engine *engine
	link   *serverLink // the proxy's end
	in     pipe        // from the proxy
	out    pipe        // to the proxy
	pid    int
	user   *front // whose message it read last
	hurt   bool   // a cancel request's signal waits to be seen
	looked bool   // for a deadlock, in this wait
	gone   bool   // the process has ended

	idleSince time.Time // in a transaction, with nothing to do; zero: it is not
}

// deadlockTimeout is PostgreSQL's default deadlock_timeout.
const deadlockTimeout = time.Second

func newServer(w *world, pid int) *server {
	v := &server{w: w, pid: pid}
	v.in.room, v.out.room = w.plan.room, w.plan.room
	v.engine = newEngine(hooks{
		now: func() time.Time { return w.now }, emit: v.emit, free: v.free, fault: v.fault, publish: w.publish,
		pid: func() string { return fmt.Sprint(pid) }, strange: w.strange,
		version: func() string { return fmt.Sprint(w.definitions.version) },
		parsed:  func() bool { return false }, frozen: func(then, _ string) string { return then },
	}, standardValues())
	return v
}

func (v *server) emit(frame []byte) {
	v.out.write(frame, nil)
	if frame[0] == protocol.ReadyForQuery && v.engine.tx != 'I' {
		v.idleSince = v.w.now
	}
}

// free tells whether no other living server's locks exclude it.
func (v *server) free(l lock, _ bool) bool {
	for _, other := range v.w.servers {
		if other != v && other.engine.locks.excludes(l) {
			return false
		}
	}
	return true
}

// fault gives what interrupts the statement under way: a cancel request, or too long a wait.
func (v *server) fault(at moment) *protocol.Error {
	e := v.engine
	switch {
	case at == atSync:
		return nil
	case v.hurt:
		v.hurt = false
		return &protocol.Error{Severity: "ERROR", Code: protocol.QueryCanceled, Message: "canceling statement due to user request"}
	case e.waiting == nil:
		v.looked = false
		return nil
	case at != atWait:
		return nil
	}
	if limit := v.lockTimeout(); limit > 0 && v.w.now.Sub(e.since) >= limit {
		return &protocol.Error{Severity: "ERROR", Code: protocol.LockNotAvailable, Message: "canceling statement due to lock timeout"}
	}
	if !v.looked && v.w.now.Sub(e.since) >= deadlockTimeout {
		v.looked = true
		if v.waitsForItself() {
			return &protocol.Error{Severity: "ERROR", Code: deadlockDetected, Message: "deadlock detected"}
		}
	}
	return nil
}

func (e *engine) duration(id int) time.Duration {
	n, _ := amount(e.set[id].text, []unit{{"ms", 1}, {"s", 1000}, {"min", 60000}})
	return time.Duration(n) * time.Millisecond
}

func (v *server) lockTimeout() time.Duration { return v.engine.duration(varLockTimeout) }

// waitsForItself tells whether the server is in a circle of servers that wait for each other's locks.
func (v *server) waitsForItself() bool {
	seen := map[*server]bool{}
	list := []*server{v}
	for len(list) > 0 {
		at := list[0]
		list = list[1:]
		if at.engine.waiting == nil {
			continue
		}
		for _, other := range v.w.servers {
			if other == at || !other.engine.locks.excludes(*at.engine.waiting) {
				continue
			}
			if other == v {
				return true
			}
			if !seen[other] {
				seen[other] = true
				list = append(list, other)
			}
		}
	}
	return false
}

// reads takes bytes from the proxy. Whoever they are from must not come into another's transaction or locks.
func (v *server) reads(n int) {
	p, who := v.in.read(n)
	if e := v.engine; who != v.user && (e.open || e.locks.onSession() > 0 || e.listening || e.busy()) {
		v.w.fail("the server of %d still has the transaction, locks or listening of %v when %v writes to it", v.pid, v.user, who)
	}
	v.user = who
	v.engine.in = append(v.engine.in, p...)
}

// canStep tells whether the process has something to do that is not a wait, and its output is taken.
func (v *server) canStep() bool {
	e := v.engine
	switch {
	case v.gone || len(v.out.data) > v.out.room+outputBuffer:
		return false
	case e.waiting != nil:
		return v.hurt || v.free(*e.waiting, false)
	case !e.sleeping.IsZero():
		return v.hurt
	case e.busy() && e.copyIn == nil:
		return true
	}
	return v.whole()
}

// outputBuffer is how much a process has written beyond what its connection takes when it stops.
const outputBuffer = 8 << 10

// whole tells whether a message is there to be read.
func (v *server) whole() bool {
	in := v.engine.in
	if len(in) < protocol.HeadSize {
		return false
	}
	_, size := protocol.Head(in)
	return size <= len(in)
}

func (v *server) step() {
	v.idleSince = time.Time{}
	if !v.engine.busy() {
		v.hurt = false // a signal that finds nothing to interrupt is forgotten (postgres.c, ProcessInterrupts)
	}
	v.engine.step()
	if v.engine.over {
		v.end()
	}
}

// due gives when the process acts by itself; zero: never.
func (v *server) due() time.Time {
	e := v.engine
	switch {
	case v.gone:
		return time.Time{}
	case e.waiting != nil:
		due := time.Time{}
		if !v.looked {
			due = e.since.Add(deadlockTimeout)
		}
		if limit := v.lockTimeout(); limit > 0 {
			due = earlier(due, e.since.Add(limit))
		}
		return due
	case !e.sleeping.IsZero():
		return e.sleeping
	case !v.idleSince.IsZero() && v.engine.duration(varIdleTimeout) > 0:
		return v.idleSince.Add(v.engine.duration(varIdleTimeout))
	}
	return time.Time{}
}

// alarm acts because of the time.
func (v *server) alarm() {
	if v.engine.waiting != nil || !v.engine.sleeping.IsZero() {
		v.engine.step()
		return
	}
	v.dies(&protocol.Error{Severity: "FATAL", Code: protocol.IdleInTransactionSessionTimeout,
		Message: "terminating connection due to idle-in-transaction timeout"})
}

// dies ends the process with its last words, if it has any.
func (v *server) dies(last *protocol.Error) {
	if last != nil {
		v.out.write(protocol.AppendError(nil, last), nil)
	}
	v.end()
}

// end ends the process: what it held is free.
func (v *server) end() {
	v.gone = true
	v.out.ended = true
	v.in.lose(0)
	e := v.engine
	e.rollBack()
	e.locks = lockBook{}
	e.waiting, e.running, e.copyIn, e.inString, e.open = nil, nil, nil, false, false
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// SQLSTATEs that the proxy itself has no name for.
const (
	deadlockDetected = "40P01"
	crashShutdown    = "57P02"
	noSavepoint      = "3B001"
)

func adminShutdown() *protocol.Error {
	return &protocol.Error{Severity: "FATAL", Code: protocol.AdminShutdown,
		Message: "terminating connection due to administrator command"}
}
