package link

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// past is a deadline that makes every blocked and every later call on a net.Conn return at once.
var past = time.Unix(1, 0)

// stream is a link of goroutines. Its reading goroutine is its life: it starts with the link, and when there is nothing
// more to read it tells the owner, waits for the writing goroutine and closes the connection. Everybody else only
// changes the state below and makes the blocked calls return, by deadlines, so that nobody blocks on a closing TLS
// connection but this goroutine.
type stream struct {
	conn  net.Conn
	owner Owner
	in    source
	raw   *direct // nil when conn knows only blocking calls
	write func()  // flush as a value, made once so that starting it allocates nothing

	// calls is held over every call of the owner, so that they do not overlap. It is taken before mu, and no method of
	// Link takes it: an owner may call those from within.
	calls sync.Mutex
	told  bool // guarded by calls: Closed has been called

	// mu guards what follows; never held while the owner is called or a call of conn may block.
	mu       sync.Mutex
	wake     sync.Cond // for the reading goroutine: paused, phase, broken or flushing has changed
	out      backlog
	broken   error // the first failure to write
	phase    phase
	paused   bool
	flushing bool // the writing goroutine runs; while the phase is open this is so when out is not empty
	hungUp   bool // HungUp has been called, or was not wanted
}

func startStream(conn net.Conn, owner Owner) *stream {
	l := &stream{conn: conn, owner: owner, raw: newDirect(conn)}
	l.wake.L = &l.mu
	l.write = l.flush
	if l.raw != nil {
		l.in = newRawSource(l)
	} else {
		l.in = &blockingSource{conn: conn}
	}
	_ = conn.SetDeadline(time.Time{}) // one that login has left; a connection that refuses fails at the first read
	go l.run()
	return l
}

func (l *stream) Buffered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.size
}

func (l *stream) Local() (netip.AddrPort, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase == closed {
		return netip.AddrPort{}, net.ErrClosed
	}
	tcp, ok := l.conn.LocalAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, nil
	}
	address := tcp.AddrPort()
	return netip.AddrPortFrom(address.Addr().Unmap(), address.Port()), nil
}

// Handover is called with calls held, under which the owner is read.
func (l *stream) Handover(to Owner) { l.owner = to }

func (l *stream) Pause() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused = true
}

func (l *stream) Resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.paused {
		l.paused = false
		l.wake.Broadcast()
	}
}

func (l *stream) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut()
}

// cut ends both directions now. The caller holds mu.
func (l *stream) cut() {
	if l.phase == closed {
		return
	}
	l.phase = closed
	l.out.clear()
	_ = l.conn.SetDeadline(past)
	l.wake.Broadcast()
}

func (l *stream) CloseAfterFlush(timeout time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase != open {
		return
	}
	if l.broken != nil {
		l.cut()
		return
	}
	l.phase = closing
	_ = l.conn.SetDeadline(time.Now().Add(timeout))
	l.wake.Broadcast()
	l.startFlush()
}

// run is the reading goroutine.
func (l *stream) run() {
	reason := l.end(l.receive())

	l.calls.Lock()
	l.told = true
	l.owner.Closed(reason)
	l.calls.Unlock()

	l.mu.Lock()
	for l.flushing {
		l.wake.Wait()
	}
	l.mu.Unlock()
	_ = l.conn.Close()
}

// receive delivers bytes until there are no more, and says why.
func (l *stream) receive() error {
	for l.turn() {
		p, err := l.in.next()
		if len(p) > 0 {
			l.deliver(p)
		}
		l.in.release()
		if err != nil {
			return err
		}
	}
	return net.ErrClosed
}

// turn waits while the link is paused, and reports whether there is anything to read for.
func (l *stream) turn() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.phase == open && l.paused {
		if l.broken != nil && !l.hungUp {
			l.hangUp()
			continue
		}
		l.wake.Wait()
	}
	if l.phase == open && l.broken != nil {
		_ = l.conn.SetReadDeadline(time.Now().Add(linger))
	}
	return l.phase != closed
}

// resting reports whether reading must wait for a turn.
func (l *stream) resting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.phase == closed || l.phase == open && l.paused
}

// hangUp tells an owner that wants to know. The caller holds mu, which is given up meanwhile.
func (l *stream) hangUp() {
	l.hungUp = true
	owner, ok := l.owner.(HangupOwner)
	if !ok {
		return
	}
	l.mu.Unlock()
	l.calls.Lock()
	owner.HungUp()
	l.calls.Unlock()
	l.mu.Lock()
}

// deliver hands p to the owner as soon as the link is not paused, and drops it if the link is closed before.
func (l *stream) deliver(p []byte) {
	for delivered := false; !delivered && l.turn(); {
		l.calls.Lock()
		l.mu.Lock()
		phase, paused := l.phase, l.paused // Drained, which calls held off, may have changed them
		l.mu.Unlock()
		if phase == open && !paused {
			l.owner.Received(p)
		}
		l.calls.Unlock()
		delivered = phase != open || !paused
	}
}

// end closes what reading's end leaves open and returns the reason for the owner. Output that is buffered survives only
// an orderly end.
func (l *stream) end(err error) (reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.phase != open:
		reason = net.ErrClosed
	case l.broken != nil:
		reason = l.broken
	default:
		reason = err
	}
	if err != io.EOF || l.broken != nil || !l.flushing {
		l.cut()
	} else if l.phase == open {
		l.phase = closing
		_ = l.conn.SetWriteDeadline(time.Now().Add(linger))
	}
	return reason
}
