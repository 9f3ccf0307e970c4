package backend

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// wantCancelWorks runs a statement that would take long, cancels it once the server shows it, and wants 57014.
func wantCancelWorks(t *testing.T, c *Conn) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		if err := awaitActive(c.Pid); err != nil {
			done <- err
			return
		}
		done <- c.Cancel(context.Background())
	}()
	_, code := query(t, c, "select pg_sleep(15)")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if code != "57014" {
		t.Errorf("the statement ends with SQLSTATE %q", code)
	}
	if rows, _ := query(t, c, "select 'next'"); !slices.Equal(rows, []string{"next"}) {
		t.Errorf("the next statement is hit too: %v", rows)
	}
}

// awaitActive waits for the sleeping statement of the shared server's process pid.
func awaitActive(pid uint32) error {
	deadline := time.Now().Add(soon)
	for time.Now().Before(deadline) {
		got, err := shared.server.Query("postgres", fmt.Sprintf(
			"select 1 from pg_stat_activity where pid = %d and wait_event = 'PgSleep'", pid))
		if err != nil {
			return err
		}
		if len(got) > 0 {
			return nil
		}
	}
	return fmt.Errorf("process %d does not sleep", pid)
}

func TestCancelEndsTheStatementAndNothingElse(t *testing.T) {
	wantCancelWorks(t, dial(t, server(t).URL("postgres")))
}

func TestCancelOfAnIdleConnectionChangesNothing(t *testing.T) {
	c := dial(t, server(t).URL("postgres"))
	if err := c.Cancel(context.Background()); err != nil {
		t.Fatal(err)
	}
	if rows, code := query(t, c, "select 'untouched'"); !slices.Equal(rows, []string{"untouched"}) {
		t.Errorf("got %v, %q", rows, code)
	}
}

func TestCancelWorksAfterClose(t *testing.T) {
	c := dial(t, server(t).URL("postgres"))
	c.Close()
	if err := c.Cancel(context.Background()); err != nil {
		t.Error(err)
	}
}

// B#38, #245, #717: who gave the backend on before the signal was sent had it hit the next client's statement.
func TestCancelReturnsWhenTheServerHasClosedItsConnection(t *testing.T) {
	release, requested := make(chan struct{}), make(chan []byte, 1)
	s := server(t)
	address := listen(t, func(conn net.Conn) {
		first := readPacket(conn)
		if len(first) == 16 && binary.BigEndian.Uint32(first[4:]) == 80877102 {
			requested <- first
			<-release
			return
		}
		pipe(conn, s, first)
	})
	c := dial(t, "postgres://postgres@"+address+"/postgres?sslmode=disable")
	returned := make(chan error, 1)
	go func() { returned <- c.Cancel(context.Background()) }()
	if p := <-requested; binary.BigEndian.Uint32(p[8:]) != c.Pid || string(p[12:]) != string(c.Key) {
		t.Errorf("the request is %q", p)
	}
	select {
	case err := <-returned:
		t.Errorf("Cancel returns before the server has closed: %v", err)
	default:
	}
	close(release)
	if err := <-returned; err != nil {
		t.Error(err)
	}
}

func TestCancelThatIsNotAnsweredEndsWithItsContext(t *testing.T) {
	s := server(t)
	ctx, cancel := context.WithCancel(context.Background())
	address := listen(t, func(conn net.Conn) {
		first := readPacket(conn)
		if len(first) == 16 {
			cancel()
			drain(conn)
			return
		}
		pipe(conn, s, first)
	})
	c := dial(t, "postgres://postgres@"+address+"/postgres?sslmode=disable")
	if err := c.Cancel(ctx); !errors.Is(err, ErrAstray) {
		t.Errorf("the server may take the request whenever it likes, and Cancel says %v", err)
	}
}

func TestCancelThatNobodyTakesIsAnError(t *testing.T) {
	s := server(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, err := l.Accept()
		l.Close() // the connection stays, further ones are refused
		if err == nil {
			pipe(conn, s, readPacket(conn))
		}
	}()
	c := dial(t, "postgres://postgres@"+l.Addr().String()+"/postgres?sslmode=disable")
	if err := c.Cancel(context.Background()); err == nil || errors.Is(err, ErrAstray) {
		t.Errorf("nobody listens, and Cancel says %v", err)
	}
	c.Close()
	<-served
}

// pgx#2578: the key of a connection over TLS was sent in clear.
func TestCancelGoesOverTLSWhereTheConnectionDoes(t *testing.T) {
	s := server(t)
	front := newTLSFront(t, s)
	c := dial(t, "postgres://postgres@"+front.address+"/postgres?sslmode=require")
	wantCancelWorks(t, c)
	if seen := front.seen(); !slices.Equal(seen, []string{"tls startup", "tls cancel"}) {
		t.Errorf("the server saw %v", seen)
	}
}

// tlsFront ends TLS in front of a server that has none, and notes what comes.
type tlsFront struct {
	address string
	mu      sync.Mutex
	came    []string
}

func (f *tlsFront) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.came = append(f.came, what)
}

func (f *tlsFront) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.came)
}

func newTLSFront(t *testing.T, s *postgres.Server) *tlsFront {
	t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}
	f := &tlsFront{}
	f.address = listen(t, func(conn net.Conn) {
		how, first := "clear ", readPacket(conn)
		if len(first) == 8 {
			_, _ = conn.Write([]byte{'S'})
			conn = tls.Server(conn, config)
			defer conn.Close()
			how, first = "tls ", readPacket(conn)
		}
		if len(first) == 16 {
			f.note(how + "cancel")
		} else {
			f.note(how + "startup")
		}
		pipe(conn, s, first)
	})
	return f
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{certificate}, PrivateKey: key}
}

// readPacket reads one packet before login, whole.
func readPacket(conn net.Conn) []byte {
	p := make([]byte, 4)
	if _, err := io.ReadFull(conn, p); err != nil {
		return nil
	}
	p = append(p, make([]byte, binary.BigEndian.Uint32(p)-4)...)
	_, _ = io.ReadFull(conn, p[4:])
	return p
}

// pipe forwards first, and then everything, between a client and the server until either closes.
func pipe(client net.Conn, s *postgres.Server, first []byte) {
	real, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", s.Port))
	if err != nil {
		return
	}
	_, _ = real.Write(first)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(client, real)
		client.Close()
	}()
	_, _ = io.Copy(real, client)
	real.Close()
	<-done
}
