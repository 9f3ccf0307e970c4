package link

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

func rawPair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Close(fds[0])
		_ = unix.Close(fds[1])
	})
	return fds[0], fds[1]
}

func receiveAll(t *testing.T, fd int) []byte {
	t.Helper()
	var all []byte
	p := make([]byte, 4096)
	for {
		n, err := receive(fd, p, 0)
		if err == unix.EAGAIN {
			return all
		}
		if err != nil || n == 0 {
			t.Fatalf("receive: %d, %v", n, err)
		}
		all = append(all, p[:n]...)
	}
}

func TestSendTakesAnyListOfSlices(t *testing.T) {
	a, b := rawPair(t)
	p := pattern(100)
	for count := range 3*vector + 1 {
		for _, gap := range []bool{false, true} {
			var list [][]byte
			var want []byte
			for i := range count {
				list = append(list, p[i:2*i])
				want = append(want, p[i:2*i]...)
				if gap {
					list = append(list, nil)
				}
			}
			n, err := send(a, list)
			if got := receiveAll(t, b); err != nil || n != len(want) || !bytes.Equal(got, want) {
				t.Fatalf("%d slices, gaps %v: sent %d, %v, of %d; received %d", count, gap, n, err, len(want), len(got))
			}
		}
	}
}

func TestSendToAFullSocketSaysHowMuchItTook(t *testing.T) {
	a, b := rawPair(t)
	p := pattern(4 << 20)
	list := [][]byte{p[:1], p[1 : 1<<20], p[1<<20 : 2<<20], p[2<<20:]}
	sent, err := send(a, list)
	if err != nil || sent == 0 || sent == len(p) {
		t.Fatalf("send of 4 MB that nobody reads: %d, %v", sent, err)
	}
	for n := sent; n > 0 && err == nil; { // what one call leaves, a smaller one may still take
		n, err = sendOne(a, p[sent:])
		sent += n
	}
	if n, err := send(a, list); n != 0 || err != nil {
		t.Fatalf("send to a full socket: %d, %v; want nothing and no error", n, err)
	}
	if got := receiveAll(t, b); !bytes.Equal(got, p[:sent]) {
		t.Fatalf("%d bytes arrived of %d that the socket took, or others", len(got), sent)
	}
}

func TestSendToAClosedPeerIsAnErrorAndNoSignal(t *testing.T) {
	a, b := rawPair(t)
	_ = unix.Shutdown(b, unix.SHUT_RD)
	for name, f := range map[string]func() (int, error){
		"one slice":  func() (int, error) { return send(a, [][]byte{{1}}) },
		"two slices": func() (int, error) { return send(a, [][]byte{{1}, {2}}) },
		"sendOne":    func() (int, error) { return sendOne(a, []byte{1}) },
	} {
		if n, err := f(); n != 0 || err != unix.EPIPE {
			t.Errorf("%s: %d, %v; want EPIPE", name, n, err)
		}
	}
}

func TestReceiveTellsEmptyFromEnded(t *testing.T) {
	a, b := rawPair(t)
	p := make([]byte, 10)
	if _, err := receive(b, p, 0); err != unix.EAGAIN {
		t.Fatalf("nothing there: %v, want EAGAIN", err)
	}
	_, _ = send(a, [][]byte{[]byte("xy")})
	for range 2 {
		if n, err := receive(b, p, unix.MSG_PEEK); n != 2 || err != nil {
			t.Fatalf("looking: %d, %v", n, err)
		}
	}
	_ = unix.Shutdown(a, unix.SHUT_WR)
	if n, err := receive(b, p, 0); string(p[:n]) != "xy" || err != nil {
		t.Fatalf("the bytes: %q, %v", p[:n], err)
	}
	if n, err := receive(b, p, 0); n != 0 || err != nil {
		t.Fatalf("the end: %d, %v; want 0 and no error", n, err)
	}
}
