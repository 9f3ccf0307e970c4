package test

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/lockproxy/lockproxy/proxy"
)

// Hostile input ends in a FATAL 08P01 for that client, and in nothing else.

// long is a packet before login that says how long it is.
func long(length uint32, body string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, length), body...)
}

const version = "\x00\x03\x00\x00"

// beforeLogin is rubbish instead of a startup packet, and what it is answered: the beginning of all messages. C#371: lengths that
// do not fit what follows.
var beforeLogin = []struct {
	name   string
	bytes  []byte
	answer string
}{
	{"length 0", long(0, ""), "E(FATAL 08P01) (end)"},
	{"length 3", long(3, ""), "E(FATAL 08P01) (end)"},
	{"length 7", long(7, "\x00\x03\x00"), "E(FATAL 08P01) (end)"},
	{"a gigabyte (M 3.0.5)", long(1<<30, version), "E(FATAL 08P01) (end)"},
	{"a negative length", long(1<<32-1, version), "E(FATAL 08P01) (end)"},
	{"one byte more than PostgreSQL takes", long(10005, version), "E(FATAL 08P01) (end)"},
	{"a password before the startup packet (CVE-2015-4054)", []byte("p\x00\x00\x00\x0asecret\x00"), "E(FATAL 08P01) (end)"},
	{"a query before it", []byte("Q\x00\x00\x00\x0dselect 1\x00"), "E(FATAL 08P01) (end)"},
	{"HTTP", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "E(FATAL 08P01) (end)"},
	{"TLS at once, where there is none", []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), "(end)"},
	{"protocol 2", long(8, "\x00\x02\x00\x00"), "E(FATAL 0A000) (end)"},
	{"no end of the parameters", long(17, version+"user\x00abc\x00"), "E(FATAL 08P01) (end)"},
	{"a name without a value", long(14, version+"user\x00\x00"), "E(FATAL 08P01) (end)"},
	{"no user", long(9, version+"\x00"), "E(FATAL 28000) (end)"},
	{"a cancel request that is too short", long(12, "\x04\xd2\x16\x2e\x00\x00\x00\x01"), "E(FATAL 08P01) (end)"},
	{"a cancel request of nobody", long(16, "\x04\xd2\x16\x2e\x00\x00\x00\x01\x00\x00\x00\x02"), "(end)"},
}

// framed is a message with a length of its own choosing.
func framed(kind byte, length uint32, body string) []byte {
	return append([]byte{kind}, long(length, body)...)
}

// afterLogin is rubbish behind a good login that nobody can answer.
var afterLogin = []struct {
	name  string
	bytes []byte
}{
	{"length 0 (golang/vulndb#6170)", framed('Q', 0, "")},
	{"length 3", framed('Q', 3, "")},
	{"a negative length", framed('Q', 1<<32-1, "")},
	{"an unknown kind", framed('?', 4, "")},
	{"kind 0", framed(0, 4, "")},
	{"a password", framed('p', 5, "\x00")},
	{"a server's message", framed('Z', 5, "I")},
	{"a startup packet", long(17, version+"user\x00abc\x00")},
	{"an endless Describe", framed('D', 1<<30, strings.Repeat("S", 200<<10))},
	{"an endless Sync behind a query", append(framed('Q', 13, "select 1\x00"), framed('S', 1<<31-1, "")...)},
	{"an endless name in a Bind", framed('B', 1<<30, strings.Repeat("n", 200<<10))},
	{"an unknown kind behind a query", append(framed('Q', 13, "select 1\x00"), framed('?', 4, "")...)},
}

func TestRubbishBeforeLoginIsRefusedAndNothingElse(t *testing.T) {
	r := startProxy(t)
	noise(t, r.url, 2)
	for _, c := range beforeLogin {
		t.Run(c.name, func(t *testing.T) {
			s := openSocket(t, r.url)
			s.send(c.bytes)
			if got := s.until("~"); got != c.answer {
				t.Errorf("got %s, want %s", got, c.answer)
			}
		})
	}
}

func TestRubbishAfterLoginIsRefusedAndNothingElse(t *testing.T) {
	r := startProxy(t, sized(2, 1))
	noise(t, r.url, 2)
	for _, c := range afterLogin {
		t.Run(c.name, func(t *testing.T) {
			s := logIn(t, r.url)
			s.send(c.bytes)
			if got := s.until("~"); !strings.HasSuffix(got, "E(FATAL 08P01) (end)") {
				t.Errorf("got %s", got)
			}
		})
	}
}

// Every message cut off at every byte, its length made to fit: refused, or answered by PostgreSQL's own words; the client's
// session is over or in step, and so is everybody else's.
func TestEveryTruncationOfEveryMessageIsRefusedOrAnswered(t *testing.T) {
	r := startProxy(t, sized(2, 1))
	noise(t, r.url, 2)
	for _, m := range []pgproto3.FrontendMessage{
		&pgproto3.Parse{Name: "a", Query: "SELECT $1::int", ParameterOIDs: []uint32{23}},
		&pgproto3.Bind{PreparedStatement: "known", ParameterFormatCodes: []int16{1}, Parameters: [][]byte{int4(7)}, ResultFormatCodes: []int16{1}},
		executing("p"), describing('S', "known"), forgetting('P', "p"), call(advisoryUnlock, int8(5)), text("SELECT 1"),
	} {
		whole := packed(t, m)
		for n := 5; n < len(whole); n++ {
			s := logIn(t, r.url)
			s.asks("Z", prepare("known", "SELECT $1::int"), syncNow)
			binary.BigEndian.PutUint32(whole[1:], uint32(n-1))
			s.send(append(append([]byte(nil), whole[:n]...), packed(t, syncNow, text("SELECT 'in step'"))...))
			got := s.until("CZ")
			if strings.Contains(got, "in step") == strings.Contains(got, "(end)") || strings.Contains(got, "silence") {
				t.Errorf("%T cut to %d bytes: %s", m, n, got)
			}
			s.conn.Close()
		}
	}
}

// Whoever says nothing, or not enough, is shown the door in time.
func TestSilenceBeforeLoginEndsInTime(t *testing.T) {
	const timeout = 300 * time.Millisecond
	r := startProxy(t, func(c *proxy.Config) { c.LoginTimeout = timeout })
	whole := startup(r.url)
	for _, n := range []int{0, 1, 4, 9, len(whole) - 1} {
		start := time.Now()
		s := openSocket(t, r.url)
		s.send(whole[:n])
		got := s.until("~")
		if took := time.Since(start); took < timeout || took > timeout+2*time.Second || !strings.HasSuffix(got, "(end)") {
			t.Errorf("%d bytes: %s after %v", n, got, took)
		}
	}
}

// B#1058, B#1407, B#1520: the longest startup packet that PostgreSQL takes, and one that comes byte by byte.
func TestStartupPacketsMayBeLongAndComeInPieces(t *testing.T) {
	r := startProxy(t)
	empty := len(startup(r.url, "application_name", ""))
	whole := startup(r.url, "application_name", strings.Repeat("x", 10004-empty))
	s := openSocket(t, r.url)
	s.send(whole)
	if got := s.until("Z"); len(whole) != 10004 || got != "Z(I)" {
		t.Errorf("%d bytes are answered by %s", len(whole), got)
	}
	s = openSocket(t, r.url)
	for _, b := range startup(r.url, "application_name", "slow") {
		s.send([]byte{b})
	}
	if got := s.until("Z"); got != "Z(I)" || s.value("SHOW application_name") != "slow" {
		t.Errorf("a slow startup packet is answered by %s", got)
	}
}

// A statement of a gigabyte: refused in clear words, never kept, and the session lives on.
func TestAStatementBeyondTheBoundIsRefusedAndTakesNoMemory(t *testing.T) {
	const size = 256 << 20
	r := startProxy(t, func(c *proxy.Config) { c.MaxStatement = 1 << 20 })
	noise(t, r.elsewhere(), 1)
	s := logIn(t, r.url)
	before := measure(t)
	piece := []byte(strings.Repeat("x", 1<<20))
	for _, c := range []struct {
		kind   byte
		begins string
		until  string
		answer string
	}{{'Q', "", "Z", "E(54000) Z(I)"}, {'P', "a\x00", "E", "E(54000)"}} {
		s.send(framed(c.kind, 4+size, c.begins))
		s.send(piece[len(c.begins):])
		if got := s.until(c.until); got != c.answer {
			t.Errorf("got %s, want %s", got, c.answer)
		}
		for range size>>20 - 1 {
			s.send(piece)
		}
		if full := measure(t); full.heap > before.heap+32<<20 {
			t.Errorf("%d MB for a statement that is not read", (full.heap-before.heap)>>20)
		}
	}
	s.wants("the session lives on", "Z(I) T D(1) C(SELECT 1) Z(I)", "ZZ", syncNow, text("SELECT 1"))
}

// Crowds of hostile clients leave nothing behind. C#158: a flood of connections.
func TestThousandHostileClientsLeaveNothingBehind(t *testing.T) {
	r := startProxy(t, sized(2, 1))
	noise(t, r.url, 2)
	crowd := func(n int) {
		inParallel(8, n, func(i int) {
			s := openSocket(t, r.url)
			defer s.conn.Close()
			if i%3 == 0 {
				s.send(beforeLogin[i/3%len(beforeLogin)].bytes)
			} else {
				s.send(startup(r.url, "application_name", fmt.Sprint("hostile ", i)))
				s.until("Z")
				s.conn.Write(packed(t, text("BEGIN"), text("SELECT pg_advisory_xact_lock_shared(1)"))) // It may be told to go before all is read.
				s.conn.Write(afterLogin[i%len(afterLogin)].bytes)
			}
			s.conn.SetReadDeadline(time.Now().Add(patience))
			if i%5 > 0 { // Some leave without a look.
				io.Copy(io.Discard, s.conn)
			}
		})
	}
	crowd(100)
	r.awaitNoLocks(t)
	before := measure(t)
	crowd(1000)
	r.awaitNoLocks(t)
	await(t, "descriptors and goroutines are as before", func() bool {
		after := measure(t)
		return after.descriptors <= before.descriptors+5 && after.goroutines <= before.goroutines+5
	})
	if after := measure(t); after.heap > before.heap+4<<20 {
		t.Errorf("the heap grew from %d kB to %d kB", before.heap>>10, after.heap>>10)
	}
	logIn(t, r.url).wants("an ordinary client is served", "T D(1) C(SELECT 1) Z(I)", "Z", text("SELECT 1"))
}
