package test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// wantRow compares columns of a row with what they are to be.
func wantRow(t testing.TB, what string, r row, columns ...string) {
	t.Helper()
	for i := 0; i < len(columns); i += 2 {
		if got := r.text(columns[i]); got != columns[i+1] {
			t.Errorf("%s: %s is %s, want %s", what, columns[i], got, columns[i+1])
		}
	}
}

// table gives the rows of a SHOW command.
func table(t testing.TB, c *pgx.Conn, what string) []row {
	t.Helper()
	return rows(t, c, "SHOW "+what, pgx.QueryExecModeExec)
}

func TestReplicationIsShownOnBothSides(t *testing.T) {
	r := startProxyBefore(t, publisher(t), measured)
	c := r.console(t, "watcher")
	for kind, value := range map[string]string{"logical": "database", "physical": "true"} {
		s := logIn(t, r.url, "replication", value, "application_name", kind)
		client := find(t, table(t, c, "CLIENTS"), "replication", kind)
		server := find(t, table(t, c, "SERVERS"), "replication", kind)
		pid := r.value(t, "SELECT pid FROM pg_stat_activity WHERE application_name = '"+kind+"'")
		wantRow(t, kind, client, "local_addr", "127.0.0.1", "detail", "replication")
		wantRow(t, kind, server, "type", "S", "state", "active", "user", postgres.Superuser, "database", r.database, "remote_pid", pid,
			"addr", "127.0.0.1", "port", fmt.Sprint(r.upstream.Port), "application_name", kind, "detail", "replication",
			"ptr", client.text("link"), "link", client.text("ptr"))
		wantRow(t, kind, find(t, table(t, c, "SOCKETS"), "type", "S"), "state", "sv_active", "replication", kind)
		wantRow(t, kind, find(t, table(t, c, "LISTS"), "list", "used_servers"), "items", "1")
		wantRow(t, kind, find(t, table(t, c, "POOLS"), "database", r.database), "cl_active", "1", "sv_active", "1", "admin_active", "0", "admin_max", "4")
		wantRow(t, kind, find(t, table(t, c, "DATABASES"), "name", r.database), "current_connections", "1", "current_client_connections", "1")
		wantRow(t, kind, find(t, table(t, c, "USERS"), "name", postgres.Superuser), "current_connections", "1", "current_client_connections", "1")
		_, text := r.get(t, "/metrics")
		at := `{database="` + r.database + `",user="` + postgres.Superuser + `"}`
		for _, series := range []string{"lockproxy_replication_connections", "lockproxy_pool_clients", "pgbouncer_pools_server_active_connections"} {
			if got := metric(text, series+at); got != "1" {
				t.Errorf("%s is %s", series, got)
			}
		}
		s.conn.Close()
		await(t, "it is over", func() bool { return len(table(t, c, "SERVERS"))+len(table(t, c, "POOLS")) == 0 })
	}
	logIn(t, r.url).asks("Z", text("SELECT 1"))
	logIn(t, r.url, "replication", "database")
	wantRow(t, "beside a pool", find(t, table(t, c, "POOLS"), "database", r.database), "cl_active", "2", "sv_active", "1", "sv_idle", "1")
}

// A pool that a reload has moved is seen until its last transaction is over, with the one in its place.
func TestServersOfAPoolThatHasMovedAreShown(t *testing.T) {
	r := startProxy(t, measured)
	second := upstream(t).NewDatabase(t)
	r.reload(t, named("app", r.upstream, r.database))
	inside, next := logIn(t, r.named("app")), logIn(t, r.named("app"))
	inside.asks("ZZ", text("BEGIN"), text("SELECT 1"))
	r.reload(t, named("app", r.upstream, second))
	c := r.console(t, "watcher")
	check := func(what, clients, active, servers string) {
		t.Helper()
		pool := find(t, table(t, c, "POOLS"), "database", "app")
		wantRow(t, what, pool, "cl_active", clients, "sv_active", active, "admin_active", active, "admin_max", "4")
		wantRow(t, what, find(t, table(t, c, "DATABASES"), "name", "app"), "current_connections", servers)
		wantRow(t, what, find(t, table(t, c, "LISTS"), "list", "used_servers"), "items", servers)
		if status, text := r.get(t, "/metrics"); status != 200 {
			t.Errorf("%s, metrics: %s", what, text)
		}
	}
	check("moved", "2", "1", "1")
	wantRow(t, "its server", find(t, table(t, c, "SERVERS"), "database", "app"), "state", "active", "link", fmt.Sprintf("0x%x", inside.pid))
	next.asks("ZZ", text("BEGIN"), text("SELECT 1"))
	check("beside the next pool", "2", "2", "2")
	inside.asks("Z", text("COMMIT"))
	await(t, "the old server is gone", func() bool { return len(table(t, c, "SERVERS")) == 1 })
	check("once that is over", "2", "1", "1")
	r.reload(t, without("app"), without(proxy.AnyDatabase))
	inside.until("~")
	await(t, "who was idle is gone", func() bool { return find(t, table(t, c, "LISTS"), "list", "used_clients").text("items") == "2" })
	wantRow(t, "of a database that is no more", find(t, table(t, c, "SERVERS"), "database", "app"), "link", fmt.Sprintf("0x%x", next.pid))
	wantRow(t, "likewise", find(t, table(t, c, "POOLS"), "database", "app"), "cl_active", "1", "sv_active", "1")
}

func TestUsersAreThoseThatAreKnownWithTheirLimits(t *testing.T) {
	r := startProxy(t, watched, named("app", upstream(t), "postgres"), func(c *proxy.Config) {
		c.Auth = proxy.Auth{Type: proxy.Trust, File: written(t, "userlist.txt", `"listed" "x"`+"\n"+`"watcher" "x"`+"\n"+`"guest" "x"`)}
		c.Users = map[string]proxy.User{"configured": {MaxClients: 12}, "guest": {Timeouts: proxy.Timeouts{Query: time.Minute}}}
		c.MaxClientsPerUser = 7
	})
	for range 2 {
		logIn(t, strings.Replace(r.url, postgres.Superuser+"@", "guest@", 1)).asks("Z", text("SELECT 1"))
	}
	c := r.console(t, "watcher")
	users := table(t, c, "USERS")
	for _, want := range [][4]string{
		{"configured", "12", "0", "0"}, {"listed", "7", "0", "0"}, {"guest", "7", "2", "0"}, {postgres.Superuser, "7", "0", "1"}, {"watcher", "7", "0", "0"},
	} {
		wantRow(t, want[0], find(t, users, "name", want[0]), "max_user_client_connections", want[1], "current_client_connections", want[2],
			"current_connections", want[3])
	}
	if len(users) != 5 {
		t.Errorf("the users are %v", users)
	}
	wantRow(t, "users", find(t, table(t, c, "LISTS"), "list", "users"), "items", "5")
}

// Where clients came to is asked of their sockets, whatever serves them.
func TestClientsAreShownWithTheAddressThatTheyCameTo(t *testing.T) {
	everyLink(t, func(t *testing.T, links func(*proxy.Config)) {
		s := startSecured(t, proxy.AllowTLS, links, watched, func(c *proxy.Config) { c.Listen = []string{"0.0.0.0:0", "[::1]:0", t.TempDir()} })
		_, wide, _ := net.SplitHostPort(s.server.Addrs()[0].String())
		_, six, _ := net.SplitHostPort(s.server.Addrs()[1].String())
		s.url = strings.Replace(s.url, "0.0.0.0:"+wide, "127.0.0.2:"+wide, 1)
		if s.url = strings.Replace(s.url, "[::]:"+wide, "127.0.0.2:"+wide, 1); !strings.Contains(s.url, "127.0.0.2") {
			t.Fatal(s.url)
		}
		dial(t, withParameter(t, s.url, "application_name", "plain"))
		dial(t, withParameter(t, s.urlAt(t, s.server.Addrs()[1]), "application_name", "six"))
		dial(t, withParameter(t, s.urlAt(t, s.server.Addrs()[2]), "application_name", "unix"))
		secured := strings.Replace(s.secureURL(t, postgres.Superuser, "application_name", "secured", "sslmode", "require"), "localhost", "127.0.0.2", 1)
		dial(t, secured)
		c := s.console(t, "watcher")
		for _, want := range [][3]string{{"plain", "127.0.0.2", wide}, {"six", "::1", six}, {"unix", "unix", "6432"}, {"secured", "127.0.0.2", wide}} {
			for _, what := range []string{"CLIENTS", "SOCKETS"} {
				wantRow(t, want[0], find(t, table(t, c, what), "application_name", want[0], "type", "C"), "local_addr", want[1], "local_port", want[2])
			}
		}
		wantRow(t, "the console", find(t, table(t, c, "CLIENTS"), "detail", "console"), "local_addr", "127.0.0.2", "local_port", wide)
	})
}
