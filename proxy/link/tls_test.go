package link

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// starter starts the link below one of TLS.
type starter func(t testing.TB, conn net.Conn, owner Owner) Link

func startStreamLink(_ testing.TB, conn net.Conn, owner Owner) Link { return Start(conn, owner) }

// securedConn is a connection whose handshake is done, for a link over another link.
type securedConn struct {
	net.Conn
	tls   *TLS
	below starter
}

// securePair gives connections for TLS over links of a kind.
func securePair(below starter) func(t testing.TB) (ours, theirs net.Conn) {
	return func(t testing.TB) (ours, theirs net.Conn) {
		t.Helper()
		rawOurs, rawTheirs := tcpPair(t)
		server := NewTLS(rawOurs, &tls.Config{Certificates: []tls.Certificate{testCertificate()}, SessionTicketsDisabled: true})
		client := tls.Client(rawTheirs, &tls.Config{InsecureSkipVerify: true})
		done := make(chan error, 1)
		go func() { done <- client.Handshake() }()
		if err := errors.Join(server.Handshake(), <-done); err != nil {
			t.Fatal(err)
		}
		return &securedConn{rawOurs, server, below}, client
	}
}

// loggedIn owns the link below until the first bytes come, as a login does.
type loggedIn struct {
	conn  *securedConn
	owner Owner
	link  chan Link // the one below
	found chan Link // the one over it
}

func (o *loggedIn) Drained()         {}
func (o *loggedIn) Closed(err error) { o.owner.Closed(err) }
func (o *loggedIn) Received(p []byte) {
	below := <-o.link
	l, clear := o.conn.tls.Over(below, p, o.owner)
	o.found <- l
	if len(clear) > 0 {
		o.owner.Received(clear)
	}
}

func (s *securedConn) start(t testing.TB, owner Owner) Link {
	t.Helper()
	over := &secure{conn: s.tls.Conn, owner: owner}
	s.tls.carrier.ReadWriter = (*ciphertext)(over)
	over.mu.Lock() // whoever has bytes waits
	defer over.mu.Unlock()
	over.inner = s.below(t, s.Conn, over)
	return over
}

func TestTLSGoesOnOverALinkInTheMiddleOfARecord(t *testing.T) {
	for _, below := range []starter{startStreamLink, startInLoops} {
		ours, theirs := securePair(below)(t)
		s := ours.(*securedConn)
		w := newWitness(t)
		o := &loggedIn{s, w, make(chan Link, 1), make(chan Link, 1)}
		// What has been read of TLS and what has not, and where a record is cut, is all the same.
		if _, err := theirs.Write([]byte("0123456789")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s.tls, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		w.mu.Lock()
		o.link <- below(t, s.Conn, o)
		if _, err := theirs.Write([]byte("abc")); err != nil {
			t.Fatal(err)
		}
		w.link = <-o.found
		w.mu.Unlock()
		w.wait("what came before and after", func() bool { return w.got.String() == "456789abc" })
		w.do(func(l Link) { l.Write([]byte("answer")) })
		got := make([]byte, 6)
		if _, err := io.ReadFull(theirs, got); err != nil || string(got) != "answer" {
			t.Errorf("the peer read %q, %v", got, err)
		}
		_ = theirs.Close()
		if err := w.wantClosed("the peer's end"); err != io.EOF {
			t.Errorf("Closed said %v", err)
		}
	}
}

func TestGarbageEndsTLS(t *testing.T) {
	for _, below := range []starter{startStreamLink, startInLoops} {
		ours, theirs := securePair(below)(t)
		w := newWitness(t)
		w.mu.Lock()
		w.link = ours.(*securedConn).start(t, w)
		w.mu.Unlock()
		raw := theirs.(*tls.Conn).NetConn()
		if _, err := raw.Write([]byte("\x17\x03\x03\x00\x20 this is no record of this connection")); err != nil {
			t.Fatal(err)
		}
		if err := w.wantClosed("a record that does not hold"); err == nil || err == io.EOF || err == net.ErrClosed {
			t.Errorf("Closed said %v", err)
		}
		if _, err := theirs.Read(make([]byte, 1)); err == nil {
			t.Error("the peer is not told")
		}
		_ = raw.Close()
	}
}

func TestTheEndOfTLSIsAnEndThoughTheSocketStays(t *testing.T) {
	for _, below := range []starter{startStreamLink, startInLoops} {
		ours, theirs := securePair(below)(t)
		w := newWitness(t)
		w.mu.Lock()
		w.link = ours.(*securedConn).start(t, w)
		w.mu.Unlock()
		if _, err := theirs.Write([]byte("last words")); err != nil {
			t.Fatal(err)
		}
		if err := theirs.(*tls.Conn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if err := w.wantClosed("close_notify"); err != io.EOF {
			t.Errorf("Closed said %v", err)
		}
		w.wantBytes("what came before", "last words")
		_ = theirs.SetReadDeadline(time.Now().Add(patience))
		if _, err := theirs.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the peer is answered %v", err)
		}
		_ = theirs.Close()
	}
}
