package proxy

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/proxy/login"
)

// A cancel request comes on a connection of its own. Where several lockproxies listen at one address (Config.ReusePort, or while
// one takes over from another) the kernel gives it to any of them. So each process has a number, which is part of the process ids
// that it gives its clients, and a socket named after it, at which the others leave what is meant for its clients. The names
// are abstract ones (unix(7)): they belong to the network's namespace, as the ports do, and vanish with the process.
type siblings struct {
	number   uint32
	listener *net.UnixListener // nil: nobody can be reached
}

// siblingWithin bounds how long a process has for a cancel request of another's.
const siblingWithin = time.Second

// meetSiblings takes a number that no other process has.
func (s *Server) meetSiblings() {
	for range 8 {
		number := anyNumber()
		l, err := net.ListenUnix("unix", siblingAt(number))
		if err != nil {
			continue
		}
		s.siblings = siblings{number, l}
		s.work.Go(s.takeCancels)
		return
	}
	s.siblings.number = anyNumber() // cancel requests must find this process by themselves
}

func siblingAt(number uint32) *net.UnixAddr {
	return &net.UnixAddr{Name: "@lockproxy-" + strconv.Itoa(int(number)), Net: "unix"}
}

func (s *siblings) close() {
	if s.listener != nil {
		_ = s.listener.Close()
	}
}

// takeCancels takes cancel requests that came to others, one after the other: they are rare.
func (s *Server) takeCancels() {
	for {
		conn, err := s.siblings.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		} else if err != nil {
			time.Sleep(siblingWithin / 10) // there are no descriptors left, most likely
			continue
		}
		if ofOurs(conn) {
			_ = conn.SetDeadline(time.Now().Add(siblingWithin))
			if p, err := io.ReadAll(io.LimitReader(conn, 4+protocol.MaxCancelKey)); err == nil && len(p) > 4 {
				s.cancelHere(&login.Cancel{Pid: binary.BigEndian.Uint32(p), Key: p[4:]})
			}
		}
		_ = conn.Close() // for which the other waits
	}
}

// ofOurs tells whether a process runs for the same user.
func ofOurs(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	var who *unix.Ucred
	err = setOnSocket(raw, func(fd int) (err error) {
		who, err = unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		return err
	})
	return err == nil && int(who.Uid) == os.Geteuid()
}

// cancelElsewhere hands a cancel request to the process whose client it names. It returns when that has acted on it: who sends a
// cancel request may wait for that.
func (s *Server) cancelElsewhere(request *login.Cancel) {
	dialer := net.Dialer{Timeout: siblingWithin}
	conn, err := dialer.Dial("unix", siblingAt(numberOf(request.Pid)).Name)
	if err != nil {
		return // there is none: the client has long gone, or never was
	}
	defer conn.Close()
	peer := conn.(*net.UnixConn)
	if !ofOurs(peer) {
		return // it is to learn no key
	}
	_ = conn.SetDeadline(time.Now().Add(siblingWithin))
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, request.Pid), request.Key...)); err == nil {
		_ = peer.CloseWrite()
		_, _ = conn.Read(make([]byte, 1))
	}
}
