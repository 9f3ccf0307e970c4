package test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// keySizes is how long the key for cancel requests is, by the minor version of the protocol that is asked for.
var keySizes = map[uint32]int{0: 4, 1: 4, 2: 32, 3: 32, 9999: 32}

func TestCancelKeysAreAsLongAsTheProtocolOfTheClient(t *testing.T) {
	r := startProxy(t, sized(1, 1))
	noise(t, r.url, 1)
	for minor, size := range keySizes {
		for _, parameters := range [][]string{nil, {"_pq_.x", "1"}} {
			s := openSocket(t, r.url)
			s.send(startupOf(minor, r.url, parameters...))
			welcome := s.until("Z")
			if negotiated := strings.HasPrefix(welcome, "v"); len(s.key) != size || negotiated != (minor > 2 || parameters != nil) {
				t.Fatalf("protocol 3.%d with %q: a key of %d bytes, %s", minor, parameters, len(s.key), welcome)
			}
			s.runs(r, "SELECT pg_sleep(66)")
			if err := s.cancel(); err != nil {
				t.Fatal(err)
			}
			if got := s.until("Z"); got != "T E(57014) Z(I)" {
				t.Errorf("protocol 3.%d: a cancelled statement is answered by %s", minor, got)
			}
		}
	}
}

// Half a key, or a key and more, is no key.
func TestPartsOfACancelKeyAreNone(t *testing.T) {
	r := startProxy(t, sized(1, 1))
	s := openSocket(t, r.url)
	s.send(startupOf(2, r.url))
	s.until("Z")
	s.runs(r, "SELECT pg_sleep(0.4)")
	for _, key := range [][]byte{s.key[:4], s.key[:31], append(s.key[:32:32], 0)} {
		stranger := &socket{t: t, conn: s.conn, pid: s.pid, key: key}
		if err := stranger.cancel(); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.until("Z"); got != "T D() C(SELECT 1) Z(I)" {
		t.Errorf("the statement is answered by %s", got)
	}
}

// No driver, and nobody who reads pg_stat_activity beside it, may take the number for a process of the server's.
func TestProcessIdsOfClientsAreNobodyElses(t *testing.T) {
	r := startProxy(t)
	for range 20 {
		if s := logIn(t, r.url); s.pid <= 1<<22 || int32(s.pid) < 0 {
			t.Errorf("process id %d", s.pid)
		}
	}
}

func TestADriverCancelsByProtocol32(t *testing.T) {
	r := startProxy(t)
	noise(t, r.url, 2)
	config, err := pgconn.ParseConfig(withParameter(t, r.url, "max_protocol_version", "latest"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgconn.ConnectConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn(conn.Close)
	if n := len(conn.SecretKey()); n != 32 {
		t.Errorf("a key of %d bytes", n)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "SELECT pg_sleep(67)").ReadAll()
		ended <- err
	}()
	r.awaitRow(t, "it runs", "count(*) = 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(67)' AND state = 'active'")
	if err := conn.CancelRequest(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := sqlState(<-ended); got != "57014" {
		t.Errorf("the cancelled statement ends with %s", got)
	}
	connect(t, withParameter(t, r.url, "min_protocol_version", "3.2")) // It insists.
}
