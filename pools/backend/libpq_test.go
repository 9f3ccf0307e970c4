package backend

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/lockproxy/lockproxy/test/authority"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// front speaks TLS before the shared server, with a certificate of the test's own.
type front struct {
	port string

	mu   sync.Mutex
	last arrival
}

// arrival is how a client came that got as far as to say who it is.
type arrival struct {
	way     string // "TLS" or "clear"
	server  string // the name that it asked for (SNI)
	shows   bool   // it has a certificate
	version string // of TLS
}

func startFront(t *testing.T, certificate tls.Certificate) *front {
	t.Helper()
	s := server(t)
	f := &front{}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequestClientCert}
	_, f.port, _ = net.SplitHostPort(listen(t, func(conn net.Conn) {
		packet, came := readPacket(conn), arrival{way: "clear"}
		if len(packet) == 8 && packet[7] == 0x2f { // SSLRequest
			_, _ = conn.Write([]byte("S"))
			secure := tls.Server(conn, config)
			packet = readPacket(secure)
			state := secure.ConnectionState()
			came = arrival{"TLS", state.ServerName, len(state.PeerCertificates) > 0, tls.VersionName(state.Version)}
			conn = secure
		}
		if packet != nil {
			f.mu.Lock()
			f.last = came
			f.mu.Unlock()
			pipe(conn, s, packet)
		}
	}))
	return f
}

// arrived takes what the last client has done; nothing where none came through.
func (f *front) arrived() arrival {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := f.last
	f.last = arrival{}
	return last
}

// text is a connection string with these keywords and values.
func (f *front) text(host string, keywords ...string) string {
	text := fmt.Sprintf("host=%s port=%s user=postgres dbname=postgres", host, f.port)
	for i := 0; i < len(keywords); i += 2 {
		text += fmt.Sprintf(" %s='%s'", keywords[i], keywords[i+1])
	}
	return text
}

// both connects as libpq does and as we do. The host is at 127.0.0.1 whatever its name is. Each way is empty where there is no
// connection; the texts say why.
func (f *front) both(t *testing.T, host string, keywords ...string) (theirs, ours arrival, texts string) {
	t.Helper()
	text := f.text(host, keywords...) + " hostaddr=127.0.0.1"
	programs, err := postgres.Programs()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(programs, "psql"), "-X", "-w", "-c", "SELECT 1", text+" gssencmode=disable")
	out, err := cmd.CombinedOutput()
	if theirs = f.arrived(); err != nil {
		theirs = arrival{}
		texts = string(out)
	}
	to, err := ParseTarget(text)
	if err != nil {
		return theirs, arrival{}, texts + err.Error()
	}
	c, err := Dial(context.Background(), to)
	if ours = f.arrived(); err != nil {
		return theirs, arrival{}, texts + err.Error()
	}
	c.Close()
	return theirs, ours, texts
}

// atHome gives an authority and its file, where libpq and we read no files of the machine's.
func atHome(t *testing.T) (a *authority.Authority, ca string) {
	t.Helper()
	clearEnvironment(t)
	home(t)
	a = authority.New()
	ca, err := a.File(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return a, ca
}

// home gives libpq and us a home folder of the test's own, and the path of a file in its ".postgresql".
func home(t *testing.T) func(name string) (path string) {
	t.Helper()
	folder := t.TempDir()
	t.Setenv("HOME", folder)
	if err := os.Mkdir(filepath.Join(folder, ".postgresql"), 0o700); err != nil {
		t.Fatal(err)
	}
	return func(name string) string { return filepath.Join(folder, ".postgresql", name) }
}

func put(t *testing.T, path string, mode os.FileMode, blocks ...*pem.Block) {
	t.Helper()
	var text []byte
	for _, block := range blocks {
		text = append(text, pem.EncodeToMemory(block)...)
	}
	if err := os.WriteFile(path, text, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// putPair writes a certificate and its key.
func putPair(t *testing.T, certificate tls.Certificate, certificateFile, keyFile string, mode os.FileMode) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	put(t, certificateFile, 0o600, &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	put(t, keyFile, mode, &pem.Block{Type: "PRIVATE KEY", Bytes: key})
}
