package link

import (
	"bytes"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patience bounds every wait for an event that must come.
const patience = 20 * time.Second

// witness is an owner that records what it is told, checks the contract of every call, and holds a mutex of its own as
// sessions do: while it calls its link, and in the calls that it gets.
type witness struct {
	t *testing.T

	mu      sync.Mutex
	changed sync.Cond
	link    Link
	got     bytes.Buffer
	bytes   int // received in all; got may be turned off by on
	drains  int
	hangups int
	closes  int
	err     error

	on      func(p []byte) // instead of recording, with mu held
	drained func()         // with mu held

	calls atomic.Int32 // how many calls of the owner are going on
}

func newWitness(t *testing.T) *witness {
	w := &witness{t: t}
	w.changed.L = &w.mu
	return w
}

func (w *witness) enter() {
	if w.calls.Add(1) != 1 {
		w.t.Error("calls of one link's owner overlap")
	}
	runtime.Gosched() // time for another to come
	w.mu.Lock()
	if w.closes > 0 {
		w.t.Error("the owner was called after Closed")
	}
}

func (w *witness) leave() {
	w.changed.Broadcast()
	w.mu.Unlock()
	w.calls.Add(-1)
}

func (w *witness) Received(p []byte) {
	w.enter()
	defer w.leave()
	if len(p) == 0 {
		w.t.Error("Received was called without bytes")
	}
	w.bytes += len(p)
	if w.on != nil {
		w.on(p)
	} else {
		w.got.Write(p)
	}
}

func (w *witness) Closed(err error) {
	w.enter()
	defer w.leave()
	if err == nil {
		w.t.Error("Closed was called without an error")
	}
	w.closes++
	w.err = err
}

func (w *witness) Drained() {
	w.enter()
	defer w.leave()
	w.drains++
	if w.drained != nil {
		w.drained()
	}
}

func (w *witness) HungUp() {
	w.enter()
	defer w.leave()
	w.hangups++
}

// do runs f as a session would: with the owner's mutex held.
func (w *witness) do(f func(Link)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w.link)
}

// wait waits until cond, which is called with mu held, is true.
func (w *witness) wait(rule string, cond func() bool) {
	w.t.Helper()
	late := false
	timer := time.AfterFunc(patience, func() {
		w.mu.Lock()
		late = true
		w.mu.Unlock()
		w.changed.Broadcast()
	})
	defer timer.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for !cond() {
		if late {
			w.t.Fatalf("%s: did not happen (received %d bytes, %d drains, %d closes, error %v)",
				rule, w.bytes, w.drains, w.closes, w.err)
		}
		w.changed.Wait()
	}
}

// until waits for what no call of the owner tells: it looks again and again, with mu held.
func (w *witness) until(rule string, cond func() bool) {
	w.t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-look.C {
		w.mu.Lock()
		done := cond()
		w.mu.Unlock()
		if done {
			return
		}
	}
	w.t.Fatalf("%s: did not happen", rule)
}

// wantBytes waits for exactly these bytes, since the last call.
func (w *witness) wantBytes(rule, want string) {
	w.t.Helper()
	w.wait(rule, func() bool { return w.got.Len() >= len(want) || w.closes > 0 })
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := w.got.String(); got != want {
		w.t.Fatalf("%s: received %q, want %q", rule, got, want)
	}
	w.got.Reset()
}

func (w *witness) wantClosed(rule string) error {
	w.t.Helper()
	w.wait(rule, func() bool { return w.closes > 0 })
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// mode is a kind of link over a kind of connection. Every test of the contract runs in all of them.
type mode struct {
	name     string
	pair     func(t testing.TB) (ours, theirs net.Conn)
	loop     bool // served by event loops
	half     bool // the peer can end its sending half alone
	buffered bool // the system keeps what is sent until it is read
	tls      bool
}

var modes = []mode{
	{name: "goroutine/tcp", pair: tcpPair, half: true, buffered: true},
	{name: "goroutine/unix", pair: unixPair, half: true, buffered: true},
	{name: "goroutine/tls", pair: tlsPair, half: true, buffered: true, tls: true},
	{name: "secure goroutine/tls", pair: securePair(startStreamLink), half: true, buffered: true, tls: true},
	{name: "goroutine/pipe", pair: pipePair},
}

// rig is one link under test, its owner, and the peer's end of its connection.
type rig struct {
	*witness
	mode mode
	peer net.Conn
}

// run runs one body in every mode.
func run(t *testing.T, body func(t *testing.T, m mode)) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) { body(t, m) })
	}
}

// start begins a link in the mode. set, which may be nil, prepares the owner.
func (m mode) start(t *testing.T, set func(w *witness)) *rig {
	t.Helper()
	w := newWitness(t)
	if set != nil {
		set(w)
	}
	ours, theirs := m.pair(t)
	_ = theirs.SetDeadline(time.Now().Add(time.Minute)) // a test that fails must end too
	w.mu.Lock()
	w.link = m.serve(t, ours, w)
	w.mu.Unlock()
	r := &rig{witness: w, mode: m, peer: theirs}
	t.Cleanup(func() {
		w.link.Close()
		_ = theirs.Close()
		w.wantClosed("a closed link says so")
	})
	return r
}

func (m mode) serve(t testing.TB, conn net.Conn, owner Owner) Link {
	t.Helper()
	if s, ok := conn.(*securedConn); ok {
		return s.start(t, owner)
	}
	if m.loop {
		return startInLoops(t, conn, owner)
	}
	return Start(conn, owner)
}
