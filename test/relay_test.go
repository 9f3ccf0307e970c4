package test

import (
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// relay stands between a proxy and its PostgreSQL server and can cut the connections, so that the server's last words
// do not arrive: what a crashed machine or network does.
type relay struct {
	listener net.Listener
	to       string
	all      sync.WaitGroup

	mu    sync.Mutex // guards conns
	conns []net.Conn
}

func startRelay(t testing.TB, server *postgres.Server) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: listener, to: net.JoinHostPort("127.0.0.1", strconv.Itoa(server.Port))}
	r.all.Go(r.accept)
	t.Cleanup(func() {
		listener.Close()
		r.cut()
		r.all.Wait()
	})
	return r
}

// behind has the proxy reach its server through the relay.
func (r *relay) behind() func(*proxy.Config) {
	return withDatabase(func(d *proxy.Database) {
		d.URL = "postgres://" + postgres.Superuser + "@" + r.listener.Addr().String() + "?sslmode=disable"
	})
}

func (r *relay) accept() {
	for {
		from, err := r.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", r.to)
		if err != nil {
			from.Close()
			continue
		}
		r.mu.Lock()
		r.conns = append(r.conns, from, to)
		r.mu.Unlock()
		for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
			r.all.Go(func() {
				_, _ = io.Copy(way[0], way[1]) // Either end may go first.
				way[0].Close()
				way[1].Close()
			})
		}
	}
}

// cut ends all connections.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.conns {
		conn.Close()
	}
	r.conns = nil
}
