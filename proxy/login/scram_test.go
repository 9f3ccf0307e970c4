package login

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/xdg-go/scram"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// welcomeOne lets one client log in at an address; who gets in is told something. over is to be called when it has gone.
func welcomeOne(t *testing.T, d *Door, told []byte) (address string, over func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if a := welcome(d, Peer{}, conn, soon); a.err == nil {
			_, _ = conn.Write(told)
			_, _ = conn.Read(make([]byte, 5)) // until it leaves
		}
	}()
	return l.Addr().String(), func() { l.Close(); <-served }
}

// connect logs in with pgconn, a real client, and returns its error.
func connect(t *testing.T, d *Door, user, password string) error {
	t.Helper()
	address, over := welcomeOne(t, d, protocol.AppendReady(protocol.AppendKeyData(nil, 1, []byte("abcd")), 'I'))
	defer over()
	config, err := pgconn.ParseConfig("postgres://" + address + "/d?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	config.User, config.Password = user, password
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err == nil {
		_ = conn.Close(ctx)
	}
	return err
}

func TestARealClientLogsIn(t *testing.T) {
	d := door(t)
	if err := connect(t, d, "alice", "secret"); err != nil {
		t.Error(err)
	}
	if err := connect(t, d, "trusting", ""); err != nil {
		t.Error(err)
	}
}

// CVE-2015-6817 (B#69), B#90: unknown users are no crash and nobody else's login.
func TestWrongPasswordsAndUnknownUsersGetTheSameAnswer(t *testing.T) {
	for _, c := range []struct{ user, password string }{
		{"alice", "Secret"}, {"alice", ""}, {"nobody", "secret"}, {"old", "secret"}, {"empty", ""}, {`we"ird`, "x"},
	} {
		err := connect(t, door(t), c.user, c.password)
		var e *pgconn.PgError
		want := fmt.Sprintf(`password authentication failed for user "%s"`, c.user)
		if !errors.As(err, &e) || e.Code != "28P01" || e.Message != want || e.Severity != "FATAL" || e.Detail+e.Hint != "" {
			t.Errorf("%s: %v", c.user, err)
		}
	}
}

func TestTheLogLearnsWhyALoginFailed(t *testing.T) {
	for user, why := range map[string]string{
		"nobody": "the user is unknown",
		"old":    "the user has an MD5 secret, which cannot serve SCRAM-SHA-256",
		"empty":  "the user has no password, or an empty one, which nobody can log in with",
		"alice":  "the password does not match",
	} {
		p := visitor(t, door(t))
		r := scramFails(p, user)
		if r.Why != why || r.User != user || strings.Contains(r.Error(), "secret ") {
			t.Errorf("%s: %v", user, r)
		}
	}
}

// scramFails runs a whole exchange with a wrong password.
func scramFails(p *peer, user string) *Refusal {
	p.t.Helper()
	p.send(startup("user", user))
	p.want("the offer", offer)
	conversation := newClient(p.t, "wrong")
	first, _ := conversation.Step("")
	p.send(initial(first))
	final, err := conversation.Step(p.challenge())
	if err != nil {
		p.t.Fatal(err)
	}
	p.send(sasl(final))
	return p.wantFatal("a wrong proof", "28P01", `password authentication failed for user "`+user+`"`)
}

func newClient(t testing.TB, password string) *scram.ClientConversation {
	t.Helper()
	client, err := scram.SHA256.NewClient("", password, "")
	if err != nil {
		t.Fatal(err)
	}
	return client.NewConversation()
}

// challenge reads AuthenticationSASLContinue.
func (p *peer) challenge() string {
	p.t.Helper()
	kind, body := p.frame()
	if kind != 'R' || len(body) < 4 || body[3] != 11 {
		p.t.Fatalf("no challenge: %c, %q", kind, body)
	}
	return string(body[4:])
}

// Whoever asks twice for a user that there is not sees the same salt, as for a user that there is.
func TestUnknownUsersHaveASaltThatStays(t *testing.T) {
	d := door(t)
	salts := map[string]string{}
	for _, user := range []string{"nobody", "nobody", "somebody", "alice", "alice"} {
		p := visitor(t, d)
		p.send(startup("user", user))
		p.want("the offer", offer)
		p.send(initial("n,,n=,r=abcdefgh"))
		fields := strings.Split(p.challenge(), ",")
		salt, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(fields[1], "s="))
		if len(fields) != 3 || fields[2] != "i=4096" || err != nil || len(salt) != 16 {
			t.Fatalf("%s: the challenge is %q", user, fields)
		}
		if before, ok := salts[user]; ok && before != string(salt) {
			t.Errorf("%s: the salt changed", user)
		}
		salts[user] = string(salt)
		p.conn.Close()
	}
	if salts["nobody"] == salts["somebody"] || salts["nobody"] == salts["alice"] {
		t.Error("users share a salt")
	}
}

func TestAClientWithoutAnInitialResponseIsAskedForIt(t *testing.T) {
	p := visitor(t, door(t))
	p.send(startup("user", "alice"))
	p.want("the offer", offer)
	p.send(sasl(mechanism + "\x00\xff\xff\xff\xff"))
	if got := p.challenge(); got != "" {
		t.Fatalf("the challenge is %q", got)
	}
	conversation := newClient(t, "secret")
	first, _ := conversation.Step("")
	p.send(sasl(first))
	final, err := conversation.Step(p.challenge())
	if err != nil {
		t.Fatal(err)
	}
	p.send(sasl(final))
	kind, body := p.frame()
	if kind != 'R' || body[3] != 12 {
		t.Fatalf("no AuthenticationSASLFinal: %c, %q", kind, body)
	}
	if _, err := conversation.Step(string(body[4:])); err != nil || !conversation.Valid() {
		t.Errorf("the server does not prove that it knows the password: %v", err)
	}
	if c := p.wantClient("the password is right"); c.Secret.Password() != "secret" {
		t.Error("the client's secret is not handed on")
	}
}

// CVE-2026-6664: a length in a SCRAM packet overflowed, before authentication.
func TestDamagedSASLMessagesEndInFatalErrors(t *testing.T) {
	const bad = "malformed SCRAM message"
	for _, c := range []struct{ name, code, message, sent string }{
		{"another kind of message", "08P01", "expected SASL response, got message type 81", "Q"},
		{"a length below 4", "08P01", "invalid message length", "p\x00\x00\x00\x03"},
		{"a length of a gigabyte", "08P01", "invalid message length", "p\x40\x00\x00\x00"},
		{"a negative length", "08P01", "invalid message length", "p\xff\xff\xff\xff"},
		{"one byte too long", "08P01", "invalid message length", "p\x00\x00\x04\x01"},
		{"no body", "08P01", bad, string(sasl(""))},
		{"no mechanism", "08P01", "client selected an invalid SASL authentication mechanism", string(sasl("\x00\xff\xff\xff\xff"))},
		{"another mechanism", "08P01", "client selected an invalid SASL authentication mechanism", string(sasl("SCRAM-SHA-256-PLUS\x00\xff\xff\xff\xff"))},
		{"an unterminated mechanism", "08P01", bad, string(sasl(mechanism))},
		{"no length", "08P01", bad, string(sasl(mechanism + "\x00"))},
		{"half a length", "08P01", bad, string(sasl(mechanism + "\x00\x00\x00"))},
		{"a length beyond the message", "08P01", bad, string(sasl(mechanism + "\x00\x00\x00\x00\x09n,,n=,r="))},
		{"a length below the message", "08P01", bad, string(sasl(mechanism + "\x00\x00\x00\x00\x01n,,n=,r=a"))},
		{"the largest length", "08P01", bad, string(sasl(mechanism + "\x00\x7f\xff\xff\xffn"))},
		{"a negative data length", "08P01", bad, string(sasl(mechanism + "\x00\xff\xff\xff\xfen"))},
		{"no data but some", "08P01", bad, string(sasl(mechanism + "\x00\xff\xff\xff\xffn"))},
		{"empty data", "08P01", bad, string(initial(""))},
		{"no SCRAM", "08P01", bad, string(initial("hello"))},
		{"a zero byte", "08P01", bad, string(initial("n,,n=,r=a\x00b"))},
		{"channel binding", "08P01", bad, string(initial("p=tls-unique,,n=,r=abc"))},
		{"an extension", "08P01", bad, string(initial("n,,m=x,n=,r=abc"))},
		{"an authorization identity", "0A000", "client uses authorization identity, but it is not supported", string(initial("n,a=bob,n=,r=abc"))},
	} {
		for _, user := range []string{"alice", "nobody"} {
			p := visitor(t, door(t))
			p.send(startup("user", user))
			p.want("the offer", offer)
			p.send([]byte(c.sent))
			p.wantFatal(c.name+" from "+user, c.code, c.message)
		}
	}
}

func TestDamagedProofsEndAlikeForEveryUser(t *testing.T) {
	proof := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for _, c := range []struct{ name, code, message, final string }{
		{"a wrong proof", "28P01", "password authentication failed for user", "c=biws,r=NONCE,p=" + proof},
		{"a short proof", "08P01", "malformed SCRAM message", "c=biws,r=NONCE,p=AAAA"},
		{"no proof", "08P01", "malformed SCRAM message", "c=biws,r=NONCE"},
		{"another nonce", "08P01", "malformed SCRAM message", "c=biws,r=abcdefgh,p=" + proof},
		{"another channel binding", "08P01", "malformed SCRAM message", "c=eSws,r=NONCE,p=" + proof},
		{"nothing", "08P01", "malformed SCRAM message", ""},
		{"a zero byte", "08P01", "malformed SCRAM message", "c=biws,r=NONCE,p=" + proof + "\x00"},
	} {
		for _, user := range []string{"alice", "nobody", "old"} {
			p := visitor(t, door(t))
			p.send(startup("user", user))
			p.want("the offer", offer)
			p.send(initial("n,,n=,r=abcdefgh"))
			nonce, _, _ := strings.Cut(strings.TrimPrefix(p.challenge(), "r="), ",")
			p.send(sasl(strings.ReplaceAll(c.final, "NONCE", nonce)))
			message := c.message
			if c.code == "28P01" {
				message += ` "` + user + `"`
			}
			p.wantFatal(c.name+" from "+user, c.code, message)
		}
	}
}

func TestVerifiersServeLoginsAsPlainPasswordsDo(t *testing.T) {
	// ALTER USER ... PASSWORD 'secret' in PostgreSQL stores a text of this form (RFC 7677, 4096 iterations).
	derived, err := testSalts.derive("x", "secret")
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.StdEncoding.EncodeToString
	text := fmt.Sprintf("SCRAM-SHA-256$4096:%s$%s:%s", encode([]byte(derived.Salt)), encode(derived.StoredKey), encode(derived.ServerKey))
	secret, err := testSalts.ReadSecret("alice", text)
	if err != nil {
		t.Fatal(err)
	}
	d := &Door{Salts: testSalts, Rules: Everybody(SCRAM, ""), Secret: func(string, string) (Secret, bool) { return secret, true }}
	if err := connect(t, d, "alice", "secret"); err != nil {
		t.Error(err)
	}
	if err := connect(t, d, "alice", "other"); err == nil {
		t.Error("a wrong password is let in")
	}
	if secret.Password() != "" {
		t.Error("a verifier is no password")
	}
}

// PostgreSQL prepares passwords with SASLprep, and takes those that it forbids as they are. libpq is the judge: it
// prepares what is typed on its own.
func TestPasswordsArePreparedAsPostgresDoes(t *testing.T) {
	for _, c := range []struct{ stored, typed string }{
		{"I\u00adX", "IX"},           // RFC 4013's first example: a soft hyphen is mapped to nothing
		{"IX", "I\u00adX"},           // on either side
		{"\u2168", "IX"},             // a Roman numeral nine, by NFKC
		{"a\u00a0b", "a b"},          // a no-break space is a space
		{"bell\x07", "bell\x07"},     // a control character is forbidden
		{"\xff\xfe", "\xff\xfe"},     // no UTF-8
		{"\U0001f511", "\U0001f511"}, // a key, unassigned in Unicode 3.2
	} {
		secret, err := testSalts.ReadSecret("u", c.stored)
		if err != nil {
			t.Fatal(err)
		}
		d := &Door{Salts: testSalts, Rules: Everybody(SCRAM, ""), Secret: func(string, string) (Secret, bool) { return secret, true }}
		if said := psql(t, d, c.typed); !strings.Contains(said, "logged in") {
			t.Errorf("%q typed as %q: %s", c.stored, c.typed, said)
		}
	}
}

// psql logs in with libpq and returns what it says; whoever is let in is told "logged in" as an error.
func psql(t *testing.T, d *Door, password string) string {
	t.Helper()
	programs, err := postgres.Programs()
	if err != nil {
		t.Fatal(err)
	}
	address, over := welcomeOne(t, d, protocol.AppendError(nil, protocol.Fatal(protocol.AdminShutdown, "logged in")))
	defer over()
	host, port, _ := net.SplitHostPort(address)
	cmd := exec.Command(filepath.Join(programs, "psql"), "-X", "-w", "-h", host, "-p", port, "-U", "u", "-c", "select 1")
	cmd.Env = append(os.Environ(), "PGPASSWORD="+password, "PGSSLMODE=disable", "PGGSSENCMODE=disable", "LC_ALL=C.UTF-8")
	said, _ := cmd.CombinedOutput()
	return string(said)
}

func FuzzReadInitialResponse(f *testing.F) {
	f.Add([]byte(mechanism + "\x00\x00\x00\x00\x03n,,"))
	f.Add([]byte(mechanism + "\x00\xff\xff\xff\xff"))
	f.Add([]byte(mechanism + "\x00\x7f\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, body []byte) {
		chosen, data, there, err := readInitialResponse(body)
		if err != nil && (there || data != "" || chosen != "") || !there && data != "" || strings.Contains(data, "\x00") {
			t.Fatalf("%q: %q, %v, %v", body, data, there, err)
		}
	})
}

func FuzzConversation(f *testing.F) {
	f.Add("n,,n=,r=abc", "c=biws,r=abc,p=AAAA")
	f.Add("y,,n=a=2Cb,r=,", "c=eSws,r=,p=")
	f.Fuzz(func(t *testing.T, first, final string) {
		x, err := new(visit).newExchange(testSalts.mock("u", usual))
		if err != nil {
			t.Fatal(err)
		}
		conversation := x.conversation
		if _, err := conversation.Step(first); err == nil {
			_, _ = conversation.Step(final)
		}
		if conversation.Valid() {
			t.Fatalf("%q, %q: nobody knows that password", first, final)
		}
	})
}
