package backend

import (
	"context"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockproxy/lockproxy/test/authority"
)

func TestFilesCountWhereLibpqLooksForThem(t *testing.T) {
	clearEnvironment(t)
	a, foreign := authority.New(), authority.New()
	f := startFront(t, a.Issue("localhost"))
	shared := t.TempDir()
	elsewhere := func(name string) string { return filepath.Join(shared, name) }
	certificate := a.Issue("postgres")
	putPair(t, certificate, elsewhere("good.crt"), elsewhere("good.key"), 0o600)
	putPair(t, certificate, elsewhere("good.crt"), elsewhere("read.key"), 0o604)
	putPair(t, certificate, elsewhere("good.crt"), elsewhere("group.key"), 0o640)
	putPair(t, a.Issue("other"), elsewhere("other.crt"), elsewhere("other.key"), 0o600)
	for name, a := range map[string]*authority.Authority{"ca.crt": a, "foreign.crt": foreign} {
		put(t, elsewhere(name), 0o600, &pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate.Raw})
	}
	put(t, elsewhere("empty.crt"), 0o600)
	groups := "" // may read a key of root's alone
	if os.Getuid() == 0 {
		groups = "TLS"
	}
	for _, c := range []struct {
		name, keywords string // of which files are elsewhere
		home           string // name in ~/.postgresql and name elsewhere
		way, says      string
		shows          bool
	}{
		{"verify-ca without roots", "sslmode=verify-ca", "", "", `.postgresql/root.crt" does not exist`, false},
		{"verify-full without roots", "sslmode=verify-full", "", "", `.postgresql/root.crt" does not exist`, false},
		{"verify-ca with the default's", "sslmode=verify-ca", "root.crt=ca.crt", "TLS", "", false},
		{"verify-full with the default's", "sslmode=verify-full", "root.crt=ca.crt", "TLS", "", false},
		{"verify-ca with foreign ones", "sslmode=verify-ca", "root.crt=foreign.crt", "", "unknown authority", false},
		{"require is verify-ca where there are roots", "sslmode=require", "root.crt=foreign.crt", "", "unknown authority", false},
		{"require with the right ones", "sslmode=require", "root.crt=ca.crt", "TLS", "", false},
		{"require with explicit ones", "sslmode=require sslrootcert=foreign.crt", "root.crt=ca.crt", "", "unknown authority", false},
		{"prefer goes on in clear", "sslmode=prefer", "root.crt=foreign.crt", "clear", "", false},
		{"prefer with the right ones", "", "root.crt=ca.crt", "TLS", "", false},
		{"allow begins in clear", "sslmode=allow", "root.crt=foreign.crt", "clear", "", false},
		{"require without the file named", "sslmode=require sslrootcert=nope.crt", "root.crt=foreign.crt", "TLS", "", false},
		{"prefer without the file named", "sslmode=prefer sslrootcert=nope.crt", "", "TLS", "", false},
		{"a file where a folder is named", "sslmode=prefer sslrootcert=ca.crt/nope.crt", "", "TLS", "", false},
		{"verify-ca without the file named", "sslmode=verify-ca sslrootcert=nope.crt", "root.crt=ca.crt", "", `nope.crt" does not exist`, false},
		{"verify-full without the file named", "sslmode=verify-full sslrootcert=nope.crt", "", "", `sslrootcert=system`, false},
		{"roots that are none", "sslmode=require sslrootcert=empty.crt", "", "", "unable to add CA", false},
		{"disable reads nothing", "sslmode=disable sslrootcert=empty.crt sslcert=empty.crt sslkey=nope.key", "", "clear", "", false},

		{"a certificate", "sslmode=require sslcert=good.crt sslkey=good.key", "", "TLS", "", true},
		{"no files where they are named", "sslmode=require sslcert=nope.crt sslkey=nope.key", "", "TLS", "", false},
		{"a key alone", "sslmode=require sslkey=good.key", "", "TLS", "", false},
		{"a certificate without its key", "sslmode=require sslcert=good.crt sslkey=nope.key", "", "", `certificate present, but not private key file`, false},
		{"a certificate with the default key", "sslmode=require sslcert=good.crt", "postgresql.key=good.key", "TLS", "", true},
		{"a certificate without the default key", "sslmode=require sslcert=good.crt", "", "", `.postgresql/postgresql.key"`, false},
		{"the default certificate", "sslmode=require", "postgresql.crt=good.crt postgresql.key=good.key", "TLS", "", true},
		{"the default certificate without its key", "sslmode=require", "postgresql.crt=good.crt", "", `certificate present, but not private key file`, false},
		{"the default certificate with a key named", "sslmode=require sslkey=good.key", "postgresql.crt=good.crt", "TLS", "", true},
		{"another's key", "sslmode=require sslcert=good.crt sslkey=other.key", "", "", "does not match", false},
		{"a key that everybody can read", "sslmode=require sslcert=good.crt sslkey=read.key", "", "", "has group or world access", false},
		{"a key that a group can read", "sslmode=require sslcert=good.crt sslkey=group.key", "", groups, "", groups != ""},
		{"a folder as key", "sslmode=require sslcert=good.crt sslkey=.", "", "", "is not a regular file", false},

		{"a mode that there is not", "sslmode=Require", "", "", "sslmode must be one of", false},
		{"no mode", "sslmode=", "", "", "sslmode must be one of", false},
	} {
		path := home(t)
		for _, both := range strings.Fields(c.home) {
			to, from, _ := strings.Cut(both, "=")
			if err := os.Link(elsewhere(from), path(to)); err != nil {
				t.Fatal(err)
			}
		}
		var keywords []string
		for _, one := range strings.Fields(c.keywords) {
			keyword, value, _ := strings.Cut(one, "=")
			if keyword != "sslmode" {
				value = elsewhere(value)
			}
			keywords = append(keywords, keyword, value)
		}
		theirs, ours, texts := f.both(t, "localhost", keywords...)
		if theirs != ours || ours.way != c.way || ours.shows != c.shows || !strings.Contains(texts, c.says) {
			t.Errorf("%s: libpq comes by %+v, we by %+v: %s", c.name, theirs, ours, texts)
		}
	}
}

// libpq goes on in clear when it cannot use a file and TLS is only preferred: nobody would notice.
func TestFilesThatCannotBeUsedAreErrorsOfAConfigurationThatPrefersTLS(t *testing.T) {
	clearEnvironment(t)
	path := home(t)
	a := authority.New()
	putPair(t, a.Issue("postgres"), path("postgresql.crt"), path("postgresql.key"), 0o604)
	f := startFront(t, a.Issue("localhost"))
	if theirs, ours, texts := f.both(t, "localhost"); theirs.way != "clear" || ours.way != "" || !strings.Contains(texts, "sslkey: private key file") {
		t.Errorf("libpq comes by %+v, we by %+v: %s", theirs, ours, texts)
	}
	if theirs, ours, texts := f.both(t, "localhost", "sslcertmode", "disable"); ours.way != "TLS" || ours.shows {
		t.Errorf("without the certificate libpq comes by %+v, we by %+v: %s", theirs, ours, texts) // one of before 16 does not know the keyword
	}
	put(t, path("postgresql.key"), 0o600)
	if err := os.Remove(path("postgresql.crt")); err != nil {
		t.Fatal(err)
	}
	put(t, path("root.crt"), 0o600, &pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate.Raw})
	put(t, path("root.crl"), 0o600)
	if _, err := ParseTarget(f.text("localhost", "sslmode", "verify-full")); err == nil || !strings.Contains(err.Error(), "root.crl") {
		t.Errorf("a revocation list that nobody reads: %v", err)
	}
	target(t, "host=/tmp sslmode=verify-full sslrootcert=/none") // there is no TLS on a unix socket
}

func TestKeywordsOfTLSComeFromServiceAndEnvironmentToo(t *testing.T) {
	clearEnvironment(t)
	path := home(t)
	a := authority.New()
	ca, err := a.File(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path("services"), []byte("[s]\nsslmode=verify-full\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := startFront(t, a.Issue("localhost"))
	for _, c := range []struct {
		environment string
		keywords    []string
		way         string
	}{
		{"PGSSLMODE=disable", nil, "clear"},
		{"PGSSLMODE=disable", []string{"sslmode", "require"}, "TLS"},
		{"PGSSLMODE=disable PGSERVICE=s", nil, ""},
		{"PGSSLMODE=disable", []string{"service", "s"}, ""},
		{"PGSSLMODE=disable PGSSLROOTCERT=" + ca, []string{"service", "s"}, "TLS"},
		{"PGSSLROOTCERT=" + ca, []string{"service", "s", "sslrootcert", "/none"}, ""},
		{"PGSSLROOTCERT=" + ca, []string{"service", "s", "sslrootcert", "/none", "sslmode", "disable"}, "clear"},
	} {
		clearEnvironment(t)
		t.Setenv("PGSERVICEFILE", path("services"))
		for _, variable := range strings.Fields(c.environment) {
			name, value, _ := strings.Cut(variable, "=")
			t.Setenv(name, value)
		}
		if theirs, ours, texts := f.both(t, "localhost", c.keywords...); theirs != ours || ours.way != c.way {
			t.Errorf("%+v: libpq comes by %+v, we by %+v: %s", c, theirs, ours, texts)
		}
	}
}

func TestServersAreToldTheNameTheyAreAskedFor(t *testing.T) {
	a, ca := atHome(t)
	f := startFront(t, a.Issue("db.test"))
	for _, mode := range []string{"require", "verify-full"} {
		for _, c := range [][3]string{{"db.test", "", "db.test"}, {"db.test", "1", "db.test"}, {"db.test", "0", ""}, {"127.0.0.1", "1", ""}} {
			keywords := []string{"sslmode", mode, "sslrootcert", ca}
			if c[1] != "" {
				keywords = append(keywords, "sslsni", c[1])
			}
			if theirs, ours, texts := f.both(t, c[0], keywords...); theirs != ours || ours.way != "TLS" || ours.server != c[2] {
				t.Errorf("%s, %v: libpq comes by %+v, we by %+v: %s", mode, c, theirs, ours, texts)
			}
		}
	}
}

// libpq has sslrootcert=system since 16.
func TestTheSystemsAuthoritiesAreAskedForByName(t *testing.T) {
	const text = "LOCKPROXY_TEST_URL"
	if url := os.Getenv(text); url != "" { // the process that the test starts: Go reads the system's authorities once
		dial(t, url)
		return
	}
	a, ca := atHome(t)
	f := startFront(t, a.Issue("localhost"))
	for _, mode := range []string{"", "verify-full"} {
		keywords := []string{"sslrootcert", "system"}
		if mode != "" {
			keywords = append(keywords, "sslmode", mode)
		}
		for file, taken := range map[string]bool{ca: true, "/none": false} {
			cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
			cmd.Env = append(os.Environ(), text+"="+f.text("localhost", keywords...), "SSL_CERT_FILE="+file, "SSL_CERT_DIR=/none")
			if out, err := cmd.CombinedOutput(); (err == nil) != taken || !taken && !strings.Contains(string(out), "unknown authority") {
				t.Errorf("sslmode=%s with the authorities of %s: %s", mode, file, out)
			}
			if came := f.arrived(); (came.way == "TLS") != taken {
				t.Errorf("sslmode=%s with the authorities of %s: it comes by %+v", mode, file, came)
			}
		}
	}
	for _, mode := range []string{"disable", "allow", "prefer", "require", "verify-ca"} {
		if _, err := ParseTarget(f.text("localhost", "sslmode", mode, "sslrootcert", "system")); err == nil || !strings.Contains(err.Error(), "too weak") {
			t.Errorf("%s with the system's authorities: %v", mode, err)
		}
	}
}

func TestTLSIsOfTheVersionsThatTheURLNames(t *testing.T) {
	a, _ := atHome(t)
	f := startFront(t, a.Issue("localhost"))
	for _, c := range []struct{ min, max, want string }{
		{"", "", "TLS 1.3"}, {"TLSv1", "tlsv1.2", "TLS 1.2"}, {"TLSv1.3", "", "TLS 1.3"}, {"TLSv1.2", "TLSv1.3", "TLS 1.3"}, {"TLSv1.2", "TLSv1.2", "TLS 1.2"},
	} {
		theirs, ours, texts := f.both(t, "localhost", "sslmode", "require", "ssl_min_protocol_version", c.min, "ssl_max_protocol_version", c.max)
		if theirs != ours || ours.version != c.want {
			t.Errorf("%v: libpq %v, we %v: %s", c, theirs, ours, texts)
		}
	}
	t.Setenv("PGSSLMAXPROTOCOLVERSION", "TLSv1.2")
	if theirs, ours, texts := f.both(t, "localhost", "sslmode", "require"); theirs != ours || ours.version != "TLS 1.2" {
		t.Errorf("by the environment: libpq %v, we %v: %s", theirs, ours, texts)
	}
	old := target(t, f.text("localhost", "ssl_max_protocol_version", "TLSv1.2"))
	if os.Unsetenv("PGSSLMAXPROTOCOLVERSION"); old.Equal(target(t, f.text("localhost"))) {
		t.Error("connections of before a reload may speak what may no longer be spoken")
	}
}

// libpq has sslnegotiation since 17.
func TestTLSAtOnceTakesAStrongMode(t *testing.T) {
	clearEnvironment(t)
	home(t)
	for mode, weak := range map[string]bool{"disable": true, "allow": true, "prefer": true, "require": false} {
		if _, err := ParseTarget("host=h sslnegotiation=direct sslmode=" + mode); (err != nil) != weak {
			t.Errorf("%s: %v", mode, err)
		}
	}
	for _, text := range []string{"host=h sslnegotiation=direct", "host=h sslnegotiation=other"} {
		if _, err := ParseTarget(text); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

// Whatever else is done with a target verifies as well, each server under its own name.
func TestEveryConnectionOfATargetIsVerified(t *testing.T) {
	a, ca := atHome(t)
	first, second := startFront(t, a.Issue("first.test")), startFront(t, a.Issue("second.test"))
	to := func(hosts string) *Target {
		to := target(t, fmt.Sprintf("postgres://postgres@/postgres?host=%s&port=%s,%s&sslmode=verify-full&sslrootcert=%s", hosts, first.port, second.port, ca))
		to.config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
		return to
	}
	c, err := Dial(context.Background(), to("second.test,second.test"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if first.arrived().way != "" || second.arrived().way != "TLS" {
		t.Error("the first server is talked to, or the second one is not")
	}
	if err := c.Cancel(context.Background()); err != nil || second.arrived().way != "TLS" {
		t.Errorf("a cancel request: %v", err)
	}
	r, err := DialReplication(context.Background(), to("second.test,second.test"), "database", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if first.arrived().way != "" || second.arrived().way != "TLS" {
		t.Error("a replication connection goes to the first server, or not to the second one")
	}
	if err := dialTargetFails(t, to("second.test,first.test")); !strings.Contains(err.Error(), `server certificate for "first.test"`) {
		t.Error(err)
	}
	if full := to("second.test,second.test"); !full.Equal(full.With("postgres", "postgres")) || full.Equal(target(t, fmt.Sprintf(
		"postgres://postgres@/postgres?host=second.test,second.test&port=%s,%s&sslmode=verify-ca&sslrootcert=%s", first.port, second.port, ca))) {
		t.Error("verify-full is the same as verify-ca, or not the same as itself")
	}
}
