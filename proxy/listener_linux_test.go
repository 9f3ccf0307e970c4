package proxy

import (
	"log/slog"
	"net"
	"testing"
	"time"
)

// Who begins to connect to a socket that shares its address, and is about to be closed, is not answered by it: by no kind of link.
func TestARetiredListenerAnswersNobody(t *testing.T) {
	for links := range WaysToLink {
		s, err := New(Config{Listen: []string{"127.0.0.1:0"}, ReusePort: true, MaxClients: 10, LoginTimeout: time.Minute, Links: links,
			Auth: Auth{Type: Trust}, Databases: map[string]Database{AnyDatabase: {URL: "postgres://127.0.0.1:1"}}}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Listen(); err != nil {
			t.Fatal(err)
		}
		if s.loops = links.loops(); s.loops != nil {
			defer s.loops.Close()
		}
		l := s.listeners[0]
		l.serve(s)
		address := l.Addr().String()
		if conn, err := net.Dial("tcp", address); err != nil {
			t.Fatal(err)
		} else {
			conn.Close()
		}
		if !l.retire() {
			t.Errorf("links of kind %d: the listener cannot be retired", links)
		}
		if conn, err := net.DialTimeout("tcp", address, 200*time.Millisecond); err == nil {
			conn.Close()
			t.Errorf("links of kind %d: a retired listener is connected to", links)
		}
		s.closeListeners()
	}
}
