package login

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"slices"

	"github.com/lockproxy/lockproxy/protocol"
)

// Visit is a login whose peer's bytes are brought to it. Its steps are written as if they waited for them, one after the
// other; they run as a coroutine of whoever brings the bytes, which costs a tenth of what a goroutine with a
// blocking socket does: neither Go's poller nor its scheduler is asked. Not for concurrent use.
type Visit struct {
	visit visit
	post  post

	step func() (struct{}, bool)

	client *Client
	cancel *Cancel
	err    error
}

// Begin begins the login of a peer. It must be brought to its end, by End if by nothing else.
func (d *Door) Begin(who Peer) *Visit {
	v := &Visit{}
	v.visit = visit{door: d, who: who, post: &v.post, peer: &v.post}
	v.step, _ = iter.Pull(v.run)
	return v
}

// run is the coroutine.
func (v *Visit) run(wait func(struct{}) bool) {
	v.post.wait = wait
	if v.client, v.cancel, v.err = v.visit.admit(); v.client != nil {
		return
	}
	if v.err != nil {
		v.err = v.visit.refusal(v.err)
	}
	if r := (*Refusal)(nil); errors.As(v.err, &r) {
		_ = v.visit.write(protocol.AppendError(nil, r.Said)) // it is kept, which does not fail
	}
	v.visit.hangUp()
}

// Received takes what the peer has sent. It gives what the peer is to be told, and whether the login is over: then Result
// says how. Of the bytes it keeps none, unless there is an errand.
func (v *Visit) Received(p []byte) (said []byte, over bool) {
	if v.post.away && v.post.end == nil {
		v.post.early = append(v.post.early, p...)
		return nil, false
	}
	v.post.in, v.post.out = p, nil
	_, goes := v.step()
	return v.post.out, !goes
}

// Errand gives what the login waits for other than bytes, once; nil: there is nothing new. It is to be run where it may
// block; then Ran goes on. In the meantime bytes are kept, so there should come none. It ends soon when the login has.
func (v *Visit) Errand() func() {
	errand := v.post.errand
	v.post.errand = nil
	return errand
}

// Ran goes on after the errand, as Received does.
func (v *Visit) Ran() (said []byte, over bool) {
	early := v.post.early
	v.post.away, v.post.early = false, nil
	return v.Received(early)
}

// Expire ends the login because it has taken too long, and gives what the peer is to be told.
func (v *Visit) Expire() (said []byte) { return v.endWith(os.ErrDeadlineExceeded) }

// Dismiss ends the login because nobody is let in any more, and gives what the peer is to be told. Whoever is about to begin TLS could
// not be told so, and would lose its connection without a word: it is told once it has said who it is.
func (v *Visit) Dismiss() (said []byte, over bool) {
	switch {
	case !v.visit.heard:
		return v.endWith(io.EOF), true
	case v.visit.named:
		return v.endWith(ErrShuttingDown), true
	}
	v.visit.dismissed = true
	return nil, false
}

// End ends the login because the peer has gone.
func (v *Visit) End() { v.endWith(io.EOF) }

func (v *Visit) endWith(err error) (said []byte) {
	v.post.end = err
	said, _ = v.Received(nil)
	return said
}

// Result is how a login ended: with a client, who was told AuthenticationOk and nothing else (BackendKeyData,
// ParameterStatus and ReadyForQuery are the session's); with a cancel request, which has no answer; or with why there is
// neither: an error that wraps ErrLeft, or a *Refusal that the client was told.
func (v *Visit) Result() (*Client, *Cancel, error) { return v.client, v.cancel, v.err }

// Peer is who knocked: with PROXY protocol, whom the proxy in front speaks for, once that is known.
func (v *Visit) Peer() Peer { return v.visit.who }

// Rest is what of the bytes that were received last is behind the login, and so the session's. With TLS it is still
// encrypted, and more may be there that has been decrypted: Encryption's Over gives all of it.
func (v *Visit) Rest() []byte { return v.post.in }

// post is the peer as the coroutine sees it.
type post struct {
	in, out []byte
	end     error // there will be no more bytes
	wait    func(struct{}) bool

	away   bool   // it waits for an errand
	errand func() // which nobody runs yet; nil: there is none
	early  []byte // what came during the errand, or was unread before it
}

// elsewhere has a function run where it may block, and waits for its end. An error is that of a login that is over
// meanwhile: the function, which hears of it by its context, may run on.
func (p *post) elsewhere(f func(context.Context)) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p.away, p.errand, p.early = true, func() { f(ctx) }, slices.Clone(p.in)
	for p.away && p.end == nil {
		p.wait(struct{}{})
	}
	if p.away {
		return p.end
	}
	return nil
}

// Read waits until there is something.
func (p *post) Read(into []byte) (int, error) {
	if _, err := p.peek(); err != nil {
		return 0, err
	}
	n := copy(into, p.in)
	p.in = p.in[n:]
	return n, nil
}

// Write keeps the bytes until there is something to wait for: they go out with one another.
func (p *post) Write(b []byte) (int, error) {
	p.out = append(p.out, b...)
	return len(b), nil
}

// peek waits until there is something, and gives the first byte unread.
func (p *post) peek() (byte, error) {
	for len(p.in) == 0 {
		if p.end != nil {
			return 0, p.end
		}
		p.wait(struct{}{})
	}
	return p.in[0], nil
}
