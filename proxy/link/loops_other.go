//go:build !linux

package link

import (
	"errors"
	"net"
)

// Loops is not available on this system: use Start.
type Loops struct{}

// NewLoops returns errors.ErrUnsupported.
func NewLoops(int) (*Loops, error) { return nil, errors.ErrUnsupported }

// Start returns errors.ErrUnsupported and leaves conn to the caller.
func (*Loops) Start(net.Conn, Owner) (Link, error) { return nil, errors.ErrUnsupported }

// Close does nothing.
func (*Loops) Close() {}
