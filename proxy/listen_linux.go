package proxy

import "golang.org/x/sys/unix"

// dropRequests has a listening TCP socket ignore those who ask for a connection from now on. They ask again a second later
// (RFC 6298, section 2), and then find the other process at the address; who is in the middle of connecting still gets in.
func dropRequests(fd int) error {
	const flags, syn, all = 13, 2, 0xffffffff
	filter := []unix.SockFilter{ // it sees the TCP header (RFC 9293, section 3.1)
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jt: 1, K: syn},
		{Code: unix.BPF_RET | unix.BPF_K, K: all},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}
