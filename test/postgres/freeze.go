package postgres

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNoProc says that the processes of a server cannot be found, since this system has no /proc.
var ErrNoProc = errors.New("this system has no /proc")

// Freeze stops all processes of the server where they are: to its clients, and to new ones, it hangs. It is to be followed by
// Thaw before anything else.
func (s *Server) Freeze() error {
	if err := s.signalAll(syscall.SIGSTOP); err != nil {
		return err
	}
	for _, pid := range s.processes() {
		for !stopped(pid) { // which takes a moment for one that runs
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// stopped tells whether a process is stopped, or gone.
func stopped(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	_, state, found := strings.Cut(string(stat), ") ")
	return err != nil || found && (state[0] == 'T' || state[0] == 'Z')
}

// processes gives the server's and its children's ids.
func (s *Server) processes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return nil
	}
	pid := strconv.Itoa(s.process.cmd.Process.Pid)
	children, _ := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	return append(strings.Fields(string(children)), pid)
}

// Thaw lets the server go on.
func (s *Server) Thaw() error { return s.signalAll(syscall.SIGCONT) }

// signalAll signals the server before its children: it makes no more of them once it is stopped.
func (s *Server) signalAll(signal syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return errors.New("the server does not run")
	}
	if err := s.process.signal(signal); err != nil {
		return err
	}
	pid := strconv.Itoa(s.process.cmd.Process.Pid)
	children, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err != nil {
		return ErrNoProc
	}
	for _, child := range strings.Fields(string(children)) {
		n, _ := strconv.Atoi(child)
		if err := syscall.Kill(n, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}
