package postgres

import "syscall"

// dieWithParent makes the kernel end the server at once when the process that started it dies, however that happens.
func dieWithParent(attr *syscall.SysProcAttr) {
	attr.Pdeathsig = Immediate.signal()
}
