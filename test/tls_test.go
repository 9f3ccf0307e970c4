package test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/authority"
)

// secured is a proxy that speaks TLS, and who has signed its certificate.
type secured struct {
	*rig
	*authority.Authority
	folder, ca string
	config     proxy.TLS
}

func startSecured(t testing.TB, mode proxy.TLSMode, edits ...func(*proxy.Config)) *secured {
	t.Helper()
	s := &secured{Authority: authority.New(), folder: t.TempDir()}
	s.config = proxy.TLS{Mode: mode}
	var err error
	if s.config.Certificate, s.config.Key, err = authority.Files(s.folder, s.Issue("localhost")); err != nil {
		t.Fatal(err)
	}
	if s.ca, err = s.File(s.folder); err != nil {
		t.Fatal(err)
	}
	s.config.Authorities = s.ca
	s.rig = startProxy(t, append(edits, func(c *proxy.Config) { c.TLS = s.config })...)
	return s
}

// secureURL connects through the proxy with what libpq's keywords say.
func (s *secured) secureURL(t testing.TB, user string, keywords ...string) string {
	t.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(user)
	q := url.Values{"sslrootcert": {s.ca}, "sslmode": {"verify-full"}}
	for i := 0; i < len(keywords); i += 2 {
		q.Set(keywords[i], keywords[i+1])
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// everyLink runs a test with each way to serve sockets.
func everyLink(t *testing.T, f func(t *testing.T, links func(*proxy.Config))) {
	for ways := range proxy.WaysToLink {
		t.Run([]string{"loops", "spread loops", "calling loops", "goroutines"}[ways], func(t *testing.T) {
			f(t, func(c *proxy.Config) { c.Links = ways })
		})
	}
}

func TestASessionOverTLS(t *testing.T) {
	everyLink(t, func(t *testing.T, links func(*proxy.Config)) {
		s := startSecured(t, proxy.RequireTLS, links)
		ctx := context.Background()
		conn, err := pgx.Connect(ctx, s.secureURL(t, "postgres"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		want := strings.Repeat("wide ", 100_000)
		var got string
		if err := conn.QueryRow(ctx, "SELECT $1::text || 'end'", want).Scan(&got); err != nil || got != want+"end" {
			t.Errorf("%d bytes come back, %v", len(got), err)
		}
		if spoken := s.server.Sessions()[0].TLS; !strings.HasPrefix(spoken, "TLSv1.3/TLS_AES_128_GCM_SHA256/ECDH=") {
			t.Errorf("the console is told %q", spoken)
		}
	})
}
