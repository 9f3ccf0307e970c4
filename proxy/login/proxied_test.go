package login

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
)

// proxied is a header of the PROXY protocol, version 2.
func proxied(command, families byte, body string) []byte {
	p := append([]byte(proxiedMark), command, families)
	return append(binary.BigEndian.AppendUint16(p, uint16(len(body))), body...)
}

const (
	addresses4 = "\xcb\x00\x71\x07\xc0\x00\x02\x01\xd4\x31\x15\x38" // 203.0.113.7:54321 for 192.0.2.1:5432
	extra      = "\x01\x00\x0apostgresql"                           // PP2_TYPE_ALPN
)

var addresses6 = "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x07" + strings.Repeat("\x00", 16) + "\xd4\x31\x15\x38"

// behind is a door whose proxies are those in 127.0.0.0/8.
func behind(t testing.TB) *Door {
	d := door(t)
	d.Rules = rules(t, "host all trusting 203.0.113.7/32 trust\nhost all alice 127.0.0.1/32 trust\nhost all trusting 2001:db8::7/128 trust")
	d.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	return d
}

func TestAProxySaysWhomItSpeaksFor(t *testing.T) {
	for _, c := range []struct {
		name, user string
		header     []byte
	}{
		{"IPv4", "trusting", proxied(0x21, 0x11, addresses4)},
		{"IPv4 and more", "trusting", proxied(0x21, 0x11, addresses4+extra)},
		{"IPv6", "trusting", proxied(0x21, 0x21, addresses6)},
		{"for itself", "alice", proxied(0x20, 0x00, "")},
		{"for itself, with addresses that do not count", "alice", proxied(0x20, 0x11, addresses4)},
		{"for somebody without an address", "alice", proxied(0x21, 0x00, extra)},
		{"for somebody at a unix socket", "alice", proxied(0x21, 0x31, strings.Repeat("\x00", 216))},
	} {
		p := remote(t, behind(t))
		p.send(append(c.header, startup("user", c.user)...))
		p.wantClient(c.name)
	}
	p := remote(t, behind(t))
	p.send(append(proxied(0x21, 0x11, addresses4), startup("user", "alice", "database", "d")...))
	p.wantFatal("the proxy's own address counts no longer", "28000",
		`no pg_hba.conf entry for host "203.0.113.7", user "alice", database "d", no encryption`)
}

func TestAProxyThatSaysSomethingElseIsToldNothing(t *testing.T) {
	for name, header := range map[string][]byte{
		"version 1":                 []byte("PROXY TCP4 203.0.113.7 192.0.2.1 54321 5432\r\n"),
		"a startup packet":          startup("user", "trusting"),
		"TLS at once":               {0x16, 3, 1, 2, 0, 1},
		"version 3":                 proxied(0x31, 0x11, addresses4),
		"an unknown command":        proxied(0x22, 0x11, addresses4),
		"UDP":                       proxied(0x21, 0x12, addresses4),
		"half an address":           proxied(0x21, 0x11, addresses4[:11]),
		"half an IPv6 address":      proxied(0x21, 0x21, addresses6[:35]),
		"half a path":               proxied(0x21, 0x31, "/tmp"),
		"more than anybody has got": proxied(0x21, 0x11, strings.Repeat("x", maxProxied+1)),
	} {
		p := remote(t, behind(t))
		p.send(header)
		if a := p.over(); a.client != nil || a.err == nil || !strings.HasPrefix(a.err.Error(), "PROXY protocol: ") {
			t.Errorf("%s: the login ends with %+v", name, a)
		}
	}
}

func TestOnlyAProxyMaySpeakForOthers(t *testing.T) {
	d := behind(t)
	d.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	p := remote(t, d)
	p.send(append(proxied(0x21, 0x11, addresses4), startup("user", "trusting")...))
	p.wantFatal("a header from elsewhere is no packet", "08P01", "invalid length of startup packet")
}

func TestAProxyThatLeavesHasLeft(t *testing.T) {
	whole := proxied(0x21, 0x11, addresses4)
	for end := range whole {
		p := remote(t, behind(t))
		p.send(whole[:end])
		p.conn.(interface{ CloseWrite() error }).CloseWrite()
		p.wantLeft("half a header")
	}
}

func FuzzProxied(f *testing.F) {
	f.Add(proxied(0x21, 0x11, addresses4+extra))
	f.Add(proxied(0x21, 0x21, addresses6))
	f.Add(proxied(0x20, 0x00, ""))
	f.Fuzz(func(t *testing.T, p []byte) {
		r := bytes.NewReader(p)
		client, spoken, err := readProxied(r)
		switch {
		case err == nil && spoken != client.IsValid():
			t.Errorf("speaks for %v: %v", client, spoken)
		case err == nil && spoken && !bytes.Contains(p, client.Addr().AsSlice()):
			t.Errorf("%v is in no header", client)
		case err == nil && len(p)-r.Len() != proxiedHead+int(binary.BigEndian.Uint16(p[14:])):
			t.Errorf("%d bytes are left of %q", r.Len(), p)
		}
	})
}
