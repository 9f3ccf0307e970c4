package test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// watched lets the superuser control a proxy by its console, and the user watcher look at it.
func watched(c *proxy.Config) {
	c.Console = proxy.Console{Admins: []string{postgres.Superuser}, Guests: []string{"watcher"}}
	c.StatsPeriod = time.Hour
	c.Version = "1.2.3"
}

// consoleURL is where a user finds the console.
func (r *rig) consoleURL(t testing.TB, user string) string {
	t.Helper()
	u, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	u.User, u.Path = url.User(user), "/pgbouncer"
	return u.String()
}

// console connects to the console.
func (r *rig) console(t testing.TB, user string) *pgx.Conn {
	t.Helper()
	return connect(t, r.consoleURL(t, user))
}

// row is a row of a SHOW command by its columns.
type row map[string]any

// rows gives the rows of a SHOW command.
func rows(t testing.TB, c *pgx.Conn, command string, mode pgx.QueryExecMode) []row {
	t.Helper()
	found, err := c.Query(context.Background(), command, mode)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	all, err := pgx.CollectRows(found, func(r pgx.CollectableRow) (row, error) {
		m, err := pgx.RowToMap(r)
		return row(m), err
	})
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return all
}

// text gives a value as text, whatever its type.
func (r row) text(name string) string {
	value, ok := r[name]
	if !ok {
		return "(no such column)"
	}
	if n, ok := value.(driver.Valuer); ok {
		if v, err := n.Value(); err == nil {
			value = v
		}
	}
	return fmt.Sprint(value)
}

// find gives the one row in which columns have those values.
func find(t testing.TB, rows []row, columns ...string) row {
	t.Helper()
	var found []row
next:
	for _, r := range rows {
		for i := 0; i < len(columns); i += 2 {
			if r.text(columns[i]) != columns[i+1] {
				continue next
			}
		}
		found = append(found, r)
	}
	if len(found) != 1 {
		t.Fatalf("one row with %v was expected, not %d of %v", columns, len(found), rows)
	}
	return found[0]
}

var execModes = []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeDescribeExec,
	pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeCacheStatement}

// Columns as PgBouncer has them (src/admin.c, src/stats.c).
var consoleColumns = map[string]string{
	"POOLS": "database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active sv_active_cancel sv_being_canceled " +
		"sv_idle sv_used sv_tested sv_login maxwait maxwait_us pool_mode load_balance_hosts",
	"STATS": "database total_server_assignment_count total_xact_count total_query_count total_received total_sent total_xact_time " +
		"total_query_time total_wait_time total_client_parse_count total_server_parse_count total_bind_count avg_server_assignment_count " +
		"avg_xact_count avg_query_count avg_recv avg_sent avg_xact_time avg_query_time avg_wait_time avg_client_parse_count " +
		"avg_server_parse_count avg_bind_count",
	"STATS_TOTALS": "database server_assignment_count xact_count query_count bytes_received bytes_sent xact_time query_time wait_time " +
		"client_parse_count server_parse_count bind_count",
	"STATS_AVERAGES": "database server_assignment_count xact_count query_count bytes_received bytes_sent xact_time query_time wait_time " +
		"avg_client_parse_count avg_server_parse_count avg_bind_count",
	"TOTALS": "name value",
	"CLIENTS": "type user database replication state addr port local_addr local_port connect_time request_time wait wait_us close_needed " +
		"ptr link remote_pid tls application_name prepared_statements id",
	"SERVERS": "type user database replication state addr port local_addr local_port connect_time request_time wait wait_us close_needed " +
		"ptr link remote_pid tls application_name prepared_statements id",
	"SOCKETS": "type user database replication state addr port local_addr local_port connect_time request_time wait wait_us close_needed " +
		"ptr link remote_pid tls application_name prepared_statements id recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail send_avail",
	"ACTIVE_SOCKETS": "type user database replication state addr port local_addr local_port connect_time request_time wait wait_us " +
		"close_needed ptr link remote_pid tls application_name prepared_statements id recv_pos pkt_pos pkt_remain send_pos send_remain " +
		"pkt_avail send_avail",
	"DATABASES": "name host port database force_user pool_size min_pool_size reserve_pool_size server_lifetime pool_mode load_balance_hosts " +
		"max_connections current_connections max_client_connections current_client_connections paused disabled",
	"USERS": "name pool_size reserve_pool_size pool_mode max_user_connections current_connections max_user_client_connections " +
		"current_client_connections",
	"LISTS":      "list items",
	"CONFIG":     "key value default changeable",
	"MEM":        "name size used free memtotal",
	"STATE":      "key value",
	"VERSION":    "version",
	"PEERS":      "peer_id host port pool_size",
	"PEER_POOLS": "peer_id cl_active_cancel_req cl_waiting_cancel_req sv_active_cancel sv_login",
	"DNS_HOSTS":  "hostname ttl addrs",
	"DNS_ZONES":  "zonename serial count",
	"LOCKS":      "key pg_key level mode state since client addr application_name database user backend_pid statement waiters",
	"PINS":       "id database user application_name addr reason since",
}

func TestTheConsoleHasPgBouncersColumnsInEveryMode(t *testing.T) {
	r := startProxy(t, watched)
	_ = connect(t, r.url).QueryRow(context.Background(), "SELECT 1").Scan(new(int))
	for _, user := range []string{postgres.Superuser, "watcher"} {
		for _, mode := range execModes {
			c := r.console(t, user)
			for command, want := range consoleColumns {
				for _, verb := range []string{"SHOW ", "SELECT "} {
					rows, err := c.Query(context.Background(), verb+command, mode)
					if err != nil {
						t.Fatalf("%s%s, %v: %v", verb, command, mode, err)
					}
					var got []string
					for _, f := range rows.FieldDescriptions() {
						got = append(got, f.Name)
					}
					for rows.Next() {
						if _, err := rows.Values(); err != nil {
							t.Errorf("%s%s, %v: a value cannot be read: %v", verb, command, mode, err)
						}
					}
					if err := rows.Err(); err != nil {
						t.Errorf("%s%s, %v: %v", verb, command, mode, err)
					}
					if !strings.HasPrefix(strings.Join(got, " ")+" ", want+" ") {
						t.Errorf("%s%s, %v: got the columns %v, want %s and ours behind them", verb, command, mode, got, want)
					}
				}
			}
		}
	}
}

func TestStatisticsAreRightAfterKnownWork(t *testing.T) {
	ctx := context.Background()
	r := startProxy(t, watched)
	s := logIn(t, r.url)
	s.asks("Z", text("SELECT 1"))
	s.asks("ZZZ", text("BEGIN"), text("SELECT pg_sleep(0.05)"), text("COMMIT"))
	s.asks("Z", text("SELECT pg_advisory_lock(1), pg_advisory_unlock(1)"))
	for _, mode := range execModes {
		c := r.console(t, "watcher")
		stats := find(t, rows(t, c, "SHOW STATS", mode), "database", r.database)
		for name, want := range map[string]string{
			"total_server_assignment_count": "4", // the first login asks a server what clients are told
			"total_xact_count":              "3", "total_query_count": "5",
			"total_client_parse_count": "0", "total_bind_count": "0",
		} {
			if got := stats.text(name); got != want {
				t.Errorf("%v: %s is %s, want %s", mode, name, got, want)
			}
		}
		totals := find(t, rows(t, c, "SHOW STATS_TOTALS", mode), "database", r.database)
		for _, name := range []string{"xact_time", "query_time"} {
			var micros int64
			if _, err := fmt.Sscan(totals.text(name), &micros); err != nil || micros < 50_000 || micros > 20_000_000 {
				t.Errorf("%v: %s is %s, want 50 ms at least", mode, name, totals.text(name))
			}
		}
		_ = c.Close(ctx)
	}
	before := find(t, rows(t, r.console(t, "watcher"), "SHOW STATS", pgx.QueryExecModeExec), "database", r.database)
	c := connect(t, r.url)
	if _, err := c.Prepare(ctx, "one", "SELECT $1::int"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := c.QueryRow(ctx, "one", 1).Scan(new(int)); err != nil {
			t.Fatal(err)
		}
	}
	after := find(t, rows(t, r.console(t, "watcher"), "SHOW STATS", pgx.QueryExecModeExec), "database", r.database)
	for name, want := range map[string]int{"total_client_parse_count": 1, "total_server_parse_count": 1, "total_bind_count": 3,
		"total_xact_count": 4, "total_query_count": 4, "total_server_assignment_count": 4} {
		var was, is int
		fmt.Sscan(before.text(name), &was)
		fmt.Sscan(after.text(name), &is)
		if is-was != want && !(name == "total_server_assignment_count" && is-was == want+1) { // a login may ask a server
			t.Errorf("%s grew by %d, want %d", name, is-was, want)
		}
	}
}

func TestBytesAreThoseOfTheClient(t *testing.T) {
	r := startProxy(t, watched)
	s := logIn(t, r.url)
	got := func(name string) (n int) {
		fmt.Sscan(find(t, rows(t, r.console(t, "watcher"), "SHOW STATS", pgx.QueryExecModeExec), "database", r.database).text(name), &n)
		return n
	}
	received, sent := got("total_received"), got("total_sent")
	question := text("SELECT repeat('x', 100000)")
	s.asks("Z", question)
	s.asks("Z", text("BEGIN")) // is answered without a server
	if n := got("total_received") - received; n != len(packed(t, question))+len(packed(t, text("BEGIN"))) {
		t.Errorf("%d bytes were received", n)
	}
	if n := got("total_sent") - sent; n < 100_000 || n > 100_200 {
		t.Errorf("%d bytes were sent", n)
	}
}

func TestPoolsHaveOneRowForEachDatabaseAndUser(t *testing.T) {
	r := startProxy(t, watched, sized(1, 2))
	holder := logIn(t, r.url)
	holder.asks("ZZ", text("BEGIN"), text("SELECT pg_advisory_xact_lock(7)"))
	busy := logIn(t, r.url)
	busy.asks("ZZ", text("BEGIN"), text("SELECT 1"))
	waiter := logIn(t, r.url)
	waiter.send(packed(t, text("SELECT 1")))
	c := r.console(t, "watcher")
	await(t, "a client waits", func() bool {
		return find(t, rows(t, c, "SHOW POOLS", pgx.QueryExecModeExec), "database", r.database).text("cl_waiting") == "1"
	})
	p := find(t, rows(t, c, "SHOW POOLS", pgx.QueryExecModeExec), "database", r.database, "user", postgres.Superuser)
	for name, want := range map[string]string{"cl_active": "2", "cl_waiting": "1", "sv_active": "2", "admin_active": "1", "lock_active": "1",
		"lock_holding": "1", "admin_max": "1", "lock_max": "2", "pool_mode": "transaction"} {
		if got := p.text(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	clients := rows(t, c, "SHOW CLIENTS", pgx.QueryExecModeExec)
	if got := find(t, clients, "id", fmt.Sprint(waiter.pid)); got.text("state") != "waiting" || got.text("addr") != "127.0.0.1" {
		t.Errorf("who waits is shown as %v", got)
	}
	server := find(t, rows(t, c, "SHOW SERVERS", pgx.QueryExecModeExec), "link", fmt.Sprintf("0x%x", holder.pid))
	if server.text("state") != "active" || server.text("port") != fmt.Sprint(r.upstream.Port) || server.text("detail") != "lock" {
		t.Errorf("the holder's server is shown as %v", server)
	}
	lock := find(t, rows(t, c, "SHOW LOCKS", pgx.QueryExecModeExec), "client", fmt.Sprint(holder.pid))
	if lock.text("pg_key") != "7" || lock.text("state") != "held" || lock.text("mode") != "exclusive" || lock.text("waiters") != "0" {
		t.Errorf("the lock is shown as %v", lock)
	}
	busy.asks("Z", text("ROLLBACK"))
	waiter.until("Z")
	busy.asks("Z", text("LISTEN x"))
	await(t, "a pin is shown", func() bool { return len(rows(t, c, "SHOW PINS", pgx.QueryExecModeExec)) == 1 })
	if pin := rows(t, c, "SHOW PINS", pgx.QueryExecModeExec)[0]; pin.text("reason") != "listen" || pin.text("id") != fmt.Sprint(busy.pid) {
		t.Errorf("the pin is shown as %v", pin)
	}
}

func TestPsqlUsesTheConsole(t *testing.T) {
	r := startProxy(t, watched)
	_ = connect(t, r.url).QueryRow(context.Background(), "SELECT 1").Scan(new(int))
	for name, want := range map[string]string{
		"SHOW VERSION": "PgBouncer 1.25.2 (lockproxy 1.2.3)", "SHOW client_encoding": "UTF-8", "show datestyle;": "ISO",
		"SELECT 1": "1", "SHOW STATE": "active|yes\npaused|no\nsuspended|no", "SET application_name = 'x'": "SET", "BEGIN": "BEGIN",
		`\conninfo`: "You are connected to database", "SHOW STATE; SHOW VERSION": "active|yes\npaused|no\nsuspended|no\nPgBouncer 1.25.2 (lockproxy 1.2.3)",
		"SHOW HELP": "SHOW", "": "",
	} {
		out, err := psql(t, r.consoleURL(t, "watcher"), name).Output()
		if got := strings.TrimSpace(string(out)); err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestTheConsoleIsForThoseWhoAreNamed(t *testing.T) {
	r := startProxy(t, watched)
	_, err := pgx.Connect(context.Background(), r.consoleURL(t, "stranger"))
	if err == nil || sqlState(err) != "42501" || !strings.Contains(err.Error(), `user "stranger" may not use the console`) {
		t.Errorf("a stranger: %v", err)
	}
	if n := len(rows(t, r.console(t, "watcher"), "SHOW CLIENTS", pgx.QueryExecModeExec)); n != 1 {
		t.Errorf("%d clients", n)
	}
}

// A typo gets an error that names the nearest command, in PgBouncer's words.
func TestAMistypedCommandIsToldWhatWasMeant(t *testing.T) {
	r := startProxy(t, watched)
	c := r.console(t, "watcher")
	for typed, want := range map[string]string{
		"SHOW POOL": "SHOW POOLS", "SHWO POOLS": "SHOW POOLS", "SHWO x": "SHOW", "PAUZE": "PAUSE", "SHOW STAT": "SHOW STATE", "RELOAD now": "RELOAD", "SHOW": "",
		"SHOW HELPP": "SHOW HELP", "HELP": "SHOW HELP", "pools": "SHOW POOLS", "SHWO POOL": "SHOW POOLS", "KIL CLIENT 5": "KILL CLIENT id", "KIL x": "KILL",
		"KILL CLIENT": "KILL [database], or KILL CLIENT id", "lokcs": "SHOW LOCKS",
		"DISABLE": "DISABLE database", "SHUTDOWN NOW": "SHUTDOWN [WAIT_FOR_SERVERS | WAIT_FOR_CLIENTS]", "DROP TABLE x": "",
	} {
		for _, mode := range execModes {
			_, err := c.Exec(context.Background(), typed, mode)
			var told *pgconn.PgError
			if !errors.As(err, &told) {
				t.Fatalf("%s: %v", typed, err)
			}
			hint := ""
			if want != "" {
				hint = "Perhaps you meant " + want + "."
			}
			if told.Code != "08P01" || told.Message != "invalid command '"+typed+"', use SHOW HELP;" || told.Hint != hint {
				t.Errorf("%s: got %s, %q, %q; want the hint %q", typed, told.Code, told.Message, told.Hint, hint)
			}
		}
	}
}

// CVE-2026-6667 (B 1.25.2): KILL_CLIENT lacked the check that all the others had.
func TestEveryCommandThatControlsNeedsAnAdmin(t *testing.T) {
	r := startProxy(t, watched)
	commands := []string{"PAUSE", "PAUSE x", "RESUME", "RESUME x", "RECONNECT", "RECONNECT x", "DISABLE x", "ENABLE x", "KILL", "KILL x",
		"KILL_CLIENT 1", "KILL CLIENT 1", "WAIT_CLOSE", "WAIT_CLOSE x", "RELOAD", "SHUTDOWN", "SHUTDOWN WAIT_FOR_SERVERS",
		"SHUTDOWN WAIT_FOR_CLIENTS", "SUSPEND", "SET x = 1", "SET server.max_clients TO '2'"}
	for _, mode := range execModes {
		c := r.console(t, "watcher")
		for _, command := range commands {
			_, err := c.Exec(context.Background(), command, mode)
			if sqlState(err) != "42501" || !strings.Contains(err.Error(), "admin access needed") {
				t.Errorf("%s, %v: %v", command, mode, err)
			}
		}
	}
	if got := find(t, rows(t, r.console(t, "watcher"), "SHOW STATE", pgx.QueryExecModeExec), "key", "active").text("value"); got != "yes" {
		t.Errorf("active: %s", got)
	}
}

func TestAConsoleOpensWhenTheClientsAreTooMany(t *testing.T) {
	r := startProxy(t, watched, func(c *proxy.Config) { c.MaxClients = 1 })
	logIn(t, r.url)
	if _, err := pgx.Connect(context.Background(), r.url); sqlState(err) != "53300" {
		t.Fatalf("one client too many: %v", err)
	}
	var states []string
	for _, c := range rows(t, r.console(t, "watcher"), "SHOW CLIENTS", pgx.QueryExecModeExec) {
		states = append(states, c.text("detail"))
	}
	if slices.Sort(states); !slices.Equal(states, []string{"console", "idle"}) {
		t.Errorf("the clients are %v", states)
	}
}

func TestConsolesAreToldOfAShutdown(t *testing.T) {
	r := startProxy(t, watched)
	s := logIn(t, r.consoleURL(t, "watcher"))
	r.stop()
	if got := s.until("E"); !strings.Contains(got, "57P01") {
		t.Errorf("got %s", got)
	}
}
