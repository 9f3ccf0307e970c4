package test

import (
	"fmt"
	"net/url"
	"os/user"
	"strings"
	"testing"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/authority"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// Every method, in clear and over TLS, with every driver: each logs in by what is right, and is told what PostgreSQL tells by what
// is wrong.
func TestEveryMethodWithEveryDriver(t *testing.T) {
	server := upstream(t)
	createUsers(t, "", map[string]postgres.Method{"found_md5": postgres.MD5, "found_scram": postgres.SCRAM,
		"through_md5_all": postgres.MD5, "through_said": postgres.MD5, "through_scram_all": postgres.SCRAM})
	users := written(t, "userlist.txt", fmt.Sprintf("%q %q\n%q %q\n%q %q\n", "plain", "secret-of-plain", "old", md5Of("old", "secret-of-old"),
		"modern", verifierOf(t, server, "driven_modern", "secret-of-modern")))
	account, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	auth := proxy.Auth{Type: proxy.HBA, File: users, Query: authQuery, QueryURL: server.URL("postgres"),
		IdentFile: written(t, "pg_ident.conf", "m "+account.Username+" peered\n"),
		HBAFile: written(t, "pg_hba.conf", `
			local   all peered                    peer map=m
			host    all banned                all reject
			host    all trusted               all trust
			hostssl all certified,uncertified all cert
			host    all plain                 all scram-sha-256
			host    through through_said      all password
			host    all all                   all md5
		`)}
	s := startSecured(t, proxy.AllowTLS, authenticated(auth), named("forced", server, "postgres"), func(c *proxy.Config) {
		c.Listen = append(c.Listen, folder)
		through := c.Databases["forced"]
		through.URL = strings.Replace(through.URL, postgres.Superuser+"@", "", 1)
		c.Databases["through"] = through
	})
	certificate, key, err := authority.Files(t.TempDir(), s.Issue("certified"))
	if err != nil {
		t.Fatal(err)
	}
	drivers := askers(t)
	const password = `password authentication failed for user "`
	for _, c := range []struct {
		method, user string
		keywords     []string // over TLS with those; nil: in clear
		database     string
		refusal      string // with a wrong password, or at all where it ends in "!"; empty: nothing is wrong
	}{
		{"trust", "trusted", nil, "forced", ""},
		{"trust over TLS", "trusted", []string{}, "forced", ""},
		{"reject", "banned", nil, "forced", "pg_hba.conf rejects connection for host!"},
		{"md5", "old", nil, "forced", password},
		{"md5 over TLS", "old", []string{}, "forced", password},
		{"md5, of a SCRAM secret", "modern", nil, "forced", password},
		{"scram-sha-256", "plain", nil, "forced", password},
		{"scram-sha-256 over TLS", "plain", []string{}, "forced", password},
		{"scram-sha-256 over TLS, of a stored secret", "modern", []string{}, "forced", password},
		{"an MD5 secret that is looked up", "found_md5", nil, "forced", password},
		{"a SCRAM secret that is looked up, over TLS", "found_scram", []string{}, "forced", password},
		{"an MD5 secret that is passed through", "through_md5_all", nil, "through", password},
		{"SCRAM keys that are passed through", "through_scram_all", nil, "through", password},
		{"SCRAM keys that are passed through, over TLS", "through_scram_all", []string{}, "through", password},
		{"the password itself, over TLS, on by MD5", "through_said", []string{}, "through", password},
		{"cert", "certified", []string{"sslcert", certificate, "sslkey", key}, "forced", ""},
		{"cert, of another's", "uncertified", []string{"sslcert", certificate, "sslkey", key}, "forced", `certificate authentication failed for user "uncertified"!`},
		{"cert, without one", "certified", []string{}, "forced", "connection requires a valid client certificate!"},
		{"peer", "peered", nil, "forced", ""},
		{"peer, as another", "somebody", nil, "forced", `no pg_hba.conf entry for host "[local]"!`},
		{"of nobody", "nobody", nil, "forced", password + `nobody"!`},
	} {
		address := as(t, s.url, c.user, "secret-of-"+c.user)
		if c.keywords != nil {
			address = withPassword(t, s.secureURL(t, c.user, c.keywords...), "secret-of-"+c.user)
		}
		address = strings.Replace(address, s.database, c.database, 1)
		local := strings.HasPrefix(c.method, "peer")
		if local {
			address = fmt.Sprintf("postgres:///%s?host=%s&port=6432&user=%s", c.database, url.QueryEscape(folder), c.user)
		}
		for _, driver := range drivers {
			if local && driver.name == "JDBC" {
				continue // has no unix sockets
			}
			refusal, at := strings.CutSuffix(c.refusal, "!")
			got, err := driver.ask(t, address, driver.modes[0], "SELECT current_user")
			want := postgres.Superuser
			if c.database == "through" {
				want = c.user
			}
			switch {
			case at && (err == nil || !strings.Contains(err.Error(), refusal)):
				t.Errorf("%s by %s: %v is not the refusal", c.method, driver.name, err)
			case !at && (err != nil || got[0] != want):
				t.Errorf("%s by %s: %v, %v", c.method, driver.name, got, err)
			}
			if at || refusal == "" {
				continue
			}
			_, err = driver.ask(t, strings.Replace(address, "secret-of-", "secret-for-", 1), driver.modes[0], "SELECT current_user")
			if err == nil || !strings.Contains(err.Error(), refusal+c.user) {
				t.Errorf("%s by %s, with a wrong password: %v", c.method, driver.name, err)
			}
		}
	}
	for _, secret := range []string{"secret-of-", "secret-for-", "SCRAM-SHA-256$", md5Of("old", "secret-of-old")} {
		if s.log.has(secret) {
			t.Errorf("the log tells %s", secret)
		}
	}
}
