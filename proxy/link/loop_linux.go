package link

import (
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"
	_ "unsafe" // for go:linkname

	"golang.org/x/sys/unix"
)

const (
	loopInput  = 64 << 10      // how much a loop reads at once from a link that had much to say
	loopSip    = 4 << 10       // which is that much or more; how much it reads from any other
	loopRoom   = 8 * loopInput // and from several, before their owners have it
	loopEvents = 128           // how many links a loop serves in one round
)

// loop serves its links from one goroutine. Readiness is level-triggered, and a link is read from once a round, so that
// none starves the others. The kernel's queue is the only one: whoever wants the loop's attention for a link changes
// what the link's socket is watched for, or shuts it down, and the socket becomes ready.
//
// A round first reads from all that is ready, then calls the owners, one after the other, then writes what they had to
// say: between system calls, which leave little of a processor's caches, their code runs as often as it can.
type loop struct {
	epoll int
	alarm int // an eventfd in the set, which wakes the goroutine

	mu      sync.Mutex // guards what follows; a link's is never taken while it is held, and no owner is called
	links   map[int]*loopLink
	gates   map[int]*gate
	stopped bool
	busy    bool          // a round is under way
	cut     []*loopLink   // links that were cut within it, and are to be ended before it is over
	gift    *gift         // links to give away when the round is over
	asked   chan struct{} // somebody waits for a round to be over, which closes it; nil: nobody

	// Used by the loop's goroutine only.
	events [loopEvents]unix.EpollEvent
	ready  [loopEvents]*loopLink // the links of events
	ending []*loopLink           // what was in cut
	ajar   []*gate               // gates that somebody waits at
	dead   []*loopLink           // links that ended in this round; their sockets are closed when it is over
	batch  Batch                 // what owners write
	input  [loopRoom]byte
	used   int    // of input
	reads  []read // of this round
	ring   *ring  // nil: there is none
	load   load

	patient    bool // the kernel can wait for moments
	gatherings []gathering
}

// read is what a link has to say.
type read struct {
	link *loopLink
	room []byte // of input
	n    int    // how much of it was read
	err  error
}

func newLoop(rings bool) (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	alarm, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epoll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	e := &loop{epoll: epoll, alarm: alarm, links: make(map[int]*loopLink), gates: make(map[int]*gate)}
	if err := e.control(unix.EPOLL_CTL_ADD, alarm, unix.EPOLLIN); err != nil {
		e.release()
		return nil, err
	}
	_, err = e.waitBriefly(0)
	e.patient = err == nil // Linux has had epoll_pwait2 since 5.11
	if rings {
		e.ring, _ = newRing() // the loop does without
	}
	return e, nil
}

// add begins to watch a link's socket.
func (e *loop) add(l *loopLink) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.begin(l.fd, l.events())
	if err == nil {
		e.links[l.fd] = l
	}
	return err
}

// begin has the kernel watch a descriptor that is new here. The caller holds mu.
func (e *loop) begin(fd int, events uint32) error {
	if e.stopped {
		return net.ErrClosed
	}
	return e.control(unix.EPOLL_CTL_ADD, fd, events)
}

// open begins to watch a gate's socket, and shut ends it.
func (e *loop) open(g *gate) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.begin(g.fd, unix.EPOLLIN)
	if err == nil {
		e.gates[g.fd] = g
	}
	return err
}

func (e *loop) shut(g *gate) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gates[g.fd] == g {
		_ = e.control(unix.EPOLL_CTL_DEL, g.fd, 0)
		delete(e.gates, g.fd)
	}
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
	if e.stopped {
		return // the alarm may be closed
	}
	e.stopped = true
	e.wake()
}

// wake has a round begin. The caller holds mu, or the loop runs for other reasons.
func (e *loop) wake() {
	_, _ = unix.Write(e.alarm, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // fails only when it rings already
}

// run is the loop's goroutine.
func (e *loop) run() {
	defer e.release()
	var (
		yielded = time.Now()
		since   time.Duration
		quiet   int // sleeps without an event
	)
	for stopped := false; !stopped; {
		timeout := -1
		if quiet < naps {
			timeout = int((awakeFor - since) / time.Millisecond)
		}
		n := e.wait(timeout)
		if quiet++; n > 0 {
			quiet = 0
		}
		e.batch.now = time.Now()
		e.load.look(e.batch.now)
		if since = e.batch.now.Sub(yielded); since > yieldEvery {
			goyield()
			yielded, since = e.batch.now, 0
		}
		stopped = e.round(n)
	}
	e.mu.Lock()
	gates := slices.Collect(maps.Values(e.gates))
	e.mu.Unlock()
	for _, g := range gates {
		g.Close(false)
	}
	for _, l := range e.links { // stopped: nobody adds any more
		l.Close()
		l.end(net.ErrClosed)
	}
	e.batch.flush(nil)
	e.bury()
}

// A loop yields before Go's monitor preempts it, which it does to whoever has had a processor for 10 ms (proc.go, forcePreemptNS): it
// sends signals, takes the processor away also from who sleeps in a system call, and looks after it fifty times as often from
// then on. So a loop that sleeps is awake again awakeFor after it yielded last.
const (
	yieldEvery = 4 * time.Millisecond
	awakeFor   = 9 * time.Millisecond
)

// goyield is runtime.Gosched without its wakep: that wakes another thread each time, to look for work that is not there, which was
// a sixth of what a login costs. Go leaves it to packages that ask for it by this name (proc.go, goyield).
//
//go:linkname goyield runtime.goyield
func goyield()

// naps is how many short sleeps without an event come before one without an end. From a longer one the monitor takes the
// processor away as well, and to wake up from it costs as much: that is for when there is nothing to do.
const naps = 20

// round serves the links of n events and reports whether the loop was told to stop.
func (e *loop) round(n int) (stopped bool) {
	e.mu.Lock()
	e.busy = true
	for i := range n {
		fd := int(e.events[i].Fd)
		if e.ready[i] = e.links[fd]; e.ready[i] != nil {
			continue
		}
		if g := e.gates[fd]; g != nil {
			e.ajar = append(e.ajar, g)
		} else {
			e.silence(fd)
		}
	}
	stopped = e.stopped
	gift, asked := e.gift, e.asked
	e.gift, e.asked = nil, nil
	e.mu.Unlock()
	for i := range n {
		if l := e.ready[i]; l != nil {
			e.ready[i] = nil
			l.serve(e.events[i].Events)
		}
	}
	e.deliver()
	if len(e.gatherings) > 0 {
		e.hasten()
	}
	for i, g := range e.ajar {
		g.serve(1 + n/8) // the longer a round is, the more wait
		e.ajar[i] = nil
	}
	e.ajar = e.ajar[:0]
	for e.cuts() {
		for i, l := range e.ending {
			l.end(net.ErrClosed)
			e.ending[i] = nil
		}
	}
	e.bury()
	if gift != nil && !stopped {
		e.handOver(gift)
	}
	if asked != nil {
		close(asked)
	}
	return stopped
}

// ask has the loop go round, and gives what is closed when it has.
func (e *loop) ask() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.asked == nil {
		e.asked = make(chan struct{})
		if e.stopped {
			close(e.asked)
		} else {
			e.wake()
		}
	}
	return e.asked
}

// silence stops the alarm, if it rings.
func (e *loop) silence(fd int) {
	if fd == e.alarm {
		var count [8]byte
		_, _ = unix.Read(fd, count[:])
	}
}

// want has a link read from before the round is over; wide if it is likely to have much to say.
func (e *loop) want(l *loopLink, wide bool) {
	size := loopSip
	if wide {
		size = loopInput
	}
	if e.used+size > loopRoom || len(e.reads) == ringSize {
		e.deliver()
	}
	e.reads = append(e.reads, read{link: l, room: e.input[e.used : e.used+size]})
	e.used += size
}

// deliver reads what links have to say, gives it to their owners, and has what they write sent.
func (e *loop) deliver() {
	if e.ring != nil && len(e.reads) > 1 {
		for i := range e.reads {
			e.ring.receive(e.reads[i].link.fd, e.reads[i].room)
		}
		e.ring.run()
		for i := range e.reads {
			e.reads[i].n, e.reads[i].err = e.ring.result(i)
		}
	} else {
		for i := range e.reads {
			e.reads[i].n, e.reads[i].err = receive(e.reads[i].link.fd, e.reads[i].room, 0)
		}
	}
	for i := range e.reads {
		r := &e.reads[i]
		r.link.take(r.room[:r.n], r.err)
		r.link = nil
	}
	e.reads, e.used = e.reads[:0], 0
	e.batch.flush(e.ring)
}

// finds reports whether the loop will see in the round at hand that a link has been cut. Called with the link's mu held.
func (e *loop) finds(l *loopLink) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.busy {
		e.cut = append(e.cut, l)
	}
	return e.busy
}

// cuts takes the links that were cut within the round; when there are none it is over.
func (e *loop) cuts() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cut, e.ending = e.ending[:0], e.cut
	e.busy = len(e.ending) > 0
	return e.busy
}

// wait returns how many events there are; none after so many milliseconds (-1: whenever). It sleeps in the kernel: to park the
// goroutine and have Go's own poller wait costs two more system calls and a way through the scheduler for each round. NewLoops
// made room for the processor of Go's that a sleeper may keep for a while.
func (e *loop) wait(timeout int) int {
	for {
		var n int
		var err error
		if len(e.gatherings) > 0 {
			n, err = e.waitBriefly(gatherFor)
		} else {
			n, err = unix.EpollWait(e.epoll, e.events[:], timeout)
		}
		switch err {
		case nil:
			return n
		case unix.EINTR:
		default:
			panic("link: waiting for events: " + err.Error()) // only a descriptor closed by somebody else explains it
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
	if e.ring != nil {
		e.ring.close()
	}
}
