package link

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Loops serves plain TCP and unix sockets from a fixed number of event loops, one goroutine each. Its methods may be
// called from any goroutine.
type Loops struct {
	loops []*loop
	next  atomic.Uint32
	done  sync.WaitGroup
}

// NewLoops starts n event loops; n must be positive. The error is the system's, for want of file descriptors.
func NewLoops(n int) (*Loops, error) {
	if n < 1 {
		return nil, fmt.Errorf("link: %d event loops", n)
	}
	s := &Loops{}
	for range n {
		e, err := newLoop()
		if err != nil {
			s.Close()
			return nil, err
		}
		s.loops = append(s.loops, e)
		s.done.Go(e.run)
	}
	return s, nil
}

// Start serves conn, a *net.TCPConn or *net.UnixConn (else the error is errors.ErrUnsupported). It takes over conn's
// socket and closes conn itself, which Go's own poller then forgets. After an error conn is untouched and the caller's;
// after Close of the loops the error is net.ErrClosed.
func (s *Loops) Start(conn net.Conn, owner Owner) (Link, error) {
	fd, err := duplicate(conn)
	if err != nil {
		return nil, err
	}
	e := s.loops[int(s.next.Add(1)%uint32(len(s.loops)))]
	l := &loopLink{owner: owner, loop: e, fd: fd}
	if err := e.add(l); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	_ = conn.Close() // the link's descriptor keeps the socket open
	return l, nil
}

// Close ends every link as its own Close does, and returns when their owners have been told and the loops have ended. It
// must not be called by an owner's method or with a mutex held that one may wait for.
func (s *Loops) Close() {
	for _, e := range s.loops {
		e.stop()
	}
	s.done.Wait()
}

// duplicate returns a second descriptor of conn's socket.
func duplicate(conn net.Conn) (int, error) {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return 0, fmt.Errorf("link: %T in an event loop: %w", conn, errors.ErrUnsupported)
	}
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var fd int
	var failure error
	err = raw.Control(func(old uintptr) {
		fd, failure = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	return fd, errors.Join(err, failure)
}
