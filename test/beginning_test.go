package test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// What sessions begin with, where ALTER ROLE and ALTER DATABASE change it while clients are connected.

// asRole starts a proxy whose clients are who they say, and makes a role of the name that is given.
func asRole(t *testing.T, server *postgres.Server) (r *rig, role string) {
	r = startProxyBefore(t, server, withDatabase(func(d *proxy.Database) {
		d.URL = strings.Replace(d.URL, postgres.Superuser+"@", "", 1)
	}), ready(1))
	role = r.database + "_role"
	r.query(t, "CREATE ROLE "+role+" LOGIN")
	return r, role
}

// beginnings make what the sessions of a role begin with, and changes make it otherwise.
var beginnings = []string{
	"ALTER ROLE %role SET work_mem = '111kB'", "ALTER ROLE %role SET app.tenant = 'one'", "ALTER ROLE %role SET datestyle = 'SQL, DMY'",
	"ALTER ROLE %role SET lock_timeout = '70s'", `ALTER ROLE %role SET search_path = "A b", public`,
}
var changes = []string{
	"ALTER ROLE %role SET timezone = 'Asia/Tokyo'", "ALTER ROLE %role SET default_transaction_read_only = on",
	"ALTER DATABASE %db SET work_mem = '222kB'", "ALTER ROLE %role SET work_mem = '321kB'", "ALTER ROLE %role SET app.tenant = 'two'",
	"ALTER ROLE %role RESET datestyle", "ALTER ROLE %role RESET lock_timeout", "ALTER ROLE %role SET search_path = public",
}

// Whoever is connected keeps what his session began with, and his resets give it back: all is as on a direct connection.
func TestSessionsKeepWhatTheyBeganWith(t *testing.T) {
	for _, elsewhere := range []bool{false, true} {
		t.Run(map[bool]string{false: "through the proxy", true: "elsewhere"}[elsewhere], func(t *testing.T) {
			r, role := asRole(t, postgres.Start(t))
			url, direct := strings.Replace(r.url, "postgres@", role+"@", 1), r.upstream.UserURL(role, "", r.database)
			named := strings.NewReplacer("%role", role, "%db", r.database)
			for _, one := range beginnings {
				r.query(t, named.Replace(one))
			}
			admin, status := logIn(t, r.url), dial(t, url)
			type pair struct{ proxied, direct *socket }
			pairs := map[string]pair{}
			for name, startup := range map[string][]string{
				"as it is": nil, "with settings": nil, "with a startup message": {"timezone", "Europe/Paris", "work_mem", "555kB"},
			} {
				p := pair{logIn(t, url, startup...), logIn(t, direct, startup...)}
				for _, s := range []*socket{p.proxied, p.direct} {
					if s.asks("Z", text("SELECT 1")); name == "with settings" {
						s.asks("ZZ", text("SET work_mem = '7MB'"), text("SET timezone = 'Asia/Kolkata'"))
					}
				}
				pairs[name] = p
			}
			for _, one := range changes {
				if one = named.Replace(one); elsewhere {
					r.query(t, one)
				} else {
					admin.asks("Z", text(one))
				}
			}
			if elsewhere {
				r.terminate(t, "usename = '"+role+"' AND pid NOT IN ("+
					strings.Join(pidsOf(pairs["as it is"].direct, pairs["with settings"].direct, pairs["with a startup message"].direct), ",")+")")
			}
			await(t, "new sessions begin otherwise", func() bool { return logIn(t, url).value("SHOW work_mem") == "321kB" })
			for _, sql := range []string{"SELECT 1", "SET timezone = 'Asia/Dubai'; RESET timezone", "SET timezone = 'Asia/Dubai'", "DISCARD ALL", "SELECT 1"} {
				_, err := status.Exec(context.Background(), sql).ReadAll()
				if zone := status.ParameterStatus("TimeZone"); err != nil || (zone == "UTC") == strings.HasSuffix(sql, "Dubai'") {
					t.Errorf("%s: the client is told of the time zone %s (%v)", sql, zone, err)
				}
			}
			for name, p := range pairs {
				answersAlike(t, name, p.proxied, p.direct)
			}
			answersAlike(t, "who came later", logIn(t, url), logIn(t, direct))
		})
	}
}

func pidsOf(sockets ...*socket) (pids []string) {
	for _, s := range sockets {
		pids = append(pids, s.value("SELECT pg_backend_pid()"))
	}
	return pids
}

// answersAlike has both sessions asked the same, and wants the same answers.
func answersAlike(t *testing.T, name string, proxied, direct *socket) {
	t.Helper()
	const show = "SELECT current_setting('timezone') || current_setting('work_mem') || current_setting('datestyle')" +
		" || current_setting('search_path') || current_setting('lock_timeout') || current_setting('app.tenant')" +
		" || current_setting('transaction_read_only')"
	for _, sql := range []string{
		show, "SET work_mem = '1MB'; SET timezone = 'Asia/Dubai'", show, "RESET work_mem", "RESET timezone", show,
		"BEGIN", "SET LOCAL work_mem TO DEFAULT", "SET lock_timeout = 5", show, "ROLLBACK", show,
		"SET datestyle = 'ISO'", "SET app.tenant = 'three'", "RESET ALL", show, "SET timezone = 'Asia/Dubai'", "DISCARD ALL", show,
	} {
		for _, extended := range []bool{false, true} {
			message := [][]byte{packed(t, text(sql))}
			if extended && !strings.Contains(sql, ";") {
				message = [][]byte{packed(t, prepare("", sql), bindTo("", ""), executing(""), syncNow)}
			}
			proxied.send(message[0])
			direct.send(message[0])
			if got, want := proxied.until("Z"), direct.until("Z"); got != want {
				t.Errorf("%s, %s, extended %v: %s, and directly %s", name, sql, extended, got, want)
			}
		}
	}
}

// What the server's configuration says reaches everybody, as directly, unless a role or a database has said otherwise since.
func TestAConfigurationThatIsReadAgainReachesSessionsOfEarlierBeginnings(t *testing.T) {
	r, role := asRole(t, postgres.Start(t))
	url := strings.Replace(r.url, "postgres@", role+"@", 1)
	s := logIn(t, url)
	s.asks("Z", text("SELECT 1"))
	logIn(t, r.url).asks("Z", text("ALTER ROLE "+role+" SET work_mem = '321kB'"))
	await(t, "new sessions begin otherwise", func() bool { return logIn(t, url).value("SHOW work_mem") == "321kB" })
	if got := s.value("SHOW work_mem"); got != "4MB" {
		t.Errorf("who is connected has %s", got)
	}
	r.query(t, "ALTER SYSTEM SET statement_timeout = '77s'")
	r.query(t, "SELECT pg_reload_conf()")
	await(t, "it is known", func() bool { return s.value("SHOW statement_timeout") == "77s" })
}

// Who begins with the same is told the same, from the first to those who are told without a server: also by a role that has a
// name for its applications.
func TestWelcomesAreAsDirectlyWhateverTheApplicationIsCalled(t *testing.T) {
	r, role := asRole(t, postgres.Start(t))
	url, direct := strings.Replace(r.url, "postgres@", role+"@", 1), r.upstream.UserURL(role, "", r.database)
	r.query(t, "ALTER ROLE "+role+" SET application_name = 'of the role'")
	const name = "application_name"
	for _, startup := range [][]string{
		{name, "a"}, {}, {name, "a"}, {name, ""}, {name, "b"}, {}, {name, strings.Repeat("long", 20)}, {name, strings.Repeat("long", 20)},
		{name, "b", "timezone", "Asia/Tokyo"}, {"timezone", "Asia/Tokyo"}, {name, "c", "timezone", "Asia/Tokyo"},
	} {
		got, want := welcomeOf(t, url, startup...), welcomeOf(t, direct, startup...)
		if got != want {
			t.Errorf("a client that begins with %q is told\n%q\nin place of\n%q", startup, got, want)
		}
	}
}

// welcomeOf gives what a client is told that logs in, apart from its process id and key.
func welcomeOf(t *testing.T, url string, startup ...string) string {
	t.Helper()
	s := openSocket(t, url)
	s.send(startupOf(0, url, startup...))
	var all strings.Builder
	for {
		kind, body, failed := s.message()
		if failed != "" {
			t.Fatalf("a client that begins with %q: %s", startup, failed)
		}
		switch kind {
		case protocol.BackendKeyData:
		case protocol.NoticeResponse: // where in the server's source it comes from is not told
			all.WriteString(show(kind, body))
		default:
			fmt.Fprintf(&all, "%c(%s) ", kind, body)
		}
		if kind == protocol.ReadyForQuery {
			s.conn.Close()
			return all.String()
		}
	}
}
