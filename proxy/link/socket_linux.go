package link

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls below never wait, whatever mode the socket is in (MSG_DONTWAIT), so Go's scheduler is not told that a system
// call begins. Nor do they raise SIGPIPE.

// vector is how many slices one system call writes.
const vector = 8

// receive reads once. Zero bytes without error are the end of the stream; unix.EAGAIN means that nothing is there yet.
// With unix.MSG_PEEK the bytes stay unread.
func receive(fd int, p []byte, flags int) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
			uintptr(len(p)), uintptr(flags|unix.MSG_DONTWAIT), 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// send writes what the socket takes now of the slices and returns how many bytes this was; taking none is no error.
func send(fd int, p [][]byte) (int, error) {
	sent := 0
	for len(p) > 0 {
		group := p[:min(len(p), vector)]
		n, want, err := sendGroup(fd, group)
		sent += n
		if err != nil || n < want {
			return sent, err
		}
		p = p[len(group):]
	}
	return sent, nil
}

// sendGroup writes up to vector slices by one system call. It returns n < want when the socket is full.
func sendGroup(fd int, p [][]byte) (n, want int, err error) {
	var vec [vector]unix.Iovec
	used := 0
	for _, s := range p {
		if len(s) > 0 {
			vec[used].Base = unsafe.SliceData(s)
			vec[used].SetLen(len(s))
			used++
			want += len(s)
		}
	}
	if used > 0 {
		n, err = sendVector(fd, vec[:used])
	}
	return n, want, err
}

// sendOne writes what the socket takes now of one slice.
func sendOne(fd int, p []byte) (int, error) {
	vec := [1]unix.Iovec{{Base: unsafe.SliceData(p)}}
	vec[0].SetLen(len(p))
	return sendVector(fd, vec[:])
}

func sendVector(fd int, vec []unix.Iovec) (int, error) {
	var n uintptr
	errno := unix.EINTR
	for errno == unix.EINTR {
		if len(vec) == 1 {
			n, _, errno = unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(vec[0].Base)),
				uintptr(vec[0].Len), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
		} else {
			message := unix.Msghdr{Iov: &vec[0]}
			message.SetIovlen(len(vec))
			n, _, errno = unix.RawSyscall6(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&message)),
				unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0, 0)
		}
	}
	runtime.KeepAlive(vec)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EAGAIN:
		return 0, nil
	}
	return 0, errno
}

// accept takes a connection that waits, by one system call: x/sys makes another to learn the protocol. The peer's address
// is the zero one for a unix socket.
func accept(fd int) (conn int, peer netip.AddrPort, err error) {
	var address unix.RawSockaddrInet6 // the largest that is looked at
	size := uint32(unsafe.Sizeof(address))
	n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&address)), uintptr(unsafe.Pointer(&size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return 0, peer, errno
	}
	return int(n), addressOf(&address), nil
}

// addressOf gives the address as netip has it; IPv4 as such whatever the listener speaks.
func addressOf(a *unix.RawSockaddrInet6) netip.AddrPort {
	port := (*[2]byte)(unsafe.Pointer(&a.Port)) // in the order of the network, and in the same place for both families
	var addr netip.Addr
	switch a.Family {
	case unix.AF_INET:
		addr = netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(a)).Addr)
	case unix.AF_INET6:
		addr = netip.AddrFrom16(a.Addr).Unmap()
		if a.Scope_id != 0 {
			addr = addr.WithZone(strconv.FormatUint(uint64(a.Scope_id), 10))
		}
	default:
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(port[:]))
}
