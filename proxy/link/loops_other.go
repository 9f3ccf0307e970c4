//go:build !linux

package link

import (
	"context"
	"errors"
	"net"
	"runtime"
)

// Loops is not available on this system: use Start.
type Loops struct{}

// NewLoops returns errors.ErrUnsupported.
func NewLoops(int, bool) (*Loops, error) { return nil, errors.ErrUnsupported }

// Start returns errors.ErrUnsupported and leaves conn to the caller.
func (*Loops) Start(net.Conn, Owner) (Link, error) { return nil, errors.ErrUnsupported }

// Accept returns errors.ErrUnsupported and leaves the listener to the caller.
func (*Loops) Accept(net.Listener, Host, net.KeepAliveConfig) (Gate, error) {
	return nil, errors.ErrUnsupported
}

// Balance does nothing.
func (*Loops) Balance() {}

// Spread does nothing.
func (*Loops) Spread() {}

// GoRound does nothing.
func (*Loops) GoRound(context.Context) error { return nil }

// Close does nothing.
func (*Loops) Close() {}

// Processors is how many processors Go uses.
func Processors() int { return runtime.GOMAXPROCS(0) }
