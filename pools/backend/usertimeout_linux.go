package backend

import (
	"time"

	"golang.org/x/sys/unix"
)

// setUserTimeout bounds how long what was sent to the server may be unacknowledged.
func setUserTimeout(fd int, timeout time.Duration) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(timeout/time.Millisecond))
}
