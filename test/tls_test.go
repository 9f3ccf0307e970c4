package test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/authority"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// secured is a proxy that speaks TLS, and who has signed its certificate.
type secured struct {
	*rig
	*authority.Authority
	folder, ca string
	config     proxy.TLS
}

func startSecured(t testing.TB, mode proxy.TLSMode, edits ...func(*proxy.Config)) *secured {
	t.Helper()
	s := &secured{Authority: authority.New(), folder: t.TempDir()}
	s.config = proxy.TLS{Mode: mode}
	var err error
	if s.config.Certificate, s.config.Key, err = authority.Files(s.folder, s.Issue("localhost")); err != nil {
		t.Fatal(err)
	}
	if s.ca, err = s.File(s.folder); err != nil {
		t.Fatal(err)
	}
	s.config.Authorities = s.ca
	s.rig = startProxy(t, append(edits, func(c *proxy.Config) { c.TLS = s.config })...)
	return s
}

// secureURL connects through the proxy with what libpq's keywords say.
func (s *secured) secureURL(t testing.TB, user string, keywords ...string) string {
	t.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(user)
	q := url.Values{"sslrootcert": {s.ca}, "sslmode": {"verify-full"}}
	for i := 0; i < len(keywords); i += 2 {
		q.Set(keywords[i], keywords[i+1])
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// everyLink runs a test with each way to serve sockets.
func everyLink(t *testing.T, f func(t *testing.T, links func(*proxy.Config))) {
	for ways := range proxy.WaysToLink {
		t.Run([]string{"loops", "spread loops", "calling loops", "goroutines"}[ways], func(t *testing.T) {
			f(t, func(c *proxy.Config) { c.Links = ways })
		})
	}
}

func TestASessionOverTLS(t *testing.T) {
	everyLink(t, func(t *testing.T, links func(*proxy.Config)) {
		s := startSecured(t, proxy.RequireTLS, links)
		ctx := context.Background()
		conn, err := pgx.Connect(ctx, s.secureURL(t, "postgres"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		want := strings.Repeat("wide ", 100_000)
		var got string
		if err := conn.QueryRow(ctx, "SELECT $1::text || 'end'", want).Scan(&got); err != nil || got != want+"end" {
			t.Errorf("%d bytes come back, %v", len(got), err)
		}
		if spoken := s.server.Sessions()[0].TLS; !strings.HasPrefix(spoken, "TLSv1.3/TLS_AES_128_GCM_SHA256/ECDH=") {
			t.Errorf("the console is told %q", spoken)
		}
	})
}

// Server connections with TLS have goroutines, whatever the clients' have.
func TestSessionsBeforeAServerWithTLS(t *testing.T) {
	a := authority.New()
	server := postgres.Start(t)
	folder := t.TempDir()
	certificate, key, err := authority.Files(folder, a.Issue("server"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := a.File(folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.EnableTLS(certificate, key, ca); err != nil {
		t.Fatal(err)
	}
	everyLink(t, func(t *testing.T, links func(*proxy.Config)) {
		r := startProxyBefore(t, server, links, withDatabase(func(d *proxy.Database) {
			d.URL = strings.Replace(d.URL, "sslmode=disable", "sslmode=verify-full&sslrootcert="+ca, 1)
		}))
		conn := dial(t, r.url)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		results, err := conn.Exec(ctx, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid(); SELECT repeat('x', 20000000)").ReadAll()
		if err != nil || string(results[0].Rows[0][0]) != "t" || len(results[1].Rows[0][0]) != 20_000_000 {
			t.Fatal(results, err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := conn.Exec(ctx, "SELECT pg_sleep(20)").ReadAll()
			done <- err
		}()
		r.awaitRow(t, "the statement runs", "count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()")
		if err := conn.CancelRequest(ctx); err != nil {
			t.Fatal(err)
		}
		if err := <-done; sqlState(err) != "57014" {
			t.Errorf("a cancel request that goes to the server over TLS: %v", err)
		}
	})
}

// clientFiles are the keywords by which a client shows a certificate.
func (s *secured) clientFiles(t testing.TB, certificate tls.Certificate) []string {
	t.Helper()
	cert, key, err := authority.Files(t.TempDir(), certificate)
	if err != nil {
		t.Fatal(err)
	}
	return []string{"sslcert", cert, "sslkey", key}
}

func TestModesOfTLS(t *testing.T) {
	foreign := authority.New()
	for _, mode := range []proxy.TLSMode{proxy.AllowTLS, proxy.RequireTLS, proxy.VerifyCA, proxy.VerifyFull} {
		t.Run(proxy.TLSModes[mode], func(t *testing.T) {
			s := startSecured(t, mode)
			shows := map[string][]string{
				"nothing": nil, "its own": s.clientFiles(t, s.Issue("postgres")), "another's": s.clientFiles(t, s.Issue("another")),
				"an expired one": s.clientFiles(t, s.IssueUntil("postgres", time.Now().Add(-time.Minute))),
				"a foreign one":  s.clientFiles(t, foreign.Issue("postgres")),
			}
			told := map[string]string{} // nothing: it is let in
			switch mode {
			case proxy.VerifyFull:
				told["another's"] = `certificate authentication failed for user "postgres"`
				fallthrough
			case proxy.VerifyCA:
				told["nothing"] = "connection requires a valid client certificate"
			}
			drivers(t, func(t *testing.T, login func(string) error) {
				for what, files := range shows {
					err := login(s.secureURL(t, "postgres", files...))
					words, refused := told[what]
					if what == "an expired one" || what == "a foreign one" {
						refused = true
					}
					if (err != nil) != refused || refused && !strings.Contains(err.Error(), words) {
						t.Errorf("a client that shows %s: %v", what, err)
					}
				}
				err := login(s.secureURL(t, "postgres", "sslmode", "disable"))
				if mode == proxy.AllowTLS {
					if err != nil {
						t.Errorf("clear text: %v", err)
					}
				} else if err == nil || !strings.Contains(err.Error(), "no pg_hba.conf entry for host \"127.0.0.1\"") {
					t.Errorf("clear text: %v", err)
				}
			})
		})
	}
}

// What libpq makes of sslmode is the same as with PostgreSQL.
func TestSSLModesOfPsql(t *testing.T) {
	s := startSecured(t, proxy.RequireTLS)
	for _, mode := range []string{"allow", "prefer", "require", "verify-ca", "verify-full"} {
		if out, err := psql(t, s.secureURL(t, "postgres", "sslmode", mode, "channel_binding", "disable"), "SELECT 1").CombinedOutput(); err != nil {
			t.Errorf("%s where TLS is required: %s", mode, out)
		}
	}
	for _, session := range s.server.Sessions() {
		if session.TLS == "" {
			t.Errorf("%s is let in without TLS", session.Address)
		}
	}
}

func TestSSLModesOfPsqlWhereThereIsNoTLS(t *testing.T) {
	r := startProxy(t)
	for mode, refused := range map[string]bool{"allow": false, "prefer": false, "require": true, "verify-ca": true, "verify-full": true} {
		if out, err := psql(t, withParameter(t, r.url, "sslmode", mode), "SELECT 1").CombinedOutput(); (err != nil) != refused {
			t.Errorf("%s: %s", mode, out)
		}
	}
}

// rawTLS is a client that begins with TLS at once, as PostgreSQL 17's do with sslnegotiation=direct.
func (s *secured) rawTLS(t testing.TB, protocols ...string) (*tls.Conn, error) {
	t.Helper()
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: s.Pool(), ServerName: "localhost", NextProtos: protocols}}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp", s.server.Addrs()[0].String())
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*tls.Conn), conn.SetDeadline(time.Now().Add(patience))
}

func startupPacket(database string) []byte {
	body := version + "user\x00postgres\x00database\x00" + database + "\x00\x00"
	return append(binary.BigEndian.AppendUint32(nil, uint32(4+len(body))), body...)
}

func TestDirectTLS(t *testing.T) {
	s := startSecured(t, proxy.RequireTLS)
	conn, err := s.rawTLS(t, "postgresql")
	if err != nil {
		t.Fatal(err)
	}
	// A query right behind the startup packet, in the same record, is the session's.
	if _, err := conn.Write(append(startupPacket(s.database), framed('Q', 13, "SELECT 7\x00")...)); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for p := make([]byte, 4096); !strings.Contains(string(got), "SELECT 1\x00Z"); {
		n, err := conn.Read(p)
		got = append(got, p[:n]...)
		if err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	}
	nameless, err := s.rawTLS(t)
	if err == nil {
		_, _ = nameless.Write(startupPacket(s.database))
		got, err = io.ReadAll(nameless)
	}
	if len(got) > 0 && err == nil && nameless != nil && strings.Contains(string(got), "R\x00") {
		t.Errorf("without ALPN: %q", got)
	}
	if !s.log.has("without ALPN protocol negotiation extension") {
		t.Error("the log does not say why")
	}
}

// CVE-2021-23214: what is injected behind an SSLRequest is not taken for the client's.
func TestBytesInjectedBeforeTLS(t *testing.T) {
	s := startSecured(t, proxy.AllowTLS)
	conn, err := net.Dial("tcp", s.server.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	request := long(8, "\x04\xd2\x16\x2f")
	if _, err := conn.Write(append(request, startupPacket(s.database)...)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(got), "C08P01\x00Mreceived unencrypted data after SSL request") {
		t.Errorf("%q, %v", got, err)
	}
}

func TestCancelRequestsOfClientsWithTLS(t *testing.T) {
	s := startSecured(t, proxy.RequireTLS)
	ctx := context.Background()
	conn := dial(t, s.secureURL(t, "postgres"))
	for name, send := range map[string]func() error{
		"as the driver sends it": func() error { return conn.CancelRequest(ctx) },
		"in clear":               func() error { return s.sendCancel(t, conn.PID(), conn.SecretKey(), false) },
		"over TLS":               func() error { return s.sendCancel(t, conn.PID(), conn.SecretKey(), true) },
	} {
		done := make(chan error, 1)
		go func() {
			_, err := conn.Exec(ctx, "SELECT pg_sleep(20)").ReadAll()
			done <- err
		}()
		s.awaitRow(t, "the statement runs", "count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()")
		if err := send(); err != nil {
			t.Fatal(name, err)
		}
		if err := <-done; sqlState(err) != "57014" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// sendCancel sends a cancel request, and waits until the other side ends the connection.
func (s *secured) sendCancel(t testing.TB, pid uint32, key []byte, encrypted bool) error {
	t.Helper()
	conn, err := net.Dial("tcp", s.server.Addrs()[0].String())
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if encrypted {
		if _, err := conn.Write(long(8, "\x04\xd2\x16\x2f")); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			return err
		}
		conn = tls.Client(conn, &tls.Config{RootCAs: s.Pool(), ServerName: "localhost"})
	}
	body := binary.BigEndian.AppendUint32([]byte("\x04\xd2\x16\x2e"), pid)
	if _, err := conn.Write(long(uint32(8+4+len(key)), string(body)+string(key))); err != nil {
		return err
	}
	rest, err := io.ReadAll(conn)
	if len(rest) > 0 {
		return errors.New("it is answered")
	}
	return err
}

func TestTheCertificateFollowsItsFiles(t *testing.T) {
	s := startSecured(t, proxy.RequireTLS)
	shown := func() string {
		conn, err := s.rawTLS(t, "postgresql")
		if err != nil {
			t.Fatal(err)
		}
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	old := connect(t, s.secureURL(t, "postgres"))
	before := shown()
	if err := os.WriteFile(s.config.Certificate, []byte("half a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, "the log tells of a file that cannot be used", func() bool { return s.log.has("the TLS certificate stays the one it was") })
	if shown() != before {
		t.Error("a broken file changes what clients are shown")
	}
	if _, _, err := authority.Files(s.folder, s.Issue("localhost")); err != nil {
		t.Fatal(err)
	}
	await(t, "another certificate is shown", func() bool { return shown() != before })
	var one int
	if err := old.QueryRow(context.Background(), "SELECT 1").Scan(&one); err != nil {
		t.Errorf("a connection from before: %v", err)
	}
	connect(t, s.secureURL(t, "postgres"))
}

func TestLargeResultsAndCopyOverTLSWithASlowReader(t *testing.T) {
	everyLink(t, func(t *testing.T, links func(*proxy.Config)) {
		s := startSecured(t, proxy.RequireTLS, links, func(c *proxy.Config) { c.MaxBuffer = 64 << 10 })
		conn := dial(t, s.secureURL(t, "postgres"))
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := conn.Exec(ctx, "CREATE TABLE t (a text)").Close(); err != nil {
			t.Fatal(err)
		}
		const rows = 20_000
		line := strings.Repeat("x", 499) + "\n"
		if _, err := conn.CopyFrom(ctx, strings.NewReader(strings.Repeat(line, rows)), "COPY t FROM STDIN"); err != nil {
			t.Fatal(err)
		}
		var took slowly
		if _, err := conn.CopyTo(ctx, &took, "COPY t TO STDOUT"); err != nil || took != slowly(rows*len(line)) {
			t.Errorf("%d bytes of %d come back, %v", took, rows*len(line), err)
		}
	})
}

// slowly counts bytes and takes its time, now and then.
type slowly int

func (n *slowly) Write(p []byte) (int, error) {
	if *n += slowly(len(p)); *n%(1<<20) < slowly(len(p)) {
		time.Sleep(5 * time.Millisecond)
	}
	return len(p), nil
}

// Half-open logins end with the login timeout, wherever they stopped.
func TestHalfOpenLoginsEnd(t *testing.T) {
	s := startSecured(t, proxy.AllowTLS, func(c *proxy.Config) { c.LoginTimeout = time.Second })
	for i, half := range [][]byte{nil, {0}, long(8, "\x04\xd2\x16\x2f"), startupPacket("x")[:20], {0x16, 3, 1, 2, 0, 1}, clientHello(t)} {
		conn, err := net.Dial("tcp", s.server.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write(half); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
			t.Errorf("a login of kind %d does not end", i)
		}
	}
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}

// clientHello is the first message of a TLS handshake.
func clientHello(t testing.TB) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		_ = tls.Client(theirs, &tls.Config{ServerName: "localhost", NextProtos: []string{"postgresql"}}).Handshake()
		theirs.Close()
	}()
	p := make([]byte, 4096)
	n, err := ours.Read(p)
	if err != nil {
		t.Fatal(err)
	}
	return p[:n]
}
