package link

import (
	"net"
	"sync"
	"testing"
)

// relayHalf owns one link of two and writes what comes to the other, as a session does, under the mutex that both share.
type relayHalf struct {
	mu     *sync.Mutex
	link   Link
	other  *relayHalf
	list   [1][]byte // kept, so that Write allocates nothing
	mark   int
	most   int // the most that was ever buffered in the other link
	pauses int
	gone   chan struct{}
}

func (h *relayHalf) Received(p []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list[0] = p
	h.other.link.Write(h.list[:]...)
	n := h.other.link.Buffered()
	h.most = max(h.most, n)
	if n > h.mark {
		h.pauses++
		h.link.Pause()
	}
}

func (h *relayHalf) Drained() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.other.link.Resume()
}

func (h *relayHalf) Closed(error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.other.link.Close()
	close(h.gone)
}

func (h *relayHalf) wait() { <-h.gone }

// newRelay joins two links and returns the peers' ends. mark is how much one may hold before the other pauses.
func newRelay(t testing.TB, m mode, mark int) (a, b *relayHalf, peerA, peerB net.Conn) {
	oursA, peerA := m.pair(t)
	oursB, peerB := m.pair(t)
	a, b = join(t, m, oursA, oursB, mark)
	return a, b, peerA, peerB
}

func join(t testing.TB, m mode, connA, connB net.Conn, mark int) (a, b *relayHalf) {
	mu := new(sync.Mutex)
	a = &relayHalf{mu: mu, mark: mark, gone: make(chan struct{})}
	b = &relayHalf{mu: mu, mark: mark, gone: make(chan struct{}), other: a}
	a.other = b
	mu.Lock()
	defer mu.Unlock()
	a.link = m.serve(t, connA, a)
	b.link = m.serve(t, connB, b)
	return a, b
}
