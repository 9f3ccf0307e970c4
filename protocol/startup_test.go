package protocol

import (
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// packet frames a body as a packet before login.
func packet(code uint32, body string) []byte {
	p := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	return append(binary.BigEndian.AppendUint32(p, code), body...)
}

func login(pairs ...string) []byte {
	return packet(version3, strings.Join(pairs, "\x00")+"\x00\x00")
}

func TestLoginIsReadInThePostgresOrder(t *testing.T) {
	for _, c := range []struct {
		name string
		p    []byte
		want Startup
	}{
		{"the least", login("user", "u"), Startup{User: "u", Database: "u"}},
		{"an empty database is none", login("user", "u", "database", ""), Startup{User: "u", Database: "u"}},
		{"all kinds", login("user", "u", "database", "d", "DateStyle", "ISO", "replication", "on", "application_name", ""),
			Startup{User: "u", Database: "d", Replication: "true",
				Parameters: []Parameter{{"datestyle", "ISO"}, {"application_name", ""}}}},
		{"the last user counts", login("user", "u", "user", "v"), Startup{User: "v", Database: "v"}},
		{"names that are no settings count letter case", login("user", "u", "Database", "d"),
			Startup{User: "u", Database: "u", Parameters: []Parameter{{"database", "d"}}}},
		{"options come before parameters of their own", login("user", "u", "work_mem", "1MB", "options", "-c Work-mem=2MB"),
			Startup{User: "u", Database: "u", Parameters: []Parameter{{"work_mem", "2MB"}, {"work_mem", "1MB"}}}},
		{"bytes of any encoding", login("user", "\xff\xfe", "x\xe9", "\x80"),
			Startup{User: "\xff\xfe", Database: "\xff\xfe", Parameters: []Parameter{{"x\xe9", "\x80"}}}},
		{"a later minor version and extensions", packet(version3|2, "user\x00u\x00_pq_.a\x001\x00_pq_.b\x00\x00\x00"),
			Startup{User: "u", Database: "u", Minor: 2, Extensions: []string{"_pq_.a", "_pq_.b"}}},
	} {
		got, err := ReadStartup(c.p)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, %v, want %+v", c.name, got, err, c.want)
		}
	}
}

// PostgreSQL cuts names before login by bytes, at NAMEDATALEN - 1.
func TestNamesAreCutAt63Bytes(t *testing.T) {
	long := strings.Repeat("é", 40)
	got, err := ReadStartup(login("user", long, "database", long+"d"))
	if err != nil || got.User != long[:63] || got.Database != long[:63] {
		t.Errorf("got %q and %q, %v", got.User, got.Database, err)
	}
	if got, err = ReadStartup(login("user", long[:63])); err != nil || got.User != long[:63] {
		t.Errorf("63 bytes are kept whole: got %q, %v", got.User, err)
	}
}

func TestRequestsBeforeLogin(t *testing.T) {
	key := strings.Repeat("k", MaxCancelKey)
	for _, c := range []struct {
		p    []byte
		want Startup
	}{
		{packet(sslCode, ""), Startup{Kind: SSLRequest}},
		{packet(gssCode, ""), Startup{Kind: GSSENCRequest}},
		{packet(cancelCode, "\xff\x00\x00\x01abcd"), Startup{Kind: CancelRequest, Pid: 0xff000001, Key: []byte("abcd")}},
		{packet(cancelCode, "\x00\x00\x00\x01"+key), Startup{Kind: CancelRequest, Pid: 1, Key: []byte(key)}},
	} {
		got, err := ReadStartup(c.p)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: got %+v, %v", c.p, got, err)
		}
	}
}

func TestCancelKeyIsACopy(t *testing.T) {
	p := packet(cancelCode, "\x00\x00\x00\x01abcd")
	got, _ := ReadStartup(p)
	clear(p)
	if string(got.Key) != "abcd" {
		t.Errorf("the key changed with the buffer: %q", got.Key)
	}
}

func TestNegotiationIsForMoreThanPlainVersion3(t *testing.T) {
	for _, c := range []struct {
		p    []byte
		want bool
	}{
		{login("user", "u"), false},
		{login("user", "u", "_pq_.x", "1"), true},
		{packet(version3|9999, "user\x00u\x00\x00"), true},
	} {
		if got, err := ReadStartup(c.p); err != nil || got.Negotiable() != c.want {
			t.Errorf("%q: got %v, %v", c.p, got.Negotiable(), err)
		}
	}
}

// PostgreSQL looks at them once it knows who asks (postinit.c, process_startup_options).
func TestWrongOptionsAreForLater(t *testing.T) {
	s, err := ReadStartup(login("user", "u", "options", "-x"))
	var e *Error
	if err != nil || s.User != "u" || !errors.As(s.Unusable, &e) || e.Code != SyntaxError || e.Hint == "" {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestDamagedStartupPacketsAreRefused(t *testing.T) {
	const layout = "invalid startup packet layout: expected terminator as last byte"
	const length = "invalid length of startup packet"
	for _, c := range []struct {
		name, code, message string
		p                   []byte
	}{
		{"nothing", "08P01", length, nil},
		{"a length alone", "08P01", length, []byte{0, 0, 0, 4}},
		{"a length of nought", "08P01", length, []byte{0, 0, 0, 0, 0, 3, 0, 0}},
		{"a length below 8", "08P01", length, []byte{0, 0, 0, 7, 0, 3, 0}},
		{"a gigabyte", "08P01", length, []byte{0x40, 0, 0, 0, 0, 3, 0, 0}},
		{"a negative length", "08P01", length, []byte{0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0}},
		{"one byte too long", "08P01", length, login("user", strings.Repeat("u", maxStartup-4-6))},
		{"bytes behind it", "08P01", length, append(login("user", "u"), 0)},
		{"HTTP", "08P01", length, []byte("GET / HTTP/1.1\r\n\r\n")},
		{"no body", "08P01", layout, packet(version3, "")},
		{"no parameter", "28000", "no PostgreSQL user name specified in startup packet", packet(version3, "\x00")},
		{"no user", "28000", "no PostgreSQL user name specified in startup packet", login("database", "d")},
		{"an empty user", "28000", "no PostgreSQL user name specified in startup packet", login("user", "")},
		{"no terminator", "08P01", layout, packet(version3, "user\x00u\x00")},
		{"an unterminated name", "08P01", layout, packet(version3, "user\x00u\x00x")},
		{"an unterminated value", "08P01", layout, packet(version3, "user\x00u\x00x\x00y")},
		{"a name without a value", "08P01", layout, packet(version3, "user\x00u\x00x\x00")},
		{"something behind the terminator", "08P01", layout, packet(version3, "user\x00u\x00\x00x\x00y\x00\x00")},
		{"version 2", "0A000", "unsupported frontend protocol 2.0: server supports 3.0 to 3.2", packet(2<<16, "user\x00u\x00\x00")},
		{"version 4", "0A000", "unsupported frontend protocol 4.1: server supports 3.0 to 3.2", packet(4<<16|1, "")},
		{"an unknown request", "0A000", "unsupported frontend protocol 1234.5677: server supports 3.0 to 3.2", packet(1234<<16|5677, "")},
		{"SSLRequest with a body", "08P01", length, packet(sslCode, "x")},
		{"a cancel key too short", "08P01", "invalid length of cancel request", packet(cancelCode, "\x00\x00\x00\x01abc")},
		{"a cancel key too long", "08P01", "invalid length of cancel request", packet(cancelCode, strings.Repeat("k", 4+MaxCancelKey+1))},
	} {
		_, err := ReadStartup(c.p)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: error is %v", c.name, err)
		} else if e.Severity != "FATAL" || e.Code != c.code || e.Message != c.message {
			t.Errorf("%s: got %v", c.name, e)
		}
	}
}

func TestTheLongestStartupPacketIsRead(t *testing.T) {
	user := strings.Repeat("u", 10)
	filler := strings.Repeat("x", maxStartup+StartupHeadSize-len(login("user", user, "x", "")))
	p := login("user", user, "x", filler)
	if len(p) != 10004 {
		t.Fatalf("the packet has %d bytes", len(p))
	}
	if got, err := ReadStartup(p); err != nil || got.Parameters[0].Value != filler {
		t.Errorf("got %v", err)
	}
}

func TestEveryTruncationOfAStartupPacketIsRefused(t *testing.T) {
	for _, p := range [][]byte{
		login("user", "u", "database", "d", "options", "-c a=b", "_pq_.x", "1"),
		packet(sslCode, ""), packet(gssCode, ""), packet(cancelCode, "\x00\x00\x00\x01abcd"),
	} {
		for end := range p {
			cut := append([]byte(nil), p[:end]...)
			if _, err := ReadStartup(cut); err == nil {
				t.Errorf("%q is read", cut)
			}
			if end < 8 || p[4] == 4 {
				continue
			}
			// The same bytes with a length that fits them: damaged by its author, not by the network.
			binary.BigEndian.PutUint32(cut, uint32(end))
			if s, err := ReadStartup(cut); err == nil && s.Kind == Login {
				t.Errorf("%q is read", cut)
			}
		}
	}
}

// B master #1460: the extensions are known even when the packet is refused later, so that the negotiation comes
// first and once.
func TestExtensionsAreKnownBeforeTheUserIsMissed(t *testing.T) {
	got, err := ReadStartup(login("_pq_.x", "1"))
	if err == nil || !got.Negotiable() {
		t.Errorf("got %+v, %v", got, err)
	}
}

func FuzzReadStartup(f *testing.F) {
	f.Add(login("user", "u", "options", `-c a=b\ c --d=e`))
	f.Add(packet(cancelCode, "\x00\x00\x00\x01abcd"))
	f.Add(packet(sslCode, ""))
	f.Fuzz(func(t *testing.T, p []byte) {
		s, err := ReadStartup(p)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || !e.IsFatal() || len(e.Code) != 5 {
				t.Fatalf("%q: %v", p, err)
			}
			return
		}
		switch s.Kind {
		case Login:
			if s.User == "" || s.Database == "" || len(s.User) > maxName || len(s.Database) > maxName {
				t.Fatalf("%q: %+v", p, s)
			}
		case CancelRequest:
			if len(s.Key) < minCancelKey || len(s.Key) > MaxCancelKey {
				t.Fatalf("%q: %+v", p, s)
			}
		}
	})
}
