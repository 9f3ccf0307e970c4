package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/lockproxy/lockproxy/protocol"
)

// app is a scripted application with one connection. What it says comes from script; what it is answered is judged by
// its oracle.
type app struct {
	w      *world
	id     int
	front  *front
	oracle *oracle
	told   map[string]string // by ParameterStatus

	units  []*unitOfWork // that are sent, or begun to be sent, and not all answered; the oldest first
	left   int           // units still to begin
	depth  int           // units at once
	next   time.Time     // it thinks until then
	count  int           // for names that occur once
	bytes  []byte        // read, of a message that is not all here
	frames [][]byte      // the answers to the oldest unit so far
	ending bool          // that unit ends a transaction

	welcomed bool
	fatal    bool // it was told that the connection ends
	quit     bool // it has left
	cancels  int  // cancel requests sent, less the errors that came of them
	losses   int  // servers lost, less the errors that came of them
	works    bool // it takes no locks, so that others may wait for it while they hold some
	gate     *app // whose work it waits for now
	wait     int  // until that one has so many units done
	done     int  // units answered
}

// unitOfWork is what one ReadyForQuery answers, sent in one part or several.
type unitOfWork struct {
	parts [][]byte // still to be sent
	after string   // the kinds of answers that are awaited before the next part
	wants int      // so many of them
	sent  []byte   // so far
	rows  []string // that it inserts
	ends  bool     // it ends a transaction
}

func (a *app) String() string { return fmt.Sprintf("c%d", a.id) }

// unique gives a text that occurs nowhere else.
func (a *app) unique() string {
	a.count++
	return fmt.Sprintf("c%d.%d", a.id, a.count)
}

// canSend tells whether the application has something to say now.
func (a *app) canSend() bool {
	switch {
	case a.quit || a.fatal || !a.welcomed || len(a.front.in.data) > 4*a.front.in.room+4096:
		return false
	case a.partDue():
		return true
	case a.w.now.Before(a.next) || a.left == 0 || a.gated():
		return false
	}
	return len(a.units) < a.depth && (len(a.units) == 0 || len(a.units[len(a.units)-1].parts) == 0)
}

// gated tells whether the application waits for another's work.
func (a *app) gated() bool {
	g := a.gate
	return g != nil && g.done < a.wait && !g.quit && !g.fatal && g.left > 0
}

// waitForWork has an application that holds a lock wait for work on another connection, as the lock is for.
func (a *app) waitForWork() {
	if a.works || !a.w.plan.gates || len(a.units) > 0 || len(a.oracle.engine.locks.holds) == 0 {
		return
	}
	for _, other := range a.w.apps {
		if other.works && !other.quit && other.welcomed && other.left > 0 {
			a.gate, a.wait = other, other.done+1
			a.w.seen.gates++
			a.w.note("%v holds a lock and waits for %v", a, other)
			return
		}
	}
}

// partDue tells whether the next part of a unit may be sent: an answer to what went before is there.
func (a *app) partDue() bool {
	if len(a.units) != 1 || len(a.units[0].parts) == 0 {
		return false
	}
	n := 0
	for _, f := range a.frames {
		if f[0] == protocol.ErrorResponse {
			return true
		}
		if slices.Contains([]byte(a.units[0].after), f[0]) {
			n++
		}
	}
	return n >= a.units[0].wants
}

func (a *app) send() {
	if a.partDue() {
		a.sendPart(a.units[0])
		return
	}
	a.left--
	u := a.script()
	a.units = append(a.units, u)
	a.write(u)
	a.next = a.w.now
	if a.w.chance(a.w.plan.think) {
		a.next = a.w.now.Add(a.w.upTo(3 * time.Second))
	}
}

// sendPart goes on with a unit. After an error a batch is only ended, and a simple COPY is over.
func (a *app) sendPart(u *unitOfWork) {
	failed, copying := false, false
	for _, f := range a.frames {
		failed = failed || f[0] == protocol.ErrorResponse
		copying = copying || f[0] == protocol.CopyInResponse
	}
	if failed {
		due := endsWithSync(u.parts[len(u.parts)-1]) && (copying || !endsWithSync(u.sent))
		if u.parts = nil; due {
			u.parts = [][]byte{message(protocol.Sync, nil)}
		}
	}
	if len(u.parts) > 0 {
		a.write(u)
	}
}

func endsWithSync(p []byte) bool {
	return len(p) >= 5 && p[len(p)-5] == protocol.Sync && p[len(p)-1] == 4
}

func (a *app) write(u *unitOfWork) {
	p := u.parts[0]
	u.parts = u.parts[1:]
	u.sent = append(u.sent, p...)
	a.front.in.write(p, nil)
	a.w.note("%v sends  %s", a, p)
}

// reads takes bytes from the proxy.
func (a *app) reads(n int) {
	p, _ := a.front.out.read(n)
	a.bytes = append(a.bytes, p...)
	for len(a.bytes) >= protocol.HeadSize {
		_, size := protocol.Head(a.bytes)
		if size == 0 {
			a.w.fail("%v was sent %q", a, a.bytes)
			return
		}
		if size > len(a.bytes) {
			return
		}
		frame := a.bytes[:size:size]
		a.bytes = a.bytes[size:]
		a.frame(frame)
	}
}

// frame takes one message.
func (a *app) frame(f []byte) {
	switch f[0] {
	case protocol.ParameterStatus:
		name := text(f[protocol.HeadSize:])
		a.told[name] = text(f[protocol.HeadSize+len(name)+1:])
		return
	case protocol.ErrorResponse:
		if err := protocol.ReadError(f[protocol.HeadSize:]); err.IsFatal() {
			a.ends(&err)
			return
		}
	}
	if a.fatal {
		a.w.fail("%v was told %s after a FATAL", a, spell(f))
	}
	if len(a.units) == 0 && (a.welcomed || f[0] != protocol.BackendKeyData && f[0] != protocol.ReadyForQuery) {
		a.w.fail("%v was told %s and had asked nothing", a, spell(f))
		return
	}
	if a.frames = append(a.frames, f); f[0] == protocol.ReadyForQuery {
		a.unitDone()
	}
}

func (a *app) unitDone() {
	frames := a.frames
	a.frames = nil
	if !a.welcomed {
		a.welcomed = true
		if len(frames) != 2 || frames[1][5] != 'I' {
			a.w.fail("%v was welcomed with %s", a, spell(join(frames)))
		}
		return
	}
	u := a.units[0]
	a.units = a.units[1:]
	if len(u.parts) > 0 {
		a.sendNothing(u)
	}
	a.ending = u.ends
	a.doubt(u, frames)
	a.oracle.judge(u, frames, false)
	a.done++
	a.waitForWork()
	a.w.done++
}

// sendNothing drops the rest of a unit that was answered before: a simple COPY that failed.
func (a *app) sendNothing(u *unitOfWork) {
	if endsWithSync(u.parts[len(u.parts)-1]) && !endsWithSync(u.sent) {
		a.w.fail("%v was told that it is ready before its Sync", a)
	}
	u.parts = nil
}

// doubt notes which rows of a unit may or may not be committed: those of one that was answered with a loss.
func (a *app) doubt(u *unitOfWork, frames [][]byte) {
	for _, f := range frames {
		if f[0] == protocol.ErrorResponse {
			if err := protocol.ReadError(f[protocol.HeadSize:]); isLoss(err.Code) {
				a.w.doubted(u.rows)
			}
		}
	}
}

// inDoubt notes that nobody knows what became of the transaction, if it could have been committed.
func (a *app) inDoubt(rows []string, from byte) {
	if a.ending || from == 'I' {
		a.w.doubted(rows)
	}
}

// ends takes the FATAL error that ends the connection.
func (a *app) ends(err *protocol.Error) {
	a.fatal = true
	a.w.note("%v is told %v", a, err)
	a.w.seen.errors[err.Code]++
	if !a.allows(err) {
		a.w.fail("%v was ended with %v", a, err)
	}
	a.disconnected()
}

// hungUp takes the end of a connection without a word.
func (a *app) hungUp() {
	a.fatal = true
	a.w.note("%v is hung up", a)
	if a.losses == 0 && !a.w.stopped[a.front] {
		a.w.fail("%v was hung up without a word", a)
	}
	a.disconnected()
}

// disconnected judges what was answered so far, and doubts the rest.
func (a *app) disconnected() {
	a.w.doubted(a.oracle.engine.rows)
	for i, u := range a.units {
		a.w.doubted(u.rows)
		if i == 0 && len(a.frames) > 0 {
			a.ending = true
			a.oracle.judge(u, a.frames, true)
		}
	}
	a.units, a.frames = nil, nil
}

// leave ends the connection, with a Terminate message or without.
func (a *app) leave(politely bool) {
	if politely {
		a.front.in.write(message(protocol.Terminate, nil), nil)
		a.front.in.ended = true
	} else {
		a.front.in.ended = true
		if len(a.front.in.data) > 0 && a.w.chance(50) {
			a.front.in.lose(a.w.rng.Intn(len(a.front.in.data)))
		}
	}
	a.w.note("%v leaves, politely %t", a, politely)
	a.quit = true
	a.front.out.lose(0)
	a.front.out.ended = true
	if !a.fatal {
		a.disconnected()
	}
}

// allows tells whether the contract has such an error, and the world a reason for it.
func (a *app) allows(err *protocol.Error) bool {
	switch err.Code {
	case protocol.TooManyConnections:
		return true
	case protocol.CannotConnect:
		return a.w.refusedDials > 0
	case protocol.LockNotAvailable, deadlockDetected:
		return !err.IsFatal()
	case protocol.QueryCanceled:
		a.cancels--
		return a.cancels >= 0 && !err.IsFatal()
	case protocol.IdleInTransactionSessionTimeout: // lockproxy's, where no server knows of the transaction
		if a.oracle.engine.duration(varIdleTimeout) > 0 {
			return true
		}
	}
	if !isLoss(err.Code) {
		return false
	}
	if a.w.stopped[a.front] {
		return true
	}
	return a.losses > 0
}
