package differential

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/lockproxy/lockproxy/protocol"
)

// answerWithin bounds the wait for an answer that a server owes.
const answerWithin = 10 * time.Second

// peer is one connection to a server, or to lockproxy.
type peer struct {
	follower
	conn   net.Conn
	frames chan []byte // closed with the connection
	gone   chan struct{}

	closed        bool // the server has closed it
	notifications [][]byte
	early         [][]byte // answers that came while nothing but notifications was waited for
	got           [][]byte // answers to a step that waits for another client
}

// dial logs in with startup parameters, names and values in turn. What the server said to that is in answers.
func dial(address string, parameters ...string) (p *peer, answers [][]byte, err error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	p = &peer{conn: conn, frames: make(chan []byte, 1024), gone: make(chan struct{})}
	body := binary.BigEndian.AppendUint32(nil, 3<<16)
	for _, s := range parameters {
		body = append(append(body, s...), 0)
	}
	body = append(body, 0)
	p.write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...))
	go p.read()
	for {
		f, err := p.next(answerWithin)
		if err != nil {
			return p, answers, err
		}
		if answers = append(answers, f); p.closed || f[0] == protocol.ReadyForQuery {
			return p, answers, nil
		}
		if f[0] == protocol.ErrorResponse {
			p.closed = true
			return p, answers, nil
		}
	}
}

func (p *peer) close() {
	close(p.gone)
	_ = p.conn.Close()
}

func (p *peer) write(b []byte) {
	_ = p.conn.SetWriteDeadline(time.Now().Add(answerWithin))
	_, _ = p.conn.Write(b) // a peer that is gone shows at the next read
}

// send sends messages in one write, or in several that are cut at the given places.
func (p *peer) send(messages []message, cuts []int) {
	var all []byte
	for _, m := range messages {
		all = append(all, m...)
		p.follower.send(m)
	}
	at := 0
	for _, cut := range cuts {
		if cut > at && cut < len(all) {
			p.write(all[at:cut])
			at = cut
		}
	}
	p.write(all[at:])
}

// read reads frames up to the end of the connection.
func (p *peer) read() {
	defer close(p.frames)
	in := bufio.NewReader(p.conn)
	for {
		f, err := readFrame(in)
		if err != nil {
			return
		}
		select {
		case p.frames <- f:
		case <-p.gone:
			return
		}
	}
}

func readFrame(in io.Reader) ([]byte, error) {
	head := make([]byte, protocol.HeadSize)
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, err
	}
	_, size := protocol.Head(head)
	if size == 0 {
		return nil, fmt.Errorf("a frame of no size: %q", head)
	}
	f := make([]byte, size)
	copy(f, head)
	_, err := io.ReadFull(in, f[protocol.HeadSize:])
	return f, err
}

var errSilent = errors.New("no answer")

// next gives the next frame. The end of the connection is noted, and gives errSilent too.
func (p *peer) next(within time.Duration) ([]byte, error) {
	if len(p.early) > 0 {
		f := p.early[0]
		p.early = p.early[1:]
		return f, nil
	}
	select { // first, since a timer costs more
	case f, ok := <-p.frames:
		return f, p.ended(ok)
	default:
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case f, ok := <-p.frames:
		return f, p.ended(ok)
	case <-timer.C:
		return nil, errSilent
	}
}

func (p *peer) ended(ok bool) error {
	if !ok {
		p.closed = true
		return errSilent
	}
	return nil
}

// take gives the next answer. Notifications, which are nobody's answer, are kept aside.
func (p *peer) take(within time.Duration) ([]byte, error) {
	for {
		f, err := p.next(within)
		if err != nil {
			return nil, err
		}
		if f[0] != protocol.Notification {
			return f, p.follower.answer(f[0])
		}
		p.notifications = append(p.notifications, f)
	}
}

// stillOwed takes the answers to a step that are here, and tells whether that is not all of them.
func (p *peer) stillOwed() bool {
	for !p.closed && !p.complete() {
		f, err := p.take(0)
		if f != nil {
			p.got = append(p.got, f)
		}
		if err != nil {
			break
		}
	}
	return !p.closed && !p.complete()
}

// drain takes the notifications that are here, and waits until there are as many as wanted.
func (p *peer) drain(wanted int) {
	deadline := time.Now().Add(answerWithin)
	var others [][]byte
	for !p.closed && (len(p.notifications) < wanted || len(p.frames) > 0) {
		f, err := p.next(time.Until(deadline))
		if err != nil {
			break
		}
		if f[0] == protocol.Notification {
			p.notifications = append(p.notifications, f)
		} else {
			others = append(others, f)
		}
	}
	p.early = append(others, p.early...)
}
