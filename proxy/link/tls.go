package link

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// TLS is a connection over TLS, towards a client. At first its bytes come from and go to what it was made with, which
// may wait: for the handshake, and for what is said until there is a session. Over then has a link carry them.
type TLS struct {
	*tls.Conn
	carrier *carrier
}

// NewTLS makes a connection over what its bytes come from and go to. Nothing is read or written yet.
func NewTLS(over io.ReadWriter, config *tls.Config) *TLS {
	c := &carrier{ReadWriter: over}
	return &TLS{tls.Server(c, config), c}
}

// Over serves the connection, whose handshake is done, over a link that has brought its bytes so far: what the owner of
// the link that is returned hears and writes is in clear, while that one's bytes are encrypted. It is called from within
// a method of the inner link's owner. In is what has been delivered and not been read; what of it and of the bytes before
// was for the new owner is returned, and not delivered.
func (t *TLS) Over(inner Link, in []byte, owner Owner) (l Link, clear []byte) {
	s := &secure{inner: inner, conn: t.Conn, owner: owner}
	t.carrier.ReadWriter = (*ciphertext)(s)
	inner.Handover(s)
	room := opened.Get().(*[openedSize]byte)
	defer opened.Put(room)
	clear, s.reason = s.decrypt(room[:0], in)
	if s.reason != nil {
		s.inner.CloseAfterFlush(linger) // Closed follows
	}
	return s, slices.Clone(clear)
}

// secure is TLS over another link, whose owner it is. What comes is decrypted by whoever brings it, and what goes is
// encrypted by whoever writes: an event loop serves such a link without a goroutine, and for an idle one only
// crypto/tls has buffers.
type secure struct {
	inner  Link
	conn   *tls.Conn
	owner  Owner
	reason error // why TLS is over; nil: it is not
	told   bool  // Closed has been called

	mu    sync.Mutex // held over each use of conn; never while the owner is called
	in    []byte     // what conn is to read
	out   [1][]byte  // what it writes
	batch *Batch     // that this goes to
	shut  bool       // nothing is written any more
}

// gathers are for slices that are to be one record, and opened for what one call of Received brings.
var (
	gathers = sync.Pool{New: func() any { return new([gatherSize]byte) }}
	opened  = sync.Pool{New: func() any { return new([openedSize]byte) }}
)

const (
	gatherSize = 16 << 10 // a record's most
	// openedSize has room for what a loop reads at once, and for what was there of a record before.
	openedSize = 64<<10 + 16<<10
)

// Received decrypts, and delivers all that it gives at once: an owner that pauses the link has nothing more to come.
func (s *secure) Received(p []byte) { s.received(nil, p) }

// ReceivedIn does so within a batch.
func (s *secure) ReceivedIn(b *Batch, p []byte) { s.received(b, p) }

func (s *secure) received(b *Batch, p []byte) {
	if s.told {
		return
	}
	room := opened.Get().(*[openedSize]byte)
	clear, err := s.decrypt(room[:0], p)
	if len(clear) > 0 {
		if owner, batches := s.owner.(BatchOwner); batches && b != nil {
			owner.ReceivedIn(b, clear)
		} else {
			s.owner.Received(clear)
		}
	}
	opened.Put(room)
	if err != nil {
		s.fail(err)
	}
}

// decrypt appends what p brings. The error is io.EOF when the peer has said that this was all.
func (s *secure) decrypt(clear, p []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in = p
	defer func() { s.in = nil }()
	for {
		if cap(clear) == len(clear) {
			clear = append(clear, 0)[:len(clear)]
		}
		n, err := s.conn.Read(clear[len(clear):cap(clear)])
		clear = clear[:len(clear)+n]
		if err == errNothing {
			return clear, nil
		}
		if err != nil {
			return clear, err
		}
	}
}

// fail ends the link because TLS is over. What crypto/tls had to say about it is still sent.
func (s *secure) fail(err error) {
	if s.reason == nil {
		s.reason = err
	}
	s.CloseAfterFlush(linger)
	s.tell()
}

func (s *secure) tell() {
	if !s.told {
		s.told = true
		s.owner.Closed(s.reason)
	}
}

// Closed takes the end of the inner link. That a peer has ended its stream without a word of TLS is an end in order: all
// that PostgreSQL's protocol has is framed, and many drivers end so.
func (s *secure) Closed(err error) {
	if s.reason == nil {
		s.reason = err
	}
	s.tell()
}

func (s *secure) Drained() {
	if !s.told {
		s.owner.Drained()
	}
}

func (s *secure) HungUp() {
	if owner, ok := s.owner.(HangupOwner); ok && !s.told {
		owner.HungUp()
	}
}

func (s *secure) Write(p ...[]byte) { s.write(nil, p) }

// write encrypts and sends, in a batch if there is one.
func (s *secure) write(b *Batch, p [][]byte) {
	size := 0
	for _, one := range p {
		size += len(one)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batch = b
	defer func() { s.batch = nil }()
	switch {
	case s.shut:
	case size == 0:
		s.inner.Write() // what a batch holds goes out
	case len(p) == 1:
		_, _ = s.conn.Write(p[0]) // the inner link tells of failures
	default:
		s.gather(p)
	}
}

// gather makes as few records as possible. The caller holds mu.
func (s *secure) gather(p [][]byte) {
	room := gathers.Get().(*[gatherSize]byte)
	defer gathers.Put(room)
	used := 0
	for _, one := range p {
		for len(one) > 0 {
			n := copy(room[used:], one)
			one = one[n:]
			if used += n; used == len(room) {
				_, _ = s.conn.Write(room[:])
				used = 0
			}
		}
	}
	if used > 0 {
		_, _ = s.conn.Write(room[:used])
	}
}

func (s *secure) Buffered() int                  { return s.inner.Buffered() }
func (s *secure) Pause()                         { s.inner.Pause() }
func (s *secure) Resume()                        { s.inner.Resume() }
func (s *secure) Close()                         { s.inner.Close() }
func (s *secure) Local() (netip.AddrPort, error) { return s.inner.Local() }
func (s *secure) Handover(to Owner)              { s.owner = to }

// CloseAfterFlush tells the peer that this was all.
func (s *secure) CloseAfterFlush(timeout time.Duration) {
	s.mu.Lock()
	if !s.shut {
		s.shut = true
		_ = s.conn.CloseWrite() // fails only where nothing can be said any more
	}
	s.mu.Unlock()
	s.inner.CloseAfterFlush(timeout)
}

// ciphertext is the link as its tls.Conn sees it: something that always has an answer at once.
type ciphertext secure

func (c *ciphertext) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, errNothing
	}
	n := copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *ciphertext) Write(p []byte) (int, error) {
	c.out[0] = p
	c.batch.Write(c.inner, c.out[:]...)
	c.out[0] = nil
	return len(p), nil
}

// nothing is a net.Error that passes: crypto/tls goes on after it when there is more to read.
type nothing struct{}

var errNothing error = nothing{}

func (nothing) Error() string   { return "nothing has come yet" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

// carrier is the net.Conn below a tls.Conn. What never blocks needs no deadlines.
type carrier struct{ io.ReadWriter }

func (*carrier) Close() error                     { return nil }
func (*carrier) LocalAddr() net.Addr              { return nil }
func (*carrier) RemoteAddr() net.Addr             { return nil }
func (*carrier) SetDeadline(time.Time) error      { return nil }
func (*carrier) SetReadDeadline(time.Time) error  { return nil }
func (*carrier) SetWriteDeadline(time.Time) error { return nil }
