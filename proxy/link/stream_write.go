package link

import "time"

func (l *stream) Write(p ...[]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase != open || l.broken != nil {
		return
	}
	sent := 0
	if l.raw != nil && !l.flushing {
		n, err := l.raw.send(p)
		if err != nil {
			l.fail(err)
			return
		}
		sent = n
	}
	l.out.add(p, sent)
	if l.out.size > 0 {
		l.startFlush()
	}
}

// fail notes that nothing can be written any more. Reading goes on to the end, for a peer's last message often explains
// why (a FATAL before the server closed), but not for ever. The caller holds mu.
func (l *stream) fail(err error) {
	l.broken = err
	l.out.clear()
	_ = l.conn.SetReadDeadline(time.Now().Add(linger))
	l.wake.Broadcast()
}

// startFlush has the writing goroutine run. The caller holds mu.
func (l *stream) startFlush() {
	if !l.flushing {
		l.flushing = true
		go l.write()
	}
}

// flush is the writing goroutine: it writes with blocking calls until nothing is left.
func (l *stream) flush() {
	p, then := l.front()
	for ; p != nil; p, then = l.front() {
		n, err := l.conn.Write(p)
		l.wrote(n, err)
	}
	switch then {
	case open:
		l.drained()
	case closing:
		l.closeWrite() // of TLS this writes, and so may block
		l.mu.Lock()
		l.stopFlush()
		l.mu.Unlock()
	}
}

// front is what to write next. When there is nothing it says what the writing goroutine has to do yet, and unless the
// link is closing it no longer counts as running: the next Write may go to the socket directly.
func (l *stream) front() (p []byte, then phase) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, then = l.out.front(), l.phase
	if l.broken != nil {
		then = closed
	}
	if p == nil && then != closing {
		l.stopFlush()
	}
	return p, then
}

// stopFlush notes that the writing goroutine uses the connection no more. The caller holds mu.
func (l *stream) stopFlush() {
	l.flushing = false
	l.wake.Broadcast()
}

func (l *stream) wrote(n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.phase == closed || l.broken != nil: // the backlog is not the one that n was written from
	case err == nil:
		l.out.drop(n)
	case l.phase == open:
		l.fail(err)
	default:
		l.cut()
	}
}

// closeWrite tells the peer that this was all; a connection that cannot do so is not read from any longer.
func (l *stream) closeWrite() {
	half, ok := l.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		_ = l.conn.SetReadDeadline(past)
	}
}

func (l *stream) drained() {
	l.calls.Lock()
	defer l.calls.Unlock()
	if !l.told {
		l.owner.Drained()
	}
}
