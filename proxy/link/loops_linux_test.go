package link

import (
	"net"
	"testing"
)

func startInLoops(t testing.TB, conn net.Conn, owner Owner) Link { panic("no event loops here") }

func stopLoops() {}
