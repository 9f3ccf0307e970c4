//go:build differential

// Package differential holds random conversations, each with PostgreSQL itself and with PostgreSQL through lockproxy, and
// compares every message that comes back.
package differential

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

var (
	conversations = flag.Int("conversations", 300, "how many conversations")
	firstSeed     = flag.Int64("seed", 0, "the first conversation's seed; 0: by the clock")
	length        = flag.Int("steps", 25, "how many steps each has")
)

func TestConversationsThroughLockproxyAreThoseWithTheServer(t *testing.T) {
	server := postgres.Start(t, postgres.MaxConnections(60))
	direct, through := server.NewDatabase(t), server.NewDatabase(t)
	address := startProxy(t, server)
	stop := noise(t, address, through)
	defer stop()
	seed := *firstSeed
	if seed == 0 {
		seed = time.Now().UnixNano() % 1_000_000_000
	}
	for i := range int64(*conversations) {
		twin := &twins{t: t, direct: fmt.Sprintf("127.0.0.1:%d", server.Port), through: address, databases: [2]string{direct, through}}
		script := newScript(seed + i)
		if difference := twin.hold(script); difference != "" {
			script, difference = twin.shrink(script, difference)
			t.Errorf("seed %d, of %d steps:\n%s\n%s", seed+i, len(script), transcript(script), difference)
			if t.Failed() && i > 2 && os.Getenv("DIFFERENTIAL_ALL") == "" {
				return
			}
		}
	}
}

func startProxy(t *testing.T, server *postgres.Server) string {
	limits := pools.Config{Max: 4, CheckoutTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	lock := limits
	lock.Max = 2
	p, err := proxy.New(proxy.Config{
		Listen: []string{"127.0.0.1:0"}, MaxClients: 100, LoginTimeout: 5 * time.Second, ShutdownTimeout: time.Second,
		MaxBuffer: 256 << 10, MaxStatement: 16 << 20, Auth: proxy.Auth{Type: proxy.Trust},
		Databases: map[string]proxy.Database{proxy.AnyDatabase: {
			URL: "postgres://127.0.0.1:" + strconv.Itoa(server.Port) + "/?sslmode=disable", Admin: limits, Lock: lock,
			LockTimeout: 30 * time.Second, IdleTransactionTimeout: 30 * time.Second,
		}},
	}, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return p.Addrs()[0].String()
}

// noise has other clients run transactions meanwhile, so that backends change hands.
func noise(t *testing.T, address, database string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan bool)
	for i := range 4 {
		p := dial(t, address, database, "DateStyle", []string{"ISO", "German", "SQL", "Postgres"}[i])
		go func() {
			defer func() { done <- true }()
			defer p.conn.Close()
			for ctx.Err() == nil {
				p.write(append(query("BEGIN; SELECT pg_sleep(0.0005); COMMIT"), append(parse("n", "SELECT "+strconv.Itoa(i)), append(append(bind("", "n"), execute("", 0)...), append(closing("S", "n"), sync...)...)...)...))
				if _, err := p.until(2); err != nil && ctx.Err() == nil {
					t.Errorf("noise: %v", err)
					return
				}
			}
		}()
	}
	return func() {
		cancel()
		for range 4 {
			<-done
		}
	}
}

type script []step

func newScript(seed int64) script {
	w := newWriter(seed)
	s := script{w.setup()}
	for range *length {
		s = append(s, w.step())
	}
	return s
}

func transcript(s script) string {
	var b strings.Builder
	for i, one := range s {
		fmt.Fprintf(&b, "%3d  %s\n", i, spell(one.sent))
	}
	return b.String()
}

// twins hold one conversation twice.
type twins struct {
	t               *testing.T
	direct, through string
	databases       [2]string
}

// hold gives the first difference, or nothing.
func (w *twins) hold(s script) (difference string) {
	a := dial(w.t, w.direct, w.databases[0])
	b := dial(w.t, w.through, w.databases[1])
	defer a.conn.Close()
	defer b.conn.Close()
	if string(a.last) != string(b.last) {
		return fmt.Sprintf("login\ndirectly %s\nthrough  %s", spell(a.last), spell(b.last))
	}
	for i, one := range s {
		a.write(one.sent)
		b.write(one.sent)
		answer1, err1 := a.until(one.ready)
		answer2, err2 := b.until(one.ready)
		if d := compare(answer1, answer2); d != "" || (err1 == nil) != (err2 == nil) {
			return fmt.Sprintf("step %d: %s\ndirectly %s %v\nthrough  %s %v", i, d, spellAll(answer1), err1, spellAll(answer2), err2)
		}
		if err1 != nil {
			return ""
		}
	}
	return ""
}

func compare(a, b [][]byte) string {
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a):
			return fmt.Sprintf("through lockproxy there is one more: %s", spell(b[i]))
		case i >= len(b):
			return fmt.Sprintf("through lockproxy there is none for %s", spell(a[i]))
		case bothFailed(a[i], b[i]):
		case string(comparable(a[i])) != string(comparable(b[i])):
			return fmt.Sprintf("message %d: directly %s through %s", i, spell(a[i]), spell(b[i]))
		}
	}
	return ""
}

// bothFailed tells whether both messages are errors that are both right. A statement that is missing on a backend is
// prepared there before it is bound: where that fails, because the transaction has or the search_path is another, the
// client is told so, and not of the wrong number of parameters.
func bothFailed(a, b []byte) bool {
	if a[0] != protocol.ErrorResponse || b[0] != protocol.ErrorResponse {
		return false
	}
	return strings.Contains(string(a)+string(b), "C25P02\x00") || strings.Contains(string(a), "bind message supplies")
}

func spellAll(frames [][]byte) string {
	var all []string
	for _, f := range frames {
		all = append(all, spell(f))
	}
	text := strings.Join(all, " ")
	return text[:min(len(text), 1500)]
}

// shrink leaves out steps for as long as a difference remains.
func (w *twins) shrink(s script, difference string) (script, string) {
	for i := len(s) - 1; i >= 1; i-- {
		if i >= len(s) {
			continue
		}
		shorter := append(append(script{}, s[:i]...), s[i+1:]...)
		if d := w.hold(shorter); d != "" {
			s, difference = shorter, d
		}
	}
	return s, difference
}
