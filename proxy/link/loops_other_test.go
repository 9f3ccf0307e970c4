//go:build !linux

package link

import (
	"net"
	"testing"
)

func startInLoops(testing.TB, net.Conn, Owner) Link { panic("no event loops here") }

func stopLoops() {}
