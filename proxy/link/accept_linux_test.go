package link

import (
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// echo is a host whose clients hear what they say.
type echo struct {
	peers chan Peer
	links chan Link
	ends  chan error
}

type echoed struct {
	*echo
	link Link
}

func (h *echo) Accepted(l Link, peer Peer) Owner {
	h.peers <- peer
	h.links <- l
	return echoed{h, l}
}

func (h *echo) AcceptFailed(err error) { h.ends <- err }
func (e echoed) Received(p []byte)     { e.link.Write(p) }
func (e echoed) Drained()              {}
func (e echoed) Closed(err error)      { e.ends <- err }

func TestLoopsAcceptConnections(t *testing.T) {
	for _, c := range []struct{ network, address string }{
		{"tcp4", "127.0.0.1:0"}, {"tcp", "[::1]:0"}, {"unix", filepath.Join(t.TempDir(), "socket")},
	} {
		loops, err := NewLoops(2, true)
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen(c.network, c.address)
		if err != nil {
			t.Fatal(err)
		}
		h := &echo{make(chan Peer, 1), make(chan Link, 1), make(chan error, 1)}
		gate, err := loops.Accept(l, h, net.KeepAliveConfig{Enable: true, Idle: 7 * time.Second, Interval: 8 * time.Second, Count: 9})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial(c.network, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		got := make([]byte, 5)
		if _, err := conn.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
			t.Errorf("%s: %q, %v", c.network, got, err)
		}
		want := Peer{Account: Unknown}
		if want.Address, err = netip.ParseAddrPort(conn.LocalAddr().String()); err != nil {
			want.Account = os.Getuid() // of a unix socket
		}
		if peer := <-h.peers; peer != want {
			t.Errorf("%s: the peer is %v, want %v", c.network, peer, want)
		}
		if fd := (<-h.links).(*loopLink).fd; c.network != "unix" {
			for _, option := range []struct{ level, name, want int }{
				{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1}, {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1}, {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 7},
				{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 8}, {unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 9},
			} {
				if got, err := unix.GetsockoptInt(fd, option.level, option.name); err != nil || got != option.want {
					t.Errorf("%s: option %d of level %d is %d, %v, want %d", c.network, option.name, option.level, got, err, option.want)
				}
			}
		}
		conn.Close()
		if err := <-h.ends; err != io.EOF {
			t.Errorf("%s: the link ends with %v", c.network, err)
		}
		gate.Close(false)
		if conn, err := net.Dial(c.network, l.Addr().String()); err == nil {
			conn.Close()
			t.Errorf("%s: a connection is accepted after the end", c.network)
		}
		loops.Close()
	}
}

// Whoever has connected is served, though the listener ends before the loop has seen it: its client would meet a reset.
func TestTheEndOfAListenerTakesWhoWaits(t *testing.T) {
	loops, err := NewLoops(1, false)
	if err != nil {
		t.Fatal(err)
	}
	defer loops.Close()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const waiting = 5
	h := &echo{make(chan Peer, waiting), make(chan Link, waiting), make(chan error, waiting)}
	fd, err := duplicate(l)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{loops: loops, loop: loops.loops[0], host: h, fd: fd} // which no loop watches
	for range waiting {
		conn, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	g.Close(true)
	if got := len(h.links); got != waiting {
		t.Errorf("%d of %d were taken", got, waiting)
	}
}
