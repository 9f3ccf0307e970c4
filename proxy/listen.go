package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketName is how PostgreSQL names the socket in a folder (manual, "unix_socket_directories"), with PgBouncer's port.
const socketName = ".s.PGSQL.6432"

// longestPath is what the address of a unix socket has room for, without the zero byte: struct sockaddr_un.
const longestPath = len(unix.RawSockaddrUnix{}.Path) - 1

// listen opens a TCP address, or a socket in a folder or at a path.
func (c *Config) listen(address string) (*listener, error) {
	if strings.HasPrefix(address, "/") {
		return listenUnix(address, c.UnixSocketMode, c.ReusePort)
	}
	return c.listenTCP(address)
}

func (c *Config) listenTCP(address string) (*listener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false) // Go's default since 1.24, which costs at each accept and takes no filter (dropRequests)
	if c.ReusePort {
		config.Control = func(_, _ string, conn syscall.RawConn) error { return setOnSocket(conn, reusePort) }
	}
	l, err := config.Listen(context.Background(), familyOf(address), address)
	if err != nil || !c.ReusePort {
		return &listener{Listener: l}, err
	}
	socket, err := l.(*net.TCPListener).SyscallConn()
	return &listener{Listener: l, shared: socket}, err
}

// familyOf gives the network of an address: 0.0.0.0 stands for all of IPv4 and :: for all of IPv6, as in PostgreSQL (manual,
// "listen_addresses"), where Go's "tcp" would take either for both. A port alone stands for both.
func familyOf(address string) string {
	where, err := netip.ParseAddrPort(address)
	switch {
	case err != nil || !where.Addr().IsUnspecified():
		return "tcp"
	case where.Addr().Is4():
		return "tcp4"
	}
	return "tcp6"
}

// reusePort lets other processes of the same user listen at the same address: the kernel spreads connections over them.
func reusePort(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }

// socket is one whose descriptor can be had: a syscall.RawConn, or a link.Gate.
type socket interface {
	Control(f func(fd uintptr)) error
}

func setOnSocket(conn socket, set func(fd int) error) error {
	var failure error
	err := conn.Control(func(fd uintptr) { failure = set(int(fd)) })
	return errors.Join(err, failure)
}

// listenUnix opens a unix socket. It has its name once it is ready, so that who connects meets one process or the other.
func listenUnix(path string, mode os.FileMode, share bool) (*listener, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, socketName)
	}
	if len(path) > longestPath {
		return nil, fmt.Errorf("listen unix %s: the path is longer than %d bytes, so that nobody could connect to it", path, longestPath)
	}
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("the folder of %s must be there: %w", path, err)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("listen unix %s: there is something that is no socket", path)
	}
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		if !share {
			return nil, fmt.Errorf("listen unix %s: another process listens there", path)
		}
	}
	first := filepath.Join(filepath.Dir(path), fmt.Sprintf(".lp.%d", os.Getpid())) // no longer than the other: a name has 107 bytes
	if err := os.Remove(first); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	// Linux makes the file with the mode of the socket, so that there is no moment at which others may connect.
	config := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		return setOnSocket(conn, func(fd int) error { _ = unix.Fchmod(fd, uint32(mode)); return nil })
	}}
	l, err := config.Listen(context.Background(), "unix", first)
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	made, err := os.Lstat(first)
	if err = errors.Join(err, os.Chmod(first, mode), os.Rename(first, path)); err != nil { // the mode is that whatever the umask says
		return nil, errors.Join(err, l.Close(), os.Remove(first))
	}
	return &listener{Listener: l, path: path, made: made}, nil
}
