package session

import (
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
)

// exchange is what a client sends in one piece, and what its server answers in another; no answer: the session gives it.
type exchange struct{ client, server []byte }

// The transactions that pools see most, from the client's first byte to the server's release.
var transactions = []struct {
	name      string
	exchanges []exchange
}{
	{"simple", []exchange{
		{query("SELECT abalance FROM pgbench_accounts WHERE aid = 4711;"), join([][]byte{
			message(protocol.RowDescription, "\x00\x01abalance\x00\x00\x00\x40\x00\x00\x03\x00\x00\x00\x17\x00\x04\xff\xff\xff\xff\x00\x00"),
			row("0"), complete("SELECT 1"), ready('I')})},
	}},
	{"prepared", []exchange{
		{join([][]byte{bind("", "P0_1"), describe('P', ""), execute(""), sync()}), join([][]byte{message(protocol.BindComplete, ""),
			message(protocol.RowDescription, "\x00\x00"), row("0"), complete("SELECT 1"), ready('I')})},
	}},
	{"of four statements", []exchange{
		{query("BEGIN;"), nil},
		{query("UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 4711;"),
			join([][]byte{complete("BEGIN"), ready('T'), complete("UPDATE 1"), ready('T')})},
		{query("SELECT abalance FROM pgbench_accounts WHERE aid = 4711;"), join([][]byte{row("1"), complete("SELECT 1"), ready('T')})},
		{query("END;"), join([][]byte{complete("COMMIT"), ready('I')})},
	}},
}

func BenchmarkTransaction(b *testing.B) {
	for _, c := range transactions {
		b.Run(c.name, func(b *testing.B) {
			p := newPlayback(b)
			b.ReportAllocs()
			for b.Loop() {
				p.play(c.exchanges)
			}
		})
	}
}

// playback plays the same client and server over and over.
type playback struct {
	b   *testing.B
	s   *Session
	o   Output
	srv *Server
	now time.Time
}

// newPlayback gives a session whose client and server have prepared P0_1.
func newPlayback(b *testing.B) *playback {
	catalog := catalogOf(b, "")
	cfg := &Config{
		Catalog: func() *Catalog { return catalog }, Schema: new(changes), LockTimeout: 30 * time.Second, IdleTimeout: 30 * time.Second,
		MaxStatement: 1 << 20, MaxBuffer: 64 << 10,
	}
	p := &playback{b: b, s: New(cfg, &Client{Pid: 7}), now: time.Unix(1000, 0)}
	reported := NewSettings([]Setting{{"server_version", "15"}})
	p.srv = NewServer(99, reported, p.now)
	p.s.Start(&p.o, p.now, reported)
	p.play([]exchange{{
		join([][]byte{parse("P0_1", "SELECT abalance FROM pgbench_accounts WHERE aid = $1;"), describe('S', "P0_1"), sync()}),
		join([][]byte{message(protocol.ParseComplete, ""), message(protocol.ParameterDescription, "\x00\x01\x00\x00\x00\x17"),
			message(protocol.RowDescription, "\x00\x00"), ready('I')}),
	}})
	return p
}

// play ends with the server's release.
func (p *playback) play(exchanges []exchange) {
	for _, e := range exchanges {
		p.s.ClientBytes(&p.o, p.now, e.client)
		if p.did(Checkout) {
			p.s.Granted(&p.o, p.now, p.srv, pools.Admin)
		}
		if e.server != nil {
			p.s.ServerBytes(&p.o, p.now, e.server)
		}
	}
	if !p.did(Release) {
		p.b.Fatalf("the server is not released: %+v", p.o.Actions)
	}
}

// did tells what the last step's last action was.
func (p *playback) did(op Op) bool {
	last := len(p.o.Actions) - 1
	return last >= 0 && p.o.Actions[last].Op == op
}
