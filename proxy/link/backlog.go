package link

import "sync"

// chunkSize is what a chunk takes in memory, its header included.
const chunkSize = 16 << 10

// chunk is a piece of a backlog: bytes[from:to] are still to be written.
type chunk struct {
	next     *chunk
	from, to int
	bytes    [chunkSize - 24]byte
}

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// backlog is the output that a socket has not taken yet, in order: a list of chunks that only ever grows at its end and
// shrinks at its front, so that bytes are copied once and an empty backlog owns no memory. The zero value is empty.
type backlog struct {
	head, tail *chunk
	size       int
}

// add appends the slices without their first skip bytes, which were already written.
func (b *backlog) add(p [][]byte, skip int) {
	for _, s := range p {
		if skip >= len(s) {
			skip -= len(s)
			continue
		}
		b.append(s[skip:])
		skip = 0
	}
}

func (b *backlog) append(p []byte) {
	b.size += len(p)
	for len(p) > 0 {
		if b.tail == nil || b.tail.to == len(b.tail.bytes) {
			b.grow()
		}
		n := copy(b.tail.bytes[b.tail.to:], p)
		b.tail.to += n
		p = p[n:]
	}
}

func (b *backlog) grow() {
	c := chunks.Get().(*chunk)
	c.next, c.from, c.to = nil, 0, 0
	if b.tail == nil {
		b.head = c
	} else {
		b.tail.next = c
	}
	b.tail = c
}

// front is the longest piece that can be written next; nil when the backlog is empty. It holds until drop or clear, and
// add does not move it.
func (b *backlog) front() []byte {
	if b.size == 0 {
		return nil
	}
	return b.head.bytes[b.head.from:b.head.to]
}

// drop forgets the first n bytes of the front, which have been written.
func (b *backlog) drop(n int) {
	c := b.head
	c.from += n
	b.size -= n
	if c.from < c.to {
		return
	}
	b.head = c.next
	if b.head == nil {
		b.tail = nil
	}
	chunks.Put(c)
}

// clear forgets everything. The chunks are left to the garbage collector: another goroutine may be writing the front.
func (b *backlog) clear() {
	*b = backlog{}
}
