package link

import (
	"net"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// quiet is an owner that does nothing, so that only the link's own memory is measured.
type quiet struct{ closed chan struct{} }

func (q *quiet) Received([]byte) {}
func (q *quiet) Drained()        {}
func (q *quiet) Closed(error)    { q.closed <- struct{}{} }

// TestIdleLinksCost prints what an idle link costs with everything of Go's that belongs to it, since idle links are most
// of what a pooler has. In a loop one has no goroutine and no buffer; one with a goroutine has no buffer either.
func TestIdleLinksCost(t *testing.T) {
	for name, limits := range map[string]struct{ bytes, goroutines float64 }{
		"goroutine/unix": {8 << 10, 1.01},
		"loop/unix":      {300, 0.01},
	} {
		t.Run(name, func(t *testing.T) {
			m := mode{loop: name == "loop/unix"}
			count := idleCount(t)
			owner := &quiet{closed: make(chan struct{}, count)}
			fds := make([][2]int, count)
			for i := range fds {
				var err error
				if fds[i], err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
					t.Fatal(err)
				}
			}
			links := make([]Link, count)
			goroutines, bytes := usage()
			for i, pair := range fds {
				links[i] = m.serve(t, connOf(t, pair[0]), owner)
			}
			goroutinesThen, bytesThen := usage()
			each := float64(bytesThen-bytes) / float64(count)
			routines := float64(goroutinesThen-goroutines) / float64(count)
			t.Logf("%d idle links: %.0f bytes and %.2f goroutines each", count, each, routines)
			if !raceEnabled && each > limits.bytes || routines > limits.goroutines {
				t.Errorf("want at most %.0f bytes and %.2f goroutines", limits.bytes, limits.goroutines)
			}
			for i, l := range links {
				l.Close()
				_ = unix.Close(fds[i][1])
			}
			for range links {
				<-owner.closed
			}
		})
	}
}

func connOf(t *testing.T, fd int) net.Conn {
	t.Helper()
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// idleCount is as many links as the limit of open files allows with room to spare, at most 4000.
func idleCount(t *testing.T) int {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return int(min(4000, limit.Cur/4))
}

// usage is how many goroutines there are and how much memory they and the heap take, once all of them have had the
// time to come to where they wait.
func usage() (goroutines, bytes int) {
	for range 1000 {
		runtime.Gosched()
	}
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), int(m.HeapAlloc + m.StackInuse)
}
