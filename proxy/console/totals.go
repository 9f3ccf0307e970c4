package console

import "time"

// Totals are counters that only grow.
type Totals struct {
	Assignments  uint64 // server connections given to clients
	Transactions uint64
	Queries      uint64
	Received     uint64 // bytes, from clients
	Sent         uint64 // bytes, to clients
	Parses       uint64 // by clients
	ServerParses uint64 // to servers
	Binds        uint64

	TransactionTime time.Duration // with a server connection, in a transaction
	QueryTime       time.Duration // with a server connection that has not answered
	WaitTime        time.Duration // for a server connection
}

// Add adds others.
func (t *Totals) Add(o *Totals) {
	t.Assignments += o.Assignments
	t.Transactions += o.Transactions
	t.Queries += o.Queries
	t.Received += o.Received
	t.Sent += o.Sent
	t.Parses += o.Parses
	t.ServerParses += o.ServerParses
	t.Binds += o.Binds
	t.TransactionTime += o.TransactionTime
	t.QueryTime += o.QueryTime
	t.WaitTime += o.WaitTime
}

// Since gives by how much they have grown.
func (t *Totals) Since(earlier *Totals) Totals {
	return Totals{
		Assignments: t.Assignments - earlier.Assignments, Transactions: t.Transactions - earlier.Transactions,
		Queries: t.Queries - earlier.Queries, Received: t.Received - earlier.Received, Sent: t.Sent - earlier.Sent,
		Parses: t.Parses - earlier.Parses, ServerParses: t.ServerParses - earlier.ServerParses, Binds: t.Binds - earlier.Binds,
		TransactionTime: t.TransactionTime - earlier.TransactionTime, QueryTime: t.QueryTime - earlier.QueryTime,
		WaitTime: t.WaitTime - earlier.WaitTime,
	}
}

// Histogram counts durations by their size.
type Histogram struct {
	Counts [len(Bounds) + 1]uint64 // up to each of Bounds, beyond the one before; the last: beyond them all
	Sum    time.Duration
}

// Bounds are what a histogram tells apart: from what nobody notices to what ends in a timeout.
var Bounds = [...]time.Duration{
	0, 100 * time.Microsecond, time.Millisecond, 5 * time.Millisecond, 25 * time.Millisecond, 100 * time.Millisecond,
	500 * time.Millisecond, time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 10 * time.Minute,
}

// Observe counts one.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(Bounds) && d > Bounds[i] {
		i++
	}
	h.Counts[i]++
	h.Sum += d
}

// Count is how many there were.
func (h *Histogram) Count() (n uint64) {
	for _, one := range h.Counts {
		n += one
	}
	return n
}
