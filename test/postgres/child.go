package postgres

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Child is a process that has been started.
type Child struct {
	Exited chan struct{} // Closed once the process has been waited for.

	cmd *exec.Cmd
	err error // How it ended; to be read after Exited is closed.
}

// StartChild starts a command. A goroutine keeps its thread for as long as the process lives, because the signal that the
// kernel sends at a parent's death (prctl(2), PR_SET_PDEATHSIG; see DieWithParent) is tied to the thread that started the
// child.
func StartChild(cmd *exec.Cmd) (*Child, error) {
	c := &Child{cmd: cmd, Exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			c.err = cmd.Wait()
			close(c.Exited)
		}
	}()
	return c, <-started
}

func (c *Child) signal(signal syscall.Signal) error {
	if err := c.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// wait reports whether the process ended within the timeout.
func (c *Child) wait(timeout time.Duration) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-c.Exited:
		return true
	case <-timer.C:
		return false
	}
}
