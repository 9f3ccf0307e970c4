package link

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// gate is a listening socket in a loop. Connections are accepted, watched and read by the loop alone: through Go's own
// poller each would be registered twice, under two descriptors, and wake two more threads.
type gate struct {
	loops *Loops
	loop  *loop
	host  Host
	tcp   bool

	mu   sync.Mutex // guards what follows
	fd   int
	shut bool
}

// Accept has the loops accept the connections of l, a *net.TCPListener or *net.UnixListener (else the error is
// errors.ErrUnsupported), for a host. It takes over l's socket and closes l itself; a unix socket's path is the
// caller's to remove.
func (s *Loops) Accept(l net.Listener, host Host, alive net.KeepAliveConfig) (Gate, error) {
	fd, err := duplicate(l)
	if err != nil {
		return nil, err
	}
	_, tcp := l.(*net.TCPListener)
	if tcp {
		inherited(fd, alive)
	}
	g := &gate{loops: s, loop: s.loops[0], host: host, tcp: tcp, fd: fd}
	if err := g.loop.open(g); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	if path, ok := l.(*net.UnixListener); ok {
		path.SetUnlinkOnClose(false)
	}
	_ = l.Close() // the gate's descriptor keeps the socket open
	return g, nil
}

// inherited sets what every accepted socket has from the listener's in Linux, where Go would make five system calls for
// each: no delay, and when to ask whether a silent peer is still there.
func inherited(fd int, alive net.KeepAliveConfig) {
	for _, option := range []struct{ level, name, value int }{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, map[bool]int{true: 1}[alive.Enable]},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(alive.Idle.Seconds())},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(alive.Interval.Seconds())},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, alive.Count},
	} {
		_ = unix.SetsockoptInt(fd, option.level, option.name, option.value) // known to every Linux that Go runs on
	}
}

func (g *gate) Control(f func(fd uintptr)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return net.ErrClosed
	}
	f(uintptr(g.fd))
	return nil
}

func (g *gate) Close(rest bool) {
	g.loop.shut(g)
	for rest && g.another() {
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.shut {
		g.shut = true
		_ = unix.Close(g.fd)
	}
}

// serve accepts up to n connections. It runs on the loop's goroutine.
func (g *gate) serve(n int) {
	for range n {
		if !g.another() {
			return
		}
	}
}

// another accepts a connection, and tells whether there may be more.
func (g *gate) another() bool {
	fd, peer, err := g.accept()
	switch err {
	case nil:
		g.admit(fd, g.peer(fd, peer))
	case unix.ECONNABORTED, unix.EINTR:
	case unix.EAGAIN:
		return false
	default:
		g.rest()
		g.host.AcceptFailed(err)
		return false
	}
	return true
}

func (g *gate) accept() (fd int, peer netip.AddrPort, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return 0, peer, unix.EAGAIN
	}
	return accept(g.fd)
}

// peer completes who is at the other end of a new connection.
func (g *gate) peer(fd int, address netip.AddrPort) Peer {
	if g.tcp {
		return Peer{address, Unknown}
	}
	return Peer{address, accountOf(fd)}
}

// admit starts a link for a connection. The owner is known before the first event can be seen, and what it does elsewhere
// with the link waits until the link is in its loop.
func (g *gate) admit(fd int, peer Peer) {
	l := &loopLink{loop: g.loops.pick(), fd: fd}
	l.mu.Lock()
	if l.owner = g.host.Accepted(l, peer); l.owner == nil {
		l.phase = closed
		_ = unix.Close(fd)
		l.mu.Unlock()
		return
	}
	err := l.loop.add(l)
	if err != nil {
		l.phase = closed
		_ = unix.Close(fd)
	}
	l.mu.Unlock()
	if err != nil {
		l.owner.Closed(err)
	}
}

// rest stops watching the socket for a moment.
func (g *gate) rest() {
	g.watch(0)
	time.AfterFunc(AcceptAgain, func() { g.watch(unix.EPOLLIN) })
}

func (g *gate) watch(events uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.shut {
		_ = g.loop.control(unix.EPOLL_CTL_MOD, g.fd, events) // cannot fail: the descriptor is ours and in the set
	}
}
