package test

import (
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// publisher starts a server that can be replicated.
func publisher(t testing.TB) *postgres.Server {
	t.Helper()
	return postgres.Start(t, postgres.Setting("wal_level", "logical"), postgres.Setting("max_wal_senders", "10"),
		postgres.HBA("host replication all 127.0.0.1/32 trust"))
}

// tool gives a command of one of PostgreSQL's client programs, for the proxy's address.
func (r *rig) tool(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	programs, err := postgres.Programs()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(programs, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("this PostgreSQL has no %s", name)
	}
	host, port, _ := net.SplitHostPort(r.server.Addrs()[0].String())
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "PGHOST="+host, "PGPORT="+port, "PGUSER="+postgres.Superuser, "PGSSLMODE=disable", "PGGSSENCMODE=disable")
	return cmd
}

// succeeds runs a program to its end.
func succeeds(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

// runsUntil starts a program, waits for a condition, interrupts the program and waits for its end.
func runsUntil(t testing.TB, cmd *exec.Cmd, what string, condition func() bool) {
	t.Helper()
	said := new(journal)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill() // It has ended, unless the test has failed.
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s says\n%s", cmd.Args[0], said.tail())
		}
	}()
	await(t, what, condition)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: %v", cmd.Args[0], err)
	}
}

func TestBaseBackupGoesThroughTheProxy(t *testing.T) {
	r := startProxyBefore(t, publisher(t))
	r.query(t, "CREATE TABLE t AS SELECT g, repeat('x', 500) FROM generate_series(1, 20000) g")
	noise(t, r.url, 2)
	for _, method := range []string{"stream", "fetch"} {
		folder := filepath.Join(t.TempDir(), "backup")
		succeeds(t, r.tool(t, "pg_basebackup", "-D", folder, "-X", method, "-c", "fast", "--no-sync"))
		succeeds(t, r.tool(t, "pg_verifybackup", "-n", folder))
	}
	await(t, "both have gone", func() bool { return r.log.has("a replication connection is over") && r.walSenders(t) == "0" })
}

func (r *rig) walSenders(t testing.TB) string {
	return r.value(t, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'")
}

func TestWALIsReceivedThroughTheProxy(t *testing.T) {
	r := startProxyBefore(t, publisher(t))
	folder := t.TempDir()
	var name string
	runsUntil(t, r.tool(t, "pg_receivewal", "-D", folder, "--no-sync"), "a segment arrives", func() bool {
		r.query(t, "SELECT pg_logical_emit_message(false, 'x', 'x'), pg_switch_wal()")
		whole, _ := filepath.Glob(filepath.Join(folder, "????????????????????????"))
		if len(whole) > 0 {
			name = whole[0]
		}
		return name != ""
	})
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if want := r.value(t, "SELECT md5(pg_read_binary_file('pg_wal/"+filepath.Base(name)+"'))"); fmt.Sprintf("%x", md5.Sum(got)) != want {
		t.Error("the segment is not the server's")
	}
}

func TestChangesAreReceivedThroughTheProxy(t *testing.T) {
	r := startProxyBefore(t, publisher(t))
	r.query(t, "CREATE TABLE t (a int, b text)")
	file := filepath.Join(t.TempDir(), "changes")
	in := []string{"-d", r.database, "-S", "slot"}
	succeeds(t, r.tool(t, "pg_recvlogical", append(in, "--create-slot", "-P", "test_decoding")...))
	s := logIn(t, r.url)
	runsUntil(t, r.tool(t, "pg_recvlogical", append(in, "--start", "-f", file, "--no-loop")...), "the change arrives", func() bool {
		s.asks("Z", text("INSERT INTO t VALUES (1, 'through')"))
		text, _ := os.ReadFile(file)
		return strings.Contains(string(text), "table public.t: INSERT: a[integer]:1 b[text]:'through'")
	})
	r.awaitRow(t, "its server has ended with it", "NOT active FROM pg_replication_slots WHERE slot_name = 'slot'")
	succeeds(t, r.tool(t, "pg_recvlogical", append(in, "--drop-slot")...))
}

func TestPsqlSpeaksTheReplicationProtocol(t *testing.T) {
	r := startProxyBefore(t, publisher(t))
	said := succeeds(t, r.tool(t, "psql", "-X", "-A", "-t", "-c", "IDENTIFY_SYSTEM", "-c", "SELECT 1 + 1", "-c", "SHOW application_name",
		"replication=database dbname="+r.database+" application_name=me"))
	system := r.value(t, "SELECT system_identifier FROM pg_control_system()")
	if !strings.HasPrefix(said, system+"|1|") || !strings.HasSuffix(said, "|"+r.database+"\n2\nme\n") {
		t.Errorf("got %s", said)
	}
}

// A driver that replicates: pgoutput on a slot of its own, feedback, and an end in good order.
func TestADriverStreamsChangesAndEndsInGoodOrder(t *testing.T) {
	r := startProxyBefore(t, publisher(t))
	r.query(t, "CREATE TABLE t (a int); CREATE PUBLICATION p FOR TABLE t")
	w, err := openWire(context.Background(), r.url, map[string]string{"replication": "database"})
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn(w.Close)
	slot := w.must(t, "CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT")
	w.send(t, &pgproto3.Query{String: "START_REPLICATION SLOT s LOGICAL " + slot[0][1] + " (proto_version '1', publication_names 'p')"})
	logIn(t, r.url).asks("Z", text("INSERT INTO t VALUES (77)"))
	for inserted := false; !inserted; {
		data, ok := w.receive(t).(*pgproto3.CopyData)
		inserted = ok && data.Data[0] == 'w' && data.Data[25] == 'I' && strings.Contains(string(data.Data), "77")
	}
	feedback := append([]byte{'r'}, make([]byte, 33)...)
	w.send(t, &pgproto3.CopyData{Data: feedback}, &pgproto3.CopyDone{})
	for ready := false; !ready; {
		_, ready = w.receive(t).(*pgproto3.ReadyForQuery)
	}
	if got := w.must(t, "SELECT 5"); got[0][0] != "5" {
		t.Errorf("afterwards it answers %v", got)
	}
}

func (w *wire) send(t testing.TB, messages ...pgproto3.FrontendMessage) {
	t.Helper()
	if _, err := w.Conn().Write(packed(t, messages...)); err != nil {
		t.Fatal(err)
	}
}

func (w *wire) receive(t testing.TB) pgproto3.BackendMessage {
	t.Helper()
	w.Conn().SetDeadline(time.Now().Add(patience))
	m, err := w.Frontend().Receive()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// What a client hears up to its first ReadyForQuery, and its errors, are the server's own; only the key is ours.
func TestReplicationIsWelcomedAndRefusedInTheServersWords(t *testing.T) {
	r := startProxyBefore(t, publisher(t), withDatabase(func(d *proxy.Database) {
		d.URL = strings.Replace(d.URL, postgres.Superuser+"@", "", 1) // Who it is, the client says.
	}))
	r.query(t, "CREATE ROLE plain LOGIN; CREATE ROLE copier LOGIN REPLICATION")
	for _, c := range []struct {
		user       string
		parameters []string
	}{
		{"postgres", []string{"replication", "database"}},
		{"postgres", []string{"replication", "on", "application_name", "me", "options", "-c search_path=x -c work_mem=1MB"}},
		{"copier", []string{"replication", "true", "DateStyle", "SQL", "TimeZone", "Asia/Tokyo"}},
		{"plain", []string{"replication", "database"}},
		{"copier", []string{"replication", "database", "no_such", "1"}},
		{"nobody", []string{"replication", "true"}},
	} {
		var heard [2][]string
		for i, address := range []string{r.direct, r.url} {
			s := openSocket(t, address)
			s.send(startup(strings.Replace(address, "postgres@", c.user+"@", 1), c.parameters...))
			heard[i] = s.transcript(t)
			s.conn.Close()
		}
		if !slices.Equal(heard[0], heard[1]) {
			t.Errorf("%s with %q:\nlockproxy  %q\nPostgreSQL %q", c.user, c.parameters, heard[1], heard[0])
		}
	}
	succeeds(t, r.tool(t, "psql", "-X", "-c", "SELECT 1", "dbname="+r.database)) // Everything else goes on.
}

// transcript reads whole messages behind the login, up to ReadyForQuery or the end. The order of ParameterStatus is no
// rule of the protocol; where an error comes from in the server's source is not passed on.
func (s *socket) transcript(t testing.TB) (all []string) {
	t.Helper()
	s.conn.SetReadDeadline(time.Now().Add(patience))
	for {
		var head [protocol.HeadSize]byte
		if _, err := io.ReadFull(s.conn, head[:]); err != nil {
			break
		}
		kind, size := protocol.Head(head[:])
		body := make([]byte, size-len(head))
		if _, err := io.ReadFull(s.conn, body); err != nil {
			t.Fatal(err)
		}
		switch kind {
		case protocol.Authentication:
			continue
		case protocol.BackendKeyData:
			body = body[8:]
		case protocol.ErrorResponse:
			body = fmt.Appendf(nil, "%+v", protocol.ReadError(body))
		}
		all = append(all, string(kind)+string(body))
		if kind == protocol.ReadyForQuery {
			break
		}
	}
	slices.Sort(all)
	return all
}

func TestTheServersLimitOfReplicationConnectionsIsTold(t *testing.T) {
	r := startProxyBefore(t, postgres.Start(t, postgres.Setting("max_wal_senders", "1")))
	logIn(t, r.url, "replication", "database")
	late := openSocket(t, r.url)
	late.send(startup(r.url, "replication", "database"))
	if got := late.until("Z"); got != "E(FATAL 53300) (end)" {
		t.Errorf("got %s", got)
	}
}

func TestReplicationConnectionsCountAsClientsAndNotAsSlots(t *testing.T) {
	r := startProxyBefore(t, publisher(t), sized(1, 1), func(c *proxy.Config) { c.MaxClients = 3 })
	logIn(t, r.url, "replication", "database")
	logIn(t, r.url, "replication", "database")
	s := logIn(t, r.url)
	s.wants("the one slot is free", one, "Z", text("SELECT 1"))
	late := openSocket(t, r.url)
	late.send(startup(r.url, "replication", "database"))
	if got := late.until("Z"); got != "E(FATAL 53300) (end)" {
		t.Errorf("got %s", got)
	}
}

func TestEitherEndOfAReplicationConnectionEndsTheOther(t *testing.T) {
	r := startProxyBefore(t, publisher(t))
	streams := func() *socket {
		s := logIn(t, r.url, "replication", "true")
		s.asks("W", text("START_REPLICATION 0/"+strings.Split(r.value(t, "SELECT pg_current_wal_lsn()"), "/")[1]))
		return s
	}
	left := streams()
	left.conn.Close()
	r.awaitRow(t, "a client that vanishes takes its server connection along",
		"count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'walsender'")
	busy := logIn(t, r.url, "replication", "database")
	busy.send(packed(t, text("SELECT pg_sleep(60)"), leaving))
	busy.conn.Close()
	cancelled := logIn(t, r.url, "replication", "database")
	cancelled.send(packed(t, text("SELECT pg_sleep(61)")))
	r.awaitRow(t, "it runs", "count(*) = 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(61)' AND wait_event = 'PgSleep'")
	if err := cancelled.cancel(); err != nil {
		t.Fatal(err)
	}
	if got := cancelled.until("Z"); got != "T E(57014) Z(I)" {
		t.Errorf("a cancelled statement is answered by %s", got)
	}
	ended := streams()
	r.query(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender'")
	for _, s := range []*socket{ended, cancelled} {
		if got := s.until("~"); !strings.HasSuffix(got, "E(FATAL 57P01) (end)") {
			t.Errorf("a client whose server ends is told %s", got)
		}
	}
}

// A client that does not read holds its server up, not our memory, and loses nothing.
func TestAReaderThatWaitsHoldsTheBackupUp(t *testing.T) {
	r := startProxyBefore(t, publisher(t), ending(patience))
	r.query(t, "CREATE TABLE t AS SELECT g, repeat('x', 500) FROM generate_series(1, 60000) g")
	s := logIn(t, r.url, "replication", "true")
	s.send(packed(t, text("BASE_BACKUP (CHECKPOINT 'fast')")))
	r.awaitRow(t, "the server waits for its reader", `count(*) = 1 FROM pg_stat_activity
		WHERE backend_type = 'walsender' AND wait_event = 'ClientWrite'`)
	idle := logIn(t, r.url, "replication", "true")
	streams := logIn(t, r.url, "replication", "database")
	streams.asks("W", text("START_REPLICATION 0/"+strings.Split(r.value(t, "SELECT pg_current_wal_lsn()"), "/")[1]))
	took := r.ends(t)
	for name, other := range map[string]*socket{"idle": idle, "streaming": streams} {
		if got := other.until("~"); !strings.HasSuffix(got, told57P01) {
			t.Errorf("at the end of the proxy one that is %s is told %s", name, got)
		}
	}
	size := 0
	for {
		kind, shown := s.next()
		if size++; kind == 0 || kind == protocol.ErrorResponse {
			t.Fatalf("the backup ends with %s", shown)
		}
		if kind == protocol.ReadyForQuery {
			break
		}
	}
	if got := s.until("~"); got != told57P01 || size < 500 {
		t.Errorf("after %d messages of a whole backup the client is told %s", size, got)
	}
	<-took
}

// Replication stays under way no longer than the shutdown timeout.
func TestABackupThatNobodyReadsDoesNotHoldUpTheEnd(t *testing.T) {
	r := startProxyBefore(t, publisher(t), ending(200*time.Millisecond))
	r.query(t, "CREATE TABLE t AS SELECT g, repeat('x', 500) FROM generate_series(1, 60000) g")
	s := logIn(t, r.url, "replication", "true")
	s.send(packed(t, text("BASE_BACKUP (CHECKPOINT 'fast')")))
	r.awaitRow(t, "the server waits for its reader", `count(*) = 1 FROM pg_stat_activity
		WHERE backend_type = 'walsender' AND wait_event = 'ClientWrite'`)
	if took := <-r.ends(t); took > patience/2 {
		t.Errorf("the end took %v", took)
	}
	r.awaitRow(t, "the server connection is closed", "count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'walsender'")
}
