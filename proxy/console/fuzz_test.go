package console

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/lockproxy/lockproxy/protocol"
)

// controlled is a server that counts what it is told to do. Names in it are whatever clients called themselves.
type controlled struct {
	told     int
	sessions int
}

func (c *controlled) Snapshot() *Snapshot {
	now := time.Unix(1_700_000_000, 0)
	s := &Snapshot{Version: "1", Begun: now, Now: now, Older: now}
	for range c.sessions {
		s.Sessions = append(s.Sessions, SessionInfo{User: "\xff", ApplicationName: strings.Repeat("x", 63), Since: now})
	}
	s.Pools = []Pool{{Database: "\xfe", User: "\xff"}, {Database: "\xff", User: "\xfe"}}
	return s
}

func (c *controlled) Locks(context.Context) ([]LockInfo, error) {
	return nil, errors.New("nobody answers")
}

func (c *controlled) did() error { c.told++; return nil }

func (c *controlled) Pause(context.Context, string) error     { return c.did() }
func (c *controlled) Resume(string) error                     { return c.did() }
func (c *controlled) Reconnect(string) error                  { return c.did() }
func (c *controlled) Disable(string) error                    { return c.did() }
func (c *controlled) Enable(string) error                     { return c.did() }
func (c *controlled) Kill(string) error                       { return c.did() }
func (c *controlled) WaitClose(context.Context, string) error { return c.did() }
func (c *controlled) KillClient(uint32) error                 { return c.did() }
func (c *controlled) Reload() ([]string, error)               { return nil, c.did() }
func (c *controlled) Shutdown(ShutdownMode) error             { return c.did() }
func (c *controlled) Set(string, string) error                { return c.did() }

// tape brings a client's bytes in pieces, and keeps what the client is told.
type tape struct {
	in      []byte
	piece   int
	told    []byte
	largest int // of the writes
}

func (t *tape) Read(p []byte) (int, error) {
	if len(t.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, t.in[:min(t.piece, len(t.in))])
	t.in = t.in[n:]
	return n, nil
}

func (t *tape) Write(p []byte) (int, error) {
	t.largest = max(t.largest, len(p))
	t.told = append(t.told, p...)
	return len(p), nil
}

// played is the conversation of a client that sends those bytes and leaves.
func played(server Server, admin bool, sent []byte, piece int) (*Session, *tape) {
	tape := &tape{in: sent, piece: piece}
	s := NewSession(server, tape, Client{Pid: 1, Key: []byte("1234"), Admin: func() bool { return admin }}, slog.New(slog.DiscardHandler))
	s.Run(context.Background())
	return s, tape
}

func framed(kind byte, body string) string {
	return string(binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(body)))) + body
}

func query(text string) string { return framed(protocol.Query, text+"\x00") }
func parse(name, text string) string {
	return framed(protocol.Parse, name+"\x00"+text+"\x00\x00\x00")
}
func bind(portal, name string) string {
	return framed(protocol.Bind, portal+"\x00"+name+"\x00\x00\x00\x00\x00\x00\x01\x00\x01")
}
func execute(portal string, most byte) string {
	return framed(protocol.Execute, portal+"\x00\x00\x00\x00"+string(rune(most)))
}

const (
	syncNow  = "S\x00\x00\x00\x04"
	flushNow = "H\x00\x00\x00\x04"
)

// FuzzSession: no bytes of a client's make the console panic or hang, keep more than its bounds, say what is no message or no
// text, or do anything for somebody who may look and no more.
func FuzzSession(f *testing.F) {
	for _, sent := range []string{
		query("SHOW POOLS"), query("show stats; pause; SHOW HELP;;"), query("SET x = 'y'; KILL CLIENT 1; KILL_CLIENT \"1\""), query(""),
		query("SELECT 1; SET application_name TO 'x'; BEGIN"), query("SHOW \xff'; \"DROP $$x; SHUTDOWN"), query("PAUSE \xfe"),
		parse("", "SHOW POOLS") + framed(protocol.Describe, "S\x00") + bind("", "") + framed(protocol.Describe, "P\x00") + execute("", 0) + syncNow,
		parse("a", "SHUTDOWN") + bind("p", "a") + execute("p", 1) + execute("p", 0) + flushNow + syncNow + execute("p", 0) + syncNow,
		parse("a", "SHOW STATE") + bind("p", "a") + bind("q", "a") + execute("p", 1) + execute("q", 1) + framed(protocol.Close, "Pp\x00") + syncNow,
		parse("a", "") + parse("a", "RELOAD; KILL") + query("SHOW LOCKS") + syncNow + framed(protocol.Terminate, "") + query("SHUTDOWN"),
		framed(protocol.CopyData, "RELOAD") + framed(protocol.CopyFail, "\x00") + framed(protocol.CopyDone, "") + framed(protocol.FunctionCall, "x"),
		"Q\x00\x00\x00\x03", "Q\x7f\xff\xff\xffSHOW", "B\x00\x00\x00\x04", framed(protocol.Password, "x\x00"), framed('?', ""),
		query(strings.Repeat("SHOW CLIENTS;", 9)), parse("", strings.Repeat("(", 90)),
	} {
		f.Add([]byte(sent), true, uint8(0))
		f.Add([]byte(sent), false, uint8(1))
	}
	f.Fuzz(func(t *testing.T, sent []byte, admin bool, piece uint8) {
		server := &controlled{sessions: 3}
		s, tape := played(server, admin, sent, 1+int(piece))
		if !admin && server.told > 0 {
			t.Errorf("a guest had %d commands carried out", server.told)
		}
		if len(s.statements) > maxPrepared || len(s.portals) > maxPrepared || s.unsentPortals() > 1 {
			t.Errorf("%d statements, %d portals, %d of them unsent", len(s.statements), len(s.portals), s.unsentPortals())
		}
		if most := maxAnswers + 1<<15; tape.largest > most {
			t.Errorf("%d bytes are written at once", tape.largest)
		}
		ready, err := readyAfter(tape.told)
		if err != nil || ready > 1+bytes.Count(sent, []byte("Q"))+bytes.Count(sent, []byte("S"))+bytes.Count(sent, []byte("F")) {
			t.Errorf("%d times ready, %v", ready, err)
		}
	})
}

func (s *Session) unsentPortals() (n int) {
	for _, p := range s.portals {
		if len(p.rows) > 0 {
			n++
		}
	}
	return n
}

// readyAfter reads a server's messages to their end, and gives how often it was ready.
func readyAfter(p []byte) (n int, err error) {
	for len(p) > 0 {
		if len(p) < protocol.HeadSize {
			return n, fmt.Errorf("%q is no message", p)
		}
		kind, size := protocol.Head(p)
		switch {
		case size == 0 || size > len(p):
			return n, fmt.Errorf("a message %c of %d bytes where there are %d", kind, size, len(p))
		case kind == protocol.ReadyForQuery:
			n++
		case kind == protocol.ErrorResponse || kind == protocol.NoticeResponse:
			if e := protocol.ReadError(p[protocol.HeadSize:size]); !utf8.ValidString(e.Message) {
				return n, fmt.Errorf("an error that is no text: %q", e.Message)
			}
		}
		p = p[size:]
	}
	return n, nil
}

// A string of commands is answered by many times its size: no more of that is kept than one answer.
func TestALongStringOfCommandsIsAnsweredPieceByPiece(t *testing.T) {
	const many = 300
	sent := query(strings.Repeat("SHOW CLIENTS;", many))
	_, tape := played(&controlled{sessions: 50}, false, []byte(sent), 1<<16)
	if n, err := readyAfter(tape.told); n != 2 || err != nil {
		t.Errorf("ready %d times, %v", n, err)
	}
	one := len(tape.told) / many
	if len(tape.told) < 1<<20 || tape.largest > maxAnswers+2*one {
		t.Errorf("of %d bytes %d are written at once", len(tape.told), tape.largest)
	}
}

// Whoever has such a string answered when its time is over hears that, and not the rest.
func TestALongStringOfCommandsEndsWithTheConsole(t *testing.T) {
	ctx, end := context.WithCancel(context.Background())
	server := &controlled{}
	ending := &endingServer{controlled: server, after: 5, end: end}
	tape := &tape{in: []byte(query(strings.Repeat("RELOAD;", 1000))), piece: 1 << 16}
	NewSession(ending, tape, Client{Admin: func() bool { return true }}, slog.New(slog.DiscardHandler)).Run(ctx)
	if server.told != 5 || !bytes.Contains(tape.told, []byte("57P01")) {
		t.Errorf("%d commands are carried out; the client is told %q", server.told, tape.told)
	}
}

// endingServer is one that ends after some commands.
type endingServer struct {
	*controlled
	after int
	end   func()
}

func (e *endingServer) Reload() ([]string, error) {
	_ = e.did()
	if e.told == e.after {
		e.end()
	}
	return nil, nil
}

func TestTextsAreReadableAndStayApart(t *testing.T) {
	var seen []string
	for _, name := range []string{"", "abc", "ä", "\xff", "\xfe", "\uFFFD", "\xef\xbf", "\xefbfbd", "\uFFFDff", "\xc3", "c3", "a\xffb", "a\uFFFDb"} {
		shown := readable(name)
		if !utf8.ValidString(shown) || slices.Contains(seen, shown) {
			t.Errorf("%q is shown as %q, as another is", name, shown)
		}
		seen = append(seen, shown)
	}
}
