//go:build differential

package differential

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/protocol"
)

// peer is one connection to a server, or to lockproxy, on the level of frames.
type peer struct {
	conn net.Conn
	in   *bufio.Reader
	last []byte // the ParameterStatus messages of the login
}

// answerWithin bounds the wait for one frame.
const answerWithin = 3 * time.Second

func dial(t *testing.T, address, database string, settings ...string) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{conn: conn, in: bufio.NewReader(conn)}
	body := binary.BigEndian.AppendUint32(nil, 3<<16)
	for _, s := range append([]string{"user", "postgres", "database", database, "application_name", "twin"}, settings...) {
		body = append(append(body, s...), 0)
	}
	body = append(body, 0)
	p.write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...))
	frames, err := p.until(1)
	if err != nil {
		t.Fatalf("log in: %v", err)
	}
	for _, f := range frames {
		if f[0] == protocol.ParameterStatus {
			p.last = append(p.last, f...)
		}
	}
	return p
}

func (p *peer) write(b []byte) {
	_ = p.conn.SetWriteDeadline(time.Now().Add(answerWithin))
	_, _ = p.conn.Write(b) // a peer that is gone shows at the next read
}

// until reads frames up to and with the n-th ReadyForQuery, or to the end of the connection.
func (p *peer) until(n int) (frames [][]byte, err error) {
	for n > 0 {
		f, err := p.frame()
		if err != nil {
			return frames, err
		}
		frames = append(frames, f)
		if f[0] == protocol.ReadyForQuery {
			n--
		}
	}
	return frames, nil
}

func (p *peer) frame() ([]byte, error) {
	_ = p.conn.SetReadDeadline(time.Now().Add(answerWithin))
	head := make([]byte, protocol.HeadSize)
	if _, err := io.ReadFull(p.in, head); err != nil {
		return nil, err
	}
	_, size := protocol.Head(head)
	if size == 0 {
		return nil, fmt.Errorf("a frame of no size: %q", head)
	}
	f := make([]byte, size)
	copy(f, head)
	_, err := io.ReadFull(p.in, f[protocol.HeadSize:])
	return f, err
}

// comparable takes out of a frame what may differ between two servers: oids, process ids, and where in its source an
// error was raised, which our own errors have none of.
func comparable(f []byte) []byte {
	body := f[protocol.HeadSize:]
	switch f[0] {
	case protocol.RowDescription:
		return withoutOids(body)
	case protocol.ErrorResponse, protocol.NoticeResponse:
		return withoutSource(body)
	case protocol.Notification:
		return append([]byte("A pid "), body[4:]...)
	}
	return f
}

func withoutOids(body []byte) []byte {
	b := append([]byte("T"), body...)
	for at := 3; at < len(b); {
		end := at + bytes.IndexByte(b[at:], 0) + 1
		copy(b[end:], []byte{0, 0, 0, 0, 0, 0})
		at = end + 18
	}
	return b
}

func withoutSource(body []byte) []byte {
	out := []byte("E")
	for _, field := range bytes.Split(body, []byte{0}) {
		if len(field) > 0 && !strings.ContainsRune("FLRW", rune(field[0])) {
			out = append(append(out, field...), 0)
		}
	}
	return out
}

// message writes one frame.
func message(kind byte, parts ...string) []byte {
	body := strings.Join(parts, "")
	b := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4))
	return append(b, body...)
}

func int16s(n int) string { return string(binary.BigEndian.AppendUint16(nil, uint16(n))) }
func int32s(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }

func query(text string) []byte { return message('Q', text, "\x00") }

func parse(name, text string) []byte { return message('P', name, "\x00", text, "\x00", int16s(0)) }

func bind(portal, name string, values ...string) []byte {
	body := portal + "\x00" + name + "\x00" + int16s(0) + int16s(len(values))
	for _, v := range values {
		body += int32s(len(v)) + v
	}
	return message('B', body, int16s(0))
}

func describe(what, name string) []byte { return message('D', what, name, "\x00") }
func closing(what, name string) []byte  { return message('C', what, name, "\x00") }
func execute(portal string, rows int) []byte {
	return message('E', portal, "\x00", int32s(rows))
}

var (
	sync  = message('S')
	flush = message('H')
)

// spell writes frames so that people can read them.
func spell(p []byte) string {
	var b strings.Builder
	for len(p) >= protocol.HeadSize {
		kind, size := protocol.Head(p)
		if size == 0 || size > len(p) {
			break
		}
		fmt.Fprintf(&b, "%c(%q) ", kind, p[protocol.HeadSize:size])
		p = p[size:]
	}
	return strings.TrimSpace(b.String())
}
