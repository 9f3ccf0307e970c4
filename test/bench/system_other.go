//go:build !linux

package main

import (
	"errors"
	"runtime"
	"time"
)

// cpuTime is known on Linux alone, as is most of what a reading needs.
func cpuTime(int) (time.Duration, error) { return 0, errors.ErrUnsupported }

func kernel() string { return runtime.GOOS }
