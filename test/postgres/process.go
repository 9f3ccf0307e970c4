package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Mode is a way to stop a server (PostgreSQL manual, "Shutting Down the Server").
type Mode int

const (
	// Smart waits until all clients have gone.
	Smart Mode = iota
	// Fast rolls back open transactions and ends all sessions with 57P01.
	Fast
	// Immediate ends everything at once, without a checkpoint, as a crash does; the next start recovers.
	Immediate
)

func (m Mode) signal() syscall.Signal {
	switch m {
	case Smart:
		return syscall.SIGTERM
	case Fast:
		return syscall.SIGINT
	}
	return syscall.SIGQUIT
}

// Stop stops the server and waits until it has ended; stopping a stopped server does nothing. A server that does not
// end within Config.StopTimeout is ended by Immediate, and Stop returns an error.
func (s *Server) Stop(mode Mode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop(mode)
}

func (s *Server) stop(mode Mode) error {
	p := s.process
	if p == nil {
		return nil
	}
	if err := p.signal(mode.signal()); err != nil {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	s.process = nil
	timeout := s.config.StopTimeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	if p.wait(timeout) {
		return nil
	}
	if mode != Immediate && p.signal(Immediate.signal()) == nil && p.wait(timeout) {
		return fmt.Errorf("PostgreSQL did not stop within %v, so it was ended at once", timeout)
	}
	_ = p.cmd.Process.Kill() // What does not answer to SIGQUIT gets no choice.
	<-p.Exited
	return fmt.Errorf("PostgreSQL did not stop within %v, so it was killed", timeout)
}

// Kill stops the server by Immediate: to its clients, a crash.
func (s *Server) Kill() error {
	return s.Stop(Immediate)
}

// StartAgain starts a stopped server, with its data and its port, and returns when it accepts connections. Starting a
// server that runs does nothing.
func (s *Server) StartAgain(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.folder.removed() {
		return errors.New("this PostgreSQL server is closed")
	}
	if s.process != nil {
		return nil
	}
	p, err := s.launch()
	if err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	s.process = p
	if err := s.awaitReady(ctx, p); err != nil {
		_ = s.stop(Immediate) // The first error is the one to tell.
		return err
	}
	return nil
}

// Restart stops the server by Fast and starts it again.
func (s *Server) Restart() error {
	if err := s.Stop(Fast); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return s.StartAgain(ctx)
}

// Close ends the server at once and removes its folder. Closing twice does nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.folder.removed() {
		return nil
	}
	err := s.stop(Immediate)
	s.finalLog = s.readLog()
	return errors.Join(err, s.folder.remove())
}

// launch starts the postmaster.
func (s *Server) launch() (*Child, error) {
	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(s.programs, "postgres"), "-D", s.data)
	s.prepare(cmd)
	cmd.Stdout, cmd.Stderr = log, log
	return StartChild(cmd)
}

// prepare makes a command run as the unprivileged user, in a process group of its own (so that Ctrl-C in a terminal is
// for us to handle), with an environment that says nothing of ours.
func (s *Server) prepare(cmd *exec.Cmd) {
	cmd.Dir = s.folder.path
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	DieWithParent(cmd.SysProcAttr, Immediate.signal())
	if s.user != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(s.user.uid), Gid: uint32(s.user.gid)}
	}
}

// awaitReady connects until that succeeds. It uses the unix socket, which is in the server's own folder: whoever answers
// on the port may be another server.
func (s *Server) awaitReady(ctx context.Context, p *Child) error {
	const pause = 10 * time.Millisecond
	for {
		err := s.ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.Exited:
			return fmt.Errorf("postgres ended at its start: %v\n%s", p.err, Tail(s.readLog()))
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL does not accept connections (%w): %w\n%s", ctx.Err(), err, Tail(s.readLog()))
		case <-time.After(pause):
		}
	}
}

// Tail is the end of a log: enough of it for an error's text.
func Tail(log string) string {
	const lines = 20
	all := strings.Split(strings.TrimSpace(log), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
