package link

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	loopInput  = 64 << 10 // how much a loop reads at once, from whichever link
	loopEvents = 128      // how many links a loop serves in one round
)

// loop serves its links from one goroutine. Readiness is level-triggered, and a link is read from once a round, so that
// none starves the others. The kernel's queue is the only one: whoever wants the loop's attention for a link changes
// what the link's socket is watched for, or shuts it down, and the socket becomes ready.
type loop struct {
	epoll int
	sleep syscall.RawConn // of file; its Read parks the goroutine until epoll has events
	file  *os.File        // owns epoll
	look  func(fd uintptr) bool

	mu      sync.Mutex // guards what follows; taken without a link's mu, and never held while an owner is called
	links   map[int]*loopLink
	stopped bool

	// Used by the loop's goroutine only.
	found  int // how many of events look has found
	events [loopEvents]unix.EpollEvent
	ready  [loopEvents]*loopLink // the links of events
	dead   []*loopLink           // links that ended in this round; their sockets are closed when it is over
	input  [loopInput]byte
}

func newLoop() (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(epoll, true); err != nil { // or os.NewFile does not hand it to Go's poller
		_ = unix.Close(epoll)
		return nil, os.NewSyscallError("fcntl", err)
	}
	e := &loop{epoll: epoll, file: os.NewFile(uintptr(epoll), "epoll"), links: make(map[int]*loopLink)}
	e.look = e.poll
	e.sleep, err = e.file.SyscallConn()
	if err != nil {
		e.release()
		return nil, err
	}
	return e, nil
}

// add begins to watch a link's socket.
func (e *loop) add(l *loopLink) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		return net.ErrClosed
	}
	if err := e.control(unix.EPOLL_CTL_ADD, l.fd, reading); err != nil {
		return err
	}
	e.links[l.fd] = l
	return nil
}

// control has the kernel watch a descriptor for the events, or no longer.
func (e *loop) control(operation, fd int, events uint32) error {
	event := unix.EpollEvent{Events: events, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(e.epoll, operation, fd, &event))
}

// stop has the goroutine end all links and then itself.
func (e *loop) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stopped = true
	_ = e.file.SetReadDeadline(past) // wakes it; fails only when it has ended already
}

// run is the loop's goroutine.
func (e *loop) run() {
	defer e.release()
	for stopped := false; !stopped; {
		stopped = e.round(e.wait())
	}
	for _, l := range e.links { // stopped: nobody adds any more
		l.Close()
		l.end(net.ErrClosed)
	}
	e.bury()
}

// round serves the links of n events and reports whether the loop was told to stop.
func (e *loop) round(n int) (stopped bool) {
	e.mu.Lock()
	for i := range n {
		e.ready[i] = e.links[int(e.events[i].Fd)]
	}
	stopped = e.stopped
	e.mu.Unlock()
	for i := range n {
		if l := e.ready[i]; l != nil {
			l.serve(e.events[i].Events)
			e.ready[i] = nil
		}
	}
	e.bury()
	return stopped
}

// wait returns how many events there are: at least one, or none after stop. While there is work it costs one system call
// that cannot block, so that Go's scheduler need not know of it. Without work the goroutine parks, and Go's own poller
// watches the epoll descriptor, itself a file that is readable when it has events. Sleeping in epoll_wait would keep a
// processor of Go's from everybody else (logins, TLS links) until its monitor notices: measured in one process, a round
// trip took three times as long.
func (e *loop) wait() int {
	if err := e.sleep.Read(e.look); err != nil {
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			panic("link: waiting for events: " + err.Error()) // only a descriptor closed by somebody else explains it
		}
		return 0
	}
	return e.found
}

// poll reports whether there are events now.
func (e *loop) poll(fd uintptr) bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&e.events[0])),
		uintptr(len(e.events)), 0, 0, 0)
	e.found = int(n)
	return errno == 0 && n > 0
}

// bury closes the sockets of the links that ended. It waits for the end of the round because a descriptor that is closed
// can be a new socket's the next moment, and events of the old one may still be in hand.
func (e *loop) bury() {
	if len(e.dead) == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, l := range e.dead {
		_ = e.control(unix.EPOLL_CTL_DEL, l.fd, 0) // closing alone would not do, should somebody share the socket
		delete(e.links, l.fd)
		_ = unix.Close(l.fd)
		e.dead[i] = nil
	}
	e.dead = e.dead[:0]
}

func (e *loop) release() {
	_ = e.file.Close()
}
