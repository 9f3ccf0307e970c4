package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Loops serves plain TCP and unix sockets from a fixed number of event loops, one goroutine each. Its methods may be
// called from any goroutine. How many of the loops have links is Balance's business.
type Loops struct {
	loops []*loop
	next  atomic.Uint32
	used  atomic.Int32 // the first so many take links
	done  sync.WaitGroup

	closed sync.Once
}

// NewLoops starts n event loops, of which one takes links at first; n must be positive. They use io_uring if they are to, and
// may. The error is the system's, for want of file descriptors.
func NewLoops(n int, rings bool) (*Loops, error) {
	if n < 1 {
		return nil, fmt.Errorf("link: %d event loops", n)
	}
	s := &Loops{}
	s.used.Store(1)
	for range n {
		e, err := newLoop(rings)
		if err != nil {
			makeRoom(len(s.loops)) // which Close takes back
			s.Close()
			return nil, err
		}
		s.loops = append(s.loops, e)
		s.done.Go(e.run)
	}
	makeRoom(n)
	return s, nil
}

// Processors is how many processors Go uses, apart from those that are loops' to sleep on.
func Processors() int {
	sleepers.Lock()
	defer sleepers.Unlock()
	return max(1, runtime.GOMAXPROCS(0)-sleepers.n)
}

// sleepers counts the loops of the process. A goroutine that sleeps in a system call keeps one of Go's processors until the
// runtime's monitor takes it away, which may be ten milliseconds (proc.go, retake), so there is one more for each: logins, timers
// and TLS links do not wait for a loop to wake up.
var sleepers struct {
	sync.Mutex
	n int
}

// makeRoom adds n loops to the sleepers, or takes them off.
func makeRoom(n int) {
	sleepers.Lock()
	defer sleepers.Unlock()
	sleepers.n += n
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + n)
}

// Start serves conn, a *net.TCPConn or *net.UnixConn (else the error is errors.ErrUnsupported). It takes over conn's
// socket and closes conn itself, which Go's own poller then forgets. After an error conn is untouched and the caller's;
// after Close of the loops the error is net.ErrClosed.
func (s *Loops) Start(conn net.Conn, owner Owner) (Link, error) {
	fd, err := duplicate(conn)
	if err != nil {
		return nil, err
	}
	l := &loopLink{owner: owner, loop: s.pick(), fd: fd}
	if err := l.loop.add(l); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	_ = conn.Close() // the link's descriptor keeps the socket open
	return l, nil
}

// pick gives the loop for a new socket.
func (s *Loops) pick() *loop { return s.loops[s.next.Add(1)%uint32(s.used.Load())] }

// GoRound has every loop go round once, and returns when all have; with ctx's error, if one hangs for longer. It must not be called by
// an owner's method.
func (s *Loops) GoRound(ctx context.Context) error {
	for _, e := range s.loops {
		select {
		case <-e.ask():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Close ends every link as its own Close does, stops accepting, and returns when their owners have been told and the loops have ended. It
// must not be called by an owner's method or with a mutex held that one may wait for.
func (s *Loops) Close() {
	for _, e := range s.loops {
		e.stop()
	}
	s.done.Wait()
	s.closed.Do(func() { makeRoom(-len(s.loops)) })
}

// duplicate returns a second descriptor of the socket of a connection or listener.
func duplicate(socket any) (int, error) {
	switch socket.(type) {
	case *net.TCPConn, *net.UnixConn, *net.TCPListener, *net.UnixListener:
	default:
		return 0, fmt.Errorf("link: %T in an event loop: %w", socket, errors.ErrUnsupported)
	}
	raw, err := socket.(syscall.Conn).SyscallConn()
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
