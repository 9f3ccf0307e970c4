package test

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockproxy/lockproxy/proxy"
)

// urlAt gives the proxy's URL at another of its addresses.
func (r *rig) urlAt(t testing.TB, address net.Addr) string {
	t.Helper()
	if address.Network() == "unix" {
		folder, name := filepath.Split(address.String())
		return "postgres://postgres@/" + r.database + "?sslmode=disable&host=" + url.QueryEscape(folder) +
			"&port=" + strings.TrimPrefix(filepath.Ext(name), ".")
	}
	u, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = address.String()
	return u.String()
}

func TestSeveralListeners(t *testing.T) {
	everyLink(t, func(t *testing.T, links func(*proxy.Config)) {
		folder := t.TempDir()
		r := startProxy(t, links, func(c *proxy.Config) {
			c.Listen = []string{"127.0.0.1:0", "[::1]:0", folder}
			c.UnixSocketMode = 0o750
		})
		addresses := r.server.Addrs()
		for _, address := range addresses {
			conn := dial(t, r.urlAt(t, address))
			if _, err := conn.Exec(context.Background(), "SELECT 1").ReadAll(); err != nil {
				t.Errorf("%s: %v", address, err)
			}
		}
		var seen []string
		for _, s := range r.server.Sessions() {
			if host, _, err := net.SplitHostPort(s.Address); err == nil {
				seen = append(seen, host)
			} else {
				seen = append(seen, s.Address)
			}
		}
		for _, want := range []string{"127.0.0.1", "::1", "local"} {
			if !strings.Contains(strings.Join(seen, " "), want) {
				t.Errorf("nobody has come from %s: %v", want, seen)
			}
		}
		info, err := os.Stat(addresses[2].String())
		if err != nil || info.Mode().Perm() != 0o750 {
			t.Errorf("the socket's mode is %v, %v", info.Mode(), err)
		}
		r.stop()
		if _, err := os.Stat(addresses[2].String()); err == nil {
			t.Error("the socket's file stays behind")
		}
	})
}

func TestPeerOnAUnixSocket(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	everyLink(t, func(t *testing.T, links func(*proxy.Config)) {
		hba := written(t, "pg_hba.conf", "local all all peer map=m\n")
		maps := written(t, "pg_ident.conf", "m "+me.Username+" postgres\n")
		r := startProxy(t, links, func(c *proxy.Config) {
			c.Listen = []string{t.TempDir()}
			c.Auth = proxy.Auth{Type: proxy.HBA, HBAFile: hba, IdentFile: maps, File: written(t, "userlist.txt", `"postgres" ""`)}
		})
		in := r.urlAt(t, r.server.Addrs()[0])
		if _, err := dial(t, in).Exec(context.Background(), "SELECT 1").ReadAll(); err != nil {
			t.Errorf("the user whose process it is: %v", err)
		}
		_, err := pgconn.Connect(context.Background(), as(t, in, "another", ""))
		if sqlState(err) != "28000" {
			t.Errorf("another user: %v", err)
		}
	})
}

func TestAnAddressIsListenedAtTwiceOnlyWhereThatIsWanted(t *testing.T) {
	first := startProxy(t, func(c *proxy.Config) { c.ReusePort = true })
	address := first.server.Addrs()[0].String()
	second := startProxy(t, func(c *proxy.Config) { c.ReusePort, c.Listen = true, []string{address} })
	first.stop()
	if _, err := dial(t, second.url).Exec(context.Background(), "SELECT 1").ReadAll(); err != nil {
		t.Errorf("the second goes on where the first has ended: %v", err)
	}
	if _, err := listening(t, address); err == nil {
		t.Error("an address that is taken is listened at")
	}
}

// listening opens a proxy's listeners; the test closes them.
func listening(t *testing.T, addresses ...string) ([]net.Addr, error) {
	t.Helper()
	config := defaults(upstream(t))
	config.Listen = addresses
	server, err := proxy.New(config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(); err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		ended, end := context.WithCancel(context.Background())
		end()
		if err := server.Serve(ended); err != nil {
			t.Error(err)
		}
	})
	return server.Addrs(), nil
}

// Whoever listens at all of IPv4 does not listen at IPv6 as well, nor the reverse: both can be listed.
func TestAddressesThatStandForAllAreOfOneFamily(t *testing.T) {
	answers := func(host, port string) bool {
		conn, err := net.Dial("tcp", net.JoinHostPort(host, port))
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	for _, c := range []struct {
		listen    string
		four, six bool
	}{{"0.0.0.0:0", true, false}, {"[::]:0", false, true}, {":0", true, true}} {
		addresses, err := listening(t, c.listen)
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(addresses[0].String())
		if four, six := answers("127.0.0.1", port), answers("::1", port); four != c.four || six != c.six {
			t.Errorf("at %s it answers by IPv4: %t, by IPv6: %t", c.listen, four, six)
		}
		if c.listen == "0.0.0.0:0" {
			if _, err := listening(t, "[::]:"+port); err != nil {
				t.Error(err)
			}
		}
	}
}

// A socket takes the place of one that nobody answers at, and of nothing else; none gets a name that no client could connect to.
func TestASocketReplacesNothingButASocket(t *testing.T) {
	folder := t.TempDir()
	stale := filepath.Join(folder, ".s.PGSQL.6432")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	if _, err := listening(t, folder); err != nil {
		t.Errorf("where there is a socket of somebody who has ended: %v", err)
	}
	file := written(t, "userlist.txt", "precious")
	if _, err := listening(t, file); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("where there is a file: %v", err)
	}
	if text, err := os.ReadFile(file); string(text) != "precious" {
		t.Errorf("the file is %q, %v", text, err)
	}
	if _, err := listening(t, filepath.Join(folder, strings.Repeat("x", 108))); err == nil || !strings.Contains(err.Error(), "longer than 107 bytes") {
		t.Errorf("at a long path: %v", err)
	}
}

// header is that of the PROXY protocol, version 2, for a client at an IPv4 address.
func header(client netip.AddrPort) []byte {
	p := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x21, 0x11, 0, 12)
	p = append(p, client.Addr().AsSlice()...)
	p = append(p, 192, 0, 2, 1)
	p = binary.BigEndian.AppendUint16(p, client.Port())
	return binary.BigEndian.AppendUint16(p, 5432)
}

// through connects as a load balancer does for a client.
func through(t testing.TB, url string, client netip.AddrPort) (*pgconn.PgConn, error) {
	t.Helper()
	config, err := pgconn.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			_, err = conn.Write(header(client))
		}
		return conn, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err == nil {
		t.Cleanup(func() { closeConn(conn.Close) })
	}
	return conn, err
}

func TestProxyProtocol(t *testing.T) {
	client := netip.MustParseAddrPort("203.0.113.7:54321")
	listed := func(prefix string) func(*proxy.Config) {
		return func(c *proxy.Config) { c.ProxyProtocol = []netip.Prefix{netip.MustParsePrefix(prefix)} }
	}
	everyLink(t, func(t *testing.T, links func(*proxy.Config)) {
		s := startSecured(t, proxy.AllowTLS, links, listed("127.0.0.0/8"))
		for _, url := range []string{s.url, s.secureURL(t, "postgres")} {
			conn, err := through(t, url, client)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Exec(context.Background(), "SELECT 1").ReadAll(); err != nil {
				t.Error(err)
			}
		}
		for _, one := range s.server.Sessions() {
			if one.Address != client.String() {
				t.Errorf("the console is told of %s", one.Address)
			}
		}
		if _, err := pgconn.Connect(context.Background(), s.url); err == nil {
			t.Error("a client without a header is let in")
		}
		if !s.log.has("PROXY protocol: there is no header of version 2", "127.0.0.1") {
			t.Error("the log does not say why")
		}
	})
	r := startProxy(t, listed("10.0.0.0/8"))
	if _, err := through(t, r.url, client); err == nil {
		t.Error("a header from elsewhere is believed")
	}
	r = startProxy(t, listed("127.0.0.0/8"), func(c *proxy.Config) { c.MaxClientsPerAddress = 1 })
	for _, from := range []string{"203.0.113.7:1", "203.0.113.8:1"} {
		if _, err := through(t, r.url, netip.MustParseAddrPort(from)); err != nil {
			t.Errorf("the first client of %s: %v", from, err)
		}
	}
	if _, err := through(t, r.url, client); sqlState(err) != "53300" {
		t.Errorf("the second of an address: %v", err)
	}
}
