package postgres

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// folder is a temporary folder that is locked while its process lives, so that others can tell one in use from one
// that a killed process left behind.
type folder struct {
	path string
	lock *os.File // Closed and nil once the folder is removed.
}

const folderPattern = "lockproxy-postgres-*"

// newFolder makes a folder that belongs to user, and removes those of dead processes.
func newFolder(user *account) (*folder, error) {
	parent := temporary()
	sweep(parent)
	path, err := os.MkdirTemp(parent, folderPattern)
	if err != nil {
		return nil, fmt.Errorf("make a folder for PostgreSQL: %w", err)
	}
	f := &folder{path: path}
	if err := f.acquire(); err != nil {
		_ = os.RemoveAll(path) // The first error is the one to tell.
		return nil, fmt.Errorf("lock the folder %s: %w", path, err)
	}
	// Everybody may pass through it to the unix socket; the cluster itself lies below, in a folder with mode 0700.
	if err := os.Chmod(path, 0o755); err != nil {
		return nil, fmt.Errorf("open the folder %s: %w", path, err)
	}
	if err := user.own(path); err != nil {
		return nil, fmt.Errorf("give the folder %s to user %s: %w", path, user.name, err)
	}
	return f, nil
}

// temporary is the system's temporary folder, or /tmp where the paths of unix sockets below it would be too long: they
// must fit into 107 bytes (unix(7)).
func temporary() string {
	const longest = 60
	if dir := os.TempDir(); len(dir) <= longest {
		return dir
	}
	return "/tmp"
}

// acquire locks the folder. The lock file gets its final name when it is locked, so that a sweep never sees it unlocked.
func (f *folder) acquire() error {
	early := filepath.Join(f.path, "lock.new")
	file, err := os.OpenFile(early, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return err
	}
	if err := os.Rename(early, filepath.Join(f.path, "lock")); err != nil {
		_ = file.Close()
		return err
	}
	f.lock = file
	return nil
}

func (f *folder) removed() bool {
	return f.lock == nil
}

func (f *folder) remove() error {
	if f.removed() {
		return nil
	}
	err := os.RemoveAll(f.path)
	_ = f.lock.Close() // Nothing was written to it.
	f.lock = nil
	return err
}

// sweep removes the folders of processes that were killed. What it may not touch, or what is in use, it leaves.
func sweep(parent string) {
	found, _ := filepath.Glob(filepath.Join(parent, folderPattern)) // The pattern is well formed.
	for _, path := range found {
		lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(path) // The next sweep tries again.
		}
		_ = lock.Close()
	}
}
