package proxy

import "github.com/lockproxy/lockproxy/protocol"

// frames follows the messages in a stream that is passed on unread and cut anywhere: only their heads are looked at.
type frames struct {
	kind byte // of the message under way, or of the last
	left int  // bytes of it that are still to come
	head [protocol.HeadSize]byte
	have int // bytes of the next head that have come
}

// between tells whether what has come ends with a message's end.
func (f *frames) between() bool { return f.left == 0 && f.have == 0 }

// next follows the stream over p up to the end of a message. It gives how far that is, and false where no message ends
// in p. A length that no message can have is passed over: what is wrong is the receiver's to say.
func (f *frames) next(p []byte) (n int, ended bool) {
	if f.left == 0 {
		n = copy(f.head[f.have:], p)
		if f.have += n; f.have < len(f.head) {
			return n, false
		}
		kind, size := protocol.Head(f.head[:])
		f.kind, f.have, f.left = kind, 0, max(0, size-protocol.HeadSize)
	}
	body := min(f.left, len(p)-n)
	f.left -= body
	return n + body, f.left == 0
}
