package test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/authority"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// overheard keeps what the other side said.
type overheard struct {
	net.Conn
	mu   sync.Mutex // pgx reads in the background as well, where an answer takes its time
	said []byte
}

func (h *overheard) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, p[:n]...)
	return n, err
}

func (h *overheard) all() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.said)
}

// allTold is every byte that a client is told in a login with a wrong password.
func allTold(t testing.TB, address, user string) []byte {
	t.Helper()
	config, err := pgconn.ParseConfig(as(t, address, user, "wrong"))
	if err != nil {
		t.Fatal(err)
	}
	ear := &overheard{}
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		ear.Conn, err = new(net.Dialer).DialContext(ctx, network, addr)
		return ear, err
	}
	if _, err := pgconn.ConnectConfig(t.Context(), config); err == nil {
		t.Fatalf("%s is let in by a wrong password", user)
	}
	return ear.all()
}

// toldTo is what a client is told in a login with a wrong password, but for salts, nonces and its name.
func toldTo(t testing.TB, address, user string) (told []string) {
	t.Helper()
	random := regexp.MustCompile(`([rs])=([^,]+)`)
	for p := allTold(t, address, user); len(p) > 0; {
		_, size := protocol.Head(p)
		message := string(p[:size])
		p = p[size:]
		switch {
		case strings.HasPrefix(message, "R\x00\x00\x00\x0c\x00\x00\x00\x05"): // MD5, and its salt
			message = message[:9] + "salt"
		case message[0] == protocol.Authentication:
			message = random.ReplaceAllStringFunc(message, func(one string) string { return fmt.Sprintf("%s of %d", one[:1], len(one)) })
		}
		told = append(told, strings.ReplaceAll(message, user, "USER"))
	}
	return told
}

// oftenIterated is a secret that was made with another count and another size of the salt than PostgreSQL's own.
const oftenIterated = "SCRAM-SHA-256$10000:c2FsdHNhbHRzYWx0c2FsdHNhbHRzYWx0$" +
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

// Who is unknown, and who cannot log in, is told by the same messages, byte for byte, as who is known and has a wrong password.
func TestUnknownUsersAreToldWhatKnownOnesAre(t *testing.T) {
	server := upstream(t)
	createUsers(t, "ALTER ROLE asked_late VALID UNTIL '2001-01-01'; ALTER ROLE asked_bare PASSWORD NULL; ALTER ROLE asked_iter PASSWORD '"+oftenIterated+"'",
		map[string]postgres.Method{"asked_safe": postgres.SCRAM, "asked_fine": postgres.SCRAM, "asked_good": postgres.SCRAM,
			"asked_late": postgres.SCRAM, "asked_bare": postgres.SCRAM, "asked_iter": postgres.SCRAM})
	md5s := written(t, "userlist.txt", fmt.Sprintf("%q %q\n%q \"open\"\n\"barelyuser\" \"\"\n", "md5ed_user", md5Of("md5ed_user", "x"), "plain_user"))
	scrams := written(t, "userlist.txt", fmt.Sprintf("%q %q\n\"plain_user\" \"open\"\n\"md5ed_user\" %q\n\"barelyuser\" \"\"\n",
		"scram_user", verifierOf(t, server, "same_scram", "x"), md5Of("md5ed_user", "x")))
	iterated := written(t, "userlist.txt", fmt.Sprintf("\"often_user\" %q\n\"barelyuser\" \"\"\n", oftenIterated))
	hba := written(t, "pg_hba.conf", "host all all all md5\n")
	for _, c := range []struct {
		name  string
		auth  proxy.Auth
		users []string
	}{
		{"scram-sha-256", proxy.Auth{Type: proxy.SCRAM, File: scrams}, []string{"scram_user", "plain_user", "md5ed_user", "barelyuser", "nobody_kno"}},
		{"md5", proxy.Auth{Type: proxy.MD5, File: md5s}, []string{"md5ed_user", "plain_user", "barelyuser", "nobody_kno"}},
		{"md5 by a rule", proxy.Auth{Type: proxy.HBA, HBAFile: hba, File: md5s}, []string{"md5ed_user", "plain_user", "nobody_kno"}},
		{"often iterated", proxy.Auth{Type: proxy.SCRAM, File: iterated}, []string{"often_user", "barelyuser", "nobody_kno"}},
		{"often iterated, under md5", proxy.Auth{Type: proxy.MD5, File: iterated}, []string{"often_user", "barelyuser", "nobody_kno"}},
		{"often iterated, looked up", proxy.Auth{Type: proxy.SCRAM, Query: authQuery, QueryURL: server.URL("postgres")},
			[]string{"asked_iter", "asked_late", "asked_bare", "asked_none"}},
		{"looked up", proxy.Auth{Type: proxy.SCRAM, Query: authQuery, QueryURL: server.URL("postgres")},
			[]string{"asked_safe", "asked_late", "asked_bare", "asked_none"}},
		{"looked up, under md5", proxy.Auth{Type: proxy.MD5, Query: authQuery, QueryURL: server.URL("postgres")},
			[]string{"asked_safe", "asked_fine", "asked_good", "asked_late", "asked_bare", "asked_none"}},
		{"looked up, and of the file", proxy.Auth{Type: proxy.SCRAM, File: scrams, Query: authQuery, QueryURL: server.URL("postgres")},
			[]string{"scram_user", "plain_user", "asked_safe", "nobody_kno"}},
	} {
		r := startProxy(t, authenticated(c.auth))
		for _, database := range []string{r.database, "nowhere", "pgbouncer"} {
			address := strings.Replace(r.url, r.database, database, 1)
			want := toldTo(t, address, c.users[0])
			for _, user := range c.users[1:] {
				if got := toldTo(t, address, user); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
					t.Errorf("%s, database %s: %s is told\n%q, and %s\n%q", c.name, database, user, got, c.users[0], want)
				}
			}
		}
		first, last := toldTo(t, r.url, c.users[0]), c.users[len(c.users)-1]
		r.reload(t)
		if got := toldTo(t, r.url, last); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", first) {
			t.Errorf("%s, after a reload: %s is told\n%q, and %s\n%q", c.name, last, got, c.users[0], first)
		}
	}
}

// Where secrets are of several kinds each of them is that of some unknown names, and always of the same ones: a kind tells
// nothing. After a reload as well.
func TestUnknownUsersAreAskedInEveryWayThatKnownOnesAre(t *testing.T) {
	users := written(t, "userlist.txt", fmt.Sprintf("\"md5ed_user\" %q\n\"often_user\" %q\n\"scram_user\" %q\n",
		md5Of("md5ed_user", "x"), oftenIterated, verifierOf(t, upstream(t), "same_mixed", "x")))
	for method, kinds := range map[proxy.AuthType][]string{
		proxy.MD5: {"md5ed_user", "often_user", "scram_user"}, proxy.SCRAM: {"often_user", "scram_user"},
	} {
		r := startProxy(t, authenticated(proxy.Auth{Type: method, File: users}))
		told := func(user string) string { return fmt.Sprintf("%q", toldTo(t, r.url, user)) }
		unseen := map[string]string{}
		for _, user := range kinds {
			unseen[told(user)] = user
		}
		known, first := maps.Clone(unseen), map[string]string{}
		for i := range 64 { // one kind is missing once in billions of times
			user := fmt.Sprintf("nobody_%03d", i)
			first[user] = told(user)
			if known[first[user]] == "" {
				t.Errorf("%s: %s is told %s, as nobody is who is known", method, user, first[user])
			}
			delete(unseen, first[user])
		}
		for _, user := range unseen {
			t.Errorf("%s: nobody who is unknown is asked as %s is", method, user)
		}
		r.reload(t)
		for user, want := range first {
			if got := told(user); got != want {
				t.Errorf("%s: %s is told %s, and then %s", method, user, want, got)
			}
		}
	}
}

// Which users are unknown does not show by salts that are others after a restart, as PostgreSQL's are not: scram_mock_salt of
// src/backend/libpq/auth-scram.c. They follow from the private key of TLS.
func TestSaltsSurviveARestart(t *testing.T) {
	users := written(t, "userlist.txt", "\"plain_user\" \"open\"\n")
	auth := func(c *proxy.Config) { c.Auth = proxy.Auth{Type: proxy.SCRAM, File: users} }
	s := startSecured(t, proxy.AllowTLS, auth)
	saltOf := func(r *rig, user string) string {
		t.Helper()
		salt := regexp.MustCompile(`,s=([^,]+),`).FindSubmatch(allTold(t, r.url, user))
		if salt == nil {
			t.Fatalf("%s is told no salt", user)
		}
		return string(salt[1])
	}
	names := []string{"plain_user", "nobody_kno"}
	first := make(map[string]string)
	for _, user := range names {
		first[user] = saltOf(s.rig, user)
	}
	restarted := startProxy(t, func(c *proxy.Config) { auth(c); c.TLS = s.config })
	elsewhere := startSecured(t, proxy.AllowTLS, auth).rig
	bare := startProxy(t, auth)
	if _, _, err := authority.Files(s.folder, s.Issue("localhost")); err != nil {
		t.Fatal(err)
	}
	s.reload(t)
	for _, user := range names {
		for r, same := range map[*rig]bool{s.rig: true, restarted: true, elsewhere: false, bare: false} {
			if salt := saltOf(r, user); (salt == first[user]) != same {
				t.Errorf("the salt of %s was %s and is %s", user, first[user], salt)
			}
		}
	}
}
