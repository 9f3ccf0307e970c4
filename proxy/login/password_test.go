package login

import (
	"fmt"
	"strings"
	"testing"
)

// Whoever says the password gets in by every kind of secret, and logs in at the server by it.
func TestPasswordsAreAskedForAsTheyAre(t *testing.T) {
	d := md5Door(t)
	users := Userlist{}
	for user, text := range map[string]string{"token": strings.Repeat("t", 3000), "prepared": "I\u00adX"} {
		users[user] = Secret{&proof{verifier: must(testSalts.derive(user, text))}}
	}
	known := d.Secret
	d.Secret = func(user, database string) (Secret, bool) {
		if secret, ok := users[user]; ok {
			return secret, true
		}
		return known(user, database)
	}
	d.Rules = rules(t, "local all all password")
	const wrong, unknown = "the password does not match", "the user is unknown"
	for _, c := range []struct{ user, password, why string }{
		{"alice", "secret", ""}, {"old", "secret", ""}, {"modern", "secret", ""}, {"token", strings.Repeat("t", 3000), ""}, {"prepared", "IX", ""},
		{"alice", "Secret", wrong}, {"old", "x", wrong}, {"modern", "secret ", wrong}, {"token", "t", wrong},
		{"nobody", "secret", unknown}, {"empty", "x", "the user has no password, or an empty one, which nobody can log in with"},
	} {
		p := visitor(t, d)
		p.send(startup("user", c.user))
		if kind, body := p.frame(); kind != 'R' || body[3] != 3 {
			t.Errorf("%s is asked by %d", c.user, body[3])
		}
		p.send(sasl(c.password + "\x00"))
		if c.why == "" {
			if got := p.wantClient(c.user).Secret.Password(); got != c.password {
				t.Errorf("%s logs in at the server by %q", c.user, got)
			}
		} else if r := p.wantFatal(c.user, "28P01", fmt.Sprintf(`password authentication failed for user "%s"`, c.user)); r.Why != c.why {
			t.Errorf("%s: the log learns %q", c.user, r.Why)
		}
	}
	for sent, want := range map[string]string{
		"\x00": "empty password returned by client", "secret": "invalid password packet size", strings.Repeat("x", maxPassword) + "\x00": "invalid message length",
	} {
		for _, user := range []string{"modern", "nobody"} {
			p := visitor(t, d)
			p.send(startup("user", user))
			p.frame()
			go p.conn.Write(sasl(sent)) //nolint:errcheck // not all of it is read
			p.wantFatal(user, map[bool]string{true: "28P01", false: "08P01"}[sent == "\x00"], want)
		}
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
