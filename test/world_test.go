package test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// What changes in the server while clients stay connected to the proxy.

// ready keeps that many idle backends in the admin pool.
func ready(n int) func(*proxy.Config) {
	return withDatabase(func(d *proxy.Database) { d.Admin.MinIdle = n })
}

// backends counts the connections to the rig's database, but the one that asks.
func (r *rig) backends(t testing.TB) string {
	rows, err := r.upstream.Query("postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname = '"+r.database+"'")
	if err != nil {
		t.Fatal(err)
	}
	return rows[0][0]
}

// Idle backends would keep a database from being dropped, renamed or copied, though no client uses them.
func TestStatementsThatNeedADatabaseForThemselvesGetIt(t *testing.T) {
	for _, c := range []struct{ name, sql, answer string }{
		{"dropped", "DROP DATABASE %s", "DROP DATABASE"},
		{"renamed", "ALTER DATABASE %[1]s RENAME TO %[1]s_now", "ALTER DATABASE"},
		{"copied", "CREATE DATABASE %[1]s_copy TEMPLATE %[1]s", "CREATE DATABASE"},
	} {
		for _, extended := range []bool{false, true} {
			t.Run(fmt.Sprint(c.name, " extended ", extended), func(t *testing.T) {
				r := startProxy(t, ready(2))
				admin, client := logIn(t, r.elsewhere()), logIn(t, r.url)
				client.asks("Z", text("SELECT 1"))
				client.asks("ZZZ", text("BEGIN"), text("SELECT pg_advisory_xact_lock(1)"), text("COMMIT"))
				await(t, "backends are idle in both pools", func() bool { return r.backends(t) >= "3" })
				sql := fmt.Sprintf(c.sql, r.database)
				got, start := "", time.Now()
				if extended {
					got = admin.asks("Z", prepare("", sql), bindTo("", ""), executing(""), syncNow)
				} else {
					got = admin.asks("Z", text(sql))
				}
				if !strings.HasSuffix(got, "C("+c.answer+") Z(I)") {
					t.Errorf("%s after %v: %s", sql, time.Since(start), got)
				}
				if c.name == "copied" {
					defer r.upstream.Query("postgres", "DROP DATABASE "+r.database+"_copy")
					client.wants("the database goes on", one, "Z", text("SELECT 1"))
					await(t, "backends are kept ready again", func() bool { return r.backends(t) >= "2" })
					return
				}
				defer r.upstream.Query("postgres", "DROP DATABASE IF EXISTS "+r.database+"_now WITH (FORCE)")
				late := openSocket(t, r.url)
				late.send(startup(r.url))
				if got := late.until("Z"); got != "E(FATAL 3D000) (end)" {
					t.Errorf("a new client is told %s", got)
				}
				client.wants("one that is connected as well", "E(3D000) Z(I)", "Z", text("SELECT 1"))
			})
		}
	}
}

// A session that is pinned is one that uses the database: the server says so, and the session stays.
func TestADatabaseThatAPinnedSessionUsesIsNotDropped(t *testing.T) {
	r := startProxy(t)
	admin, listener := logIn(t, r.elsewhere()), logIn(t, r.url)
	listener.asks("Z", text("LISTEN news"))
	admin.wants("the server's own error", "E(55006) Z(I)", "Z", text("DROP DATABASE "+r.database))
	r.query(t, "NOTIFY news")
	if got := listener.until("A"); got != "A(news)" {
		t.Errorf("the listener hears %s", got)
	}
}

// The settings that sessions begin with are those of now, for every new client, as directly.
func TestDefaultsThatChangeAreThoseOfNewSessions(t *testing.T) {
	r := startProxy(t, withDatabase(func(d *proxy.Database) {
		d.URL = strings.Replace(d.URL, postgres.Superuser+"@", "", 1) // Who it is, the client says.
	}), ready(1))
	role := r.database + "_role"
	r.query(t, "CREATE ROLE "+role+" LOGIN")
	t.Cleanup(func() {
		r.stop()
		r.query(t, "DROP ROLE "+role)
	})
	url := strings.Replace(r.url, "postgres@", role+"@", 1)
	admin := logIn(t, r.url)
	noise(t, url, 1)
	for i, c := range []struct{ set, value string }{
		{"ALTER ROLE %[1]s SET work_mem = '111kB'", "111kB"},
		{"ALTER USER %[1]s IN DATABASE %[2]s SET work_mem = '222kB'", "222kB"},
		{"ALTER ROLE %[1]s IN DATABASE %[2]s RESET work_mem", "111kB"},
		{"ALTER ROLE %[1]s RESET ALL", "4MB"},
		{"ALTER DATABASE %[2]s SET work_mem TO '333kB'", "333kB"},
		{"BEGIN; ALTER DATABASE %[2]s SET work_mem TO '444kB'; COMMIT", "444kB"},
	} {
		set := fmt.Sprintf(c.set, role, r.database)
		if i%2 == 0 || strings.HasPrefix(set, "BEGIN") {
			admin.asks("Z", text(set))
		} else {
			admin.asks("Z", prepare("", set), bindTo("", ""), executing(""), syncNow)
		}
		if got := logIn(t, url).value("SHOW work_mem"); got != c.value {
			t.Errorf("%s: the next client has %s, not %s", set, got, c.value)
		}
	}
	admin.asks("Z", text(fmt.Sprintf("ALTER ROLE %s SET TimeZone = 'Asia/Tokyo'", role)))
	if got := dial(t, url).ParameterStatus("TimeZone"); got != "Asia/Tokyo" {
		t.Errorf("what new clients are told of their settings is %s", got)
	}
}

// Whoever changes them elsewhere: the next connection that is made tells, and the others go.
func TestDefaultsThatChangeElsewhereAreFound(t *testing.T) {
	r := startProxy(t, sized(4, 1))
	s := logIn(t, r.url)
	s.asks("Z", text("SELECT 1"))
	backends := strings.Fields(r.value(t, "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity WHERE datname = '"+r.database+"'"))
	r.query(t, "ALTER DATABASE "+r.database+" SET work_mem = '555kB'")
	s.asks("Z", text("BEGIN"))
	s.wants("nobody has told the proxy, and a transaction stays where it is", "T D(4MB) C(SHOW) Z(T)", "Z", text("SHOW work_mem"))
	others := []*socket{s}
	for isNew := false; !isNew; { // the pool may have had more than one backend by then
		other := logIn(t, r.url)
		others = append(others, other)
		other.asks("Z", text("BEGIN"))
		isNew = !slices.Contains(backends, other.value("SELECT pg_backend_pid()"))
	}
	for _, one := range others {
		one.asks("Z", text("COMMIT"))
	}
	for range 3 {
		if got := logIn(t, r.url).value("SHOW work_mem"); got != "555kB" {
			t.Errorf("the next client has %s", got)
		}
	}
}

// group is a server, one that follows it, and a proxy that is to find which of them takes writes.
func group(t *testing.T, edits ...func(*proxy.Config)) (r *rig, first, second *postgres.Server) {
	first = postgres.Start(t)
	if !first.HasStandbys() {
		t.Skip("this PostgreSQL has no pg_basebackup")
	}
	second = first.StartStandby(t)
	r = startProxyBefore(t, first, append([]func(*proxy.Config){checkouts(patience), withDatabase(func(d *proxy.Database) {
		d.URL = fmt.Sprintf("postgres://postgres@127.0.0.1:%d,127.0.0.1:%d/?sslmode=disable&target_session_attrs=read-write",
			first.Port, second.Port)
	})}, edits...)...)
	return r, first, second
}

func awaitReplay(t *testing.T, first, second *postgres.Server, database, condition string) {
	t.Helper()
	await(t, "the standby has it", func() bool {
		rows, err := second.Query(database, "SELECT "+condition)
		return err == nil && rows[0][0] == "t"
	})
}

func TestAFailoverIsNotNoticedByIdleClients(t *testing.T) {
	r, first, second := group(t, ready(1))
	r.query(t, "CREATE TABLE t (a int)")
	awaitReplay(t, first, second, r.database, "to_regclass('t') IS NOT NULL")
	idle, inside, waiting := []*socket{logIn(t, r.url), logIn(t, r.url), logIn(t, r.url)}, logIn(t, r.url), logIn(t, r.url)
	for _, s := range idle {
		s.wants("before", "T D("+fmt.Sprint(first.Port)+") C(SELECT 1) Z(I)", "Z", text("SELECT inet_server_port()"))
	}
	inside.asks("ZZ", text("BEGIN"), text("INSERT INTO t VALUES (0)"))
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	waiting.send(packed(t, text("INSERT INTO t VALUES (1)"))) // While there is no server.
	await(t, "no server is found", func() bool { return r.log.has("a connection to the server failed") })
	if err := second.Promote(); err != nil {
		t.Fatal(err)
	}
	if got := waiting.until("Z"); got != "C(INSERT 0 1) Z(I)" {
		t.Errorf("a statement that came between is answered by %s", got)
	}
	for _, s := range idle {
		s.wants("after", "T D("+fmt.Sprint(second.Port)+") C(SELECT 1) Z(I)", "Z", text("SELECT inet_server_port()"))
	}
	if got := inside.asks("Z", text("SELECT 1")); !strings.HasPrefix(got, "E(") || !strings.HasSuffix(got, "Z(E)") {
		t.Errorf("a transaction that was lost: %s", got)
	}
	inside.wants("its session lives on", "C(ROLLBACK) Z(I) C(INSERT 0 1) Z(I)", "ZZ", text("ROLLBACK"), text("INSERT INTO t VALUES (2)"))
	// The old one comes back, and takes no writes.
	if err := first.Demote(); err != nil {
		t.Fatal(err)
	}
	if err := first.StartAgain(context.Background()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		logIn(t, r.url).wants("writes go where they can", "C(INSERT 0 1) Z(I)", "Z", text("INSERT INTO t VALUES (3)"))
	}
	r.stop()
	if err := first.Kill(); err != nil { // It could not drop the rig's database.
		t.Error(err)
	}
}

// A server may also hang, so that whoever asks it hears nothing for ever, not even a refusal.
func TestAFailoverFromAServerThatHangsIsNotNoticedByIdleClients(t *testing.T) {
	r, first, second := group(t, checkouts(10*time.Second)) // which is the default
	awaitReplay(t, first, second, "postgres", "count(*) = 1 FROM pg_database WHERE datname = '"+r.database+"'")
	var idle []*socket
	for range 4 {
		idle = append(idle, logIn(t, r.url))
	}
	idle[0].asks("Z", text("BEGIN")) // It has the backend that there is, and no other is left: directly its client would hang as well.
	pid := idle[0].value("SELECT pg_backend_pid()")
	others := " FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' AND pid NOT IN (pg_backend_pid(), " + pid + ")"
	r.query(t, "SELECT pg_terminate_backend(pid)"+others)
	r.awaitRow(t, "no other is left", "count(*) = 0"+others)
	if err := first.Freeze(); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		r.stop()
		first.Thaw()
		first.Kill() // It could not drop the rig's database.
	})
	idle[0].send(packed(t, text("SELECT inet_server_port()")))
	waiting := idle[1]
	waiting.send(packed(t, text("SELECT inet_server_port()")))
	await(t, "no server is found", func() bool { return r.log.has("a connection to the server failed") })
	if err := second.Promote(); err != nil {
		t.Fatal(err)
	}
	there := "T D(" + fmt.Sprint(second.Port) + ") C(SELECT 1) Z(I)"
	if got := waiting.until("Z"); got != there {
		t.Errorf("a statement that came between is answered by %s", got)
	}
	begun := time.Now()
	for _, s := range idle[2:] { // Each has a backend of its own.
		s.wants("after", "C(BEGIN) Z(T) "+strings.Replace(there, "(I)", "(T)", 1), "ZZ", text("BEGIN"), text("SELECT inet_server_port()"))
	}
	if took := time.Since(begun); took > time.Second {
		t.Errorf("the server that hangs is waited for again and again: %v", took)
	}
}

// Nobody is given a connection to a server that is known to hang, while another one answers.
func TestIdleBackendsOfAServerThatHangsAreDropped(t *testing.T) {
	r, first, second := group(t, checkouts(10*time.Second)) // which is the default
	awaitReplay(t, first, second, "postgres", "count(*) = 1 FROM pg_database WHERE datname = '"+r.database+"'")
	holders := []*socket{logIn(t, r.url), logIn(t, r.url), logIn(t, r.url)}
	for _, s := range holders {
		s.asks("ZZ", text("BEGIN"), text("SELECT 1"))
	}
	for _, s := range holders[1:] {
		s.asks("Z", text("COMMIT"))
	}
	if err := first.Freeze(); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		r.stop()
		first.Thaw()
		first.Kill()
	})
	if err := second.Promote(); err != nil {
		t.Fatal(err)
	}
	logIn(t, r.url).asks("Z", text("SELECT pg_advisory_lock(1)"))
	await(t, "they are dropped", func() bool { return r.log.has("its server does not answer") })
	there := "T D(" + fmt.Sprint(second.Port) + ") C(SELECT 1) Z(I)"
	holders[1].wants("after", there, "Z", text("SELECT inet_server_port()"))
	// Who was in the middle of something hears of it when the server goes on, and nobody else is given its backend.
	holders[0].send(packed(t, text("SELECT 1"), text("COMMIT")))
	if err := first.Thaw(); err != nil {
		t.Fatal(err)
	}
	holders[0].until("ZZ")
	holders[0].wants("the next transaction", there, "Z", text("SELECT inet_server_port()"))
}

// A standby that is promoted says so to those who are connected. Who reads there goes on; nobody else gets its backend.
func TestABackendWhoseServerIsPromotedIsReplacedAtItsRelease(t *testing.T) {
	first := postgres.Start(t)
	if !first.HasStandbys() {
		t.Skip("this PostgreSQL has no pg_basebackup")
	}
	second := first.StartStandby(t)
	if _, err := first.Query("postgres", "SHOW in_hot_standby"); err != nil {
		t.Skip("this PostgreSQL does not report it")
	}
	r := startProxyBefore(t, first, withDatabase(func(d *proxy.Database) {
		d.URL = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/?sslmode=disable", second.Port)
	}))
	awaitReplay(t, first, second, "postgres", "count(*) = 1 FROM pg_database WHERE datname = '"+r.database+"'")
	s := logIn(t, r.url)
	s.asks("Z", text("BEGIN"))
	pid := s.value("SELECT pg_backend_pid()")
	if err := second.Promote(); err != nil {
		t.Fatal(err)
	}
	s.wants("the transaction goes on", "T D("+pid+") C(SELECT 1) Z(T) C(COMMIT) Z(I)", "ZZ", text("SELECT pg_backend_pid()"), text("COMMIT"))
	await(t, "the backend is closed", func() bool { return r.log.has("its server was promoted") })
	if s.value("SELECT pg_backend_pid()") == pid {
		t.Error("it is given to others")
	}
}

// Whatever a client was doing, what it does next after a restart is as after a lost transaction at most.
func TestARestartOfTheServerLeavesEveryKindOfClientWell(t *testing.T) {
	server := postgres.Start(t)
	r := startProxyBefore(t, server, ready(2))
	r.query(t, "CREATE TABLE t (a int)")
	idle, begun, inside, listener := logIn(t, r.url), logIn(t, r.url), logIn(t, r.url), logIn(t, r.url)
	idle.asks("ZZ", text("SET work_mem = '123kB'"), text("SELECT 1"))
	begun.asks("Z", text("BEGIN"))
	inside.asks("ZZ", text("BEGIN"), text("INSERT INTO t VALUES (1)"))
	listener.asks("Z", text("LISTEN news"))
	// A backend stays with whoever has it until the functions of a new database are known.
	await(t, "who is idle has no backend", func() bool { return r.info(t, idle).BackendPid == 0 })
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	await(t, "backends are kept ready again", func() bool { return r.backends(t) == "2" })
	idle.wants("one that was idle", "T D(123kB) C(SHOW) Z(I)", "Z", text("SHOW work_mem"))
	begun.wants("one that had only begun", "T D(1) C(SELECT 1) Z(T) C(COMMIT) Z(I)", "ZZ", text("SELECT 1"), text("COMMIT"))
	inside.wants("one whose transaction was lost", "E(57P01) Z(E) C(ROLLBACK) Z(I)", "ZZ", text("SELECT 1"), text("ROLLBACK"))
	inside.wants("goes on", "C(INSERT 0 1) Z(I)", "Z", text("INSERT INTO t VALUES (2)"))
	if got := listener.until("~"); got != told57P01 {
		t.Errorf("a listener must know at once that it hears nothing any more: %s", got)
	}
}
