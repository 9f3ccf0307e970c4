package proxy

import (
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/proxy/link"
	"github.com/lockproxy/lockproxy/proxy/session"
)

// sink is a link that takes all it is given.
type sink struct {
	got   int
	owner link.Owner
}

func (s *sink) Write(p ...[]byte) {
	for _, one := range p {
		s.got += len(one)
	}
}
func (*sink) Buffered() int                        { return 0 }
func (*sink) Pause()                               {}
func (*sink) Local() (a netip.AddrPort, err error) { return }
func (s *sink) Handover(to link.Owner)             { s.owner = to }
func (*sink) Resume()                              {}
func (*sink) Close()                               {}
func (*sink) CloseAfterFlush(time.Duration)        {}

// warmPool is clients and servers of one pool, with nothing but links missing.
func warmPool(t testing.TB, n int) (clients []*client, servers []*serverConn) {
	limits := pools.Config{Max: n, CheckoutTimeout: time.Minute, IdleTimeout: time.Hour, MaxLifetime: time.Hour}
	db := Database{URL: "postgres://u@127.0.0.1:1/d?sslmode=disable", Admin: limits, Lock: limits, LockTimeout: time.Minute, IdleTransactionTimeout: time.Minute}
	s, err := New(Config{
		MaxBuffer: 256 << 10, MaxStatement: 1 << 20, MaxPrepared: 200, MaxClients: 100, LoginTimeout: time.Minute,
		Auth: Auth{Type: Trust}, Databases: map[string]Database{"d": db},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	target, err := backend.ParseTarget(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPool(s, s.rules.Load(), poolName{"d", "u"}, db, target)
	if err != nil {
		t.Fatal(err)
	}
	reported := []backend.Parameter{{Name: "application_name"}, {Name: "client_encoding", Value: "UTF8"}, {Name: "DateStyle", Value: "ISO, MDY"},
		{Name: "in_hot_standby", Value: "off"}, {Name: "server_version", Value: "15.18"}, {Name: "TimeZone", Value: "UTC"}}
	for range n {
		c := &client{proxy: s, pool: p, about: &about{user: "u", database: "d", since: time.Now()}, link: new(sink)}
		c.waiter.Owner, c.waiter.Label = c, c.about
		c.session = session.New(p.terms.Load().sessions, &session.Client{Pid: uint32(1<<pidBits + len(clients))})
		clients = append(clients, c)
	}
	for i, c := range clients {
		sc := newServerConn(p, &backend.Conn{Pid: uint32(i + 1), Parameters: reported})
		sc.link = new(sink)
		events := p.do(nil, func(pair *pools.Pair) { pair.Checkout(time.Now(), &c.waiter, pools.Admin) })
		p.do(nil, func(pair *pools.Pair) { sc.slot = pair.Dialed(time.Now(), events[0].Dial, sc) })
		c.stepLocked(nil, func(one *session.Session, o *session.Output, now time.Time) { one.Start(o, now, sc.facts.Reported) })
		servers = append(servers, sc)
	}
	for _, sc := range servers {
		p.do(nil, func(pair *pools.Pair) { pair.Release(time.Now(), sc.slot) })
	}
	return clients, servers
}

func simple(text string) []byte {
	p := append([]byte{protocol.Query, 0, 0, 0, byte(len(text) + 5)}, text...)
	return append(p, 0)
}

func BenchmarkRelay(b *testing.B) {
	clients, _ := warmPool(b, 16)
	ask := simple("SELECT abalance FROM pgbench_accounts WHERE aid = 12345;")
	answer := protocol.AppendReady(protocol.AppendComplete(nil, "SELECT 1"), 'I')
	b.ReportAllocs()
	for b.Loop() {
		for _, c := range clients {
			c.Received(ask)
		}
		for _, c := range clients {
			c.server.Received(answer)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/16, "ns/transaction")
}

// BenchmarkLogin is a client's life from accept to goodbye, with no query in it.
func BenchmarkLogin(b *testing.B) {
	clients, _ := warmPool(b, 1)
	p := clients[0].pool
	s := p.server
	s.pools[p.name] = p
	hello := "\x00\x03\x00\x00user\x00u\x00database\x00d\x00application_name\x00a\x00client_encoding\x00UTF8\x00\x00"
	hello = "\x00\x00\x00" + string(byte(len(hello)+4)) + hello
	startup := session.StartupSettings([]session.Setting{{Name: applicationName, Value: "b"}, {Name: "client_encoding", Value: "UTF8"}})
	p.learnWelcome(startup, clients[0].session.Told())
	peer := link.Peer{Address: netip.MustParseAddrPort("127.0.0.1:1")}
	b.ReportAllocs()
	for b.Loop() {
		l := new(sink)
		l.owner = s.Accepted(l, peer)
		l.owner.Received([]byte(hello))
		if l.got < 50 {
			b.Fatal("the client was not welcomed")
		}
		l.owner.Received([]byte{protocol.Terminate, 0, 0, 0, 4})
		l.owner.Closed(io.EOF)
	}
}
