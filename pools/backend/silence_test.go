package backend

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// Of several servers one that hangs is asked once, and then only if no other one suits.
func TestASilentServerOfSeveralIsLeftOutUntilNoOtherSuits(t *testing.T) {
	clearEnvironment(t)
	s := server(t)
	var asked atomic.Int32
	var speaks, alone atomic.Bool
	first := listen(t, func(client net.Conn) {
		asked.Add(1)
		if speaks.Load() {
			relay(client, s, nil)
		} else {
			drain(client)
		}
	})
	second := listen(t, func(client net.Conn) {
		if !alone.Load() {
			relay(client, s, nil)
		}
	})
	to := target(t, "postgres://postgres@"+first+","+second+"/postgres?sslmode=disable&target_session_attrs=read-write")
	connect := func() (*Conn, time.Duration) {
		t.Helper()
		begun := time.Now()
		c, err := Dial(context.Background(), to.With("postgres", "postgres"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c, time.Since(begun)
	}
	if _, took := connect(); took < silentAfter || took > 2*shortTimeout {
		t.Errorf("the second is found after %v", took)
	}
	c, took := connect()
	if n := asked.Load(); n != 1 || took > silentAfter {
		t.Errorf("the first is asked %d times, the second found after %v", n, took)
	}
	if c.Silent() {
		t.Error("the second is silent")
	}
	alone.Store(true)
	speaks.Store(true)
	connect()
	alone.Store(false)
	if connect(); asked.Load() != 3 {
		t.Errorf("the first, which answers again, is asked %d times", asked.Load())
	}
}

// Where the URL says how long to wait, that counts, and a server that is alone has time.
func TestTheTimeoutIsShortOnlyForOneOfSeveralServers(t *testing.T) {
	clearEnvironment(t)
	for hosts, brief := range map[string]bool{"a": false, "a,b": true, "a,b connect_timeout=15": false, "a sslmode=prefer": false} {
		if got := target(t, fmt.Sprint("user=u host=", hosts)).brief; got != brief {
			t.Errorf("%s: %v", hosts, got)
		}
	}
}
