package test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/lockproxy/lockproxy/protocol"
)

// sameState are conversations about the state of a session, like sameAnswers.
var sameState = []struct {
	rule  string
	steps []say
}{
	{"G#955: SET undone by ROLLBACK", []say{
		and("ZZZ", text("BEGIN"), text("SET work_mem = '1MB'"), text("ROLLBACK")), and("Z", text("SHOW work_mem"))}},
	{"G#955: by an error in its own string", []say{and("Z", text("SET work_mem = '1MB'; SELECT 1/0")), and("Z", text("SHOW work_mem"))}},
	{"G#1265: by ROLLBACK TO", []say{
		and("ZZZZZZ", text("BEGIN"), text("SET work_mem = '1MB'"), text("SAVEPOINT s"), text("SET work_mem = '2MB'"), text("ROLLBACK TO s"), text("COMMIT")),
		and("Z", text("SHOW work_mem"))}},
	{"G#911: a rejected SET", []say{and("Z", text("SET work_mem = '1MB'")), and("Z", text("SET work_mem = 'nonsense'")), and("Z", text("SHOW work_mem"))}},
	{"SET LOCAL lives with its transaction", []say{
		and("ZZZZ", text("BEGIN"), text("SET LOCAL work_mem = '1MB'"), text("SHOW work_mem"), text("COMMIT")), and("Z", text("SHOW work_mem"))}},
	{"G#1095: the two parts of DateStyle", []say{
		and("ZZZ", text("SET datestyle = 'German'"), text("SHOW datestyle"), text("SET datestyle = 'MDY'")), and("Z", text("SHOW datestyle")),
		and("Z", text("SELECT '2020-02-01'::date")), and("Z", text("RESET datestyle")), and("Z", text("SHOW datestyle"))}},
	{"D#686: SET TRANSACTION is no session setting", []say{
		and("ZZZZ", text("BEGIN"), text("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"), text("SHOW transaction_isolation"), text("COMMIT")),
		and("Z", text("SHOW transaction_isolation")), and("Z", text("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE")),
		and("Z", text("SHOW transaction_isolation"))}},
	{"D#760, D#492, D#1059: several SETs, comments before them", []say{
		and("Z", text("/* a /* b */ */ SET work_mem = '1MB'; -- c\nSET enable_sort TO off; SET SESSION app.x = 'it''s'")),
		and("Z", text("SELECT current_setting('work_mem'), current_setting('enable_sort'), current_setting('app.x')")),
		and("Z", text("RESET ALL")), and("Z", text("SELECT current_setting('work_mem'), current_setting('enable_sort')"))}},
	{"D#1055 (pg_dump): set_config of an empty search_path", []say{
		and("Z", text("SELECT pg_catalog.set_config('search_path', '', false)")), and("Z", text("SELECT count(*) FROM t")),
		and("Z", text("SELECT count(*) FROM public.t"))}},
	{"D#1298: set_config with bound parameters", []say{
		and("Z", prepare("s", "SELECT set_config($1, $2, $3)"), bindTo("", "s", "app.tenant", "a'b\\c", "f"), executing(""), syncNow),
		and("Z", text("SELECT current_setting('app.tenant')")), and("Z", bindTo("", "s", "app.tenant", "d", "t"), executing(""), syncNow),
		and("Z", text("SELECT current_setting('app.tenant')"))}},
	{"D#1341: SET ROLE and RESET ROLE", []say{
		and("Z", text("SET ROLE pg_monitor")), and("Z", text("SELECT current_user, session_user")), and("Z", text("CREATE SCHEMA mine")),
		and("Z", text("RESET ROLE")), and("Z", text("SELECT current_user"))}},
	{"G#729: SET SESSION AUTHORIZATION", []say{
		and("Z", text("SET SESSION AUTHORIZATION pg_monitor")), and("Z", text("SELECT current_user, session_user")),
		and("Z", text("RESET SESSION AUTHORIZATION")), and("Z", text("SELECT session_user"))}},
	{"G#1324: setseed", []say{
		and("Z", text("SELECT setseed(0.25)")), and("Z", text("SELECT random()")), and("Z", prepare("", "SELECT random()"), bindTo("", ""), executing(""), syncNow)}},
	{"temporary tables", []say{and("Z", text("CREATE TEMP TABLE x AS SELECT 1 AS a")), and("Z", text("SELECT a FROM x")), and("Z", text("DISCARD TEMP")),
		and("Z", text("SELECT a FROM x"))}},
	{"cursors with hold", []say{and("Z", text("DECLARE c CURSOR WITH HOLD FOR SELECT generate_series(1, 3)")), and("Z", text("FETCH 2 FROM c")),
		and("Z", text("CLOSE c")), and("Z", text("FETCH 1 FROM c"))}},
	{"what FETCH runs of a Bind message", []say{and("ZZ", text("BEGIN"), prepare("k", "SELECT pg_advisory_lock(1), set_config('app.fetched', 'a', false)"), bindTo("p", "k"), syncNow),
		and("ZZ", prepare("", "FETCH p"), bindTo("", ""), executing(""), syncNow, text("COMMIT")), and("Z", text("SHOW app.fetched")),
		and("Z", text("SELECT pg_advisory_unlock(1)"))}},
	{"currval in another transaction", []say{and("Z", text("DROP SEQUENCE IF EXISTS numbers; CREATE SEQUENCE numbers")),
		and("Z", text("SELECT nextval('numbers')")), and("Z", text("SELECT currval('numbers'), lastval()")), and("Z", text("SELECT nextval('numbers')")),
		and("Z", prepare("", "SELECT lastval()"), bindTo("", ""), executing(""), syncNow), and("Z", text("DISCARD SEQUENCES")), and("Z", text("SELECT lastval()"))}},
	{"currval of one that was never moved", []say{and("Z", text("SELECT lastval()")), and("Z", prepare("", "SELECT lastval()"), bindTo("", ""), executing(""), syncNow)}},
	{"what RESET leaves of a setting that nobody defined", []say{and("Z", text("SET app.left = 'x'")), and("Z", text("RESET app.left")),
		and("Z", text("SHOW app.left")), and("ZZZ", text("BEGIN"), text("SET LOCAL app.local = 'x'"), text("COMMIT")),
		and("Z", text("SELECT current_setting('app.local', true), current_setting('app.left', true)"))}},
	{"PREPARE, EXECUTE and DEALLOCATE", []say{and("Z", text("PREPARE q(int) AS SELECT $1 + 1")), and("Z", text("EXECUTE q(1)")), and("Z", text("PREPARE q AS SELECT 2")),
		and("Z", bindTo("", "q", "7"), executing(""), syncNow), and("Z", prepare("p", "SELECT 'p'"), syncNow), and("Z", text("EXECUTE p")),
		and("Z", text("SELECT name, statement, from_sql FROM pg_prepared_statements ORDER BY 1")), and("Z", text("DEALLOCATE q")), and("Z", text("EXECUTE q(1)")),
		and("ZZZ", text("BEGIN"), text("PREPARE q AS SELECT 3"), text("ROLLBACK")), and("Z", text("EXECUTE q; DEALLOCATE ALL; EXECUTE q")), and("Z", text("EXECUTE p"))}},
	{"currval", []say{and("Z", text("DROP SEQUENCE IF EXISTS numbers; CREATE SEQUENCE numbers")),
		and("ZZZZ", text("BEGIN"), text("SELECT nextval('numbers')"), text("SELECT currval('numbers'), lastval()"), text("COMMIT")),
		and("Z", text("SELECT currval('numbers')"))}},
}

// B#908, B#1064, D#1265: settings of the startup packet, in each of their forms. B#999: an empty application_name.
func TestStartupSettingsAreInPlaceAsDirectly(t *testing.T) {
	r := startProxy(t, sized(1, 1))
	noise(t, r.url, 1)
	for _, c := range [][]string{
		{"options", "-c work_mem=1MB"}, {"options", "-cwork_mem=1MB"}, {"options", "--work-mem=1MB"},
		{"options", `-c app.x=a\ b\\c -c work_mem=2MB`}, {"options", "-c work_mem=1MB", "work_mem", "3MB"},
		{"options", "-c geqo=off --enable_sort=off"}, {"options", "-c search_path=a,b"}, {"options", "-x"}, {"options", "-c"},
		{"options", "-S 8192 -e -fs -fn"}, {"options", "-O -s -n -T -jE"}, {"options", "-fx"}, {"options", "-tx"}, {"options", "-tpa"}, {"options", "-t e -d 3"},
		{"options", "--"}, {"options", "-- x"}, {"options", "-"}, {"options", "x -S 99"}, {"options", "-zz"}, {"options", "-e -zz"}, {"options", "-S"}, {"options", "-B 100"},
		{"options", "-F"}, {"options", "-i"}, {"options", "-c foo"}, {"options", "-l -N 5"}, {"options", "-b -C x -D y -r z -v 3"}, {"options", "-d -1"}, {"options", "-S8k"},
		{"options", "-c work_mem=nonsense"}, {"no_such_setting", "1"}, {"work_mem", "nonsense"},
		{"application_name", ""}, {"application_name", "one"}, {"application_name", "naïve\tname"}, {"DateStyle", "German, DMY"}, {"TimeZone", "Asia/Tokyo"},
		{"application_name", strings.Repeat("x", 63)}, {"application_name", strings.Repeat("x", 64)}, {"application_name", strings.Repeat("ï", 40)},
		{"client_min_messages", "warning", "application_name", strings.Repeat("x", 64)},
		{"client_encoding", "LATIN1"}, {"extra_float_digits", "3"}, {"lock_timeout", "77"},
	} {
		t.Run(strings.Join(c, " "), func(t *testing.T) {
			var told [2]string
			for i, address := range []string{r.direct, r.url} {
				s := openSocket(t, address)
				s.send(startup(address, c...))
				if told[i] = s.welcome(); !strings.HasSuffix(told[i], "Z(I)") {
					continue
				}
				for _, name := range []string{"work_mem", "application_name", "datestyle", "timezone", "client_encoding", "geqo",
					"enable_sort", "enable_seqscan", "enable_nestloop", "log_parser_stats", "log_executor_stats", "log_statement", "log_min_messages", "search_path", "extra_float_digits", "lock_timeout"} {
					told[i] += " " + s.value("SHOW "+name)
				}
				told[i] += s.asks("Z", text("SELECT coalesce(current_setting('app.x', true), '')"))
				told[i] += s.asks("Z", text("SET work_mem = '9MB'")) + s.asks("Z", text("RESET work_mem")) + s.value("SHOW work_mem")
				told[i] += s.asks("Z", text("SET work_mem = '9MB'")) + s.asks("Z", text("SELECT FROM set_config('work_mem', NULL, false)")) + s.value("SHOW work_mem")
				for _, sql := range []string{"BEGIN", "RESET work_mem", "SHOW work_mem", "SAVEPOINT s", "RESET ALL", "SHOW application_name", "ROLLBACK TO s",
					"SHOW work_mem", "COMMIT", "SHOW work_mem"} {
					told[i] += s.asks("Z", text(sql))
				}
				s.asks("", leaving)
				if other := logIn(t, address); other.value("SHOW work_mem") != "4MB" || other.value("SHOW application_name") != "" {
					t.Errorf("the next client of %s has work_mem %s and application_name %s", address, other.value("SHOW work_mem"), other.value("SHOW application_name"))
				}
			}
			if told[0] != told[1] {
				t.Errorf("\nlockproxy  %s\nPostgreSQL %s", told[1], told[0])
			}
		})
	}
}

// welcome reads what a login ends with, with what notices say.
func (s *socket) welcome() (told string) {
	for {
		kind, body, failed := s.message()
		if kind == protocol.NoticeResponse {
			e := protocol.ReadError(body)
			told += e.Severity + " " + e.Code + " " + e.Message + " "
		}
		if told += show(kind, body) + failed; failed != "" || kind == protocol.ErrorResponse || kind == protocol.ReadyForQuery {
			return told
		}
	}
}

// Since PostgreSQL 16 a server reports its settings in the order of a hash table, before by name without regard to case (guc.c,
// BeginReportingGUCOptions).
func TestStartupSettingsAreReportedInTheServersOrder(t *testing.T) {
	r := startProxyBefore(t, publisher(t), sized(1, 1))
	for _, c := range [][]string{
		nil, nil, {"application_name", "one"}, {"DateStyle", "German", "TimeZone", "Asia/Tokyo"}, {"options", "-c app.x=1 -c search_path=a"},
		{"options", "-c app.x=1 -c search_path=a", "application_name", "two"}, {"replication", "database"}, {"replication", "true", "DateStyle", "SQL"},
	} {
		var told [2]string
		for i, address := range []string{r.direct, r.url} {
			s := openSocket(t, address)
			s.send(startup(address, c...))
			for kind := byte(0); kind != protocol.ReadyForQuery; {
				var body []byte
				var failed string
				if kind, body, failed = s.message(); failed != "" {
					t.Fatalf("%q: %s", c, failed)
				}
				if kind == protocol.BackendKeyData {
					body = body[:0]
				}
				told[i] += fmt.Sprintf(" %c%q", kind, body)
			}
			s.asks("", leaving)
		}
		if told[0] != told[1] {
			t.Errorf("%q\nlockproxy  %s\nPostgreSQL %s", c, told[1], told[0])
		}
	}
}

// D#1341, D#1055, B#396, G#1284: what one client set was another's. Both share the one backend.
func TestSettingsAndRolesAreNobodyElses(t *testing.T) {
	for _, c := range []struct{ set, show, own, others string }{
		{"SET work_mem = '1MB'", "SHOW work_mem", "1MB", "4MB"},
		{"SELECT set_config('search_path', '', false)", "SHOW search_path", "", `"$user", public`},
		{"SELECT set_config('app.tenant', 'a', false)", "SELECT coalesce(current_setting('app.tenant', true), '')", "a", ""},
		{"DO $$ BEGIN PERFORM set_config('work_mem', '1MB', false); END $$", "SHOW work_mem", "1MB", "4MB"},
		{"BEGIN; SET LOCAL work_mem = '1MB'; COMMIT", "SHOW work_mem", "4MB", "4MB"},
		{"DO $$ BEGIN PERFORM set_config('app.tenant', 'b', false); END $$", "SELECT coalesce(current_setting('app.tenant', true), '')", "b", ""},
		{"SET datestyle = 'SQL, DMY'", "SHOW datestyle", "SQL, DMY", "ISO, MDY"},
		{"SET TIME ZONE 'Asia/Tokyo'", "SHOW timezone", "Asia/Tokyo", "UTC"},
	} {
		t.Run(c.set, func(t *testing.T) {
			r := startProxy(t, sized(1, 1))
			a, b := logIn(t, r.url), logIn(t, r.url)
			if got := a.asks("Z", text(c.set)); strings.Contains(got, "E(") {
				t.Fatal(got)
			}
			for range 3 {
				if got := b.value(c.show); got != c.others {
					t.Errorf("another client has %q, want %q", got, c.others)
				}
				if got := a.value(c.show); got != c.own {
					t.Errorf("its own is %q, want %q", got, c.own)
				}
			}
		})
	}
}

// D#1341: whoever has a backend next has its own role, and nothing of what the client before it left.
func TestARoleGoesWithItsClient(t *testing.T) {
	r := startProxy(t, sized(1, 1))
	for _, set := range []string{"SET ROLE pg_monitor", "SET SESSION AUTHORIZATION pg_monitor", "SELECT set_config('role', 'pg_monitor', false)",
		"SELECT setseed(0.1)", "LISTEN news", "CREATE TEMP TABLE x ()", "PREPARE p AS SELECT 1", "LOAD 'plpgsql'"} {
		a := logIn(t, r.url)
		a.asks("Z", text(set))
		pid := a.value("SELECT pg_backend_pid()")
		b := logIn(t, r.url)
		b.send(packed(t, text("SELECT current_user, (SELECT count(*) FROM pg_prepared_statements), "+
			"(SELECT count(*) FROM pg_listening_channels()), to_regclass('pg_temp.x') IS NULL")))
		a.asks("", leaving)
		if got, want := b.until("Z"), "T D(postgres,0,0,t) C(SELECT 1) Z(I)"; got != want {
			t.Errorf("%s on backend %s: the next client has %s", set, pid, got)
		}
		b.asks("", leaving)
	}
}

// What DISCARD ALL does not reset ends with the connection that it is on. The link's other end is lockproxy's own server.
func TestWhatCannotBeResetIsNobodyElses(t *testing.T) {
	r := startProxy(t, sized(1, 1))
	r.query(t, "CREATE EXTENSION dblink; CREATE EXTENSION pg_trgm")
	connect := "SELECT dblink_connect('link', '" + r.direct + "')"
	direct := logIn(t, r.direct)
	direct.asks("Z", text("SELECT setseed(0.5)"))
	random := direct.value("SELECT random()")
	for range 3 {
		a := logIn(t, r.url)
		a.wants("a connection of its own", "T D(OK) C(SELECT 1) Z(I)", "Z", text(connect))
		a.wants("a seed", "T D() C(SELECT 1) Z(I)", "Z", text("SELECT setseed(0.5)"))
		a.wants("DISCARD ALL", "C(DISCARD ALL) Z(I)", "Z", text("DISCARD ALL"))
		a.wants("the connection is still there", "T D({link}) C(SELECT 1) Z(I)", "Z", text("SELECT dblink_get_connections()"))
		a.wants("the seed, too", "T D("+random+") C(SELECT 1) Z(I)", "Z", text("SELECT random()"))
		a.asks("", leaving)
	}
	a, b := logIn(t, r.url), logIn(t, r.url)
	for range 3 {
		a.wants("a limit", "T D(0.7) C(SELECT 1) Z(I)", "Z", text("SELECT set_limit(0.7)"))
		b.wants("not another's limit", "T D(0.3) C(SELECT 1) Z(I)", "Z", text("SELECT show_limit()"))
		a.wants("its own", "T D(0.7) C(SELECT 1) Z(I)", "Z", text("SELECT show_limit()"))
	}
}

// B#999: an empty application_name is one, and other clients' names do not show.
func TestApplicationNamesShowInTheServer(t *testing.T) {
	r := startProxy(t, sized(1, 1))
	for _, name := range []string{"first", "", "second", strings.Repeat("x", 80)} {
		s := logIn(t, r.url, "application_name", name)
		want := name[:min(len(name), 63)]
		if got := s.value("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"); got != want {
			t.Errorf("%q shows as %q", name, got)
		}
		s.asks("", leaving)
	}
}

// Notifications come from the client that sent them, and be it by a trigger, whoever else has used the same connection.
func TestANotificationIsThatOfTheClientWhichSentIt(t *testing.T) {
	r := startProxy(t, sized(2, 1))
	r.query(t, `CREATE TABLE news (what text); CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN PERFORM pg_notify('news', NEW.what); RETURN NEW; END $$; CREATE TRIGGER tell AFTER INSERT ON news FOR EACH ROW EXECUTE FUNCTION tell()`)
	ctx := context.Background()
	listener := connect(t, r.url)
	if _, err := listener.Exec(ctx, "LISTEN news"); err != nil {
		t.Fatal(err)
	}
	senders := []*pgx.Conn{connect(t, r.url), connect(t, r.url)}
	for i, text := range []string{"NOTIFY news", "INSERT INTO news VALUES ('a')", "SELECT pg_notify('news', '')", "DO $$ BEGIN INSERT INTO news VALUES ('b'); END $$",
		"INSERT INTO news VALUES ('c')", "INSERT INTO news VALUES ('d')", "DO $$ BEGIN NOTIFY news; END $$"} {
		sender := senders[i%2]
		if _, err := sender.Exec(ctx, text); err != nil {
			t.Fatal(err)
		}
		n, err := listener.WaitForNotification(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if n.PID != sender.PgConn().PID() {
			t.Errorf("%s of %d: the notification is that of %d", text, sender.PgConn().PID(), n.PID)
		}
	}
}

// D#1079, D#925, G#1308: a listener keeps its backend, hears while it is idle, and hears its server's last words.
func TestAListenerHearsNotificationsAndItsServersEnd(t *testing.T) {
	r := startProxy(t, sized(2, 1))
	noise(t, r.elsewhere(), 2)
	s := logIn(t, r.url)
	s.wants("LISTEN", "C(LISTEN) Z(I)", "Z", text("LISTEN news"))
	pid := s.value("SELECT pg_backend_pid()")
	for i := range 3 {
		r.query(t, fmt.Sprintf("NOTIFY news, 'number %d'", i))
		if got, want := s.until("A"), fmt.Sprintf("A(news number %d)", i); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	r.terminate(t, "pid = "+pid)
	if got := s.until("~"); got != "E(FATAL 57P01) (end)" {
		t.Errorf("the last words are %s", got)
	}
}

// D#1285: a channel is its database's.
func TestNotificationsStayInTheirDatabase(t *testing.T) {
	r := startProxy(t, sized(2, 1))
	s, other := logIn(t, r.url), logIn(t, r.elsewhere())
	for _, one := range []*socket{s, other} {
		one.wants("LISTEN", "C(LISTEN) Z(I)", "Z", text("LISTEN news"))
	}
	other.wants("NOTIFY", "C(NOTIFY) A(news theirs) Z(I)", "Z", text("NOTIFY news, 'theirs'"))
	r.query(t, "NOTIFY news, 'ours'")
	if got := s.until("A"); got != "A(news ours)" {
		t.Errorf("the first that the client hears is %s", got)
	}
	other.wants("nothing else is heard", "T D(1) C(SELECT 1) Z(I)", "Z", text("SELECT 1"))
}

// B#1313: postgres_fdw sets search_path in its sessions, and whoever had the backend next found nothing.
func TestSettingsOfForeignDataWrappersAreNobodyElses(t *testing.T) {
	r := startProxy(t, sized(1, 1))
	u, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	r.query(t, fmt.Sprintf("CREATE EXTENSION postgres_fdw; CREATE TABLE near (a int); INSERT INTO near VALUES (7); "+
		"CREATE SERVER lockproxy FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '%s', port '%s', dbname '%s'); "+
		"CREATE USER MAPPING FOR CURRENT_USER SERVER lockproxy OPTIONS (user '%s'); "+
		"CREATE FOREIGN TABLE far (a int) SERVER lockproxy OPTIONS (table_name 'near')", u.Hostname(), u.Port(), r.database, u.User.Username()))
	wrapper := logIn(t, r.direct)
	for range 2 {
		if got := wrapper.value("SELECT a FROM far"); got != "7" {
			t.Errorf("the wrapper reads %s", got)
		}
		s := logIn(t, r.url)
		if got := s.value("SHOW search_path"); got != `"$user", public` {
			t.Errorf("another client has search_path %s", got)
		}
		s.wants("and finds its table", "T D(7) C(SELECT 1) Z(I)", "Z", text("SELECT a FROM near"))
	}
}
