package link

import (
	"net"
	"sync"
	"testing"
)

func init() {
	modes = append(modes,
		mode{name: "loop/tcp", pair: tcpPair, loop: true, half: true, buffered: true},
		mode{name: "loop/unix", pair: unixPair, loop: true, half: true, buffered: true},
	)
}

// sharedLoops serve all tests of the contract, so that links of different tests also share rounds.
var sharedLoops = sync.OnceValues(func() (*Loops, error) { return NewLoops(2) })

func startInLoops(t testing.TB, conn net.Conn, owner Owner) Link {
	t.Helper()
	loops, err := sharedLoops()
	if err != nil {
		t.Fatal(err)
	}
	l, err := loops.Start(conn, owner)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func stopLoops() {
	if loops, err := sharedLoops(); err == nil {
		loops.Close()
	}
}
