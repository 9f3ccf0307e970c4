package backend

import (
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// clearEnvironment takes away what libpq would read.
func clearEnvironment(t *testing.T) {
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "PG") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
}

func TestTheURLsUserAndDatabaseWinOverTheClients(t *testing.T) {
	clearEnvironment(t)
	account, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, user, password, database string }{
		{"postgres://", "cu", "cp", "cd"},
		{"postgres://h", "cu", "cp", "cd"},
		{"postgres://h/d", "cu", "cp", "d"},
		{"postgres://u@h", "u", "", "cd"},
		{"postgres://u:p@h/d", "u", "p", "d"},
		{"postgres://u:p@h1:1,h2:2/d", "u", "p", "d"},
		{"postgres://h?user=u&password=p&dbname=d", "u", "p", "d"},
		{"postgres:///?%75ser=u", "u", "", "cd"},
		{"host=h user=u dbname=d password=p", "u", "p", "d"},
		{"host=h", "cu", "cp", "cd"},
		{"host=h password=p", "cu", "cp", "cd"},
		{"postgres://" + account.Username + "@h", account.Username, "", "cd"},
	} {
		got := target(t, c.text).With("cu", "cd").Proving("cu", Proof{Password: "cp"})
		if got.User() != c.user || got.config.Password != c.password || got.Database() != c.database {
			t.Errorf("%s: got %q, %q, %q", c.text, got.User(), got.config.Password, got.Database())
		}
	}
}

func TestWithoutAClientsPasswordTheURLsIsUsed(t *testing.T) {
	clearEnvironment(t)
	if got := target(t, "host=h password=p").With("cu", "cd").config.Password; got != "p" {
		t.Errorf("got %q", got)
	}
	if got := target(t, "host=h").With("cu", "cd").config.Password; got != "" {
		t.Errorf("got %q", got)
	}
}

// A passfile's entry for lockproxy's own account is nobody else's password.
func TestAPassfilesPasswordIsNotGivenToAnotherUser(t *testing.T) {
	clearEnvironment(t)
	passfile := filepath.Join(t.TempDir(), "pass")
	if err := os.WriteFile(passfile, []byte("*:*:*:*:hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := target(t, "postgres://h?passfile="+passfile).With("cu", "cd").config.Password; got != "" {
		t.Errorf("got %q", got)
	}
	if got := target(t, "postgres://u@h?passfile="+passfile).With("cu", "cd").Proving("cu", Proof{Password: "cp"}).config.Password; got != "hunter2" {
		t.Errorf("the URL's user has the passfile's password: got %q", got)
	}
}

func TestAServiceNamesUserAndDatabase(t *testing.T) {
	clearEnvironment(t)
	services := filepath.Join(t.TempDir(), "services")
	if err := os.WriteFile(services, []byte("[s]\nhost=h\nuser=su\ndbname=sd\napplication_name=sa\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := target(t, "postgres://?service=s&servicefile="+services).With("cu", "cd").Proving("cu", Proof{Password: "cp"})
	if got.User() != "su" || got.Database() != "sd" || got.config.RuntimeParams["application_name"] != "sa" {
		t.Errorf("got %q, %q, %v", got.User(), got.Database(), got.config.RuntimeParams)
	}
}

func TestTheEnvironmentNamesNeitherUserNorDatabaseNorSettings(t *testing.T) {
	clearEnvironment(t)
	for name, value := range map[string]string{
		"PGUSER": "eu", "PGDATABASE": "ed", "PGAPPNAME": "ea", "PGTZ": "UTC", "PGOPTIONS": "-c a=b", "PGPASSWORD": "ep",
	} {
		t.Setenv(name, value)
	}
	got := target(t, "postgres://h").With("cu", "cd")
	if got.User() != "cu" || got.Database() != "cd" || len(got.config.RuntimeParams) != 0 {
		t.Errorf("got %q, %q, %v", got.User(), got.Database(), got.config.RuntimeParams)
	}
	if got.config.Password != "ep" {
		t.Errorf("PGPASSWORD serves every user: got %q", got.config.Password)
	}
	if got = target(t, "postgres://h?application_name=ea"); got.config.RuntimeParams["application_name"] != "ea" {
		t.Errorf("what the URL says stays, even if the environment says the same: %v", got.config.RuntimeParams)
	}
}

func TestWithLeavesTheTargetAsItIs(t *testing.T) {
	clearEnvironment(t)
	first := target(t, "postgres://h?application_name=a")
	second := first.With("u1", "d1").Proving("u1", Proof{Password: "p1"})
	third := first.With("u2", "d2").Proving("u2", Proof{Password: "p2"})
	second.config.RuntimeParams["application_name"] = "b"
	if third.User() != "u2" || second.User() != "u1" || third.config.RuntimeParams["application_name"] != "a" {
		t.Errorf("targets share: %v, %v", second, third)
	}
	if first.ForcesUser() || first.ForcesDatabase() || !target(t, "postgres://u@h/d").ForcesUser() {
		t.Error("a name forced is a name in the URL")
	}
}

func TestSettingsOfTheDialAreTheURLsAlone(t *testing.T) {
	clearEnvironment(t)
	got := target(t, "postgres://h/d?search_path=a,b&options=-c%20x%3Dy&keepalives=1&keepalives_idle=7&keepalives_interval=3"+
		"&keepalives_count=2&fallback_application_name=f&gssencmode=prefer&sslcompression=0&connect_timeout=4&sslmode=disable")
	want := map[string]string{"search_path": "a,b", "options": "-c x=y", "application_name": "f"}
	if !maps.Equal(got.config.RuntimeParams, want) {
		t.Errorf("got %v, want %v", got.config.RuntimeParams, want)
	}
	k := got.keepAlive
	if !k.Enable || k.Idle != 7*time.Second || k.Interval != 3*time.Second || k.Count != 2 {
		t.Errorf("keepalives: %+v", k)
	}
	if got.config.ConnectTimeout != 4*time.Second {
		t.Errorf("connect_timeout: %v", got.config.ConnectTimeout)
	}
	if target(t, "postgres://h?keepalives=0").keepAlive.Enable {
		t.Error("keepalives=0 leaves them on")
	}
	if got := target(t, "postgres://h?application_name=a&fallback_application_name=f").config.RuntimeParams; got["application_name"] != "a" {
		t.Errorf("a fallback wins: %v", got)
	}
}

func TestConnectTimeoutIsNeverForEver(t *testing.T) {
	clearEnvironment(t)
	for _, text := range []string{"postgres://h", "postgres://h?connect_timeout=0"} {
		if got := target(t, text).config.ConnectTimeout; got != 15*time.Second {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestConnectionStringsThatCannotBeObeyedAreRefusedWithoutBeingQuoted(t *testing.T) {
	clearEnvironment(t)
	for _, c := range []struct{ text, want string }{
		{"postgres://u:hunter2@h:port/d", "invalid port"},
		{"postgres://u:hunter2@h/d?sslmode=nonsense", "sslmode must be one of"},
		{"postgres://u:hunter2@h/d?target_session_attrs=x", "unknown target_session_attrs value: x"},
		{"postgres://u:hunter2@h/d?connect_timeout=x", "invalid connect_timeout"},
		{"postgres://u:hunter2@h/d?sslrootcert=/none&sslmode=verify-ca", "/none"},
		{"postgres://u:hunter2@h:1,i:2,j/d?port=1,2", "port"},
		{"postgres://u:%zzhunter2@h/d", "failed to parse as URL"},
		{"postgres://u:hunter2@[h/d", "failed to parse as URL"},
		{"host=h password='hunter2", "failed to parse as keyword/value"},
		{"hunter2", "failed to parse as keyword/value"},
		{"postgres://u:hunter2@h/d?hostaddr=127.0.0.1,127.0.0.2", "could not match 1 host names to 2 hostaddr values"},
		{"postgres://u:hunter2@h/d?hostaddr=i", `hostaddr: could not parse network address "i"`},
		{"postgres://u:hunter2@h:1,h:2/d?hostaddr=127.0.0.1,127.0.0.2", `hostaddr: "h" has one address alone`},
		{"postgres://u:hunter2@/d?host=/tmp&hostaddr=127.0.0.1", `hostaddr: the host "/tmp" is a unix socket`},
		{"postgres://u:hunter2@h/d?load_balance_hosts=random", "load_balance_hosts other than"},
		{"postgres://u:hunter2@h/d?tcp_user_timeout=long", "tcp_user_timeout is no number"},
		{"postgres://u:hunter2@h/d?requirepeer=postgres", "requirepeer is not supported"},
		{"postgres://u:hunter2@h/d?ssl_min_protocol_version=SSLv3", "ssl_min_protocol_version must be one of"},
		{"postgres://u:hunter2@h/d?ssl_max_protocol_version=TLSv1.1", "ssl_max_protocol_version: no TLS is left, since it is TLSv1.2 at least"},
		{"postgres://u:hunter2@h/d?ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2", "ssl_max_protocol_version: no TLS is left"},
		{"postgres://u:hunter2@h/d?gssencmode=require", "gssencmode other than"},
		{"postgres://u:hunter2@h/d?keepalives_idle=long", "keepalives_idle is no number"},
		{"postgres://u:hunter2@h/d?service=none&servicefile=/none", "failed to read service"},
	} {
		_, err := ParseTarget(c.text)
		if err == nil {
			t.Errorf("%s: accepted", c.text)
			continue
		}
		if !strings.HasPrefix(err.Error(), "connection string: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.text, err)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error tells the password: %v", c.text, err)
		}
	}
}

// As libpq does it: manual, "Parameter Key Words", hostaddr. The address is the name where there is no other.
func TestHostsWithAnAddressAreNotLookedUp(t *testing.T) {
	clearEnvironment(t)
	for _, c := range []struct{ text, hosts, addresses string }{
		{"postgres://u@db.invalid/d?hostaddr=127.0.0.9", "db.invalid", "127.0.0.9"},
		{"postgres://u@db.invalid/d?hostaddr=127.0.0.9&sslmode=disable", "db.invalid", "127.0.0.9"},
		{"host=one.invalid,localhost hostaddr=::1,", "one.invalid localhost", "::1 127.0.0.1"},
		{"host=one.invalid,two.invalid hostaddr=127.0.0.9,127.0.0.8 sslmode=require", "one.invalid two.invalid", "127.0.0.9 127.0.0.8"},
		{"postgres:///d?hostaddr=127.0.0.9", "127.0.0.9", "127.0.0.9"},
		{"hostaddr=127.0.0.9,127.0.0.8 port=1,2 user=u", "127.0.0.9 127.0.0.8", "127.0.0.9 127.0.0.8"},
	} {
		to := target(t, c.text).With("u", "d")
		var addresses []string
		for _, host := range strings.Fields(c.hosts) {
			found, err := to.config.LookupFunc(t.Context(), host)
			if err != nil || len(found) == 0 {
				t.Fatalf("%s: %s: %v", c.text, host, err)
			}
			addresses = append(addresses, found[len(found)-1])
		}
		if host, _ := to.Host(); host != strings.Fields(c.hosts)[0] || strings.Join(addresses, " ") != c.addresses && !strings.Contains(c.hosts, "localhost") {
			t.Errorf("%s: got %s, %v", c.text, host, addresses)
		}
	}
	here, there := target(t, "host=h hostaddr=127.0.0.1"), target(t, "host=h hostaddr=127.0.0.2")
	if here.Equal(there) || here.SameServer(there) || here.Place() == there.Place() || !here.Equal(target(t, "host=h hostaddr=127.0.0.1")) {
		t.Error("another address is another server")
	}
}

func TestTargetsAreWrittenWithoutTheirPassword(t *testing.T) {
	clearEnvironment(t)
	for _, c := range []struct{ text, want string }{
		{"postgres://u:hunter2@h:7/d", "postgres://u@h:7/d"},
		{"host=/tmp user=u dbname=d password=hunter2", "postgres://u@/d?host=/tmp&port=5432"},
	} {
		if got := target(t, c.text).String(); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}
