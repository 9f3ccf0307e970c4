package login

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/protocol"
)

func TestATrustedClientIsLetInWithWhatItAskedFor(t *testing.T) {
	p := pipe(t, door(t))
	p.send(startup("user", "trusting", "database", "d", "options", "-c work_mem=1MB", "DateStyle", "ISO", "replication", "off"))
	c := p.wantClient("trust needs no proof")
	want := []protocol.Parameter{{Name: "work_mem", Value: "1MB"}, {Name: "datestyle", Value: "ISO"}}
	if c.User != "trusting" || c.Database != "d" || c.Minor != 0 || !reflect.DeepEqual(c.Parameters, want) {
		t.Errorf("got %+v", c)
	}
}

func TestTheSessionReadsEverythingBehindTheLogin(t *testing.T) {
	p := visitor(t, door(t))
	p.send(append(startup("user", "trusting"), "Q\x00\x00\x00\x06;\x00"...))
	p.wantClient("a client may send its query in one segment with the startup packet")
	if got := p.over().rest; string(got) != "Q\x00\x00\x00\x06;\x00" {
		t.Errorf("got %q", got)
	}
}

func TestEncryptionIsRefusedWithASingleByte(t *testing.T) {
	for _, c := range []struct {
		name     string
		requests []uint32
	}{
		{"TLS", []uint32{sslRequest}}, {"GSSAPI", []uint32{gssRequest}},
		{"both, as libpq asks", []uint32{gssRequest, sslRequest}}, {"the other way round", []uint32{sslRequest, gssRequest}},
	} {
		p := pipe(t, door(t))
		for _, request := range c.requests {
			p.send(packet(request, ""))
			p.want(c.name, "N")
		}
		p.send(startup("user", "trusting"))
		p.wantClient(c.name)
	}
}

func TestEncryptionIsRequestedOnceAtMost(t *testing.T) {
	for _, request := range []uint32{sslRequest, gssRequest} {
		p := pipe(t, door(t))
		p.send(packet(request, ""))
		p.want("the first request", "N")
		p.send(packet(request, ""))
		p.wantFatal("the second request", "08P01", "encryption was requested twice")
	}
}

func TestACancelRequestIsHandedOnWithoutAnAnswer(t *testing.T) {
	for _, first := range [][]byte{nil, packet(sslRequest, "")} {
		p := pipe(t, door(t))
		if first != nil {
			p.send(first)
			p.want("drivers cancel over TLS or in clear (M 1.7.9)", "N")
		}
		p.send(packet(cancelRequest, "\x00\x00\x00\x07abcd"))
		a := p.over()
		if a.err != nil || a.client != nil || a.cancel == nil || a.cancel.Pid != 7 || string(a.cancel.Key) != "abcd" {
			t.Errorf("got %+v", a)
		}
	}
}

// What PostgreSQL 18 does (src/backend/tcop/backend_startup.c): of what it knows nothing is said.
func TestALaterProtocolIsNegotiatedOnce(t *testing.T) {
	for _, c := range []struct {
		name           string
		asked, answers uint32
		options, told  string
	}{
		{"what was always there", 0, 0, "", ""},
		{"a version that was skipped", 1, 1, "", ""},
		{"the newest", 2, 2, "", ""},
		{"one of the future", 3, 2, "", "v\x00\x00\x00\x0c\x00\x03\x00\x02\x00\x00\x00\x00"},
		{"one that nobody will have, as grease", 9999, 2, "", "v\x00\x00\x00\x0c\x00\x03\x00\x02\x00\x00\x00\x00"},
		{"options with 3.0", 0, 0, "_pq_.a\x001\x00", "v\x00\x00\x00\x13\x00\x03\x00\x00\x00\x00\x00\x01_pq_.a\x00"},
		{"options with 3.2", 2, 2, "_pq_.a\x001\x00_pq_.b\x001\x00",
			"v\x00\x00\x00\x1a\x00\x03\x00\x02\x00\x00\x00\x02_pq_.a\x00_pq_.b\x00"},
	} {
		p := pipe(t, door(t))
		p.send(packet(version3|c.asked, "user\x00trusting\x00"+c.options+"\x00"))
		p.want(c.name, c.told)
		if who := p.wantClient("authentication follows, without another word (B master #1460)"); who.Minor != int(c.answers) {
			t.Errorf("%s: minor version %d", c.name, who.Minor)
		}
	}
}

func TestNegotiationComesBeforeTheNextErrorAsInPostgres(t *testing.T) {
	p := pipe(t, door(t))
	p.send(packet(version3|3, "\x00"))
	p.want("negotiation", "v\x00\x00\x00\x0c\x00\x03\x00\x02\x00\x00\x00\x00")
	p.wantFatal("the error", "28000", "no PostgreSQL user name specified in startup packet")
}

func TestDamagedStartupPacketsEndInFatalErrors(t *testing.T) {
	for _, c := range []struct {
		name, code, message string
		p                   []byte
	}{
		{"a gigabyte", "08P01", "invalid length of startup packet", []byte{0x40, 0, 0, 0}},
		{"a length of nought", "08P01", "invalid length of startup packet", []byte{0, 0, 0, 0}},
		{"HTTP", "08P01", "invalid length of startup packet", []byte("GET ")},
		{"no terminator", "08P01", "invalid startup packet layout: expected terminator as last byte", packet(version3, "user\x00u\x00")},
		{"no user", "28000", "no PostgreSQL user name specified in startup packet", startup("database", "d")},
		{"version 2", "0A000", "unsupported frontend protocol 2.0: server supports 3.0 to 3.2", packet(2<<16, "")},
		{"a password packet (CVE-2015-4054)", "08P01", "invalid length of startup packet", []byte("p\x00\x00\x00")},
	} {
		p := pipe(t, door(t))
		p.send(c.p)
		p.wantFatal(c.name, c.code, c.message)
	}
}

func TestWrongOptionsAreRefusedBehindTheAuthentication(t *testing.T) {
	p := pipe(t, door(t))
	p.send(startup("user", "trusting", "options", "-x"))
	p.want("it is let in", "R\x00\x00\x00\x08\x00\x00\x00\x00")
	p.wantFatal("and refused", "42601", "invalid command-line argument for server process: -x")
}

func TestReplicationIsReadAsPostgresDoes(t *testing.T) {
	for value, want := range map[string]string{
		"true": "true", "1": "true", "on": "true", "YES": "true", "t": "true", "database": "database",
		"false": "", "0": "", "off": "", "of": "", "N": "", "f": "",
	} {
		p := pipe(t, door(t))
		p.send(startup("user", "trusting", "replication", value))
		if c := p.wantClient("replication = " + value); c.Replication != want {
			t.Errorf("replication = %s is taken for %q", value, c.Replication)
		}
	}
	for _, value := range []string{"", "o", "maybe", "Database", "truee"} {
		p := pipe(t, door(t))
		p.send(startup("user", "trusting", "replication", value))
		p.wantFatal(value, "22023", `invalid value for parameter "replication": "`+value+`"`)
	}
}

func TestAPeerThatOnlyClosesIsToldNothing(t *testing.T) {
	p := visitor(t, door(t))
	p.conn.(interface{ CloseWrite() error }).CloseWrite()
	p.wantEnd("a probe of the port")
	p.wantLeft("a probe of the port")
}

func TestAClientThatSaysGoodbyeFirstIsToldNothing(t *testing.T) {
	p := visitor(t, door(t))
	p.send([]byte("X\x00\x00\x00\x04"))
	p.wantLeft("a client that ended before it began")
}

func TestEveryTruncationOfALoginEndsItAtOnce(t *testing.T) {
	for _, c := range []struct{ before, whole string }{
		{"", string(packet(sslRequest, ""))},
		{string(packet(sslRequest, "")), string(startup("user", "trusting", "database", "d", "_pq_.x", "1"))},
		{"", string(startup("user", "alice")) + string(initial("n,,n=,r=abcdefgh"))},
		{"", string(packet(cancelRequest, "\x00\x00\x00\x07abcd"))},
	} {
		for end := range c.whole {
			whole := c.whole
			p := visitor(t, door(t))
			if c.before != "" {
				p.send([]byte(c.before))
				p.want("encryption is refused", "N")
			}
			p.send([]byte(whole[:end]))
			p.conn.(interface{ CloseWrite() error }).CloseWrite()
			start := time.Now()
			if a := p.over(); !errors.Is(a.err, ErrLeft) {
				t.Fatalf("%q: the login ends with %+v", whole[:end], a)
			}
			if took := time.Since(start); took > soon/2 {
				t.Fatalf("%q: it takes %v", whole[:end], took)
			}
			p.conn.Close()
		}
	}
}

func TestSilenceEndsAtTheDeadline(t *testing.T) {
	const half = "\x00\x00\x00\x10\x00\x03"
	for _, c := range []struct{ name, sends, receives string }{
		{"nothing sent", "", ""},
		{"half a startup packet", half, "timeout"},
		{"no password", string(startup("user", "alice")), "timeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := visitorFor(t, door(t), Peer{}, 300*time.Millisecond)
			p.send([]byte(c.sends))
			if strings.Contains(c.sends, "alice") {
				p.want("the offer", offer)
			}
			if c.receives != "" {
				p.wantFatal(c.name, "57014", "canceling authentication due to timeout")
				return
			}
			p.wantEnd(c.name)
			p.wantLeft(c.name)
		})
	}
}

// One byte now and then must not buy more time.
func TestSlowBytesEndAtTheDeadlineToo(t *testing.T) {
	const timeout = 300 * time.Millisecond
	begin := time.Now() // before the visit begins, and so its deadline
	p := visitorFor(t, door(t), Peer{}, timeout)
	whole := startup("user", "trusting", "x", strings.Repeat("x", 1000))
	for i := range whole {
		if _, err := p.conn.Write(whole[i : i+1]); err != nil {
			break
		}
		select {
		case a := <-p.result:
			p.result <- a
		case <-time.After(10 * time.Millisecond):
			continue
		}
		break
	}
	p.over()
	if took := time.Since(begin); took < timeout || took > soon {
		t.Errorf("it takes %v", took)
	}
}

func TestRefusalsSayMoreToTheLogThanToTheClient(t *testing.T) {
	r := &Refusal{Said: protocol.Fatal("28P01", "no"), User: "u", Database: "d", Why: "the user is unknown"}
	if got := r.Error(); got != `FATAL: no (SQLSTATE 28P01); the user is unknown (user "u", database "d")` {
		t.Error(got)
	}
	if !errors.Is(fmt.Errorf("x: %w", r), r.Said) {
		t.Error("a Refusal unwraps to what was said")
	}
}

func FuzzLogin(f *testing.F) {
	d := door(f)
	f.Add(startup("user", "trusting"))
	f.Add(append(packet(sslRequest, ""), startup("user", "alice")...))
	f.Add(append(startup("user", "alice"), initial("n,,n=,r=abc")...))
	f.Add(packet(cancelRequest, "\x00\x00\x00\x07abcd"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		p := pipe(t, d)
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			_, _ = io.Copy(io.Discard, p.conn)
		}()
		_, _ = p.conn.Write(sent)
		p.conn.Close()
		<-drained
		a := p.over()
		if a.err == nil && a.client == nil && a.cancel == nil {
			t.Fatalf("%q: neither a client nor an error", sent)
		}
		if a.err == nil && a.client != nil && a.client.User != "trusting" {
			t.Fatalf("%q: %q is let in", sent, a.client.User)
		}
	})
}
