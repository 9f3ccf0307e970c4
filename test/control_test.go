package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// waits calls something that waits, and gives a channel that has its error.
func waits(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// returns gives the error of a call, which must come to its end.
func returns(t testing.TB, what string, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		t.Fatalf("%s does not return", what)
		return nil
	}
}

// goesOn checks that a call has not returned.
func goesOn(t testing.TB, what string, done <-chan error) {
	t.Helper()
	select {
	case err := <-done:
		t.Errorf("%s returned: %v", what, err)
	default:
	}
}

func mustNot(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantsError(t testing.TB, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("the error is %v, not %q", err, text)
	}
}

func TestPauseUnderLoadFailsNoTransaction(t *testing.T) {
	r := startProxy(t, checkouts(patience))
	r.query(t, "CREATE TABLE done (client int, n int)")
	l := begin(t, r.url, 8)
	for i := range 6 {
		database := []string{"", r.database}[i%2]
		l.more(20)
		mustNot(t, r.server.Pause(t.Context(), database))
		if got := r.value(t, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"); got != "0" {
			t.Errorf("%s server connections are left", got)
		}
		before := l.done.Load()
		rows := r.value(t, "SELECT count(*) FROM done")
		if rows != fmt.Sprint(before) {
			await(t, "the last one counts its transaction", func() bool { return rows == fmt.Sprint(l.done.Load()) })
		}
		mustNot(t, r.server.Resume(database))
	}
	l.more(20)
	l.end()
}

func TestPauseWaitsForWhoKeepsAServerConnection(t *testing.T) {
	r := startProxy(t, checkouts(patience))
	inside, holder, listener, begun, idle := logIn(t, r.url), logIn(t, r.url), logIn(t, r.url), logIn(t, r.url), logIn(t, r.url)
	inside.asks("ZZ", text("BEGIN"), text("CREATE TABLE t ()"))
	holder.asks("Z", text("SELECT pg_advisory_lock(1)"))
	listener.asks("Z", text("LISTEN news"))
	begun.asks("Z", text("BEGIN"))
	idle.asks("Z", text("SELECT 1"))
	pause := waits(func() error { return r.server.Pause(t.Context(), r.database) })
	await(t, "it is paused", func() bool { return r.server.State().PausedOf[r.database] })
	idle.send(packed(t, text("SELECT 1")))
	begun.send(packed(t, text("SELECT 1")))
	r.awaitQueued(t)
	// Who has a server connection goes on, whatever it asks.
	inside.wants("a transaction", "C(INSERT 0 0) Z(T) C(COMMIT) Z(I)", "ZZ", text("INSERT INTO t SELECT FROM t"), text("COMMIT"))
	holder.wants("a session with a lock", one, "Z", text("SELECT 1"))
	goesOn(t, "the pause", pause)
	holder.asks("Z", text("SELECT pg_advisory_unlock(1)"))
	goesOn(t, "the pause", pause)
	listener.asks("Z", text("UNLISTEN *"))
	mustNot(t, returns(t, "the pause", pause))
	r.awaitGone(t)
	fresh := openSocket(t, r.url)
	fresh.send(startup(r.url))
	mustNot(t, r.server.Resume(r.database))
	for name, s := range map[string]*socket{"idle": idle, "begun": begun, "new": fresh} {
		if got := s.until("Z"); !strings.Contains(got, "Z(") {
			t.Errorf("a client (%s) is told %s", name, got)
		}
	}
	begun.wants("its transaction", "C(COMMIT) Z(I)", "Z", text("COMMIT"))
}

func TestPausedClientsWaitNoLongerThanTheCheckoutTimeout(t *testing.T) {
	r := startProxy(t, checkouts(time.Second))
	s := logIn(t, r.url)
	mustNot(t, r.server.Pause(t.Context(), ""))
	s.send(packed(t, text("SELECT 1")))
	if got := s.until("Z"); got != "E(53300) Z(I)" {
		t.Errorf("it is told %s", got)
	}
	if !r.log.has("the database is paused") {
		t.Error("the reason is not told")
	}
}

func TestPauseIsGivenUpWithItsContext(t *testing.T) {
	r := startProxy(t)
	logIn(t, r.url).asks("ZZ", text("BEGIN"), text("SELECT 1"))
	ctx, cancel := context.WithCancel(t.Context())
	pause := waits(func() error { return r.server.Pause(ctx, "") })
	await(t, "it is paused", func() bool { return r.server.State().Paused })
	cancel()
	if err := returns(t, "the pause", pause); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	mustNot(t, r.server.Resume(""))
	logIn(t, r.url).wants("it is as before", one, "Z", text("SELECT 1"))
}

func TestControlsTellWhatTheyCannotDo(t *testing.T) {
	r := startProxy(t)
	s := r.server
	r.reload(t, named(r.database, r.upstream, r.database), without(proxy.AnyDatabase))
	for _, f := range []func() error{
		func() error { return s.Pause(t.Context(), "nowhere") }, func() error { return s.Resume("nowhere") },
		func() error { return s.Reconnect("nowhere") }, func() error { return s.Kill("nowhere") },
		func() error { return s.Disable("nowhere") }, func() error { return s.Enable("nowhere") },
		func() error { return s.WaitClose(t.Context(), "nowhere") }, func() error { return s.Disable(proxy.AnyDatabase) },
	} {
		wantsError(t, f(), "no such database: ")
	}
	logIn(t, r.url)
	wantsError(t, s.Resume(""), "pooler is not paused/suspended")
	wantsError(t, s.Resume(r.database), "database "+r.database+" is not paused")
	wantsError(t, s.Disable(""), "a database is required")
	wantsError(t, s.Enable(""), "a database is required")
	wantsError(t, s.KillClient(1), "client not found")
	mustNot(t, s.Pause(t.Context(), ""))
	wantsError(t, s.Pause(t.Context(), ""), "already suspended/paused")
	wantsError(t, s.Kill(r.database), "already suspended/paused")
}

func TestReconnectReplacesServerConnectionsAndWaitCloseWaits(t *testing.T) {
	r := startProxy(t)
	pid := text("SELECT pg_backend_pid()")
	idle, inside := logIn(t, r.url), logIn(t, r.url)
	first := idle.asks("Z", pid)
	inside.asks("ZZ", text("BEGIN"), text("CREATE TABLE t ()"))
	mustNot(t, r.server.Reconnect(r.database))
	if again := idle.asks("Z", pid); again == first {
		t.Errorf("it has the same server connection: %s", again)
	}
	closed := waits(func() error { return r.server.WaitClose(t.Context(), r.database) })
	idle.asks("Z", pid)
	goesOn(t, "WaitClose", closed)
	inside.wants("a transaction is not disturbed", "C(COMMIT) Z(I)", "Z", text("COMMIT"))
	mustNot(t, returns(t, "WaitClose", closed))
	if got := r.value(t, "SELECT count(*) FROM pg_class WHERE relname = 't'"); got != "1" {
		t.Error("the transaction was lost")
	}
	mustNot(t, r.server.Reconnect(""))
	mustNot(t, r.server.WaitClose(t.Context(), ""))
}

func TestKillEndsEverybodyAtOnceAndStaysPaused(t *testing.T) {
	r := startProxy(t, checkouts(patience), sized(3, 1))
	r.query(t, "CREATE TABLE t (a int)")
	idle, inside, running, holder, waiter, queued := logIn(t, r.url), logIn(t, r.url), logIn(t, r.url), logIn(t, r.url), logIn(t, r.url), logIn(t, r.url)
	inside.asks("ZZ", text("BEGIN"), text("INSERT INTO t VALUES (1)"))
	running.runs(r, "SELECT pg_sleep(65)")
	holder.asks("Z", text("SELECT pg_advisory_lock(1)"))
	waiter.asks("ZZ", text("BEGIN"), text("SELECT 1"))
	queued.send(packed(t, text("SELECT 1")))
	r.awaitQueued(t)
	mustNot(t, r.server.Kill(r.database))
	for name, s := range map[string]*socket{"idle": idle, "in a transaction": inside, "with a statement": running, "with a lock": holder,
		"with another transaction": waiter, "queued": queued} {
		if got := s.until("~"); got != told57P01 {
			t.Errorf("a client %s is told %s", name, got)
		}
	}
	r.awaitGone(t)
	r.awaitNoLocks(t)
	fresh := openSocket(t, r.url)
	fresh.send(startup(r.url))
	s := openSocket(t, strings.Replace(r.url, r.database, "postgres", 1))
	s.send(startup(strings.Replace(r.url, r.database, "postgres", 1)))
	if got := s.until("Z"); !strings.HasSuffix(got, "Z(I)") {
		t.Errorf("a client of another database is told %s", got)
	}
	mustNot(t, r.server.Resume(r.database))
	if got := fresh.until("Z"); !strings.HasSuffix(got, "Z(I)") {
		t.Errorf("a new client is told %s", got)
	}
	if got := r.value(t, "SELECT count(*) FROM t"); got != "0" {
		t.Errorf("%s rows of a transaction that was ended", got)
	}
}

func TestKillClientEndsOne(t *testing.T) {
	r := startProxy(t)
	killed, other := logIn(t, r.url), logIn(t, r.url)
	mustNot(t, r.server.KillClient(killed.pid))
	if got := killed.asks("Z~", text("SELECT 1")); got != told57P01 {
		t.Errorf("the client is told %s", got)
	}
	other.wants("nobody else is", one, "Z", text("SELECT 1"))
}

func TestShutdownThatWaitsForClientsServesThemUntilTheyLeave(t *testing.T) {
	r := startProxy(t)
	idle, inside := logIn(t, r.url), logIn(t, r.url)
	inside.asks("Z", text("BEGIN"))
	r.server.Shutdown(proxy.WaitForClients)
	await(t, "nobody new is accepted", func() bool { return r.log.has("nobody new is accepted") })
	if _, err := pgx.Connect(t.Context(), r.url); err == nil {
		t.Error("a new client is let in")
	}
	for range 3 {
		idle.wants("an old client is served", one, "Z", text("SELECT 1"))
	}
	inside.wants("so is its transaction", one[:len(one)-2]+"T) C(COMMIT) Z(I)", "ZZ", text("SELECT 1"), text("COMMIT"))
	if r.log.has("shutting down") {
		t.Error("it ended before its clients had left")
	}
	for _, s := range []*socket{idle, inside} {
		s.conn.Close()
	}
	await(t, "it ends", func() bool { return r.log.has("shutting down") })
	r.awaitGone(t)
}

func TestShutdownMayBecomeQuicker(t *testing.T) {
	r := startProxy(t, ending(time.Hour))
	idle, inside := logIn(t, r.url), logIn(t, r.url)
	inside.asks("ZZ", text("BEGIN"), text("SELECT 1"))
	r.server.Shutdown(proxy.WaitForClients)
	await(t, "nobody new is accepted", func() bool { return r.log.has("nobody new is accepted") })
	r.server.Shutdown(proxy.WaitForServers)
	if got := idle.until("~"); got != told57P01 {
		t.Errorf("an idle client is told %s", got)
	}
	inside.wants("a transaction goes on", "T D(1) C(SELECT 1) Z(T)", "Z", text("SELECT 1"))
	r.server.Shutdown(proxy.AtOnce)
	if got := inside.until("~"); got != told57P01 {
		t.Errorf("a client in a transaction is told %s", got)
	}
	r.awaitGone(t)
}

// Nobody can resume a paused database any more, once the consoles are closed.
func TestAShutdownEndsWhoWaitsForAPausedDatabase(t *testing.T) {
	r := startProxy(t, sized(2, 1), checkouts(time.Minute))
	inside, waiter := logIn(t, r.url), logIn(t, r.url)
	inside.asks("ZZ", text("BEGIN"), text("SELECT 1"))
	go func() { _ = r.server.Pause(t.Context(), "") }()
	await(t, "it is paused", func() bool { return r.log.has("paused") })
	waiter.send(packed(t, text("SELECT 1")))
	await(t, "it waits", func() bool { return r.info(t, waiter).WaitsFor != "" })
	r.server.Shutdown(proxy.WaitForServers)
	if got := waiter.until("~"); got != told57P01 {
		t.Errorf("who waits is told %s", got)
	}
	inside.wants("a transaction comes to its end", "C(COMMIT) Z(I) E(FATAL 57P01) (end)", "Z~", text("COMMIT"))
	r.awaitGone(t)
}

func TestAUnixSocketThatAnotherProcessTookIsLeftAlone(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, ".s.PGSQL.6432")
	at := func(c *proxy.Config) { c.Listen, c.ReusePort = []string{folder}, true }
	first := startProxy(t, at)
	second := startProxy(t, at)
	first.stop()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the first proxy removed the second one's socket: %v", err)
	}
	conn, err := pgx.Connect(t.Context(), fmt.Sprintf("host=%s port=6432 user=postgres dbname=%s", folder, second.database))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close(t.Context())
	second.stop()
	if _, err := os.Stat(path); err == nil {
		t.Error("the last one leaves its socket behind")
	}
}

func TestTheConsoleControls(t *testing.T) {
	r := startProxy(t, watched, named("app", upstream(t), "postgres"), without(proxy.AnyDatabase))
	c := r.console(t, postgres.Superuser)
	command := func(text, want string) {
		t.Helper()
		_, err := c.Exec(t.Context(), text, pgx.QueryExecModeSimpleProtocol)
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %v, not %q", text, err, want)
		}
	}
	command("PAUSE app", "")
	if app := rows(t, c, "SHOW DATABASES", pgx.QueryExecModeSimpleProtocol)[0]; fmt.Sprint(app["paused"]) != "1" {
		t.Errorf("the database is not shown as paused: %v", app)
	}
	command("RESUME app", "")
	command("RESUME app", "database app is not paused")
	command("PAUSE nowhere", "no such database: nowhere")
	command("DISABLE app", "")
	command("ENABLE app", "")
	command("RECONNECT", "")
	command("WAIT_CLOSE", "")
	command("KILL app", "")
	command("RESUME app", "")
	command("KILL_CLIENT 1", "client not found")
	command("RELOAD", "written down nowhere")
	command("SET max_clients = 3", "written down nowhere")
	command("SHUTDOWN WAIT_FOR_SERVERS", "")
	await(t, "it ends", func() bool { return r.log.has("shutting down") })
}
