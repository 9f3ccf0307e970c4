package main

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/lockproxy/lockproxy/proxy"
)

// otherDescriptors is what a process needs beside its clients and its connections to servers: listeners, event loops, files that
// are read again, who asks for metrics.
const otherDescriptors = 64

// descriptors is how many files and sockets this process may have open at most. Go has raised the soft limit to the hard one
// (package os).
func descriptors() uint64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return ^uint64(0)
	}
	return uint64(limit.Cur)
}

// tooFewDescriptors says what comes of it where clients and servers may need more descriptors than there are; nothing, if they do
// not. Each database counts as if one user came for it, and max_backends as if there were one server.
func (c *configuration) tooFewDescriptors(most uint64) problems {
	servers := 0
	for _, db := range c.proxy.Databases {
		servers += db.Admin.Max + db.Lock.Max
	}
	if bound := c.proxy.MaxBackends; bound != (proxy.Shares{}) {
		servers = bound.Admin + bound.Lock
	}
	needed := uint64(c.proxy.MaxClients + servers + otherDescriptors)
	if needed <= most {
		return nil
	}
	return problems{{c.origin("server.max_clients"), fmt.Sprintf("%d clients and %d connections to servers need %d file descriptors, and this process may have %d "+
		"(`ulimit -Hn`, LimitNOFILE of systemd): when there are none left, nobody is let in and no server is connected to",
		c.proxy.MaxClients, servers, needed, most)}}
}
