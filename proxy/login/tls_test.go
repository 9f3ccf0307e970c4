package login

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/test/authority"
)

// secureDoor is door with TLS; clients' certificates must be the authority's.
func secureDoor(t testing.TB, a *authority.Authority, demand Demand) *Door {
	t.Helper()
	shown := a.Issue("server")
	identity := &Identity{Certificate: shown.Leaf, Config: &tls.Config{
		Certificates: []tls.Certificate{shown}, NextProtos: []string{Protocol}, SessionTicketsDisabled: true,
		ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: a.Pool(),
	}}
	d := door(t)
	d.Rules = rules(t, "local all trusting trust\nhost all trusting all trust")
	d.Identity, d.Demand = func() *Identity { return identity }, demand
	return d
}

// remote starts a login of somebody who has come by TCP.
func remote(t testing.TB, d *Door) *peer { return remoteFor(t, d, soon) }

func remoteFor(t testing.TB, d *Door, timeout time.Duration) *peer {
	t.Helper()
	return visitorFor(t, d, Peer{Address: netip.MustParseAddr("127.0.0.1")}, timeout)
}

// encrypt begins TLS as the client, which asks for it first unless it is direct.
func (p *peer) encrypt(a *authority.Authority, direct bool, config *tls.Config) error {
	p.t.Helper()
	if !direct {
		p.send(packet(sslRequest, ""))
		p.want("there is TLS", "S")
	}
	config.RootCAs, config.ServerName = a.Pool(), "server"
	secure := tls.Client(p.conn, config)
	err := secure.Handshake()
	p.conn = secure
	return err
}

func TestALoginOverTLS(t *testing.T) {
	a := authority.New()
	for _, c := range []struct {
		name   string
		direct bool
		config *tls.Config
		speaks string
	}{
		{"as libpq asks", false, &tls.Config{}, "TLSv1.3/TLS_AES_128_GCM_SHA256/ECDH=X25519MLKEM768"},
		{"as libpq 17 asks", false, &tls.Config{NextProtos: []string{Protocol}}, "TLSv1.3/TLS_AES_128_GCM_SHA256/ECDH=X25519MLKEM768"},
		{"sslnegotiation=direct", true, &tls.Config{NextProtos: []string{Protocol}}, "TLSv1.3/TLS_AES_128_GCM_SHA256/ECDH=X25519MLKEM768"},
		{"TLS 1.2", false, &tls.Config{MaxVersion: tls.VersionTLS12, CurvePreferences: []tls.CurveID{tls.CurveP256}},
			"TLSv1.2/TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256/ECDH=CurveP256"},
	} {
		p := remote(t, secureDoor(t, a, DemandTLS))
		if err := p.encrypt(a, c.direct, c.config); err != nil {
			t.Fatal(c.name, err)
		}
		p.send(startup("user", "trusting"))
		e := p.wantClient(c.name).Encryption
		if e == nil || e.String() != c.speaks || e.Ours.Subject.CommonName != "server" || e.Theirs != nil {
			t.Errorf("%s: %v", c.name, e)
		}
	}
}

func TestTLSIsRefusedWhereThereIsNone(t *testing.T) {
	a := authority.New()
	p := remote(t, door(t))
	if err := p.encrypt(a, true, &tls.Config{NextProtos: []string{Protocol}}); err == nil {
		t.Error("a handshake without a certificate")
	}
	if result := p.over(); result.err == nil || !strings.HasPrefix(result.err.Error(), "TLS: ") {
		t.Errorf("the login ends with %v", result.err)
	}
}

func TestAUnixSocketHasNoTLS(t *testing.T) {
	p := pipe(t, secureDoor(t, authority.New(), DemandName))
	p.send(packet(sslRequest, ""))
	p.want("as in PostgreSQL", "N")
	p.send(startup("user", "trusting"))
	p.wantClient("and needs none")
}

// A client of another protocol can be made to send what an attacker wants. ALPN tells it that it talks to the wrong one.
func TestDirectTLSMustNameTheProtocol(t *testing.T) {
	a := authority.New()
	for name, protocols := range map[string][]string{"no name": nil, "another": {"http/1.1"}} {
		p := remote(t, secureDoor(t, a, NoDemand))
		_ = p.encrypt(a, true, &tls.Config{NextProtos: protocols})
		if result := p.over(); result.client != nil || result.err == nil || !strings.HasPrefix(result.err.Error(), "TLS: ") {
			t.Errorf("%s: the login ends with %+v", name, result)
		}
	}
}

func TestTLSBeforeOneTwoIsRefused(t *testing.T) {
	a := authority.New()
	p := remote(t, secureDoor(t, a, NoDemand))
	if err := p.encrypt(a, false, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
}

// CVE-2021-3935, CVE-2021-23214, CVE-2021-23222, O#359, O#363: what came behind a request for encryption came before it and may be
// anybody's.
func TestBytesBehindARequestForEncryptionEndTheConnection(t *testing.T) {
	secure := secureDoor(t, authority.New(), NoDemand)
	for _, c := range []struct {
		request uint32
		door    *Door
		name    string
	}{
		{sslRequest, secure, "SSL request"}, {sslRequest, door(t), "SSL request"},
		{gssRequest, secure, "GSSAPI encryption request"}, {gssRequest, door(t), "GSSAPI encryption request"},
	} {
		p := remote(t, c.door)
		p.send(append(packet(c.request, ""), startup("user", "trusting")...))
		p.wantFatal("injected bytes", "08P01", "received unencrypted data after "+c.name)
	}
}

func TestClearTextIsRefusedWhereTLSIsDemanded(t *testing.T) {
	for _, demand := range []Demand{DemandTLS, DemandCertificate, DemandName} {
		p := remote(t, secureDoor(t, authority.New(), demand))
		p.send(startup("user", "trusting", "database", "d"))
		p.wantFatal("clear text", "28000", `no pg_hba.conf entry for host "127.0.0.1", user "trusting", database "d", no encryption`)
	}
}

// M 1.7.9: drivers cancel in clear while they speak TLS otherwise (pgx), or over TLS (Npgsql).
func TestACancelRequestMayComeInClearAndOverTLS(t *testing.T) {
	a := authority.New()
	for _, encrypted := range []bool{false, true} {
		p := remote(t, secureDoor(t, a, DemandName))
		if encrypted {
			if err := p.encrypt(a, false, &tls.Config{}); err != nil {
				t.Fatal(err)
			}
		}
		p.send(packet(cancelRequest, "\x00\x00\x00\x07abcd"))
		if result := p.over(); result.cancel == nil || result.cancel.Pid != 7 {
			t.Errorf("the login ends with %+v", result)
		}
	}
}

func TestClientsCertificates(t *testing.T) {
	a, foreign := authority.New(), authority.New()
	hour := time.Now().Add(-time.Hour)
	const needed, wrong = "connection requires a valid client certificate", `certificate authentication failed for user "trusting"`
	for _, c := range []struct {
		name   string
		shown  []tls.Certificate
		demand Demand
		said   string // empty: it is let in
	}{
		{"none, and none is demanded", nil, DemandTLS, ""},
		{"none", nil, DemandCertificate, needed},
		{"none", nil, DemandName, needed},
		{"another's", []tls.Certificate{a.Issue("another")}, DemandCertificate, ""},
		{"another's", []tls.Certificate{a.Issue("another")}, DemandName, wrong},
		{"one without a name", []tls.Certificate{a.Issue("")}, DemandName, wrong},
		{"its own", []tls.Certificate{a.Issue("trusting")}, DemandName, ""},
		{"one with a second name", []tls.Certificate{a.IssueTo("trusting", "another")}, DemandName, ""},
		{"one whose second name it is", []tls.Certificate{a.IssueTo("another", "trusting")}, DemandName, wrong},
	} {
		p := remote(t, secureDoor(t, a, c.demand))
		if err := p.encrypt(a, false, &tls.Config{Certificates: c.shown}); err != nil {
			t.Fatal(c.name, err)
		}
		p.send(startup("user", "trusting"))
		if c.said != "" {
			p.wantFatal(c.name, "28000", c.said)
			continue
		}
		e := p.wantClient(c.name).Encryption
		if len(c.shown) > 0 && (e.Theirs == nil || !e.Theirs.Equal(c.shown[0].Leaf)) {
			t.Errorf("%s: its certificate is told to be %v", c.name, e.Theirs)
		}
	}
	for name, shown := range map[string]tls.Certificate{
		"a foreign one": foreign.Issue("trusting"), "an expired one": a.IssueUntil("trusting", hour),
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			p := remote(t, secureDoor(t, a, NoDemand))
			_ = p.encrypt(a, false, &tls.Config{MaxVersion: version, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &shown, nil // whatever authorities are asked for
			}})
			result := p.over()
			if result.client != nil || result.err == nil || !strings.HasPrefix(result.err.Error(), "TLS: ") {
				t.Errorf("%s: the login ends with %+v", name, result)
			}
			if _, err := io.ReadAll(p.conn); err == nil {
				t.Errorf("%s: the client is not told", name)
			}
		}
	}
}

// CVE-2009-4034, as in PostgreSQL: whatever the certificate is for, and whether anybody asks for it.
func TestACertificateWithAZeroByteInItsNameEndsTheConnection(t *testing.T) {
	a := authority.New()
	for _, name := range []string{"trusting\x00.example.com", "\x00"} {
		p := remote(t, secureDoor(t, a, NoDemand))
		if err := p.encrypt(a, false, &tls.Config{Certificates: []tls.Certificate{a.IssueTo(name)}}); err != nil {
			t.Fatal(err)
		}
		p.wantEnd("a zero byte")
		if result := p.over(); result.client != nil || result.err == nil || !strings.Contains(result.err.Error(), "common name contains embedded null") {
			t.Errorf("%q: the login ends with %+v", name, result)
		}
	}
}

func TestAHandshakeThatTakesTooLongEndsWithoutClearText(t *testing.T) {
	p := remoteFor(t, secureDoor(t, authority.New(), NoDemand), 50*time.Millisecond)
	p.send(packet(sslRequest, ""))
	p.want("there is TLS", "S")
	p.send([]byte{0x16, 3, 1, 2, 0, 1})
	p.wantEnd("half a handshake")
	if result := p.over(); result.err == nil || result.client != nil {
		t.Errorf("the login ends with %+v", result)
	}
}

func TestAClientThatLeavesInTheHandshakeHasLeft(t *testing.T) {
	p := remote(t, secureDoor(t, authority.New(), NoDemand))
	p.send(packet(sslRequest, ""))
	p.want("there is TLS", "S")
	p.send([]byte{0x16, 3, 1})
	p.conn.(*net.TCPConn).CloseWrite()
	p.wantLeft("half a handshake")
}

func TestALoginOverTLSThatTakesTooLongIsToldSo(t *testing.T) {
	a := authority.New()
	p := remoteFor(t, secureDoor(t, a, NoDemand), 300*time.Millisecond)
	if err := p.encrypt(a, false, &tls.Config{}); err != nil {
		t.Fatal(err)
	}
	p.wantFatal("silence behind the handshake", "57014", "canceling authentication due to timeout")
}
