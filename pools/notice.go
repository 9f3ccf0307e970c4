package pools

import "time"

// noticeEvery bounds how often the queues are gone through for those to be told.
const noticeEvery = 100 * time.Millisecond

// expectNotice notes that somebody joined pl's queue who may have to be told that it still waits.
func (p *Pair) expectNotice(w *Waiter, pl *pool) {
	w.noticed = false
	if pl.Notice > 0 && p.noticeAt.IsZero() {
		p.noticeAt = w.since.Add(pl.Notice)
	}
}

// noticeDue returns when the queues are to be gone through; zero: never.
func (p *Pair) noticeDue() time.Time {
	if p.promoting.n+p.pools[Admin].waiting.n+p.pools[Lock].waiting.n == 0 {
		return time.Time{}
	}
	return p.noticeAt
}

// noticeQueues says of those who have waited for their pool's Notice that they still do, once each.
func (p *Pair) noticeQueues(now time.Time) {
	if p.noticeAt.IsZero() || now.Before(p.noticeAt) {
		return
	}
	next := p.noticeQueue(now, &p.promoting, &p.pools[Lock])
	for i := range p.pools {
		next = earlier(next, p.noticeQueue(now, &p.pools[i].waiting, &p.pools[i]))
	}
	if soon := now.Add(noticeEvery); !next.IsZero() && next.Before(soon) {
		next = soon
	}
	p.noticeAt = next
}

// noticeQueue does it for one queue, and returns when the next of it is due.
func (p *Pair) noticeQueue(now time.Time, queue *list[Waiter], pl *pool) time.Time {
	if pl.Notice <= 0 {
		return time.Time{}
	}
	place := 0
	for w := range queue.all() {
		place++
		if w.noticed {
			continue
		}
		if due := w.since.Add(pl.Notice); now.Before(due) {
			return due
		}
		w.noticed = true
		r := p.refusal(pl, Waits)
		r.Promotion, r.Waited, r.Place = queue == &p.promoting, now.Sub(w.since), place
		r.Waiting = max(0, r.Waiting-1) // itself
		p.emit(Event{Op: StillWaiting, Waiter: w, Refusal: r})
	}
	return time.Time{}
}
