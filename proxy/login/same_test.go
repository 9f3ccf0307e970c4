package login

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/lockproxy/lockproxy/protocol"
)

// refused runs a login with a wrong password to its end, without a socket in between.
func refused(t testing.TB, d *Door, user string) {
	v := d.Begin(Peer{})
	said, _ := v.Received(startup("user", user))
	if strings.Contains(string(said), "SCRAM-SHA-256") {
		said, _ = v.Received(initial("n,,n=,r=abc"))
		nonce, _, _ := strings.Cut(string(said[9:]), ",s=")
		proof := base64.StdEncoding.EncodeToString(make([]byte, sha256.Size))
		_, over := v.Received(sasl("c=biws," + nonce + ",p=" + proof))
		if r := (*Refusal)(nil); !over || !errors.As(v.err, &r) || r.Said.Code != protocol.InvalidPassword {
			t.Fatalf("%s: %v", user, v.err)
		}
		return
	}
	_, over := v.Received(packetOf("md5" + strings.Repeat("1", 32)))
	if _, _, err := v.Result(); !over || err == nil {
		t.Fatalf("%s is let in", user)
	}
}

func packetOf(password string) []byte {
	return append([]byte{'p', 0, 0, 0, byte(4 + len(password) + 1)}, password+"\x00"...)
}

// How long those who are refused keep us busy: whether a user is known must not show.
func BenchmarkRefusal(b *testing.B) {
	byMD5 := door(b)
	byMD5.Rules = rules(b, "local all all md5")
	for _, c := range []struct {
		name string
		door *Door
		user string
	}{
		{"SCRAM/known", door(b), "alice"}, {"SCRAM/unknown", door(b), "nobody"}, {"SCRAM/without a verifier", door(b), "old"},
		{"MD5/known", byMD5, "alice"}, {"MD5/unknown", byMD5, "nobody"},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				refused(b, c.door, c.user)
			}
		})
	}
}

// B#1540: each startup packet with an option of the protocol leaked 256 bytes. C#70: so did clients that left in the middle.
func TestStartupsLeaveNothing(t *testing.T) {
	d := door(t)
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	visit := func(n int) {
		for i := range n {
			v := d.Begin(Peer{})
			v.Received(startup("user", "alice", "_pq_.an_option", "1", "_pq_.another", strings.Repeat("x", 100)))
			if i%2 == 0 {
				v.End()
			} else {
				v.Expire()
			}
		}
	}
	visit(100)
	before := heap()
	const many = 5000
	visit(many)
	if grown := heap() - before; grown > 100*many {
		t.Errorf("%d startups leave %d bytes", many, grown)
	}
}
