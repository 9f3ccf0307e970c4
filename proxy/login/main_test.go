package login

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockproxy/lockproxy/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon bounds what must happen at once, for a machine that is busy.
const soon = 10 * time.Second

// admission is how a login ended.
type admission struct {
	client *Client
	cancel *Cancel
	rest   []byte // what came with its last bytes and is behind them
	err    error
}

// welcome runs a login over a blocking connection.
func welcome(d *Door, who Peer, conn net.Conn, timeout time.Duration) (a admission) {
	v := d.Begin(who)
	_ = conn.SetDeadline(time.Now().Add(timeout))
	p := make([]byte, 8192)
	for over := false; !over; {
		n, err := conn.Read(p)
		var said []byte
		switch network := net.Error(nil); {
		case n > 0:
			said, over = v.Received(p[:n])
			if errand := v.Errand(); errand != nil {
				_, _ = conn.Write(said)
				errand()
				said, over = v.Ran()
			}
		case errors.As(err, &network) && network.Timeout():
			said, over = v.Expire(), true
		default:
			v.End()
			over = true
		}
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = conn.Write(said)
	}
	a.rest = v.Rest()
	a.client, a.cancel, a.err = v.Result()
	return a
}

// testSalts are those of the doors of all tests.
var testSalts = NewSalts(nil)

// door knows: trusting needs no proof, alice has the password "secret", old has an MD5 secret, empty has none.
func door(t testing.TB) *Door {
	t.Helper()
	users := Userlist{}
	for user, text := range map[string]string{"alice": "secret", "old": "md5" + strings.Repeat("0", 32), "empty": ""} {
		secret, err := testSalts.ReadSecret(user, text)
		if err != nil {
			t.Fatal(err)
		}
		users[user] = secret
	}
	return &Door{Salts: testSalts, Rules: rules(t, "local all,replication trusting trust\nlocal all,replication all scram-sha-256"), Secret: users.find, Looks: users.looks()}
}

// looks are those of all users.
func (u Userlist) looks() *Looks {
	l := NewLooks()
	for user, secret := range u {
		l.Learn(user, secret)
	}
	return l
}

func (u Userlist) find(user, _ string) (Secret, bool) {
	secret, ok := u[user]
	return secret, ok
}

// rules reads a text in the format of pg_hba.conf.
func rules(t testing.TB, text string) Rules {
	t.Helper()
	rules, err := ReadRules(written(t, "pg_hba.conf", text))
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// written writes a file.
func written(t testing.TB, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// peer is the client's end of a login that runs.
type peer struct {
	t      testing.TB
	conn   net.Conn
	result chan admission
}

// visitor starts a login over TCP, whose sockets buffer what nobody reads yet.
func visitor(t testing.TB, d *Door) *peer {
	t.Helper()
	return visitorFor(t, d, Peer{}, soon)
}

// visitorAs does the same for somebody of whom more is known.
func visitorAs(t testing.TB, d *Door, who Peer) *peer {
	t.Helper()
	return visitorFor(t, d, who, soon)
}

// visitorFor does the same and bounds the login's time.
func visitorFor(t testing.TB, d *Door, who Peer, timeout time.Duration) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return start(t, d, who, timeout, client, server)
}

// pipe starts a login over net.Pipe, where every write waits for its reader.
func pipe(t testing.TB, d *Door) *peer {
	t.Helper()
	client, server := net.Pipe()
	return start(t, d, Peer{}, soon, client, server)
}

func start(t testing.TB, d *Door, who Peer, timeout time.Duration, client, server net.Conn) *peer {
	t.Helper()
	p := &peer{t: t, conn: client, result: make(chan admission, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		a := welcome(d, who, server, timeout)
		if a.err != nil {
			server.Close()
		}
		p.result <- a
	}()
	t.Cleanup(func() {
		client.Close()
		<-done
		server.Close()
	})
	if err := client.SetDeadline(time.Now().Add(2 * soon)); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *peer) send(packets ...[]byte) {
	p.t.Helper()
	for _, packet := range packets {
		if _, err := p.conn.Write(packet); err != nil {
			p.t.Fatal(err)
		}
	}
}

// want reads exactly these bytes.
func (p *peer) want(rule, want string) {
	p.t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(p.conn, got)
	if string(got[:n]) != want {
		p.t.Fatalf("%s: got %q (%v), want %q", rule, got[:n], err, want)
	}
}

// frame reads one message.
func (p *peer) frame() (kind byte, body []byte) {
	p.t.Helper()
	var head [5]byte
	if _, err := io.ReadFull(p.conn, head[:]); err != nil {
		p.t.Fatal(err)
	}
	kind, size := protocol.Head(head[:])
	body = make([]byte, size-len(head))
	if _, err := io.ReadFull(p.conn, body); err != nil {
		p.t.Fatal(err)
	}
	return kind, body
}

// wantFatal reads an error and the end of the connection, and wants the login to say the same.
func (p *peer) wantFatal(rule, code, message string) *Refusal {
	p.t.Helper()
	kind, body := p.frame()
	e := protocol.ReadError(body)
	if kind != 'E' || e.Severity != "FATAL" || e.Code != code || e.Message != message {
		p.t.Fatalf("%s: got %c, %v", rule, kind, &e)
	}
	p.wantEnd(rule)
	r := new(Refusal)
	if a := p.over(); !errors.As(a.err, &r) || *r.Said != e {
		p.t.Fatalf("%s: the login ends with %v", rule, a.err)
	}
	return r
}

// wantEnd wants nothing more to come.
func (p *peer) wantEnd(rule string) {
	p.t.Helper()
	rest, err := io.ReadAll(p.conn)
	var timeout net.Error
	if len(rest) > 0 || errors.As(err, &timeout) && timeout.Timeout() {
		p.t.Fatalf("%s: more comes: %q, %v", rule, rest, err)
	}
}

// over waits for the login to end.
func (p *peer) over() admission {
	p.t.Helper()
	select {
	case a := <-p.result:
		p.result <- a
		return a
	case <-time.After(3 * soon):
		p.t.Fatal("the login hangs")
		return admission{}
	}
}

// wantClient wants AuthenticationOk and a client.
func (p *peer) wantClient(rule string) *Client {
	p.t.Helper()
	p.want(rule, "R\x00\x00\x00\x08\x00\x00\x00\x00")
	a := p.over()
	if a.err != nil || a.client == nil || a.cancel != nil {
		p.t.Fatalf("%s: the login ends with %+v", rule, a)
	}
	return a.client
}

// wantLeft wants the login to end without a word to the client.
func (p *peer) wantLeft(rule string) {
	p.t.Helper()
	if a := p.over(); !errors.Is(a.err, ErrLeft) || a.client != nil || a.cancel != nil {
		p.t.Fatalf("%s: the login ends with %+v", rule, a)
	}
}

const (
	sslRequest    = 1234<<16 | 5679
	gssRequest    = 1234<<16 | 5680
	cancelRequest = 1234<<16 | 5678
	version3      = 3 << 16
)

func packet(code uint32, body string) []byte {
	p := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	return append(binary.BigEndian.AppendUint32(p, code), body...)
}

func startup(pairs ...string) []byte {
	return packet(version3, strings.Join(pairs, "\x00")+"\x00\x00")
}

// sasl frames a SASL message.
func sasl(body string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{'p'}, uint32(4+len(body))), body...)
}

func initial(data string) []byte {
	length := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	return sasl(mechanism + "\x00" + string(length) + data)
}

// offer is AuthenticationSASL.
var offer = fmt.Sprintf("R\x00\x00\x00\x17\x00\x00\x00\x0a%s\x00\x00", mechanism)
