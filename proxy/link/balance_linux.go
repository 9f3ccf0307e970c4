package link

import (
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A loop that has little to do costs more than it is worth: it is woken for each link on its own, while a busy one serves
// many in a round, and what two of them share moves between processors. So there are as few as can do the work.
const (
	crowdedLoad = 65 // percent of a processor, of one loop: it gives half of its links away
	sparseLoad  = 35 // percent, of two loops together: one will do
	unevenLoad  = 30 // percent between two loops, where one of them is crowded
)

// Balance moves links to where there is room for them. It is to be called about once a second.
func (s *Loops) Balance() {
	now := time.Now()
	loads := make([]int, len(s.loops))
	for i, e := range s.loops {
		loads[i] = e.load.percent(now)
	}
	s.rebalance(loads)
}

// rebalance does so for what the loops have to do.
func (s *Loops) rebalance(loads []int) {
	used := int(s.used.Load())
	from, to, all := balance(loads, used)
	if from < 0 {
		return
	}
	switch {
	case all:
		s.used.Store(int32(used - 1))
	case to == used:
		s.used.Store(int32(used + 1))
	}
	s.loops[from].give(s.loops[to], all)
}

// Spread has all loops take links.
func (s *Loops) Spread() { s.used.Store(int32(len(s.loops))) }

// balance decides which loop gives another half of its links, or all; from is -1 where none does. Only the first few loops are
// used, and the last of them is the first to go.
func balance(loads []int, used int) (from, to int, all bool) {
	busiest, idlest := 0, 0
	for i := range used {
		if loads[i] > loads[busiest] {
			busiest = i
		}
		if loads[i] < loads[idlest] {
			idlest = i
		}
	}
	last := used - 1
	switch {
	case loads[busiest] > crowdedLoad && loads[busiest]-loads[idlest] > unevenLoad:
		return busiest, idlest, false
	case loads[busiest] > crowdedLoad && used < len(loads):
		return busiest, used, false
	case used > 1:
		least := slices.Min(loads[:last])
		if loads[last]+least < sparseLoad {
			return last, slices.Index(loads, least), true
		}
	}
	return -1, -1, false
}

// gift is the links that a loop is to give another.
type gift struct {
	to  *loop
	all bool // else half of them
}

// give has the loop's goroutine give links to another loop.
func (e *loop) give(to *loop, all bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.stopped {
		e.gift = &gift{to, all}
		e.wake()
	}
}

// handOver gives the links away. It runs on the loop's goroutine between rounds, when nothing of theirs is in hand.
func (e *loop) handOver(g *gift) {
	e.mu.Lock()
	links := make([]*loopLink, 0, len(e.links))
	for _, l := range e.links {
		if g.all || len(links) < (len(e.links)+1)/2 {
			links = append(links, l)
		}
	}
	e.mu.Unlock()
	for _, l := range links {
		l.move(g.to)
	}
}

// move has another loop serve the link from now on. What has come for it is still in its socket.
func (l *loopLink) move(to *loop) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := l.loop
	if l.phase != closed {
		l.scatter()
	}
	_ = from.control(unix.EPOLL_CTL_DEL, l.fd, 0)
	l.loop = to // before the other loop can see it
	if to.add(l) == nil {
		from.mu.Lock()
		delete(from.links, l.fd)
		from.mu.Unlock()
		return
	}
	l.loop = from // the other has been stopped
	_ = from.control(unix.EPOLL_CTL_ADD, l.fd, l.events())
}

// load is how busy a loop is: the loop's goroutine measures it, anybody may look.
type load struct {
	began time.Time // the window under way
	cpu   time.Duration

	share atomic.Int32 // percent of a processor, in the last window
	ended atomic.Int64 // when that was, in nanoseconds since 1970
}

const (
	loadWindow = 400 * time.Millisecond
	loadLives  = 2 * time.Second // a loop that has not looked at the time for longer has nothing to do
)

// look begins a new window when the one under way is over.
func (l *load) look(now time.Time) {
	wall := now.Sub(l.began)
	if wall < loadWindow {
		return
	}
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return
	}
	cpu := time.Duration(t.Nano())
	if used := cpu - l.cpu; used >= 0 && used <= wall { // else the goroutine has come to another thread
		l.share.Store(int32(100 * used / wall))
		l.ended.Store(now.UnixNano())
	}
	l.began, l.cpu = now, cpu
}

func (l *load) percent(now time.Time) int {
	if now.UnixNano()-l.ended.Load() > int64(loadLives) {
		return 0
	}
	return int(l.share.Load())
}
