package postgres

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
)

// Ports are chosen below the range that systems take for outgoing connections (32768 and up on Linux, ip(7)): a client's
// connection could otherwise take the port while the server restarts.
const (
	lowestPort  = 20000
	highestPort = 32000
)

// FreePort finds a port on 127.0.0.1 that nobody listens on now.
func FreePort() (int, error) {
	const attempts = 1000
	var last error
	for range attempts {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			last = err
			continue
		}
		return port, listener.Close()
	}
	return 0, fmt.Errorf("no free port on 127.0.0.1 found in %d attempts: %w", attempts, last)
}

// portTaken says whether a server's log ends with the complaint that its port is in use.
func portTaken(log string) bool {
	return strings.Contains(log, "could not create any TCP/IP sockets")
}
