package link

import (
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A peer that has much to say says it in small pieces: PostgreSQL sends rows 8 kB at a time (PQ_SEND_BUFFER_SIZE of
// src/backend/libpq/pqcomm.c). To be woken, to read and to write costs far more than to relay so few bytes. So when a link
// has found much at each of many reads, and nothing was written to it meanwhile, the kernel is asked to let more come
// together before it says that the socket is ready (SO_RCVLOWAT). As nobody knows which piece is the last, the loop looks by
// itself where nothing was said for a moment.
const (
	gatherAfter = 32                     // reads in a row that find loopSip and more
	gatherAgain = 24                     // as many are taken for granted after a pause of the peer's
	gatherMark  = loopInput              // bytes that are to come together: as many as are read at once
	gatherFor   = 150 * time.Microsecond // and how long they may wait for each other
)

// gathering is a link whose bytes are let come together.
type gathering struct {
	link  *loopLink
	since time.Time // when it was last read from
}

// weigh counts the reads that find much, of n bytes this time. The caller holds mu and is the loop.
func (l *loopLink) weigh(n int) {
	switch {
	case n < loopSip:
		l.scatter()
		return
	case l.much < gatherAfter-1, l.much < gatherAfter && l.gather():
		l.much++
	}
	if l.gathers() {
		l.loop.gathered(l)
	}
}

// gathers reports whether the socket is not ready before much has come together.
func (l *loopLink) gathers() bool { return l.much == gatherAfter }

func (l *loopLink) gather() bool {
	return l.loop.patient && unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, gatherMark) == nil
}

// scatter has the socket be ready for each byte again. The caller holds mu, and the link is not closed.
func (l *loopLink) scatter() { l.leave(0) }

// leave does so as well, and counts on from there.
func (l *loopLink) leave(much uint8) {
	if l.gathers() {
		_ = unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, 1) // cannot fail: the larger was set
	}
	l.much = much
}

// pauses notes that there was nothing to read: a link whose bytes were to come together had waited for more.
func (l *loopLink) pauses() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase != closed && l.gathers() {
		l.leave(gatherAgain)
	}
}

// gathered notes that a link whose bytes come together has been read from.
func (e *loop) gathered(l *loopLink) {
	for i := range e.gatherings {
		if e.gatherings[i].link == l {
			e.gatherings[i].since = e.batch.now
			return
		}
	}
	e.gatherings = append(e.gatherings, gathering{l, e.batch.now})
}

// hasten reads what has waited long enough, and forgets links that gather no more.
func (e *loop) hasten() {
	e.gatherings = slices.DeleteFunc(e.gatherings, func(g gathering) bool { return !g.link.gathersIn(e) })
	for i := range e.gatherings { // none is removed meanwhile
		if g := &e.gatherings[i]; e.batch.now.Sub(g.since) >= gatherFor {
			e.want(g.link, true)
		}
	}
	e.deliver()
}

// gathersIn reports whether it still is the loop's to look at the link from time to time.
func (l *loopLink) gathersIn(e *loop) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loop != e || l.phase != open {
		return false
	}
	if l.paused {
		l.scatter()
	}
	return l.gathers()
}

// waitBriefly waits for events as long as bytes may wait for each other.
func (e *loop) waitBriefly(timeout time.Duration) (int, error) {
	limit := unix.NsecToTimespec(int64(timeout))
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(e.epoll), uintptr(unsafe.Pointer(&e.events[0])),
		uintptr(len(e.events)), uintptr(unsafe.Pointer(&limit)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
