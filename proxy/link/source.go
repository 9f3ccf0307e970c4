package link

import (
	"net"
	"sync"
)

// source is how a stream's reading goroutine waits for bytes.
type source interface {
	// next waits for bytes, which hold until release. It may return none and no error: look whether to go on.
	next() ([]byte, error)

	release()
}

// inputSize is how much a goroutine link reads at once.
const inputSize = 16 << 10

var inputs = sync.Pool{New: func() any { return new([inputSize]byte) }}

// idleSize is what a link that must own a buffer while it waits owns. Most queries and short answers fit.
const idleSize = 1 << 10

// blockingSource reads by blocking calls, which need a buffer while they wait. To keep that small it waits with a small
// one and takes a large one for the next read when one was filled, for then more is likely to be there.
type blockingSource struct {
	conn  net.Conn
	large *[inputSize]byte
	more  bool // the last read filled its buffer
	small [idleSize]byte
}

func (s *blockingSource) next() ([]byte, error) {
	p := s.small[:]
	if s.more {
		s.large = inputs.Get().(*[inputSize]byte)
		p = s.large[:]
	}
	n, err := s.conn.Read(p)
	s.more = n == len(p)
	return p[:n], err
}

func (s *blockingSource) release() {
	if s.large != nil {
		inputs.Put(s.large)
		s.large = nil
	}
}
