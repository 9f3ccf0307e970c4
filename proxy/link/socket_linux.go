package link

import (
	"runtime"
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
