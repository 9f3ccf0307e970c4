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
	pids, err := s.signalAll(syscall.SIGSTOP)
	for _, pid := range pids {
		for err == nil && !stopped(pid) { // which takes a moment for one that runs
			time.Sleep(time.Millisecond)
		}
	}
	return err
}

// stopped tells whether a process is stopped, or gone.
func stopped(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	_, state, found := strings.Cut(string(stat), ") ")
	return err != nil || found && (state[0] == 'T' || state[0] == 'Z')
}

// Thaw lets the server go on.
func (s *Server) Thaw() error {
	_, err := s.signalAll(syscall.SIGCONT)
	return err
}

// signalAll signals the server before its children: it makes no more of them once it is stopped. It gives
// the ids of all.
func (s *Server) signalAll(signal syscall.Signal) (pids []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return nil, errors.New("the server does not run")
	}
	if err := s.process.signal(signal); err != nil {
		return nil, err
	}
	pid := strconv.Itoa(s.process.cmd.Process.Pid)
	children, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err != nil {
		return nil, ErrNoProc
	}
	pids = strings.Fields(string(children))
	for _, child := range pids {
		n, _ := strconv.Atoi(child)
		if err := syscall.Kill(n, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return nil, err
		}
	}
	return append(pids, pid), nil
}
