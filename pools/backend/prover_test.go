package backend

import (
	"bufio"
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// keysOf derives from a password what a client proves itself by, with the salt and the iterations of the server's verifier.
func keysOf(t *testing.T, s *postgres.Server, user, password string) Proof {
	t.Helper()
	rows, err := s.Query("postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = '"+user+"'")
	if err != nil {
		t.Fatal(err)
	}
	parameters := strings.Split(rows[0][0], "$")[1]
	count, encoded, _ := strings.Cut(parameters, ":")
	iterations, err1 := strconv.Atoi(count)
	salt, err2 := base64.StdEncoding.DecodeString(encoded)
	salted, err3 := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return Proof{ClientKey: signature(salted, []byte("Client Key")), ServerKey: signature(salted, []byte("Server Key"))}
}

func TestKeysLogInWhereNoPasswordIsKnown(t *testing.T) {
	s := server(t)
	if err := s.CreateUser("keyed", "hunter2", postgres.SCRAM); err != nil {
		t.Fatal(err)
	}
	right, wrong := keysOf(t, s, "keyed", "hunter2"), keysOf(t, s, "keyed", "hunter3")
	for _, text := range []string{
		fmt.Sprintf("host=127.0.0.1 port=%d dbname=postgres", s.Port),
		fmt.Sprintf("host=127.0.0.1 port=%d dbname=postgres user=keyed", s.Port), // the URL's own user, without a password
		fmt.Sprintf("host=%s port=%d dbname=postgres", s.SocketDir, s.Port),
		"postgres://" + newTLSFront(t, s).address + "/postgres?sslmode=require", // which offers no channel binding
	} {
		to := target(t, text).With("keyed", "postgres")
		c, err := Dial(context.Background(), to.Proving("keyed", right))
		if err != nil {
			t.Fatal(err)
		}
		if rows, _ := query(t, c, "select current_user"); len(rows) != 1 || rows[0] != "keyed" {
			t.Errorf("logged in as %v", rows)
		}
		wantCancelWorks(t, c)
		c.Close()
		line, err := Open(context.Background(), to.Proving("keyed", right))
		if err != nil {
			t.Fatal(err)
		}
		line.Close()
		// The server knows them no more once the password has changed.
		e := dialTargetFails(t, to.Proving("keyed", wrong))
		if e.Server == nil || e.Server.Code != "28P01" || !e.Permanent() {
			t.Errorf("other keys: %v", e)
		}
		half := Proof{ClientKey: right.ClientKey, ServerKey: wrong.ServerKey}
		if e := dialTargetFails(t, to.Proving("keyed", half)); !strings.Contains(e.Error(), "the server does not prove that it knows user") || !e.Permanent() {
			t.Errorf("a server with another key: %v", e)
		}
	}
}

func TestAnMD5SecretLogsInAtAServerThatAsksForIt(t *testing.T) {
	s := server(t)
	if err := s.CreateUser("hashed", "hunter2", postgres.MD5); err != nil {
		t.Fatal(err)
	}
	rows, err := s.Query("postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = 'hashed'")
	if err != nil {
		t.Fatal(err)
	}
	to := target(t, fmt.Sprintf("host=127.0.0.1 port=%d", s.Port)).With("hashed", "postgres")
	c, err := Dial(context.Background(), to.Proving("hashed", Proof{MD5: rows[0][0]}))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if e := dialTargetFails(t, to.Proving("hashed", Proof{MD5: "md5" + strings.Repeat("0", 32)})); e.Server == nil || e.Server.Code != "28P01" {
		t.Errorf("another secret: %v", e)
	}
}

func TestAProofThatDoesNotSuitTheServerIsTold(t *testing.T) {
	s := server(t)
	for _, c := range []struct {
		method postgres.Method
		proof  Proof
		want   string
	}{
		{postgres.SCRAM, Proof{MD5: "md5" + strings.Repeat("0", 32)}, "asks user \"unsuited_0\" for SCRAM-SHA-256, and only an MD5 secret is known"},
		{postgres.MD5, Proof{ClientKey: make([]byte, 32), ServerKey: make([]byte, 32)}, "for MD5, and only SCRAM-SHA-256 keys are known"},
		{postgres.Cleartext, Proof{ClientKey: make([]byte, 32)}, "for a password in clear text, and none is known"},
	} {
		user := "unsuited_" + map[postgres.Method]string{postgres.SCRAM: "0", postgres.MD5: "1", postgres.Cleartext: "2"}[c.method]
		if err := s.CreateUser(user, "hunter2", c.method); err != nil {
			t.Fatal(err)
		}
		e := dialTargetFails(t, target(t, fmt.Sprintf("host=127.0.0.1 port=%d", s.Port)).With(user, "postgres").Proving(user, c.proof))
		if !strings.Contains(e.Error(), c.want) || !e.Permanent() {
			t.Errorf("%s: %v", c.method, e)
		}
	}
}

func TestAProofIsUsedWhereTheURLLeavesRoomForIt(t *testing.T) {
	clearEnvironment(t)
	keys, password := Proof{ClientKey: []byte("k")}, Proof{Password: "p", MD5: "md5"}
	for _, c := range []struct {
		text     string
		proof    Proof
		password string
		used     bool
	}{
		{"host=h", keys, "", true}, {"host=h", password, "p", true}, {"host=h", Proof{}, "", false},
		{"host=h password=x", keys, "x", false}, {"host=h password=x", password, "p", true},
		{"host=h user=u", keys, "", true}, {"host=h user=u", password, "p", true}, {"host=h user=other", keys, "", false},
		{"host=h user=u password=x", keys, "x", false}, {"host=h user=u password=x", password, "x", false},
	} {
		plain := target(t, c.text).With("u", "d")
		got := plain.Proving("u", c.proof)
		if got.config.Password != c.password || (got != plain) != c.used {
			t.Errorf("%s: password %q, used %v", c.text, got.config.Password, got != plain)
		}
		if again := got.Proving("u", c.proof); again != got {
			t.Errorf("%s: the same proof makes another target", c.text)
		}
		if none := got.Proving("u", Proof{}); none != got {
			t.Errorf("%s: no proof makes another target", c.text)
		}
	}
	changed := target(t, "host=h").With("u", "d").Proving("u", password).Proving("u", keys)
	if changed.config.Password != "" || changed.Proof().ClientKey == nil {
		t.Error("a password that was the client's outlives it")
	}
	if text := fmt.Sprintf("%v %+v %#v %s", password, password, password, password); strings.Contains(text, "md5") {
		t.Errorf("a proof is printed: %s", text)
	}
}

// scripted answers a client's startup and its messages with these, one for each.
func scripted(t *testing.T, answers ...func(sent string) string) string {
	return listen(t, func(conn net.Conn) {
		readPacket(conn)
		sent, in := "", bufio.NewReader(conn)
		for _, answer := range answers {
			if _, err := io.WriteString(conn, answer(sent)); err != nil {
				return
			}
			kind, _ := in.ReadByte()
			var size [4]byte
			if _, err := io.ReadFull(in, size[:]); err != nil || kind != 'p' {
				return
			}
			body := make([]byte, int(size[2])<<8+int(size[3])-4)
			if _, err := io.ReadFull(in, body); err != nil {
				return
			}
			sent = string(body)
		}
	})
}

func says(m pgproto3.BackendMessage) string {
	b, _ := m.Encode(nil)
	return string(b)
}

// CVE-2026-6665: an overlong nonce of the server's. RUSTSEC-2026-0179: iterations without end. CVE-2026-6666: an error
// without a SQLSTATE.
func TestAServerThatDoesNotKeepToSCRAMIsLeft(t *testing.T) {
	offer := func(string) string {
		return says(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}})
	}
	first := func(format string) func(string) string {
		return func(sent string) string {
			nonce := sent[strings.LastIndex(sent, "r=")+2:]
			return says(&pgproto3.AuthenticationSASLContinue{Data: []byte(strings.ReplaceAll(format, "NONCE", nonce))})
		}
	}
	const malformed, breach = "malformed SCRAM-SHA-256 message", "does not keep to SCRAM-SHA-256"
	for name, c := range map[string]struct {
		answers []func(string) string
		want    string
	}{
		"an overlong nonce":       {[]func(string) string{offer, first("r=NONCE" + strings.Repeat("x", 5000) + ",s=AAAA,i=4096")}, breach},
		"a nonce of its own":      {[]func(string) string{offer, first("r=abc,s=AAAA,i=4096")}, malformed},
		"ours and no more":        {[]func(string) string{offer, first("r=NONCE,s=AAAA,i=4096")}, malformed},
		"iterations without end":  {[]func(string) string{offer, first("r=NONCEx,s=AAAA,i=2147483647")}, malformed},
		"negative iterations":     {[]func(string) string{offer, first("r=NONCEx,s=AAAA,i=-1")}, malformed},
		"no iterations":           {[]func(string) string{offer, first("r=NONCEx,s=AAAA,i=0")}, malformed},
		"no salt":                 {[]func(string) string{offer, first("r=NONCEx,i=4096")}, malformed},
		"a salt that is none":     {[]func(string) string{offer, first("r=NONCEx,s=!,i=4096")}, malformed},
		"nothing":                 {[]func(string) string{offer, first("")}, malformed},
		"a wrong signature":       {[]func(string) string{offer, first("r=NONCEx,s=AAAA,i=4096"), func(string) string { return says(&pgproto3.AuthenticationSASLFinal{Data: []byte("v=AAAA")}) }}, "does not prove that it knows"},
		"an error in its place":   {[]func(string) string{offer, first("r=NONCEx,s=AAAA,i=4096"), func(string) string { return says(&pgproto3.AuthenticationSASLFinal{Data: []byte("e=other-error")}) }}, "does not prove that it knows"},
		"no proof at all":         {[]func(string) string{offer, first("r=NONCEx,s=AAAA,i=4096"), func(string) string { return says(&pgproto3.AuthenticationOk{}) }}, breach},
		"another message":         {[]func(string) string{offer, func(string) string { return says(&pgproto3.ReadyForQuery{TxStatus: 'I'}) }}, breach},
		"no mechanism":            {[]func(string) string{func(string) string { return says(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"MAGIC"}}) }}, "offers no SCRAM-SHA-256"},
		"no code":                 {[]func(string) string{func(string) string { return "R\x00\x00\x00\x04" }}, ""},
		"a length of a gigabyte":  {[]func(string) string{func(string) string { return "R\x40\x00\x00\x00" }}, "invalid length"},
		"a length of nought":      {[]func(string) string{func(string) string { return "R\x00\x00\x00\x00" }}, "invalid length"},
		"an error, no SQLSTATE":   {[]func(string) string{offer, func(string) string { return "E\x00\x00\x00\x0bMoops\x00\x00" }}, "oops"},
		"an error, nothing in it": {[]func(string) string{func(string) string { return "E\x00\x00\x00\x05\x00" }}, ""},
	} {
		text := "postgres://" + scripted(t, c.answers...) + "/d?sslmode=disable"
		proof := Proof{ClientKey: make([]byte, 32), ServerKey: make([]byte, 32)}
		if e := dialTargetFails(t, target(t, text).With("u", "d").Proving("u", proof)); !strings.Contains(e.Error(), c.want) {
			t.Errorf("%s: %v", name, e)
		}
	}
}

// The same for logins with a password, which pgconn makes.
func TestAServersIterationsAreBoundedForPasswords(t *testing.T) {
	text := "postgres://u:hunter2@" + scripted(t,
		func(string) string {
			return says(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}})
		},
		func(sent string) string {
			return says(&pgproto3.AuthenticationSASLContinue{Data: []byte("r=" + sent[strings.LastIndex(sent, "r=")+2:] + "x,s=AAAA,i=2147483647")})
		}) + "/d?sslmode=disable"
	if e := dialFails(t, text); !strings.Contains(e.Error(), "iteration count from server too high") {
		t.Error(e)
	}
}

func FuzzServerFirst(f *testing.F) {
	f.Add("r=abcx,s=AAAA,i=4096")
	f.Add("r=abc,s=,i=")
	f.Fuzz(func(t *testing.T, message string) {
		if nonce, err := readServerFirst(message, "abc"); err == nil && (!strings.HasPrefix(nonce, "abc") || len(nonce) < 4 || strings.Contains(nonce, ",")) {
			t.Fatalf("%q: %q", message, nonce)
		}
	})
}
