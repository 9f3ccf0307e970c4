package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// asProgram is a variable that makes the test binary lockproxy itself.
const asProgram = "LOCKPROXY_TEST_IS_PROGRAM"

// process is a lockproxy of its own.
type process struct {
	printed
	cmd   *exec.Cmd
	ended chan error
}

// spawn starts lockproxy serve with a configuration file, more environment, and a listener that systemd would pass on; nil:
// none.
func spawn(t *testing.T, path string, socket *os.File, environment ...string) *process {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{printed: printed{t, make(chan string, 10000)}, ended: make(chan error, 1)}
	p.cmd = exec.Command(os.Args[0], "serve", "--config", path)
	p.cmd.Env = append(os.Environ(), append(environment, asProgram+"=1")...)
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if socket != nil { // LISTEN_PID is the process's own, which only itself knows before it begins (manual, sd_listen_fds)
		p.cmd = exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"`}, p.cmd.Args...)...)
		p.cmd.Env = append(os.Environ(), append(environment, asProgram+"=1")...)
		p.cmd.Stdout, p.cmd.Stderr, p.cmd.ExtraFiles = w, w, []*os.File{socket}
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go func() {
		defer close(p.lines)
		for scanner := bufio.NewScanner(r); scanner.Scan(); {
			select {
			case p.lines <- scanner.Text():
			default: // nobody reads so much
			}
		}
		r.Close()
	}()
	go func() { p.ended <- p.cmd.Wait() }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		for range p.lines {
		}
	})
	return p
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// end waits for the process to have ended well.
func (p *process) end() {
	p.t.Helper()
	select {
	case err := <-p.ended:
		if err != nil {
			p.t.Errorf("the process ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		p.t.Fatal("the process does not end")
	}
}

// crowd is clients that connect, ask and leave, again and again. Not one may meet an error.
type crowd struct {
	t    *testing.T
	stop chan struct{}
	work sync.WaitGroup
	done atomic.Int64
}

func gather(t *testing.T, clients int, urls ...string) *crowd {
	c := &crowd{t: t, stop: make(chan struct{})}
	for i := range clients {
		c.work.Go(func() {
			for {
				select {
				case <-c.stop:
					return
				default:
				}
				if err := visit(urls[i%len(urls)]); err != nil {
					t.Errorf("client %d of %s: %v", i, urls[i%len(urls)], err)
					return
				}
				c.done.Add(1)
			}
		})
	}
	return c
}

func visit(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	for range 3 {
		if _, err := conn.Exec(ctx, "SELECT 1"); err != nil {
			return errors.Join(err, conn.Close(ctx))
		}
	}
	return conn.Close(ctx)
}

func (c *crowd) more(n int64) {
	for from := c.done.Load(); c.done.Load() < from+n && !c.t.Failed(); {
		time.Sleep(time.Millisecond)
	}
}

func (c *crowd) end() {
	close(c.stop)
	c.work.Wait()
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// servedBy writes a configuration file for a lockproxy of its own.
func servedBy(t *testing.T, server string) (path string) {
	t.Helper()
	upstream := postgres.Start(t)
	path = filepath.Join(t.TempDir(), "c.toml")
	text := fmt.Sprintf("[server]\n%s\n[auth]\ntype = 'trust'\n[databases.'*']\nurl = 'postgres://127.0.0.1:%d'\n", server, upstream.Port)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestProcessesAreExchangedUnderLoadWithoutAnError(t *testing.T) {
	address, folder := freePort(t), shortFolder(t)
	path := servedBy(t, fmt.Sprintf("listen = [%q, %q]\nreuse_port = true\ndrain_timeout = '30s'", address, folder))
	now := spawn(t, path, nil)
	now.until("msg=listening")
	now.until("msg=listening")
	c := gather(t, 8, "postgres://postgres@"+address+"/postgres?sslmode=disable", "postgres://postgres@/postgres?host="+folder+"&port=6432")
	for range 6 {
		c.more(40)
		next := spawn(t, path, nil)
		next.until("msg=listening")
		next.until("msg=listening")
		now.signal(syscall.SIGTERM)
		now.end()
		now = next
	}
	c.more(40)
	c.end()
	now.signal(syscall.SIGTERM)
	now.end()
	if left, _ := filepath.Glob(filepath.Join(folder, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestASocketOfSystemdOutlivesProcessesWithoutAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	address := l.Addr().String()
	l.Close() // socket has it
	path := servedBy(t, "listen = ['127.0.0.1:1']\ndrain_timeout = '30s'")
	now := spawn(t, path, socket)
	if line := now.until("msg=listening"); !strings.Contains(line, address) {
		t.Errorf("it listens elsewhere: %s", line)
	}
	c := gather(t, 4, "postgres://postgres@"+address+"/postgres?sslmode=disable")
	for range 4 {
		c.more(20)
		now.signal(syscall.SIGTERM) // what comes meanwhile waits at the socket
		now.end()
		now = spawn(t, path, socket)
		now.until("msg=listening")
	}
	c.more(20)
	c.end()
	now.signal(syscall.SIGTERM)
	now.end()
}

// systemd is who started a program and hears how it is.
type systemd struct {
	t *testing.T
	*net.UnixConn
	path string
}

func newSystemd(t *testing.T) systemd {
	t.Helper()
	path := filepath.Join(shortFolder(t), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return systemd{t, l, path}
}

// within gives what it hears next; "" if that takes too long.
func (s systemd) within(d time.Duration) string {
	s.t.Helper()
	if err := s.SetReadDeadline(time.Now().Add(d)); err != nil {
		s.t.Fatal(err)
	}
	b := make([]byte, 1000)
	n, err := s.Read(b)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		s.t.Fatal(err)
	}
	return string(b[:n])
}

func (s systemd) heard(want string) {
	s.t.Helper()
	for {
		switch got := s.within(30 * time.Second); {
		case got == "":
			s.t.Fatalf("it does not say %s", want)
		case strings.HasPrefix(got, want):
			return
		}
	}
}

func TestServeTellsSystemdHowItIs(t *testing.T) {
	s := newSystemd(t)
	p := spawn(t, servedBy(t, "listen = ['127.0.0.1:0']"), nil, "NOTIFY_SOCKET="+s.path, "WATCHDOG_USEC=300000")
	s.heard("READY=1")
	s.heard("WATCHDOG=1")
	s.heard("WATCHDOG=1")
	p.signal(syscall.SIGHUP)
	s.heard("RELOADING=1\nMONOTONIC_USEC=")
	s.heard("READY=1")
	p.signal(syscall.SIGTERM)
	s.heard("STOPPING=1")
	p.end()
}

func TestServeObeysSignals(t *testing.T) {
	path := servedBy(t, "listen = ['127.0.0.1:0']\nshutdown_timeout = '1h'\ndrain_timeout = '1h'")
	begin := func() (*process, *pgx.Conn) {
		p := spawn(t, path, nil)
		_, address, _ := strings.Cut(p.until("msg=listening"), "address=")
		conn, err := pgx.Connect(t.Context(), "postgres://postgres@"+address+"/postgres?sslmode=disable")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "SELECT 1"); err != nil {
			t.Fatal(err)
		}
		return p, conn
	}
	closed := func(conn *pgx.Conn) {
		t.Helper()
		_ = conn.PgConn().Conn().SetReadDeadline(time.Now().Add(30 * time.Second))
		if text, err := io.ReadAll(conn.PgConn().Conn()); err != nil || !strings.Contains(string(text), "57P01") {
			t.Errorf("the client is told %q, %v", text, err)
		}
	}
	p, conn := begin()
	p.signal(syscall.SIGUSR1)
	p.until("no server connection is left")
	answered := make(chan error, 1)
	go func() {
		_, err := conn.Exec(t.Context(), "SELECT 1")
		answered <- err
	}()
	p.signal(syscall.SIGUSR2)
	if err := <-answered; err != nil {
		t.Errorf("after the pause: %v", err)
	}
	p.signal(syscall.SIGTERM)
	p.until("waiting for the clients to leave")
	if _, err := conn.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Errorf("a client is served until it leaves: %v", err)
	}
	if _, err := conn.Exec(t.Context(), "BEGIN; SELECT 1"); err != nil {
		t.Error(err)
	}
	p.signal(syscall.SIGTERM) // a second time
	closed(conn)
	p.end()

	p, conn = begin()
	p.signal(syscall.SIGINT)
	closed(conn)
	p.end()

	p, conn = begin()
	if _, err := conn.Exec(t.Context(), "BEGIN; SELECT 1"); err != nil {
		t.Error(err)
	}
	p.signal(syscall.SIGQUIT)
	closed(conn)
	p.end()
}
