package login

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// md5Door asks alice, whose password is "secret", old, whose MD5 secret is of that, and modern, who has a verifier of it.
func md5Door(t testing.TB) *Door {
	t.Helper()
	users := Userlist{}
	derived, err := testSalts.ReadSecret("modern", "secret")
	if err != nil {
		t.Fatal(err)
	}
	for user, text := range map[string]string{"alice": "secret", "old": md5Of("secret", "old"), "empty": ""} {
		if users[user], err = testSalts.ReadSecret(user, text); err != nil {
			t.Fatal(err)
		}
	}
	looks := users.looks() // of modern's there are none among unknown users
	users["modern"] = Secret{&proof{verifier: derived.proof.verifier}}
	return &Door{Salts: testSalts, Rules: Everybody(MD5, ""), Secret: users.find, Looks: looks}
}

func TestMD5IsAskedOfWhoeverHasNoSCRAMSecret(t *testing.T) {
	d := md5Door(t)
	for _, user := range []string{"alice", "old", "modern"} {
		if err := connect(t, d, user, "secret"); err != nil {
			t.Errorf("%s: %v", user, err)
		}
	}
	for user, kind := range map[string]byte{"alice": 5, "old": 5, "modern": 10, "nobody": 5, "empty": 5} {
		p := visitor(t, d)
		p.send(startup("user", user))
		if got, body := p.frame(); got != 'R' || body[3] != kind {
			t.Errorf("%s is asked by %d, want %d", user, body[3], kind)
		}
		p.conn.Close()
	}
	if said := psql(t, &Door{Salts: testSalts, Rules: d.Rules, Secret: func(string, string) (Secret, bool) { return d.Secret("alice", "") }}, "secret"); strings.Contains(said, "logged in") {
		t.Error("an MD5 secret of another user's name lets in")
	}
}

// Nobody can tell by the answers who exists.
func TestMD5AnswersUnknownUsersLikeWrongPasswords(t *testing.T) {
	for _, c := range []struct{ user, password, why string }{
		{"alice", "Secret", "the password does not match"}, {"old", "x", "the password does not match"},
		{"nobody", "secret", "the user is unknown"}, {"empty", "x", "the user has no password, or an empty one, which nobody can log in with"},
	} {
		err := connect(t, md5Door(t), c.user, c.password)
		var e *pgconn.PgError
		want := fmt.Sprintf(`password authentication failed for user "%s"`, c.user)
		if !errors.As(err, &e) || e.Code != "28P01" || e.Message != want || e.Severity != "FATAL" || e.Detail+e.Hint != "" {
			t.Errorf("%s: %v", c.user, err)
		}
		p := visitor(t, md5Door(t))
		p.send(startup("user", c.user))
		p.frame()
		p.send(sasl(md5Of("wrong", "salt") + "\x00"))
		if r := p.wantFatal(c.user, "28P01", want); r.Why != c.why {
			t.Errorf("%s: the log learns %q", c.user, r.Why)
		}
	}
}

func TestEveryMD5LoginHasASaltOfItsOwn(t *testing.T) {
	salts := map[string]bool{}
	for range 8 {
		p := visitor(t, md5Door(t))
		p.send(startup("user", "alice"))
		_, body := p.frame()
		salts[string(body[4:])] = true
		p.conn.Close()
	}
	if len(salts) < 7 {
		t.Errorf("%d salts in 8 logins", len(salts))
	}
}

// B#61, B#1058: passwords that are too long, or come in pieces.
func TestDamagedPasswordPacketsEndInFatalErrors(t *testing.T) {
	for _, c := range []struct{ name, code, message, sent string }{
		{"another kind of message", "08P01", "expected password response, got message type 81", "Q"},
		{"a length below 4", "08P01", "invalid message length", "p\x00\x00\x00\x03"},
		{"a length of a gigabyte", "08P01", "invalid message length", "p\x40\x00\x00\x00"},
		{"a negative length", "08P01", "invalid message length", "p\xff\xff\xff\xff"},
		{"one byte too long", "08P01", "invalid message length", "p\x00\x00\x04\x01"},
		{"no terminator", "08P01", "invalid password packet size", string(sasl("md5"))},
		{"bytes behind the terminator", "08P01", "invalid password packet size", string(sasl("md5\x00x"))},
		{"nothing", "08P01", "invalid password packet size", string(sasl(""))},
		{"an empty password", "28P01", "empty password returned by client", string(sasl("\x00"))},
	} {
		for _, user := range []string{"alice", "nobody"} {
			p := visitor(t, md5Door(t))
			p.send(startup("user", user))
			p.frame()
			for i := range c.sent {
				p.send([]byte(c.sent[i : i+1]))
			}
			p.wantFatal(c.name+" from "+user, c.code, c.message)
		}
	}
}
