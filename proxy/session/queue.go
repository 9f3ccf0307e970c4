package session

// queue is a first-in, first-out queue of requests in a ring that grows by doubling.
type queue struct {
	ring []request
	head int
	n    int
}

func (q *queue) len() int { return q.n }

func (q *queue) push(r request) *request {
	if q.n == len(q.ring) {
		q.grow()
	}
	at := &q.ring[(q.head+q.n)&(len(q.ring)-1)]
	*at = r
	q.n++
	return at
}

// at gives the i-th oldest request. The pointer holds until the next push.
func (q *queue) at(i int) *request { return &q.ring[(q.head+i)&(len(q.ring)-1)] }

func (q *queue) front() *request { return q.at(0) }

// firstOfClient gives the oldest request that is the client's own, or nil.
func (q *queue) firstOfClient() *request {
	for i := range q.n {
		if r := q.at(i); r.purpose == theirs {
			return r
		}
	}
	return nil
}

// any tells whether there is a request of which is holds.
func (q *queue) any(is func(r *request) bool) bool {
	for i := range q.n {
		if is(q.at(i)) {
			return true
		}
	}
	return false
}

func (q *queue) pop() {
	*q.front() = request{}
	q.head = (q.head + 1) & (len(q.ring) - 1)
	if q.n--; q.n == 0 && len(q.ring) > maxIdleRing {
		q.ring, q.head = nil, 0
	}
}

// remove takes out the i-th oldest request.
func (q *queue) remove(i int) {
	for ; i > 0; i-- {
		*q.at(i) = *q.at(i - 1)
	}
	q.pop()
}

func (q *queue) clear() {
	for q.n > 0 {
		q.pop()
	}
}

// maxIdleRing is how many places an empty queue may keep.
const maxIdleRing = 64

// borrow takes a ring for a queue without one, if there is one.
func (q *queue) borrow(rings *spares[[]request]) {
	if q.ring == nil {
		q.ring, _ = rings.take()
	}
}

// giveBack gives the ring of a queue that is empty back.
func (q *queue) giveBack(rings *spares[[]request]) {
	if q.n == 0 && q.ring != nil {
		rings.keep(q.ring, maxRings)
		*q = queue{}
	}
}

func (q *queue) grow() {
	bigger := make([]request, max(4, 2*len(q.ring)))
	for i := range q.n {
		bigger[i] = *q.at(i)
	}
	q.ring, q.head = bigger, 0
}
