// Package link moves bytes between one socket and its owner. A link delivers what the peer sends as it comes, and
// takes what the owner writes without ever blocking it: what the socket does not take at once is kept, counted and
// written later.
//
// There are two kinds behind one interface. Start gives a link of goroutines, which serves any net.Conn (TLS towards
// servers, other systems, pipes in tests). Loops, on Linux, serves plain sockets from a few event loops: a link there has
// no goroutine and, while it is idle, no buffer. Over either, TLS makes a link that encrypts.
//
// Backpressure is the owner's: it looks at Buffered after a Write, pauses the link that the bytes come from when this is
// too much, and resumes it in Drained.
package link

import (
	"net"
	"net/netip"
	"time"
)

// Owner receives what happens on one link. The calls for one link never overlap and come from the link's own goroutines
// or loop, never from inside one of the Link's methods: an owner may hold a mutex of its own while it calls its links and
// take the same mutex in these methods. The owner may call the link's methods from within. The first call may come before
// Start has returned, so an owner that needs its link in them holds that mutex over Start too.
type Owner interface {
	// Received delivers bytes in the order in which the peer sent them. The slice is the link's and holds until the call
	// returns; it is never empty.
	Received(p []byte)

	// Closed is called exactly once for every link, and nothing follows it. Everything that the peer sent before was
	// delivered, unless the owner closed the link. The error is io.EOF when the peer ended its stream in order,
	// net.ErrClosed when the owner called Close or CloseAfterFlush, and else what the socket said.
	//
	// The link is over: further Writes are dropped. After io.EOF what was buffered before is still offered to the peer,
	// which may have closed its sending half only, for a few seconds; a Close ends that too.
	Closed(err error)

	// Drained says that buffered output has been written to the last byte, so that Buffered was 0 at that moment (another
	// goroutine's Write may have come since). A Write that the socket took at once causes no call.
	Drained()
}

// HangupOwner is an Owner that also wants to hear that the peer has gone while its link is paused and bytes of the peer
// are still unread. Without unread bytes Closed comes at once, paused or not. Goroutine links notice it only when a
// Write fails.
type HangupOwner interface {
	Owner

	// HungUp is called at most once and before Closed, which follows when the owner has resumed the link and received the
	// rest, or has closed it.
	HungUp()
}

// BatchOwner is an Owner that writes in batches, where a loop has some.
type BatchOwner interface {
	Owner

	// ReceivedIn is called in place of Received. What is written by the batch until it returns is sent soon after.
	ReceivedIn(b *Batch, p []byte)
}

// Link is one socket. All methods may be called from any goroutine at any time, after the end too; none of them blocks
// on the peer.
type Link interface {
	// Write sends the slices in order, as one piece among concurrent Writes. It writes what the socket takes at once and
	// keeps a copy of the rest, so the slices are the caller's again when it returns. There is no result: a failure ends
	// the link and is told by Closed. After that, and after Close and CloseAfterFlush, bytes are dropped.
	//
	// A call through this interface makes the compiler put the list of slices on the heap; pass a kept one as list... to
	// allocate nothing.
	Write(p ...[]byte)

	// Buffered is the number of bytes that Write accepted and the socket has not taken yet.
	Buffered() int

	// Pause stops the delivery of bytes until Resume. From within an Owner's method no Received follows it; from another
	// goroutine one that is already on its way may.
	Pause()

	// Resume ends a Pause. It does nothing on a link that is not paused.
	Resume()

	// Close ends the link and drops what is buffered.
	Close()

	// Local asks the socket for its own address, which is the zero one for a unix socket. The error is net.ErrClosed once
	// the link is closed.
	Local() (netip.AddrPort, error)

	// Handover makes another owner the link's: whatever happens next is the other's to hear. It may be called only from
	// within a method of the owner that there is.
	Handover(to Owner)

	// CloseAfterFlush ends the link once what is buffered is written and the peer has closed its side in turn, or when
	// the timeout has passed. What the peer sends meanwhile is read and dropped: a socket that is closed with unread
	// bytes makes TCP send a reset, which may cost the peer the message that it should have read last.
	CloseAfterFlush(timeout time.Duration)
}

// Host is who takes the connections that come to a listener.
type Host interface {
	// Accepted is called for each new connection and gives the owner of its link, who hears everything from then on; nil:
	// there is none, and the connection is closed. It comes from a loop, must not wait, and calls no method of the link.
	Accepted(l Link, peer Peer) Owner

	// AcceptFailed says that connections can not be taken at the moment, for want of descriptors or memory.
	AcceptFailed(err error)
}

// Gate is a listening socket whose connections go to a host. Its methods may be called from any goroutine.
type Gate interface {
	// Control calls f with the socket's descriptor, as syscall.RawConn does. After Close the error is net.ErrClosed.
	Control(f func(fd uintptr)) error

	// Close ends accepting: no connection is accepted once it has returned. If it is to take the rest, those are that came before.
	Close(rest bool)
}

// Peer is who is at the other end of a connection that was accepted.
type Peer struct {
	Address netip.AddrPort // the zero one for a unix socket
	Account int            // the user id of the process at the other end of a unix socket; Unknown for others
}

// Unknown is the user id of who has none.
const Unknown = -1

// AcceptAgain is the pause after a failed accept, which would else fail again at once.
const AcceptAgain = 10 * time.Millisecond

// phase is how far a link's life has come. It only ever grows.
type phase uint8

const (
	open    phase = iota // bytes are delivered and accepted
	closing              // what is buffered is still written; what comes is dropped
	closed               // neither; the socket is closed or about to be
)

// linger bounds how long a peer that ended its stream may take to read what was buffered for it, and how long a peer to
// whom writing failed may take to send what it still has.
const linger = 5 * time.Second

// Start serves conn by goroutines: one that reads, and one that writes for as long as there is something buffered. It
// takes conn over, and any deadline set on it is cleared. On Linux a TCP or unix socket is written to directly when
// nothing is buffered, and owns no read buffer while it is idle.
func Start(conn net.Conn, owner Owner) Link {
	return startStream(conn, owner)
}
