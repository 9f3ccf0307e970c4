package sim

// pipe is one direction of a connection: bytes on their way, in pieces of any size.
type pipe struct {
	data   []byte
	owners []owned // who wrote them, where that is of interest
	room   int     // bytes that the network holds: what is beyond lies in the writer's own memory
	ended  bool    // nothing follows
	full   bool    // the writer has bytes of its own to hold, and is to hear when it has not
	owed   bool    // and that it is to be told now
}

// owned is a number of bytes with one writer.
type owned struct {
	n   int
	who *front
}

func (p *pipe) write(b []byte, who *front) {
	if p.ended || len(b) == 0 {
		return
	}
	p.data = append(p.data, b...)
	if k := len(p.owners) - 1; k >= 0 && p.owners[k].who == who {
		p.owners[k].n += len(b)
	} else {
		p.owners = append(p.owners, owned{len(b), who})
	}
	p.full = p.full || len(p.data) > p.room
}

// read takes up to n bytes, of one writer. They are the caller's.
func (p *pipe) read(n int) (b []byte, who *front) {
	n = min(n, len(p.data), p.owners[0].n)
	who = p.owners[0].who
	b = append([]byte(nil), p.data[:n]...)
	p.data = p.data[n:]
	if p.owners[0].n -= n; p.owners[0].n == 0 {
		p.owners = p.owners[1:]
	}
	if p.full && len(p.data) <= p.room {
		p.full, p.owed = false, true
	}
	return b, who
}

// buffered is how many bytes lie in the writer's own memory.
func (p *pipe) buffered() int { return max(0, len(p.data)-p.room) }

// lose drops the latest bytes, all but the first n.
func (p *pipe) lose(n int) {
	p.data = p.data[:n]
	for i := range p.owners {
		if p.owners[i].n >= n {
			p.owners[i].n = n
			p.owners = p.owners[:i+1]
			break
		}
		n -= p.owners[i].n
	}
	if len(p.data) == 0 {
		p.owners = nil
	}
}
