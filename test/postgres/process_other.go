//go:build !linux

package postgres

import "syscall"

// dieWithParent does nothing where the kernel has no such service: a killed process leaves its server running there.
func dieWithParent(*syscall.SysProcAttr) {}
