package login

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/lockproxy/lockproxy/protocol"
)

// asking is a door that has alice's secret looked up, which is "secret".
func asking(t testing.TB, answer func(ctx context.Context) error) *Door {
	t.Helper()
	secret, err := testSalts.ReadSecret("alice", "secret")
	if err != nil {
		t.Fatal(err)
	}
	return &Door{
		Salts: testSalts, Rules: Everybody(SCRAM, ""), Secret: Userlist{}.find,
		Ask: func(ctx context.Context, user, database string) (Secret, bool, error) {
			if database != "d" {
				t.Errorf("%s of %s is asked for", user, database)
			}
			return secret, user == "alice", answer(ctx)
		},
	}
}

func ready(context.Context) error { return nil }

func TestASecretMayBeLookedUpElsewhere(t *testing.T) {
	login := func(user string) (*Visit, []byte) {
		v := asking(t, ready).Begin(Peer{})
		said, over := v.Received(startup("user", user, "database", "d"))
		errand := v.Errand()
		if len(said) > 0 || over || errand == nil || v.Errand() != nil {
			t.Fatalf("%s: it says %q, over: %v, and there is an errand: %v", user, said, over, errand != nil)
		}
		errand()
		said, over = v.Ran()
		if string(said) != offer || over || v.Errand() != nil {
			t.Fatalf("%s: after the errand it says %q", user, said)
		}
		conversation := newClient(t, "secret")
		first, _ := conversation.Step("")
		said, _ = v.Received(initial(first))
		final, err := conversation.Step(string(said[9:]))
		if err != nil {
			t.Fatal(err)
		}
		said, over = v.Received(sasl(final))
		if !over {
			t.Fatalf("%s: it goes on", user)
		}
		return v, said
	}
	v, _ := login("alice")
	if client, _, err := v.Result(); err != nil || client.User != "alice" {
		t.Errorf("alice: %v", err)
	}
	_, said := login("nobody")
	if e := protocol.ReadError(said[5:]); e.Code != "28P01" {
		t.Errorf("nobody is told %v", &e)
	}
}

// What a client sends while its secret is looked up is read afterwards, in order.
func TestBytesDuringAnErrandAreKept(t *testing.T) {
	v := asking(t, ready).Begin(Peer{})
	first := initial("n,,n=,r=abcdefgh")
	v.Received(append(startup("user", "alice", "database", "d"), first[:7]...))
	errand := v.Errand()
	for i := 7; i < len(first); i++ {
		if said, over := v.Received(first[i : i+1]); len(said) > 0 || over || v.Errand() != nil {
			t.Fatalf("it goes on within the errand: %q, %v", said, over)
		}
	}
	errand()
	said, over := v.Ran()
	if !strings.HasPrefix(string(said), offer) || !strings.Contains(string(said[len(offer):]), "r=abcdefgh") || over {
		t.Errorf("it says %q, over: %v", said, over)
	}
	v.End()
}

func TestALoginMayEndDuringAnErrand(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*Visit) []byte
		code string
	}{
		"the time is over": {(*Visit).Expire, "57014"},
		"the peer is gone": {func(v *Visit) []byte { v.End(); return nil }, ""},
	} {
		asked, over := make(chan error), make(chan struct{})
		v := asking(t, func(ctx context.Context) error {
			asked <- nil
			<-ctx.Done() // it hears of the end
			return ctx.Err()
		}).Begin(Peer{})
		v.Received(startup("user", "alice", "database", "d"))
		errand := v.Errand()
		go func() {
			defer close(over)
			errand()
		}()
		<-asked
		said := c.end(v)
		<-over
		_, _, err := v.Result()
		if c.code == "" && (!errors.Is(err, ErrLeft) || len(said) > 0) {
			t.Errorf("%s: %q, %v", name, said, err)
		} else if c.code != "" && protocol.ReadError(said[5:]).Code != c.code {
			t.Errorf("%s: %q, %v", name, said, err)
		}
	}
}

func TestALookupThatFailsIsToldToTheLogAlone(t *testing.T) {
	p := visitor(t, asking(t, func(context.Context) error { return errors.New("the server is on fire") }))
	p.send(startup("user", "alice", "database", "d"))
	r := p.wantFatal("a lookup that fails", "08001", `could not look up user "alice"`)
	if r.Why != "the server is on fire" {
		t.Errorf("the log learns %q", r.Why)
	}
}
