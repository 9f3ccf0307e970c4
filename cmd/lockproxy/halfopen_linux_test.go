package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockproxy/lockproxy/test/authority"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// Ten thousand who stop at one point or another of a login take little memory and keep nobody out. lockproxy is a process of its
// own: a system may give either side no more than twenty thousand descriptors.
func TestTenThousandHalfOpenLoginsTakeLittleAndKeepNobodyOut(t *testing.T) {
	const strangers = 10_000
	address := freePort(t)
	p := spawn(t, servedWithTLS(t, address), nil)
	p.until("msg=listening")
	hello := clientHello(t)
	half := [][]byte{
		nil, {0}, // nothing, and less than a length
		{0, 0, 0, 8, 4, 210, 22, 47},   // an SSLRequest
		{0, 0, 0, 41, 0, 3, 0, 0, 'u'}, // a startup packet without its end
		hello[:6], hello,               // TLS at once, without its end and to the server's turn
		[]byte("\x00\x00\x00\x15\x00\x03\x00\x00user\x00nobody\x00\x00"), // a startup packet, after which a proof is awaited
	}
	visitors := "postgres://boss:secret@" + address + "/%s?sslmode=disable&default_query_exec_mode=simple_protocol"
	operator := connectTo(t, fmt.Sprintf(visitors, "lockproxy"))
	before := residentOf(t, p)

	var all sync.WaitGroup
	conns := make([]net.Conn, strangers)
	const width = 50
	for from := range width {
		all.Go(func() {
			for i := from; i < strangers; i += width {
				conn, err := net.Dial("tcp", address)
				if err == nil {
					_, err = conn.Write(half[i%len(half)])
				}
				if conns[i] = conn; err != nil {
					t.Errorf("stranger %d: %v", i, err)
					return
				}
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	awaitLogins(t, operator, strangers)
	began := time.Now()
	for range 20 {
		connectTo(t, fmt.Sprintf(visitors, "postgres"))
	}
	took, each := time.Since(began), (residentOf(t, p)-before)/strangers
	if t.Logf("each takes %d bytes; 20 logins take %v meanwhile", each, took); took > 10*time.Second {
		t.Errorf("20 logins take %v meanwhile", took)
	}
	if each > 32<<10 && !detectsRaces() {
		t.Errorf("a half-open login takes %d bytes", each)
	}
	for _, conn := range conns {
		conn.Close()
	}
	awaitLogins(t, operator, 0)
}

// servedWithTLS writes a configuration file for a lockproxy that shows a certificate and asks for passwords.
func servedWithTLS(t *testing.T, address string) (path string) {
	t.Helper()
	upstream, folder := postgres.Start(t), t.TempDir()
	certificate, key, err := authority.Files(folder, authority.New().Issue("localhost"))
	users := filepath.Join(folder, "users.txt")
	path = filepath.Join(folder, "c.toml")
	text := fmt.Sprintf("[server]\nlisten = [%q]\nmax_clients = 12000\nlogin_timeout = '10m'\n[tls]\nmode = 'allow'\ncert = %q\nkey = %q\n"+
		"[auth]\ntype = 'scram-sha-256'\nfile = %q\n[console]\nadmin_users = ['boss']\n[databases.'*']\nurl = 'postgres://postgres@127.0.0.1:%d'\n",
		address, certificate, key, users, upstream.Port)
	if err := errors.Join(err, os.WriteFile(users, []byte(`"boss" "secret"`), 0o600), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

// clientHello is the first message of a TLS handshake without an SSLRequest.
func clientHello(t *testing.T) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	var client sync.WaitGroup
	client.Go(func() {
		_ = tls.Client(theirs, &tls.Config{ServerName: "localhost", NextProtos: []string{"postgresql"}}).Handshake()
		theirs.Close()
	})
	defer client.Wait()
	defer ours.Close()
	hello := make([]byte, 4096)
	n, err := ours.Read(hello)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clip(hello[:n])
}

func connectTo(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// loggingIn is how many the console says are about to log in.
func loggingIn(t *testing.T, operator *pgx.Conn) (count int) {
	t.Helper()
	rows, err := operator.Query(t.Context(), "SHOW LISTS")
	if err != nil {
		t.Fatal(err)
	}
	var name string
	var items int
	if _, err := pgx.ForEachRow(rows, []any{&name, &items}, func() error {
		if name == "login_clients" {
			count = items
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return count
}

// awaitLogins waits until so many are about to log in.
func awaitLogins(t *testing.T, operator *pgx.Conn, count int) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; {
		switch now := loggingIn(t, operator); {
		case now == count:
			return
		case time.Now().After(deadline):
			t.Fatalf("%d are about to log in, want %d", now, count)
		}
	}
}

// residentOf is the most memory that the process has had, in bytes.
func residentOf(t *testing.T, p *process) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	peak := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if peak == nil {
		t.Fatalf("the process has no memory: %s", status)
	}
	kilobytes, _ := strconv.Atoi(string(peak[1]))
	return kilobytes << 10
}

// detectsRaces tells whether this program, and so the process, was built with the race detector, which takes memory of its own.
func detectsRaces() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
