//go:build !linux

package postgres

import "syscall"

// DieWithParent does nothing where the kernel has no such service: a process outlives a killed parent there.
func DieWithParent(*syscall.SysProcAttr, syscall.Signal) {}
