package main

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// Each file has beside it the file that it becomes.
func TestImportOfTypicalFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/import/*.ini")
	if err != nil || len(files) < 12 {
		t.Fatalf("got %d files, %v", len(files), err)
	}
	for _, ini := range files {
		t.Run(filepath.Base(ini), func(t *testing.T) {
			got, err := translate(ini, os.ReadFile)
			if err != nil {
				t.Fatal(err)
			}
			file := strings.TrimSuffix(ini, ".ini") + ".toml"
			wantFile(t, file, got.text(filepath.Base(ini)))
			if _, err := load(source{path: file, environment: lookup(nil)}); err != nil {
				t.Errorf("the file cannot be read:\n%v", err)
			}
		})
	}
}

// pgbouncersKeys are the settings of PgBouncer 1.25, and those that 1.26 adds.
const pgbouncersKeys = `admin_users application_name_add_host auth_dbname auth_file auth_hba_file auth_ident_file
	auth_ldap_options auth_query auth_type auth_user autodb_idle_timeout cancel_wait_timeout client_idle_timeout
	client_login_timeout client_tls13_ciphers client_tls_ca_file client_tls_cert_file client_tls_ciphers client_tls_dheparams
	client_tls_ecdhcurve client_tls_key_file client_tls_protocols client_tls_sslmode conffile default_pool_size disable_pqexec
	dns_max_ttl dns_nxdomain_ttl dns_zone_check_period idle_transaction_timeout ignore_startup_parameters job_name listen_addr
	listen_backlog listen_port log_connections log_disconnections log_pooler_errors log_stats logfile login_notify_message
	max_client_conn max_db_client_connections max_db_connections max_packet_size max_prepared_statements
	max_user_client_connections max_user_connections min_pool_size peer_id pidfile pkt_buf pool_mode pool_idle_timeout
	query_timeout query_wait_notify query_wait_timeout reserve_pool_size reserve_pool_timeout resolv_conf sbuf_loopcnt
	scram_iterations server_check_delay server_check_query server_connect_timeout server_fast_close server_idle_timeout
	server_lifetime server_login_retry server_reset_query server_reset_query_always server_round_robin server_tls13_ciphers
	server_tls_ca_file server_tls_cert_file server_tls_ciphers server_tls_key_file server_tls_protocols server_tls_sslmode
	service_name so_reuseport stats_period stats_users suspend_timeout syslog syslog_facility syslog_ident tcp_defer_accept
	tcp_keepalive tcp_keepcnt tcp_keepidle tcp_keepintvl tcp_socket_buffer tcp_user_timeout track_extra_parameters
	transaction_timeout unix_socket_dir unix_socket_group unix_socket_mode user verbose`

func TestImportKnowsEverySettingOfPgBouncers(t *testing.T) {
	want := strings.Fields(pgbouncersKeys)
	var got []string
	for _, key := range mainKeys() {
		got = append(got, key.name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// Whatever is set, the file that is written says something of it.
func TestImportDropsNothingInSilence(t *testing.T) {
	const file = "[databases]\napp = host=db\n[pgbouncer]\nauth_type = trust\n"
	without := importText(t, file)
	values := map[string]string{
		"auth_type":            "scram-sha-256\nauth_file = x",
		"client_tls_sslmode":   "allow\nclient_tls_cert_file = c\nclient_tls_key_file = k",
		"server_tls_cert_file": "c\nserver_tls_key_file = k", "server_tls_key_file": "k\nserver_tls_cert_file = c",
		"server_tls_sslmode": "allow", "server_tls_protocols": "tlsv1.3", "pool_mode": "transaction", "tcp_keepalive": "0", "unix_socket_dir": "/x",
	}
	for _, key := range mainKeys() {
		value, ok := values[key.name]
		if !ok {
			value = "1"
		}
		if got := importText(t, file+key.name+" = "+value+"\n"); got == without {
			t.Errorf("%s = %s: nothing is said of it:\n%s", key.name, value, got)
		}
	}
}

// PgBouncer trusts the system's authorities where it is told of no others.
func TestImportOfAVerificationWithoutAuthorities(t *testing.T) {
	const text = "[databases]\na = host=db user=u password=p\n[pgbouncer]\nauth_type = trust\nserver_tls_sslmode = "
	const note = "a.ini:5: server_tls_sslmode: it is verify-full here"
	full, ca := importText(t, text+"verify-full\n"), importText(t, text+"verify-ca\n")
	for _, got := range []string{full, ca} {
		if !strings.Contains(got, "sslmode=verify-full&sslrootcert=system") || strings.Contains(got, note) != (got == ca) {
			t.Errorf("got\n%s", got)
		}
	}
	if got := importText(t, text+"require\n"); strings.Contains(got, "sslrootcert") {
		t.Errorf("got\n%s", got)
	}
}

// TLS 1.2 and 1.3 are what is spoken; a file that allows one of them alone goes on to.
func TestImportOfTheVersionsOfTLS(t *testing.T) {
	const text = "[databases]\na = host=db\n[pgbouncer]\nauth_type = trust\nserver_tls_protocols = "
	for list, want := range map[string]string{
		"secure": "", "all": "", "tlsv1.2, TLSv1.3": "", "tlsv1.2:tlsv1.3": "", "": "", "!tlsv1.0": "", "tlsv1.1,tlsv1.3": "min_protocol_version=TLSv1.3",
		"tlsv1.3": "min_protocol_version=TLSv1.3", "!tlsv1.3": "max_protocol_version=TLSv1.2", "secure,!tlsv1.2": "min_protocol_version=TLSv1.3",
		"tlsv1.2\nserver_tls_sslmode = require": "max_protocol_version=TLSv1.2", "tlsv1.2\nserver_tls_sslmode = disable": "",
	} {
		got := importText(t, text+list+"\n")
		if mustLoad(t, got, nil); want == "" && strings.Contains(got, "protocol_version") || !strings.Contains(got, want) {
			t.Errorf("%q: want %q\n%s", list, want, got)
		}
	}
}

// importText is what a file of the text becomes, which errors call a.ini.
func importText(t *testing.T, text string) string {
	t.Helper()
	got, err := translate("a.ini", reading(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return got.text("a.ini")
}

func reading(text string) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		if path != "a.ini" {
			return nil, fmt.Errorf("open %s: %w", path, os.ErrNotExist)
		}
		return []byte(text), nil
	}
}

func TestImportTellsWhatIsWrong(t *testing.T) {
	const good = "[databases]\napp = host=db\n[pgbouncer]\nauth_type = trust\n"
	for _, c := range []struct{ text, want string }{
		{"[databases\n", "a.ini:1: the name of a section ends with ]"},
		{"[databases]\napp\n", "a.ini:2: want key = value"},
		{"[databases]\n= x\n", "a.ini:2: want key = value"},
		{"\n\napp = x\n", "a.ini:3: app stands before the first [section]"},
		{"[databases]\n\"app = x\n", "a.ini:2: the quote of the key is not closed"},
		{"[databases]\n'app = x\n", "a.ini:2: the quote of the key is not closed"},
		{"; x\n%include b.ini\n", "a.ini:2: %include: open b.ini: file does not exist"},
		{"%include a.ini\n", "files include each other more than 10 deep"},
		{"[databases]\na = \xff\n", "a.ini: is not UTF-8"},
		{good + "max_client_con = 1\n", "a.ini:5: PgBouncer has no setting max_client_con; did you mean max_client_conn?"},
		{good + "max_client_conn = 1k\n", "a.ini:5: max_client_conn must be an integer"},
		{good + "max_client_conn = \n", "a.ini:5: max_client_conn must be an integer"},
		{good + "server_lifetime = 1h\n", "a.ini:5: server_lifetime must be a number of seconds"},
		{good + "server_lifetime = -1\n", "a.ini:5: server_lifetime must be a number of seconds"},
		{good + "server_connect_timeout = x\n", "a.ini:5: server_connect_timeout must be a number of seconds"},
		{good + "listen_port = 65536\n", "a.ini:5: listen_port must be a port"},
		{good + "unix_socket_dir =\n", "a.ini: neither listen_addr nor unix_socket_dir says where to listen"},
		{good + "pool_mode = statement\n", "a.ini:5: pool_mode = statement is not supported"},
		{good + "pool_mode = tx\n", "a.ini:5: pool_mode must be session or transaction"},
		{"[databases]\na = host=x pool_mode=tx\n", "a.ini:2: a: pool_mode must be session or transaction"},
		{good + "server_tls_sslmode = on\n", "a.ini:5: server_tls_sslmode must be one of disable"},
		{good + "auth_type = ldap\n", "a.ini:5: auth_type = ldap is not supported"},
		{good + "auth_type = kerberos\n", "a.ini:5: auth_type must be one of"},
		{good + "auth_type = md5\n", "a.ini:5: there is neither auth_file nor auth_user"},
		{good + "auth_dbname = b\nauth_user = a\n", "a.ini:5: auth_dbname: there is no database b to ask for users"},
		{good[:len(good)-len("trust\n")] + "md5\nauth_user = a\nauth_query = SELECT 1\n", "a.ini:6: auth_query does not ask for a user"},
		{"[databases]\na = host=x\nb = host=y\n[pgbouncer]\nauth_user = a\n", "a.ini: there is no auth_file, and the databases differ in auth_user"},
		{good + "auth_type = hba\n", "a.ini:5: auth_type = hba needs auth_hba_file"},
		{good + "auth_type = cert\n", "a.ini:5: auth_type = cert needs client_tls_sslmode = verify-full"},
		{good + "client_tls_sslmode = require\n", "a.ini:5: client_tls_sslmode = require needs client_tls_cert_file and client_tls_key_file"},
		{good + "client_tls_sslmode = verify-ca\n", "a.ini:5: client_tls_sslmode = verify-ca needs client_tls_ca_file"},
		{good + "server_tls_protocols = tlsv1.1\n", "a.ini:5: server_tls_protocols = tlsv1.1 is not supported: TLS is 1.2 or 1.3"},
		{good + "server_tls_protocols = ssl3\n", `a.ini:5: server_tls_protocols: "ssl3" is no version of TLS`},
		{good + "server_tls_cert_file = c\n", "a.ini:5: of server_tls_cert_file and server_tls_key_file one needs the other"},
		{good + "max_client_conn = 0\n", "a.ini:5: max_client_conn must be at least 1, else nobody can connect"},
		{good + "max_user_client_connections = -1\n", "a.ini:5: max_user_client_connections must be at least 0"},
		{good + "stats_period = 0.5\n", "a.ini:5: stats_period must be an integer"},
		{good + "query_wait_notify = 0.5\n", "a.ini:5: query_wait_notify must be an integer"},
		{good + "tcp_user_timeout = -1\n", "a.ini:5: tcp_user_timeout must be from 0 to 2147483647"},
		{good + "tcp_keepidle = -1\n", "a.ini:5: tcp_keepidle must be from 0 to 32767"},
		{good + "listen_addr = /tmp\n", `a.ini:5: listen_addr: "/tmp" is no address`},
		{"[databases]\na = host=[\n", "a.ini:2: a: host and port are no address"},
		{good + "client_tls_sslmode = on\n", "a.ini:5: client_tls_sslmode must be one of"},
		{good + "client_idle_timeout = x\n", "a.ini:5: client_idle_timeout must be a number of seconds"},
		{good + "[users]\nu = query_timeout=x\n", "a.ini:6: u: query_timeout must be a whole number of seconds"},
		{good + "tcp_keepidle = x\n", "a.ini:5: tcp_keepidle must be an integer"},
		{good + "[servers]\nx = y\n", "a.ini:6: PgBouncer has no section [servers]"},
		{good + "[users]\nu = pool=3\n", `a.ini:6: u: unknown setting "pool"`},
		{good + "[peers]\n1 = host=x user=y\n", `a.ini:6: 1: unknown setting "user"`},
		{"[databases]\na = host\n", "a.ini:2: a: want key=value pairs"},
		{"[databases]\na = host=x  user\n", "a.ini:2: a: want key=value pairs"},
		{"[databases]\na = host='' user=x\n", "a.ini:2: a: host has no value"},
		{"[databases]\na = user='x\n", "a.ini:2: a: the quote of user is not closed"},
		{"[databases]\na = port=x\n", "a.ini:2: a: port must be an integer"},
		{"[databases]\na = host=h port=70000\n", "a.ini:2: a: port must be a port"},
		{"[databases]\na = pool_size=many\n", "a.ini:2: a: pool_size must be an integer"},
		{"[databases]\npgbouncer = host=x\n", "a.ini:2: the name pgbouncer is that of the console"},
		{"[pgbouncer]\nauth_type = trust\n", "a.ini: [databases]: is empty, so there is nothing to connect to"},
	} {
		got, err := translate("a.ini", reading(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\ngot  %v, %v\nwant %s", c.text, err, got, c.want)
		}
	}
}

func TestImportTellsWhatIsWrongForAllDatabasesOnce(t *testing.T) {
	_, err := translate("a.ini", reading("[databases]\na = host=x\nb = host=x\n[pgbouncer]\nauth_type = trust\npool_mode = tx\n"))
	if err == nil || err.Error() != "a.ini:6: pool_mode must be session or transaction" {
		t.Errorf("got %v", err)
	}
}

func TestImportErrorsShowNoPassword(t *testing.T) {
	for _, words := range []string{"password=hush x", "password='hush", "port=x password=hush", "passwort=hush", "user=a password=hush pool_mode=x"} {
		if _, err := translate("a.ini", reading("[databases]\na = "+words)); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: got %v", words, err)
		}
	}
}

func TestImportWritesAFileOfItsOwnersAlone(t *testing.T) {
	ini, err := filepath.Abs("testdata/import/minimal.ini")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	var out, errs bytes.Buffer
	w := streams{&out, &errs, lookup(nil)}
	for _, args := range [][]string{{"import", ini}, {"import", ini, "-o", "a.toml"}, {"import", "-o", "b.toml", ini}} {
		if status := dispatch(t.Context(), args, w); status != 0 {
			t.Fatalf("%v: got exit status %d, %s", args, status, &errs)
		}
	}
	for _, name := range []string{"a.toml", "b.toml"} {
		text, err := os.ReadFile(name)
		if err != nil || string(text) != out.String() {
			t.Errorf("%s is what is printed without -o, got %s, %v", name, text, err)
		}
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("got %v, %v", info.Mode(), err)
		}
	}
	if status := dispatch(t.Context(), []string{"import", ini, "-o", "a.toml"}, w); status != failed ||
		!strings.Contains(errs.String(), "a.toml: is there already") {
		t.Errorf("got exit status %d, %s", status, &errs)
	}
}

func TestImportIsToldOneFile(t *testing.T) {
	for _, args := range [][]string{{"import"}, {"import", "a.ini", "b.ini"}} {
		if status, _, err := program(t, args...); status != misused || err == "" {
			t.Errorf("%v: got exit status %d, %q", args, status, err)
		}
	}
	if status, _, err := program(t, "import", "none.ini"); status != failed || !strings.Contains(err, "none.ini") {
		t.Errorf("got exit status %d, %q", status, err)
	}
}

// What is written does what PgBouncer would do: its clients come in as before.
func TestImportedConfigurationServes(t *testing.T) {
	upstream := postgres.Start(t)
	if err := upstream.CreateUser("app", "it's # secret", postgres.SCRAM); err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(upstream.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"userlist.txt": `"app" "it's # secret"`,
		"pgbouncer.ini": fmt.Sprintf(`
[databases]
forced = host=%s port=%s dbname=postgres user=app password='it''s # secret' timezone='Asia/Tokyo' application_name=imported
* = host=%[1]s port=%[2]s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = 0
unix_socket_dir =
auth_type = scram-sha-256
auth_file = userlist.txt
pool_mode = transaction
`, at.Hostname(), at.Port()),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var errs bytes.Buffer
	if status := dispatch(t.Context(), []string{"import", "pgbouncer.ini", "-o", "lockproxy.toml"}, streams{&errs, &errs, lookup(nil)}); status != 0 {
		t.Fatal(errs.String())
	}
	p := start(t, nil, serve)
	_, address, _ := strings.Cut(p.until("msg=listening"), "address=")
	for database, want := range map[string]string{"forced": "app/postgres/Asia/Tokyo/imported", "postgres": "app/postgres/UTC/"} {
		url := "postgres://app:it%27s%20%23%20secret@" + address + "/" + database + "?sslmode=disable"
		sql := "SELECT concat_ws('/', current_user, current_database(), current_setting('TimeZone'), " +
			"current_setting('application_name'))"
		if got := ask(t, url, sql); got != want {
			t.Errorf("%s: got %s, want %s", database, got, want)
		}
	}
}

func FuzzImport(f *testing.F) {
	files, err := filepath.Glob("testdata/import/*.ini")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		translated, err := translate("a.ini", reading(text))
		if err != nil {
			return
		}
		got := translated.text("a.ini")
		// What is written is a configuration file, whatever stands in the other.
		l := &loader{source: source{environment: lookup(nil)}, values: defaults(), origins: map[string]string{}}
		entries, err := readDocument(got)
		if err != nil {
			t.Fatalf("%v\n%s", err, got)
		}
		l.bindAll(entries)
		for _, p := range l.problems {
			if strings.Contains(p.what, "unknown") {
				t.Errorf("%v\n%s", p, got)
			}
		}
	})
}
