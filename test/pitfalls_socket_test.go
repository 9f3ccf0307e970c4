package test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/lockproxy/lockproxy/protocol"
)

// socket is a client that sends any bytes and shows every message that comes back.
type socket struct {
	t    testing.TB
	conn net.Conn
	pid  uint32
	key  []byte
}

// openSocket connects without a word. It is closed at the test's cleanup.
func openSocket(t testing.TB, address string) *socket {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialTimeout("tcp", u.Host, patience)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	return &socket{t: t, conn: conn}
}

// logIn connects, with startup parameters as pairs of name and value, and waits until the session is ready.
func logIn(t testing.TB, address string, parameters ...string) *socket {
	t.Helper()
	s := openSocket(t, address)
	s.send(startup(address, parameters...))
	if got := s.until("Z"); !strings.HasSuffix(got, "Z(I)") {
		t.Fatalf("log in: %s", got)
	}
	return s
}

// startup is the startup packet for a connection URL.
func startup(address string, parameters ...string) []byte {
	return startupOf(0, address, parameters...)
}

// startupOf is one that asks for a minor version of the protocol.
func startupOf(minor uint32, address string, parameters ...string) []byte {
	u, _ := url.Parse(address) // Whoever has it opened the socket with it.
	body := binary.BigEndian.AppendUint32(nil, 3<<16|minor)
	for _, text := range append([]string{"user", u.User.Username(), "database", strings.Trim(u.Path, "/")}, parameters...) {
		body = append(append(body, text...), 0)
	}
	body = append(body, 0)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...)
}

// send sends bytes.
func (s *socket) send(p []byte) {
	s.t.Helper()
	s.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := s.conn.Write(p); err != nil {
		s.t.Fatalf("send: %v", err)
	}
}

// next reads one message: its kind, and how until shows it. At the stream's end the kind is 0.
func (s *socket) next() (kind byte, shown string) {
	s.t.Helper()
	kind, body, failed := s.message()
	if failed != "" {
		return 0, failed
	}
	return kind, show(kind, body)
}

// message reads one message, or tells why there is none.
func (s *socket) message() (kind byte, body []byte, failed string) {
	s.conn.SetReadDeadline(time.Now().Add(patience))
	var head [protocol.HeadSize]byte
	if _, err := io.ReadFull(s.conn, head[:]); err != nil {
		if e, ok := err.(net.Error); ok && e.Timeout() {
			return 0, nil, "(silence)"
		}
		return 0, nil, "(end)"
	}
	kind, size := protocol.Head(head[:])
	body = make([]byte, size-protocol.HeadSize)
	if _, err := io.ReadFull(s.conn, body); err != nil {
		return 0, nil, "(end within " + string(kind) + ")"
	}
	if kind == protocol.BackendKeyData {
		s.pid, s.key = binary.BigEndian.Uint32(body), body[4:]
	}
	return kind, body, ""
}

// until reads messages until those of the given kinds have come, in that order, and shows them all. A message "E" that
// is FATAL, the end of the connection and silence end it too.
func (s *socket) until(kinds string) string {
	s.t.Helper()
	var all []string
	for len(kinds) > 0 {
		kind, shown := s.next()
		if shown != "" {
			all = append(all, shown)
		}
		if kind == 0 {
			break
		}
		if kind == kinds[0] {
			kinds = kinds[1:]
		}
	}
	return strings.Join(all, " ")
}

// asks sends messages, waits for the given kinds, and shows what came.
func (s *socket) asks(kinds string, messages ...pgproto3.FrontendMessage) string {
	s.t.Helper()
	s.send(packed(s.t, messages...))
	return s.until(kinds)
}

// wants is asks, and fails the test if something else came.
func (s *socket) wants(rule, answer, kinds string, messages ...pgproto3.FrontendMessage) {
	s.t.Helper()
	if got := s.asks(kinds, messages...); got != answer {
		s.t.Errorf("%s: got %s, want %s", rule, got, answer)
	}
}

// value gives the one value of a query.
func (s *socket) value(sql string) string {
	s.t.Helper()
	got := s.asks("Z", text(sql))
	_, value, _ := strings.Cut(got, "D(")
	value, _, found := strings.Cut(value, ") C(")
	if !found {
		s.t.Fatalf("%s: %s", sql, got)
	}
	return value
}

// cancel sends a cancel request for the socket's session and waits until it was taken.
func (s *socket) cancel() error {
	conn, err := net.DialTimeout("tcp", s.conn.RemoteAddr().String(), patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	var p []byte
	for _, n := range []uint32{uint32(12 + len(s.key)), 1234<<16 | 5678, s.pid} {
		p = binary.BigEndian.AppendUint32(p, n)
	}
	if _, err := conn.Write(append(p, s.key...)); err != nil {
		return err
	}
	conn.SetReadDeadline(time.Now().Add(patience))
	_, err = conn.Read(make([]byte, 1))
	if err == io.EOF {
		return nil
	}
	return fmt.Errorf("a cancel request was answered: %v", err)
}

// packed gives the bytes of messages.
func packed(t testing.TB, messages ...pgproto3.FrontendMessage) (p []byte) {
	t.Helper()
	for _, m := range messages {
		var err error
		if p, err = m.Encode(p); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// show writes a message of a server's for comparison: what may differ from one run to another is left out.
func show(kind byte, body []byte) string {
	switch kind {
	case protocol.ParameterStatus, protocol.NoticeResponse, protocol.BackendKeyData, protocol.Authentication:
		return ""
	case protocol.ErrorResponse:
		e := protocol.ReadError(body)
		if e.IsFatal() {
			return "E(FATAL " + e.Code + ")"
		}
		return "E(" + e.Code + ")"
	case protocol.CommandComplete, protocol.ReadyForQuery:
		return fmt.Sprintf("%c(%s)", kind, strings.TrimRight(string(body), "\x00"))
	case protocol.DataRow:
		return "D(" + strings.Join(rowValues(body), ",") + ")"
	case protocol.Notification:
		return "A(" + strings.ReplaceAll(strings.TrimRight(string(body[4:]), "\x00"), "\x00", " ") + ")"
	case protocol.FunctionCallResponse:
		return fmt.Sprintf("V(%x)", body[4:])
	}
	return string(kind)
}

func rowValues(body []byte) (values []string) {
	for p := body[2:]; len(p) >= 4; {
		n := int32(binary.BigEndian.Uint32(p))
		if p = p[4:]; n < 0 {
			values = append(values, "NULL")
			continue
		}
		values = append(values, string(p[:n]))
		p = p[n:]
	}
	return values
}

// Messages, short.

func text(sql string) *pgproto3.Query { return &pgproto3.Query{String: sql} }

func prepare(name, sql string) *pgproto3.Parse { return &pgproto3.Parse{Name: name, Query: sql} }

func bindTo(portal, statement string, values ...string) *pgproto3.Bind {
	b := &pgproto3.Bind{DestinationPortal: portal, PreparedStatement: statement}
	for _, v := range values {
		b.Parameters = append(b.Parameters, []byte(v))
	}
	return b
}

func executing(portal string) *pgproto3.Execute { return &pgproto3.Execute{Portal: portal} }

func describing(what byte, name string) *pgproto3.Describe {
	return &pgproto3.Describe{ObjectType: what, Name: name}
}

func forgetting(what byte, name string) *pgproto3.Close {
	return &pgproto3.Close{ObjectType: what, Name: name}
}

func copied(line string) *pgproto3.CopyData { return &pgproto3.CopyData{Data: []byte(line)} }

var (
	syncNow  = new(pgproto3.Sync)
	flushNow = new(pgproto3.Flush)
	copyOver = new(pgproto3.CopyDone)
	leaving  = new(pgproto3.Terminate)
)
