package backend

import (
	"context"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/test/authority"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// secureServer is a PostgreSQL that speaks TLS. Its certificate is for "server" and 127.0.0.1; the user named encrypted must
// speak TLS, and the one named certified must show a certificate for that name.
func secureServer(t *testing.T, a *authority.Authority) (s *postgres.Server, ca string) {
	t.Helper()
	s = postgres.Start(t, postgres.HBA("hostnossl all encrypted all reject", "hostssl all certified all cert", "hostnossl all certified all reject"))
	folder := t.TempDir()
	certificate, key, err := authority.Files(folder, a.Issue("server"))
	if err != nil {
		t.Fatal(err)
	}
	if ca, err = a.File(folder); err != nil {
		t.Fatal(err)
	}
	if err := s.EnableTLS(certificate, key, ca); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"encrypted", "certified"} {
		if _, err := s.Query("postgres", "CREATE ROLE "+user+" LOGIN"); err != nil {
			t.Fatal(err)
		}
	}
	return s, ca
}

func TestEverySSLModeDoesWhatLibpqMakesOfIt(t *testing.T) {
	a, foreign := authority.New(), authority.New()
	s, ca := secureServer(t, a)
	other, err := foreign.File(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	certificate, key, err := authority.Files(t.TempDir(), a.Issue("certified"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, user, host string
		keywords         []string
		encrypted        string // "true" or "false" as the server says; empty: it fails
	}{
		{"disable", "postgres", "127.0.0.1", []string{"sslmode", "disable"}, "false"},
		{"disable where TLS is demanded", "encrypted", "127.0.0.1", []string{"sslmode", "disable"}, ""},
		{"allow", "postgres", "127.0.0.1", []string{"sslmode", "allow"}, "false"},
		{"allow where TLS is demanded", "encrypted", "127.0.0.1", []string{"sslmode", "allow"}, "true"},
		{"prefer", "postgres", "127.0.0.1", []string{"sslmode", "prefer"}, "true"},
		{"the default is prefer", "postgres", "127.0.0.1", nil, "true"},
		{"require", "postgres", "127.0.0.1", []string{"sslmode", "require"}, "true"},
		{"require with an authority is verify-ca", "postgres", "127.0.0.1", []string{"sslmode", "require", "sslrootcert", other}, ""},
		{"verify-ca", "postgres", "127.0.0.1", []string{"sslmode", "verify-ca", "sslrootcert", ca}, "true"},
		{"verify-ca of a foreign authority", "postgres", "127.0.0.1", []string{"sslmode", "verify-ca", "sslrootcert", other}, ""},
		{"verify-ca under another name", "postgres", "localhost", []string{"sslmode", "verify-ca", "sslrootcert", ca}, "true"},
		{"verify-full", "postgres", "127.0.0.1", []string{"sslmode", "verify-full", "sslrootcert", ca}, "true"},
		{"verify-full under another name", "postgres", "localhost", []string{"sslmode", "verify-full", "sslrootcert", ca}, ""},
		{"verify-full of a foreign authority", "postgres", "127.0.0.1", []string{"sslmode", "verify-full", "sslrootcert", other}, ""},
		{"a certificate", "certified", "127.0.0.1", []string{"sslmode", "require", "sslcert", certificate, "sslkey", key}, "true"},
		{"no certificate", "certified", "127.0.0.1", []string{"sslmode", "require"}, ""},
	} {
		text := secureURL(s, c.user, c.host, c.keywords)
		if c.encrypted == "" {
			dialFails(t, text)
			continue
		}
		conn, err := Dial(context.Background(), target(t, text))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		rows, _ := query(t, conn, "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
		if !slices.Equal(rows, []string{c.encrypted}) {
			t.Errorf("%s: encrypted is %v", c.name, rows)
		}
		conn.Close()
	}
}

func secureURL(s *postgres.Server, user, host string, keywords []string) string {
	q := url.Values{}
	for i := 0; i < len(keywords); i += 2 {
		q.Set(keywords[i], keywords[i+1])
	}
	u := url.URL{Scheme: "postgres", User: url.User(user), Host: net.JoinHostPort(host, strconv.Itoa(s.Port)), Path: "/postgres", RawQuery: q.Encode()}
	return u.String()
}

func TestACancelRequestReachesAServerOverTLS(t *testing.T) {
	a := authority.New()
	s, ca := secureServer(t, a)
	c := dial(t, secureURL(s, "encrypted", "127.0.0.1", []string{"sslmode", "verify-full", "sslrootcert", ca}))
	done := make(chan error, 1)
	go func() {
		for {
			rows, err := s.Query("postgres", "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
			if err != nil || len(rows) > 0 {
				done <- err
				return
			}
		}
	}()
	ended := make(chan string, 1)
	go func() {
		_, code := query(t, c, "SELECT pg_sleep(20)")
		ended <- code
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := c.Cancel(context.Background()); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code != "57014" {
		t.Errorf("the statement ends with SQLSTATE %q", code)
	}
}

// CVE-2021-23222: what is injected behind a server's consent to TLS is not taken for the server's.
func TestBytesBehindAServersConsentToTLSEndTheConnection(t *testing.T) {
	address := listen(t, func(conn net.Conn) {
		defer conn.Close()
		readPacket(conn)
		_, _ = conn.Write([]byte("SR\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I"))
		_ = conn.SetDeadline(time.Now().Add(soon))
		_, _ = io.Copy(io.Discard, conn)
	})
	dialFails(t, "postgres://u:hunter2@"+address+"/d?sslmode=require")
}
