//go:build !linux

package main

import (
	"errors"
	"runtime"
	"syscall"
	"time"
)

// cpuTime is known on Linux alone, as is most of what a reading needs.
func cpuTime(int) (time.Duration, error) { return 0, errors.ErrUnsupported }

// dieWithParent does nothing where the kernel has no such service.
func dieWithParent(*syscall.SysProcAttr) {}

func kernel() string { return runtime.GOOS }
