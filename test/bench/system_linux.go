package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime reads the CPU clock of another process: all its threads, those that have ended too. Its number is made as
// clock_getcpuclockid(3) does it; 2 stands for the scheduler's own clock (CPUCLOCK_SCHED).
func cpuTime(pid int) (time.Duration, error) {
	var now unix.Timespec
	err := unix.ClockGettime(int32(^pid<<3|2), &now)
	return time.Duration(now.Nano()), err
}

// kernel is the name and the release of the system.
func kernel() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return "Linux"
	}
	return unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:])
}
