package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketName is how PostgreSQL names the socket in a folder (manual, "unix_socket_directories"), with PgBouncer's port.
const socketName = ".s.PGSQL.6432"

// listen opens a TCP address, or a socket in a folder or at a path.
func (c *Config) listen(address string) (net.Listener, error) {
	if strings.HasPrefix(address, "/") {
		return listenUnix(address, c.UnixSocketMode)
	}
	var config net.ListenConfig
	if c.ReusePort {
		config.Control = func(_, _ string, conn syscall.RawConn) error { return setOnSocket(conn, reusePort) }
	}
	return config.Listen(context.Background(), "tcp", address)
}

// reusePort lets other processes of the same user listen at the same address: the kernel spreads connections over them.
func reusePort(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }

func setOnSocket(conn syscall.RawConn, set func(fd int) error) error {
	var failure error
	err := conn.Control(func(fd uintptr) { failure = set(int(fd)) })
	return errors.Join(err, failure)
}

func listenUnix(path string, mode os.FileMode) (net.Listener, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, socketName)
	}
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, fmt.Errorf("listen unix %s: another process listens there", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	// Linux makes the file with the mode of the socket, so that there is no moment at which others may connect.
	config := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		return setOnSocket(conn, func(fd int) error { _ = unix.Fchmod(fd, uint32(mode)); return nil })
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask says
		l.Close()
		return nil, err
	}
	return l, nil
}
