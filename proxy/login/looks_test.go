package login

import (
	"fmt"
	"strings"
	"testing"
)

// seenAt is a secret whose user is asked by SCRAM in this way.
func seenAt(l look) Secret { return Secret{&proof{verifier: testSalts.mock("x", l)}} }

// draws tells how often unknown users are asked in which way, of a thousand.
func draws(l *Looks, rule Method) map[look]int {
	found := make(map[look]int)
	for i := range 1000 {
		found[l.draw(rule, testSalts.lot(fmt.Sprint("nobody ", i)))]++
	}
	return found
}

func TestUnknownUsersAreAskedAsOftenInEachWayAsKnownOnes(t *testing.T) {
	often, long := look{10000, 16}, look{4096, 40}
	md5, plain := Secret{&proof{md5: "md5"}}, Secret{&proof{md5: "md5", verifier: testSalts.mock("x", usual)}}
	for _, c := range []struct {
		name      string
		secrets   []Secret
		md5, sasl map[look]int // of a thousand, about
	}{
		{"nobody", nil, map[look]int{usual: 1000}, map[look]int{usual: 1000}},
		{"who cannot log in", []Secret{{}, {&proof{}}}, map[look]int{usual: 1000}, map[look]int{usual: 1000}},
		{"one kind", []Secret{seenAt(often), seenAt(often), seenAt(often)}, map[look]int{often: 1000}, map[look]int{often: 1000}},
		{"MD5", []Secret{md5, md5}, map[look]int{byMD5: 1000}, map[look]int{usual: 1000}},
		{"plain passwords", []Secret{plain}, map[look]int{byMD5: 1000}, map[look]int{usual: 1000}},
		{"several", []Secret{seenAt(often), seenAt(long), md5, plain}, map[look]int{often: 250, long: 250, byMD5: 500}, map[look]int{often: 333, long: 333, usual: 333}},
	} {
		l := NewLooks()
		for i, secret := range c.secrets {
			l.Learn(fmt.Sprint(i), secret)
		}
		for rule, want := range map[Method]map[look]int{MD5: c.md5, SCRAM: c.sasl} {
			got := draws(l, rule)
			for seen, n := range got {
				if about := want[seen]; n < about-100 || n > about+100 || about == 0 {
					t.Errorf("%s under %s: got %v, want about %v", c.name, rule, got, want)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%s under %s: got %v, want about %v", c.name, rule, got, want)
			}
		}
	}
}

// A name that is asked in another way today is one that there is not.
func TestFewNamesAreAskedInAnotherWayForOneMoreUser(t *testing.T) {
	of := func(users int) *Looks {
		l := NewLooks()
		for i := range users {
			l.Learn(fmt.Sprint(i), seenAt(look{4096 + i%4, 16}))
		}
		return l
	}
	before, after, other := of(100), of(101), 0
	for i := range 1000 {
		lot := testSalts.lot(fmt.Sprint("nobody ", i))
		if before.draw(SCRAM, lot) != after.draw(SCRAM, lot) {
			other++
		}
	}
	if other > 30 {
		t.Errorf("%d of 1000 are asked in another way", other)
	}
}

func TestAUserIsCountedOnceAndByTheNewestSecret(t *testing.T) {
	first, second := look{4097, 16}, look{4098, 16}
	l := NewLooks()
	for range 5 {
		l.Learn("a", seenAt(first))
	}
	l.Learn("b", seenAt(second))
	if got := draws(l, SCRAM); got[first] > 600 {
		t.Errorf("one who comes again counts more: %v", got)
	}
	l.Learn("a", seenAt(second))
	if got := draws(l, SCRAM); got[second] != 1000 {
		t.Errorf("the secret before counts: %v", got)
	}
	l.Learn("a", Secret{})
	l.Learn("b", Secret{})
	if got := draws(l, SCRAM); got[usual] != 1000 || len(l.sasl.shares)+len(l.sasl.of) > 0 {
		t.Errorf("those count who are no more: %v", got)
	}
}

func TestWhomLooksRememberIsBounded(t *testing.T) {
	l, secret := NewLooks(), seenAt(usual)
	for i := range maxTally + 10 {
		l.Learn(fmt.Sprint(i), secret)
	}
	l.Learn("0", seenAt(look{4097, 16}))
	if len(l.sasl.of) != maxTally || l.sasl.of["0"] == usual {
		t.Errorf("%d are remembered", len(l.sasl.of))
	}
}

// Over the wire: count and size of the salt, and the same ones each time.
func TestUnknownUsersAreChallengedAsKnownOnesAre(t *testing.T) {
	const verifier = "SCRAM-SHA-256$10000:%s$" + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	secret, err := testSalts.ReadSecret("alice", fmt.Sprintf(verifier, strings.Repeat("c2FsdHNh", 8)))
	if err != nil {
		t.Fatal(err)
	}
	users, looks := Userlist{"alice": secret}, NewLooks()
	looks.Learn("alice", secret)
	challenge := func(user string) string {
		p := visitor(t, &Door{Salts: testSalts, Rules: Everybody(SCRAM, ""), Secret: users.find, Looks: looks})
		p.send(startup("user", user))
		p.want("the offer", offer)
		p.send(initial("n,,n=,r=abc"))
		_, ofServer, _ := strings.Cut(p.challenge(), ",")
		p.conn.Close()
		return ofServer
	}
	alice, nobody := challenge("alice"), challenge("nobody")
	if len(alice) != len(nobody) || !strings.HasSuffix(alice, ",i=10000") || !strings.HasSuffix(nobody, ",i=10000") || alice == nobody {
		t.Errorf("alice is told %s, and nobody %s", alice, nobody)
	}
	if again := challenge("nobody"); again != nobody {
		t.Errorf("nobody is told %s, and then %s", nobody, again)
	}
}
