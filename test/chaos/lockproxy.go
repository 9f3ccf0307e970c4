package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lockproxy/lockproxy/test/postgres"
	"github.com/lockproxy/lockproxy/test/project"
)

// program is lockproxy as it is built from here, its configuration, and the process that runs now.
type program struct {
	path, file, log string
	port            int // on 127.0.0.1
	upstream        int
	secrets         secrets

	mu   sync.Mutex
	now  *process
	gone []*process // that were told to end
}

type process struct {
	cmd   *exec.Cmd
	child *postgres.Child
}

// limits are what reloads change.
type limits struct{ admin, lock int }

func build(ctx context.Context, folder string, race bool) (*program, error) {
	p := &program{path: filepath.Join(folder, "lockproxy"), file: filepath.Join(folder, "lockproxy.toml"),
		log: filepath.Join(folder, "log")}
	arguments := []string{"build", "-o", p.path, "./cmd/lockproxy"}
	if race {
		arguments = []string{"build", "-race", "-o", p.path, "./cmd/lockproxy"}
	}
	cmd := exec.CommandContext(ctx, "go", arguments...)
	cmd.Dir = project.Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build lockproxy: %w\n%s", err, out)
	}
	var err error
	p.port, err = postgres.FreePort()
	return p, err
}

func (p *program) configure(l limits) error {
	rules := p.file + ".hba"
	if err := os.WriteFile(rules, fmt.Appendf(nil, "host all %s all scram-sha-256\nhost all all all trust\n", guarded), 0o600); err != nil {
		return err
	}
	return os.WriteFile(p.file, fmt.Appendf(nil, `[server]
listen           = ["127.0.0.1:%d"]
reuse_port       = true
shutdown_timeout = "2s"

[auth]
type     = "hba"
hba_file = %q
file     = %q

[tls]
mode = "allow"
cert = %q
key  = %q

[databases.guarded]
url = "postgres://127.0.0.1:%d/postgres?sslmode=verify-ca&sslrootcert=%s&connect_timeout=5"

[databases."*"]
url = "postgres://127.0.0.1:%d/?sslmode=disable&connect_timeout=5"

[pools.admin]
max              = %d
checkout_timeout = "5s"

[pools.lock]
max              = %d
checkout_timeout = "5s"
lock_timeout     = "5s"
`, p.port, rules, p.secrets.users, p.secrets.certificate, p.secrets.key, p.upstream, p.secrets.authority, p.upstream, l.admin, l.lock), 0o600)
}

// start starts another process, and returns once it has let a client in.
func (p *program) start(ctx context.Context) error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	before, _ := log.Seek(0, io.SeekEnd)
	cmd := exec.Command(p.path, "serve", "--config", p.file)
	cmd.Env = append(os.Environ(), "GORACE=halt_on_error=1")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	postgres.DieWithParent(cmd.SysProcAttr, syscall.SIGKILL)
	child, err := postgres.StartChild(cmd)
	if err != nil {
		return err
	}
	for !p.said(before, "msg=listening") {
		select {
		case <-child.Exited:
			return errors.New("lockproxy ended at its start: " + p.tail())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now != nil {
		p.gone = append(p.gone, p.now)
	}
	p.now = &process{cmd, child}
	return nil
}

// said tells whether the log holds a text behind an offset.
func (p *program) said(offset int64, text string) bool {
	log, err := os.ReadFile(p.log)
	return err == nil && int64(len(log)) > offset && strings.Contains(string(log[offset:]), text)
}

func (p *program) tail() string {
	log, _ := os.ReadFile(p.log) // Without it there is nothing to tell.
	return postgres.Tail(string(log))
}

// current is the process that runs now.
func (p *program) current() *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// exchange starts a new process beside the old one, which is then told to end.
func (p *program) exchange(ctx context.Context) error {
	old := p.current()
	if err := p.start(ctx); err != nil {
		return err
	}
	return old.cmd.Process.Signal(syscall.SIGTERM)
}

// reload has the configuration read again.
func (p *program) reload(l limits) error {
	if err := p.configure(l); err != nil {
		return err
	}
	return p.current().cmd.Process.Signal(syscall.SIGHUP)
}

// died tells whether the process that should run does not.
func (p *process) died() bool {
	select {
	case <-p.child.Exited:
		return true
	default:
		return false
	}
}

// awaitGone waits until the processes that were told to end have.
func (p *program) awaitGone(within time.Duration) error {
	late := time.After(within)
	p.mu.Lock()
	gone := p.gone
	p.mu.Unlock()
	for _, one := range gone {
		select {
		case <-one.child.Exited:
		case <-late:
			return fmt.Errorf("process %d was told to end and has not within %v", one.cmd.Process.Pid, within)
		}
	}
	return nil
}

func (p *program) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range append(p.gone, p.now) {
		if one != nil {
			_ = one.cmd.Process.Kill() // It has ended, or will.
			<-one.child.Exited
		}
	}
}

// use is what a process has of the machine.
type use struct{ memory, descriptors int }

func (p *process) use() (u use, err error) {
	folder := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	files, err := os.ReadDir(folder + "fd")
	if err != nil {
		return u, err
	}
	u.descriptors = len(files)
	text, err := os.ReadFile(folder + "status")
	if err != nil {
		return u, err
	}
	_, rest, found := strings.Cut(string(text), "VmRSS:")
	if !found {
		return u, errors.New("/proc tells no VmRSS")
	}
	_, err = fmt.Sscanf(rest, "%d kB", &u.memory)
	u.memory <<= 10
	return u, err
}
