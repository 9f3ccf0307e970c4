package link

import (
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// direct writes to a connection's socket at once, without waiting for it. The functions that syscall.RawConn wants are
// made once: a write allocates nothing. Used under the stream's mu.
type direct struct {
	conn  syscall.RawConn
	write func(fd uintptr) bool
	p     [][]byte
	sent  int
	err   error
}

// newDirect returns nil for a connection that is no plain TCP or unix socket.
func newDirect(conn net.Conn) *direct {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return nil
	}
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil
	}
	d := &direct{conn: raw}
	d.write = func(fd uintptr) bool {
		d.sent, d.err = send(int(fd), d.p)
		return true
	}
	return d
}

func (d *direct) send(p [][]byte) (int, error) {
	d.p, d.sent, d.err = p, 0, nil
	err := d.conn.Write(d.write)
	d.p = nil
	if err == nil {
		err = d.err
	}
	return d.sent, err
}

// rawSource waits until a socket is readable before it takes a buffer, so that an idle link owns none.
type rawSource struct {
	link *stream
	conn syscall.RawConn
	read func(fd uintptr) bool
	buf  *[inputSize]byte
	n    int
	err  error
}

func newRawSource(l *stream) *rawSource {
	s := &rawSource{link: l, conn: l.raw.conn}
	s.read = s.tryRead
	return s
}

func (s *rawSource) next() ([]byte, error) {
	s.n, s.err = 0, nil
	if err := s.conn.Read(s.read); err != nil {
		return nil, err
	}
	if s.buf == nil {
		return nil, s.err
	}
	return s.buf[:s.n], s.err
}

// tryRead reports whether waiting is over: bytes, an end, or a link that must not be read from now.
func (s *rawSource) tryRead(fd uintptr) bool {
	if s.link.resting() {
		return true
	}
	s.buf = inputs.Get().(*[inputSize]byte)
	n, err := receive(int(fd), s.buf[:], 0)
	if err == unix.EAGAIN {
		s.release()
		return false
	}
	s.n, s.err = n, err
	if n == 0 && err == nil {
		s.err = io.EOF
	}
	return true
}

func (s *rawSource) release() {
	if s.buf != nil {
		inputs.Put(s.buf)
		s.buf = nil
	}
}
