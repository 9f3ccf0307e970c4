package link

import (
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring has the kernel do many reads or writes by one system call (io_uring, Linux 5.6). They are told not to wait, so that
// all are done when the call returns, and mean what the same single calls mean. Containers often forbid it: then there is
// none, and each is a call of its own. For one goroutine.
type ring struct {
	fd     int
	memory [3][]byte // mapped: the submission queue, the completion queue, the submissions

	tail, head           *uint32 // of submissions, and of completions: ours to move
	completed            *uint32 // the completions' other end
	mask, completionMask uint32
	submissions          []submission
	completions          []completion

	asked   uint32 // submissions that run has to do
	results [ringSize]int32
}

// ringSize is how many reads or writes a ring does at once.
const ringSize = 128

// submission is io_uring_sqe of the kernel's include/uapi/linux/io_uring.h.
type submission struct {
	opcode, flags uint8
	priority      uint16
	fd            int32
	offset        uint64
	address       uint64
	size          uint32
	messageFlags  uint32
	tag           uint64
	_             [3]uint64
}

// completion is io_uring_cqe.
type completion struct {
	tag    uint64
	result int32
	flags  uint32
}

// The layout of what the kernel says about its queues: io_uring_params, io_sqring_offsets, io_cqring_offsets.
type ringParameters struct {
	entries, completionEntries, flags, thread, idle, features, shared uint32

	_           [3]uint32
	submissions struct{ head, tail, mask, entries, flags, dropped, array, _, _, _ uint32 }
	completions struct{ head, tail, mask, entries, overflow, completions, flags, _, _, _ uint32 }
}

const (
	ringSend    = 26 // IORING_OP_SEND
	ringReceive = 27 // IORING_OP_RECV

	ringCooperates = 1 << 8 // IORING_SETUP_COOP_TASKRUN, Linux 5.19: nothing interrupts whoever has submitted
	ringAwaits     = 1      // IORING_ENTER_GETEVENTS

	ringSubmissionQueue = 0          // IORING_OFF_SQ_RING
	ringCompletionQueue = 0x8000000  // IORING_OFF_CQ_RING
	ringSubmissions     = 0x10000000 // IORING_OFF_SQES
)

// newRing gives an error where the kernel has no io_uring, or does not let us use it.
func newRing() (*ring, error) {
	var p ringParameters
	fd, errno := setUpRing(&p, ringCooperates)
	if errno == unix.EINVAL {
		fd, errno = setUpRing(&p, 0)
	}
	if errno != 0 {
		return nil, os.NewSyscallError("io_uring_setup", errno)
	}
	r := &ring{fd: fd}
	sizes := [3]uint32{
		p.submissions.array + p.entries*4, p.completions.completions + p.completionEntries*uint32(unsafe.Sizeof(completion{})),
		p.entries * uint32(unsafe.Sizeof(submission{})),
	}
	for i, offset := range []int64{ringSubmissionQueue, ringCompletionQueue, ringSubmissions} {
		var err error
		if r.memory[i], err = unix.Mmap(fd, offset, int(sizes[i]), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
			r.close()
			return nil, os.NewSyscallError("mmap", err)
		}
	}
	sq, cq := r.memory[0], r.memory[1]
	word := func(memory []byte, at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&memory[at])) }
	r.tail, r.mask = word(sq, p.submissions.tail), *word(sq, p.submissions.mask)
	r.head, r.completed, r.completionMask = word(cq, p.completions.head), word(cq, p.completions.tail), *word(cq, p.completions.mask)
	r.submissions = unsafe.Slice((*submission)(unsafe.Pointer(&r.memory[2][0])), p.entries)
	r.completions = unsafe.Slice((*completion)(unsafe.Pointer(&cq[p.completions.completions])), p.completionEntries)
	places := unsafe.Slice(word(sq, p.submissions.array), p.entries)
	for i := range places {
		places[i] = uint32(i) // each submission has its place in the queue for good
	}
	return r, nil
}

func setUpRing(p *ringParameters, flags uint32) (fd int, errno unix.Errno) {
	*p = ringParameters{flags: flags}
	n, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, ringSize, uintptr(unsafe.Pointer(p)), 0)
	return int(n), errno
}

func (r *ring) close() {
	for _, m := range r.memory {
		if m != nil {
			_ = unix.Munmap(m)
		}
	}
	_ = unix.Close(r.fd)
}

// receive and send prepare one more read or write, of which result will give the outcome by its number: the first is 0.
// The memory must stay where it is until run has returned, on the heap.
func (r *ring) receive(fd int, p []byte) { r.prepare(ringReceive, fd, p, unix.MSG_DONTWAIT) }

func (r *ring) send(fd int, p []byte) {
	r.prepare(ringSend, fd, p, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

func (r *ring) prepare(opcode uint8, fd int, p []byte, flags uint32) {
	r.submissions[(*r.tail+r.asked)&r.mask] = submission{
		opcode: opcode, fd: int32(fd), address: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(p)))), size: uint32(len(p)),
		messageFlags: flags, tag: uint64(r.asked),
	}
	r.results[r.asked] = -int32(unix.ECANCELED)
	r.asked++
}

// run does what was prepared. Should the kernel have trouble of its own, what it has not done is an error.
func (r *ring) run() {
	n := r.asked
	r.asked = 0
	atomic.StoreUint32(r.tail, *r.tail+n)
	for done, submitted := uint32(0), uint32(0); done < n; {
		got, _, errno := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(n-submitted), uintptr(n-done), ringAwaits, 0, 0)
		if errno != 0 && errno != unix.EINTR && errno != unix.EAGAIN {
			return
		}
		if errno == 0 {
			submitted += uint32(got)
		}
		done += r.reap()
	}
}

// reap takes the outcomes that are there.
func (r *ring) reap() (n uint32) {
	head := *r.head
	for ; head != atomic.LoadUint32(r.completed); head++ {
		c := &r.completions[head&r.completionMask]
		r.results[c.tag] = c.result
		n++
	}
	atomic.StoreUint32(r.head, head)
	return n
}

// result gives what the system call would have.
func (r *ring) result(i int) (int, error) {
	if n := r.results[i]; n < 0 {
		return 0, unix.Errno(-n)
	}
	return int(r.results[i]), nil
}
