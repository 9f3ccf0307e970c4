package link

import "time"

// Batch holds what owners write while a loop goes round, so that it is sent at the end: to each link at once. It belongs to its
// loop, and is used from within the owners' methods that it is given to. A nil Batch writes at once.
type Batch struct {
	memory [batchRoom]byte
	used   int
	links  []*loopLink // that may have bytes here
	now    time.Time   // when the round began
}

const (
	batchRoom = 64 << 10

	// batchWrite is how many bytes are worth a copy: more are sent at once.
	batchWrite = 4 << 10
)

// Now gives the time at which the batch began; that of a nil one is now.
func (b *Batch) Now() time.Time {
	if b == nil {
		return time.Now()
	}
	return b.now
}

// Write sends the slices in order like the link's own Write, but maybe not before the end of the batch. Whatever is written to the
// link otherwise comes behind it.
func (b *Batch) Write(to Link, p ...[]byte) {
	l, loops := to.(*loopLink)
	if !loops {
		writeThrough(b, to, p)
		return
	}
	size := 0
	for _, s := range p {
		size += len(s)
	}
	if b == nil || size > batchWrite {
		l.Write(p...)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase != open || l.broken != nil {
		return
	}
	l.scatter()
	switch {
	case l.out.size > 0 || len(l.held) > 0 && l.holder != b || b.used+len(l.held)+size > batchRoom:
		l.release()
		l.write(p)
	default:
		b.hold(l, p)
	}
}

// writeThrough writes to a link that is no loop's: of TLS, the one below it may be.
func writeThrough(b *Batch, to Link, p [][]byte) {
	if s, ok := to.(*secure); ok {
		s.write(b, p)
		return
	}
	to.Write(p...)
}

// hold copies the slices. The caller holds the link's mu.
func (b *Batch) hold(l *loopLink, p [][]byte) {
	from := b.used
	switch {
	case len(l.held) == 0:
		b.links = append(b.links, l)
	case &l.held[len(l.held)-1] == &b.memory[b.used-1]:
		from -= len(l.held) // it was written to last
	default:
		b.used += copy(b.memory[b.used:], l.held)
	}
	for _, s := range p {
		b.used += copy(b.memory[b.used:], s)
	}
	l.held, l.holder = b.memory[from:b.used:b.used], b
}

// flush sends all, by a ring if there is one.
func (b *Batch) flush(r *ring) {
	if r != nil && len(b.links) > 1 {
		b.flushTogether(r)
	}
	for i, l := range b.links {
		l.mu.Lock()
		if l.holder == b {
			l.release()
		}
		l.mu.Unlock()
		b.links[i] = nil
	}
	b.links, b.used = b.links[:0], 0
}

// flushTogether sends what it can by the ring, with the links' mutexes held. Of several mutexes that others may hold none is waited
// for: those links are left.
func (b *Batch) flushTogether(r *ring) {
	for first := 0; first < len(b.links); {
		var group [ringSize]*loopLink
		n := 0
		for ; first < len(b.links) && n < ringSize; first++ {
			l := b.links[first]
			if !l.mu.TryLock() {
				continue
			}
			if l.holder != b || len(l.held) == 0 {
				l.mu.Unlock()
				continue
			}
			r.send(l.fd, l.held)
			group[n] = l
			n++
		}
		r.run()
		for i, l := range group[:n] {
			sent, err := r.result(i)
			l.sent(sent, err)
			l.mu.Unlock()
		}
	}
}
