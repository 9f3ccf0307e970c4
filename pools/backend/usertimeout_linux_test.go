package backend

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTheURLBoundsHowLongNothingIsAcknowledged(t *testing.T) {
	clearEnvironment(t)
	c := dial(t, server(t).URL("postgres")+"&tcp_user_timeout=4321&load_balance_hosts=disable&gssdelegation=0")
	if got := userTimeout(t, c.Net); got != 4321*time.Millisecond {
		t.Errorf("got %v", got)
	}
}

// userTimeout asks a socket how long what was sent may be unacknowledged.
func userTimeout(t *testing.T, conn net.Conn) (timeout time.Duration) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		ms, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		if timeout = time.Duration(ms) * time.Millisecond; err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return timeout
}
