package link

import (
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// What a link's socket is watched for. EPOLLERR and EPOLLHUP come in any case.
const (
	reading uint32 = unix.EPOLLIN | unix.EPOLLRDHUP

	// muted is for a paused link that had bytes to read: only the peer's end is of interest, and only once, for nothing
	// that is done about it makes it go away.
	muted uint32 = unix.EPOLLRDHUP | unix.EPOLLET

	ended uint32 = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
)

// loopLink is a link of an event loop. Its socket is closed by the loop's goroutine alone, after phase
// has become closed under mu: whoever holds mu and finds another phase may use fd.
type loopLink struct {
	owner Owner
	loop  *loop // changed by its goroutine alone, with mu held
	fd    int

	mu     sync.Mutex // guards what follows; never held while the owner is called
	held   []byte     // to be sent at the end of a batch, in memory of the batch's; there is no backlog then
	holder *Batch     // that batch
	out    backlog
	broken error       // the first failure to write
	timer  *time.Timer // ends a closing link that takes too long
	phase  phase
	paused bool
	muted  bool  // bytes came while paused: the socket is not watched for more
	eof    bool  // the peer has ended its stream: only output is of interest
	much   uint8 // reads in a row that found much, with nothing written between them

	// Used by the loop's goroutine only.
	hungUp bool // HungUp has been called, or was not wanted
	told   bool // Closed has been called
	buried bool // the socket is about to be closed
}

func (l *loopLink) Buffered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.size
}

// Handover runs on the loop's goroutine, like all that reads the owner.
func (l *loopLink) Handover(to Owner) { l.owner = to }

// Pause costs nothing yet: the socket is watched on until bytes come.
func (l *loopLink) Pause() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused = true
}

func (l *loopLink) Resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused = false
	if l.muted && l.phase == open {
		l.muted = false
		l.watch()
	}
}

func (l *loopLink) Write(p ...[]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase != open || l.broken != nil {
		return
	}
	l.scatter()
	l.release()
	l.write(p)
}

// write sends or keeps. The caller holds mu, and the link takes bytes.
func (l *loopLink) write(p [][]byte) {
	if l.out.size > 0 {
		l.out.add(p, 0)
		return
	}
	sent, err := send(l.fd, p)
	l.keep(p, sent, err)
}

// keep keeps what the socket did not take. The caller holds mu.
func (l *loopLink) keep(p [][]byte, sent int, err error) {
	if err != nil {
		l.fail(err)
		return
	}
	l.out.add(p, sent)
	if l.out.size > 0 {
		l.watch()
	}
}

// sent takes it that a ring has sent so much of what a batch held. The caller holds mu.
func (l *loopLink) sent(n int, err error) {
	p := l.letGo()
	if err == unix.EAGAIN {
		n, err = 0, nil
	}
	l.keep(p[:], n, err)
}

// release sends what a batch holds. The caller holds mu.
func (l *loopLink) release() {
	if len(l.held) == 0 {
		return
	}
	p := l.letGo()
	l.write(p[:])
}

// letGo gives what a batch holds, which it does no longer. The caller holds mu.
func (l *loopLink) letGo() (p [1][]byte) {
	p[0] = l.held
	l.held, l.holder = nil, nil
	return p
}

// drop forgets all that is to be sent. The caller holds mu.
func (l *loopLink) drop() {
	l.letGo()
	l.out.clear()
}

// fail notes that nothing can be written any more. What the peer sent before is still to be delivered: shutting down
// leaves it readable, and makes sure that an end follows. The caller holds mu.
func (l *loopLink) fail(err error) {
	l.broken = err
	l.drop()
	_ = unix.Shutdown(l.fd, unix.SHUT_RDWR)
}

func (l *loopLink) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut()
}

// cut ends both directions. The loop does the rest in the round at hand; without one it must be woken: a socket that is
// shut down is ready. The caller holds mu.
func (l *loopLink) cut() {
	if l.phase == closed {
		return
	}
	l.close()
	if !l.loop.finds(l) {
		_ = unix.Shutdown(l.fd, unix.SHUT_RDWR)
	}
}

// close makes the phase closed. The caller holds mu.
func (l *loopLink) close() {
	l.phase = closed
	l.drop()
	if l.timer != nil {
		l.timer.Stop()
	}
}

func (l *loopLink) CloseAfterFlush(timeout time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase != open {
		return
	}
	if l.release(); l.broken != nil {
		l.cut()
		return
	}
	l.phase = closing
	l.timer = time.AfterFunc(timeout, l.Close)
	if l.out.size == 0 {
		_ = unix.Shutdown(l.fd, unix.SHUT_WR)
	}
	if l.muted {
		l.muted = false
		l.watch()
	}
}

// watch has the kernel watch the socket for what the link's state asks for. The caller holds mu.
func (l *loopLink) watch() {
	_ = l.loop.control(unix.EPOLL_CTL_MOD, l.fd, l.events()) // cannot fail: the descriptor is ours and in the set
}

func (l *loopLink) events() uint32 {
	events := reading
	switch {
	case l.eof:
		events = 0
	case l.muted:
		events = muted
	}
	if l.out.size > 0 {
		events |= unix.EPOLLOUT
	}
	return events
}

// serve does what the events of one round ask for. Like all that follows it runs on the loop's goroutine.
func (l *loopLink) serve(events uint32) {
	if l.buried {
		return
	}
	if events&unix.EPOLLOUT != 0 {
		l.flush()
	}
	if events&^unix.EPOLLOUT != 0 && !l.buried {
		l.input(events)
	}
}

// flush writes what is buffered, as far as the socket takes it.
func (l *loopLink) flush() {
	l.mu.Lock()
	if l.out.size == 0 {
		l.mu.Unlock()
		return
	}
	drained := l.writeOut()
	l.mu.Unlock()
	if drained {
		l.owner.Drained()
	}
}

// writeOut writes and does what follows the last byte. It reports whether the owner should hear of that. The caller
// holds mu.
func (l *loopLink) writeOut() (drained bool) {
	for l.out.size > 0 {
		n, err := sendOne(l.fd, l.out.front())
		if err != nil {
			l.fail(err)
			break
		}
		if n == 0 {
			return false
		}
		l.out.drop(n)
	}
	switch {
	case l.eof: // nothing keeps the link any more
		l.close()
		l.bury()
		return false
	case l.phase == closing && l.broken == nil:
		_ = unix.Shutdown(l.fd, unix.SHUT_WR)
	}
	l.watch()
	return l.phase == open && l.broken == nil
}

// input reads from the socket, or decides not to.
func (l *loopLink) input(events uint32) {
	l.mu.Lock()
	phase, paused, eof, wide := l.phase, l.paused, l.eof, l.much > 0
	if phase == open && paused && !l.muted {
		l.muted = true
		l.watch() // an end that has already come makes an event of its own now
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	switch {
	case phase == closed:
		l.end(net.ErrClosed)
	case eof:
		if events&ended != 0 {
			l.end(io.EOF)
		}
	case phase == open && paused:
		if events&ended != 0 {
			l.endWhilePaused()
		}
	default:
		l.loop.want(l, wide)
	}
}

// take takes what was read. An empty p without an error is the end of the stream.
func (l *loopLink) take(p []byte, err error) {
	switch {
	case err == unix.EAGAIN:
		l.pauses()
	case err != nil:
		l.end(err)
	case len(p) == 0:
		l.end(io.EOF)
	default:
		l.received(p)
	}
}

// received delivers, while the link is open: what comes later is dropped.
func (l *loopLink) received(p []byte) {
	l.mu.Lock()
	open := l.phase == open
	if open {
		l.weigh(len(p))
	}
	l.mu.Unlock()
	switch owner, batches := l.owner.(BatchOwner); {
	case !open:
	case batches:
		owner.ReceivedIn(&l.loop.batch, p)
	default:
		l.owner.Received(p)
	}
}

// endWhilePaused tells the peer's end at once if there are no bytes before it.
func (l *loopLink) endWhilePaused() {
	n, err := receive(l.fd, l.loop.input[:1], unix.MSG_PEEK)
	switch {
	case err == unix.EAGAIN:
	case err != nil: // looking takes it off the socket: it will not come again
		l.end(err)
	case n == 0:
		l.end(io.EOF)
	case !l.hungUp:
		l.hungUp = true
		if owner, ok := l.owner.(HangupOwner); ok {
			owner.HungUp()
		}
	}
}

// end is reached when there is nothing more to read. Output that is buffered survives only an orderly end.
func (l *loopLink) end(err error) {
	l.mu.Lock()
	reason := err
	switch {
	case l.phase != open:
		reason = net.ErrClosed
	case l.broken != nil:
		reason = l.broken
	}
	l.release()
	if err == io.EOF && l.out.size > 0 && !l.eof {
		l.eof = true
		if l.phase == open {
			l.phase = closing
			l.timer = time.AfterFunc(linger, l.Close)
		}
		l.watch()
	} else {
		if l.phase != closed {
			l.close()
		}
		l.bury()
	}
	l.mu.Unlock()
	if !l.told {
		l.told = true
		l.owner.Closed(reason)
	}
}

// bury hands the socket to the end of the round. The phase is closed.
func (l *loopLink) bury() {
	if !l.buried {
		l.buried = true
		l.loop.dead = append(l.loop.dead, l)
	}
}
