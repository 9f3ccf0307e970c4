package postgres

import "syscall"

// DieWithParent makes the kernel send a process a signal at once when the one that started it dies, however that happens. It
// is for StartChild.
func DieWithParent(attr *syscall.SysProcAttr, signal syscall.Signal) { attr.Pdeathsig = signal }
