package protocol

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Golden bytes, by the manual's "Message Formats".
func TestMessagesAreTheBytesOfTheManual(t *testing.T) {
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"ready", AppendReady(nil, 'T'), "Z\x00\x00\x00\x05T"},
		{"complete", AppendComplete(nil, "BEGIN"), "C\x00\x00\x00\x0aBEGIN\x00"},
		{"parse complete", AppendParseComplete(nil), "1\x00\x00\x00\x04"},
		{"bind complete", AppendBindComplete(nil), "2\x00\x00\x00\x04"},
		{"close complete", AppendCloseComplete(nil), "3\x00\x00\x00\x04"},
		{"no data", AppendNoData(nil), "n\x00\x00\x00\x04"},
		{"parameter status", AppendParameterStatus(nil, "a", "b"), "S\x00\x00\x00\x08a\x00b\x00"},
		{"key data", AppendKeyData(nil, 1, []byte("abcd")), "K\x00\x00\x00\x0c\x00\x00\x00\x01abcd"},
		{"key data of protocol 3.2", AppendKeyData(nil, 1, make([]byte, 32)), "K\x00\x00\x00\x28\x00\x00\x00\x01" + strings.Repeat("\x00", 32)},
		{"authentication ok", AppendAuthenticationOK(nil), "R\x00\x00\x00\x08\x00\x00\x00\x00"},
		{"negotiate", AppendNegotiate(nil, 2, []string{"_pq_.x", "_pq_.y"}),
			"v\x00\x00\x00\x1a\x00\x03\x00\x02\x00\x00\x00\x02_pq_.x\x00_pq_.y\x00"},
		{"negotiate the version alone", AppendNegotiate(nil, 0, nil), "v\x00\x00\x00\x0c\x00\x03\x00\x00\x00\x00\x00\x00"},
		{"terminate", AppendTerminate(nil), "X\x00\x00\x00\x04"},
	} {
		if string(c.got) != c.want {
			t.Errorf("%s: got %q, want %q", c.name, c.got, c.want)
		}
		if _, size := Head(c.got); size != len(c.got) {
			t.Errorf("%s: its head says %d bytes, it has %d", c.name, size, len(c.got))
		}
	}
}

func TestMessagesAreAppendedBehindWhatIsThere(t *testing.T) {
	dst := AppendError(nil, &Error{Message: "m"})
	for _, appended := range []func([]byte) []byte{
		AppendParseComplete, AppendNoData, AppendTerminate,
		func(dst []byte) []byte { return AppendReady(dst, 'I') },
		func(dst []byte) []byte { return AppendComplete(dst, "") },
	} {
		before := string(dst)
		dst = appended(dst)
		if !strings.HasPrefix(string(dst), before) {
			t.Fatalf("%q does not start with %q", dst, before)
		}
	}
}

func TestErrorsTravelWithSeverityTwiceAndEveryField(t *testing.T) {
	got := AppendError(nil, &Error{Severity: "ERROR", Code: "42601", Message: "m", Detail: "d", Hint: "h", Where: "w", Position: 7})
	want := "SERROR\x00VERROR\x00C42601\x00Mm\x00Dd\x00Hh\x00P7\x00Ww\x00\x00"
	if string(got[HeadSize:]) != want || got[0] != ErrorResponse {
		t.Errorf("got %q, want E and %q", got, want)
	}
}

func TestErrorsWithoutSeverityOrCodeGetBoth(t *testing.T) {
	got := ReadError(AppendError(nil, &Error{Message: "m"})[HeadSize:])
	if got != (Error{Severity: "ERROR", Code: InternalError, Message: "m"}) {
		t.Errorf("got %+v", got)
	}
}

func TestNoticesTravelAsNotices(t *testing.T) {
	for severity, kind := range map[string]byte{
		"WARNING": 'N', "NOTICE": 'N', "DEBUG": 'N', "INFO": 'N', "LOG": 'N', "ERROR": 'E', "FATAL": 'E', "PANIC": 'E', "": 'E',
	} {
		if got := AppendError(nil, &Error{Severity: severity, Message: "m"}); got[0] != kind {
			t.Errorf("severity %q travels as %c", severity, got[0])
		}
	}
}

// CVE-2024-27304: what is built has a bound far below the 4 GiB at which a length wraps.
func TestErrorFieldsAreCutAtZeroBytesAndAtTheirBound(t *testing.T) {
	long := strings.Repeat("é", maxField)
	got := ReadError(AppendError(nil, &Error{Code: "42601", Message: "a\x00b", Detail: long, Hint: "x" + long})[HeadSize:])
	if got.Message != "a" || got.Code != "42601" {
		t.Errorf("got message %q and code %q", got.Message, got.Code)
	}
	for _, s := range []string{got.Detail, got.Hint} {
		if len(s) > maxField || len(s) < maxField-1 || !utf8.ValidString(s) {
			t.Errorf("a long field keeps %d bytes, valid %v", len(s), utf8.ValidString(s))
		}
	}
	if got := field(strings.Repeat("\x80", maxField+9)); len(got) > maxField {
		t.Errorf("a field in no known encoding keeps %d bytes", len(got))
	}
}

// An independent reader, pgx's, agrees on what we wrote.
func TestErrorsAreReadBackByPgx(t *testing.T) {
	var m pgproto3.ErrorResponse
	if err := m.Decode(AppendError(nil, &Error{Severity: "FATAL", Code: "53300", Message: "m", Hint: "h"})[HeadSize:]); err != nil {
		t.Fatal(err)
	}
	if m.Severity != "FATAL" || m.SeverityUnlocalized != "FATAL" || m.Code != "53300" || m.Message != "m" || m.Hint != "h" {
		t.Errorf("got %+v", m)
	}
}

func TestWritingSimpleAnswersAllocatesNothing(t *testing.T) {
	dst := make([]byte, 0, 1024)
	e := &Error{Severity: "ERROR", Code: "53300", Message: "too many"}
	for name, write := range map[string]func(){
		"ready":    func() { AppendReady(dst, 'I') },
		"complete": func() { AppendComplete(dst, "BEGIN") },
		"status":   func() { AppendParameterStatus(dst, "a", "b") },
		"error":    func() { AppendError(dst, e) },
	} {
		if n := testing.AllocsPerRun(100, write); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func TestHeadKnowsTheWholeFrame(t *testing.T) {
	for _, c := range []struct {
		length uint32
		size   int
	}{{0, 0}, {3, 0}, {4, 5}, {1<<31 - 1, 1 << 31}, {1 << 31, 0}, {1<<32 - 1, 0}} {
		p := binary.BigEndian.AppendUint32([]byte{'Q'}, c.length)
		if kind, size := Head(p); kind != 'Q' || size != c.size {
			t.Errorf("length %d: kind %c, size %d, want Q and %d", c.length, kind, size, c.size)
		}
	}
}
