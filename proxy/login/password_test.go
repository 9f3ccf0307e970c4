package login

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
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
			go func() { _, _ = p.conn.Write(sasl(sent)) }() // not all of it is read
			p.wantFatal(user, map[bool]string{true: "28P01", false: "08P01"}[sent == "\x00"], want)
		}
	}
}

// Of many who say passwords at once, those of whom one has failed too often by then cost no hashes.
func TestNoPasswordIsHashedOfWhoHasFailedTooOften(t *testing.T) {
	const aMinute = 1 << 27 // of hashing, about
	slow := must(testSalts.derive("slow", "secret"))
	slow.Iters = aMinute
	users := Userlist{"slow": {&proof{verifier: slow}}, "quick": must(testSalts.ReadSecret("quick", "secret"))}
	d := &Door{Salts: testSalts, Rules: rules(t, "host all all all password"), Secret: users.find, Looks: users.looks(), Failures: NewFailures(1)}
	who := Peer{Address: netip.MustParseAddr("192.0.2.1")}
	late, first := visitorAs(t, d, who), visitorAs(t, d, who)
	late.send(startup("user", "slow"))
	late.frame()
	first.send(startup("user", "quick"), sasl("wrong\x00"))
	first.frame()
	first.wantFatal("the first", "28P01", `password authentication failed for user "quick"`)
	if err := late.conn.SetDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	late.send(sasl("secret\x00"))
	late.wantFatal("who comes after", "28000", "too many failed logins from this address")
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
