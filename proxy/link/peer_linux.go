package link

import (
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PeerOf gives who is at the other end of a connection.
func PeerOf(conn net.Conn) Peer {
	p := Peer{Account: Unknown}
	local, ok := conn.(*net.UnixConn)
	if !ok {
		p.Address, _ = netip.ParseAddrPort(conn.RemoteAddr().String())
		return p
	}
	if raw, err := local.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { p.Account = accountOf(int(fd)) })
	}
	return p
}

// accountOf is the user that the process at the other end of a unix socket had when it connected (unix(7), SO_PEERCRED).
func accountOf(fd int) int {
	credentials, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Unknown
	}
	return int(credentials.Uid)
}

func (l *loopLink) Local() (netip.AddrPort, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase == closed {
		return netip.AddrPort{}, net.ErrClosed
	}
	return localOf(l.fd)
}

// localOf gives a socket's own address, the zero one for a unix socket.
func localOf(fd int) (netip.AddrPort, error) {
	var address unix.RawSockaddrInet6
	size := uint32(unsafe.Sizeof(address))
	_, _, errno := unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&address)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return netip.AddrPort{}, errno
	}
	return addressOf(&address), nil
}
