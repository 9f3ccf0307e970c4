package link

import (
	"io"
	"net"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	code := m.Run()
	stopLoops()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			println(err.Error())
			code = 1
		}
	}
	os.Exit(code)
}

func (r *rig) peerSends(p string) {
	r.t.Helper()
	if _, err := io.WriteString(r.peer, p); err != nil {
		r.t.Fatal("the peer's write: ", err)
	}
}

func (r *rig) peerReads(rule, want string) {
	r.t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r.peer, got); err != nil || string(got) != want {
		r.t.Fatalf("%s: the peer read %q, %v; want %q", rule, got, err, want)
	}
}

func TestBytesPassBothWays(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		r := m.start(t, nil)
		r.peerSends("hello")
		r.wantBytes("what the peer sends is delivered", "hello")
		r.do(func(l Link) { l.Write([]byte("a"), nil, []byte("bc")) })
		r.peerReads("slices arrive in order", "abc")
		r.peerSends("again")
		r.wantBytes("a link lives on", "again")
	})
}

func TestPeersEndIsEOF(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		r := m.start(t, nil)
		r.peerSends("last words")
		_ = r.peer.Close()
		if err := r.wantClosed("the peer's end"); err != io.EOF {
			t.Fatalf("Closed said %v, want io.EOF", err)
		}
		r.wantBytes("everything sent before the end is delivered", "last words")
	})
}

func TestOwnCloseIsToldOnce(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		r := m.start(t, nil)
		r.do(func(l Link) { l.Close(); l.Close() })
		if err := r.wantClosed("one's own close"); err != net.ErrClosed {
			t.Fatalf("Closed said %v, want net.ErrClosed", err)
		}
		if _, err := r.peer.Read(make([]byte, 1)); err == nil {
			t.Fatal("the peer sees no end")
		}
	})
}
