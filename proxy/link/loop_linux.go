package link

import (
	"net"
	"os"
	"sync"
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
	alarm int // an eventfd that stop makes readable

	mu      sync.Mutex // guards what follows; taken without a link's mu, and never held while an owner is called
	links   map[int]*loopLink
	stopped bool

	// Used by the loop's goroutine only.
	events [loopEvents]unix.EpollEvent
	ready  [loopEvents]*loopLink // the links of events, nil for the alarm
	dead   []*loopLink           // links that ended in this round; their sockets are closed when it is over
	input  [loopInput]byte
}

func newLoop() (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	alarm, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epoll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	e := &loop{epoll: epoll, alarm: alarm, links: make(map[int]*loopLink)}
	if err := e.control(unix.EPOLL_CTL_ADD, alarm, unix.EPOLLIN); err != nil {
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
	if !e.stopped {
		e.stopped = true
		_, _ = unix.Write(e.alarm, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// run is the loop's goroutine.
func (e *loop) run() {
	defer e.release()
	for n, stopped := 0, false; !stopped; {
		n = e.wait(n > 0)
		stopped = e.round(n)
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

// wait returns how many events there are, at least one. While there is work it asks the kernel without telling Go's
// scheduler, which need not know of a call that cannot block; only when there is none it goes to sleep.
func (e *loop) wait(busy bool) int {
	if busy {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(e.epoll), uintptr(unsafe.Pointer(&e.events[0])),
			uintptr(len(e.events)), 0, 0, 0)
		if errno == 0 && n > 0 {
			return int(n)
		}
	}
	for {
		n, err := unix.EpollWait(e.epoll, e.events[:], -1)
		if err == nil {
			return n
		}
		if err != unix.EINTR {
			panic("link: epoll_wait: " + err.Error()) // only a descriptor closed by somebody else explains it
		}
	}
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
	_ = unix.Close(e.epoll)
	_ = unix.Close(e.alarm)
}
