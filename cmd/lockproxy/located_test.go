package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/lockproxy/lockproxy/test/authority"
)

// What only shows when the server begins, or begins again, is told with file, line and setting as well: by serve, check and a
// reload.
func TestProblemsOfFilesAndAddressesAreToldWithTheirPlace(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	t.Chdir(t.TempDir())
	for _, name := range []string{"a", "b"} {
		if _, _, err := authority.Files(".", authority.New().Issue(name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"junk": "junk", "enc.key": "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIH\n-----END ENCRYPTED PRIVATE KEY-----\n",
		"users.txt": "\"app\" \"secret\"\nbob hunter2\n", "hba.conf": "\nhost all all all scram\n", "cert.conf": "host all b all md5\nhostssl all all all cert\n", "ident.conf": "other a b\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	secured := "[tls]\nmode = 'verify-ca'\ncert = %q\nkey = %q\nca = %q\n"
	good := minimal + "[server]\nlisten = ['127.0.0.1:0']\n"
	running := openFile(t, good)
	for _, c := range []struct {
		name, text string
		serves     bool // it is a problem for whoever begins to listen alone
		want       string
	}{
		{"an address that is taken", minimal + fmt.Sprintf("[server]\nlisten = [%q]\n", taken.Addr()), true,
			"c.toml:4: server.listen: listen tcp " + taken.Addr().String() + ": bind: address already in use"},
		{"an address for metrics that is taken", good + fmt.Sprintf("http_listen = %q\n", taken.Addr()), true,
			"c.toml:5: server.http_listen: listen tcp " + taken.Addr().String() + ": bind: address already in use"},
		{"a folder that is not there", minimal + "[server]\nlisten = ['/nowhere/at/all']\n", true,
			"c.toml:4: server.listen: the folder of /nowhere/at/all must be there: "},
		{"no certificate", good + fmt.Sprintf(secured, "x", "a.key", "ca.crt"), false, "c.toml:7: tls.cert: open x: no such file or directory"},
		{"no key", good + fmt.Sprintf(secured, "a.crt", "x", "ca.crt"), false, "c.toml:8: tls.key: open x: no such file or directory"},
		{"another's key", good + fmt.Sprintf(secured, "a.crt", "b.key", "ca.crt"), false,
			"c.toml:7: tls.cert: a.crt and b.key, of tls.key, are no certificate with its key: tls: private key does not match public key"},
		{"junk for a key", good + fmt.Sprintf(secured, "a.crt", "junk", "ca.crt"), false,
			"c.toml:7: tls.cert: a.crt and junk, of tls.key, are no certificate with its key: tls: failed to find any PEM data in key input"},
		{"a key with a passphrase", good + fmt.Sprintf(secured, "a.crt", "enc.key", "ca.crt"), false,
			"c.toml:8: tls.key: the key in enc.key has a passphrase, and nobody is there to enter it: openssl pkey writes it without one"},
		{"junk for authorities", good + fmt.Sprintf(secured, "a.crt", "a.key", "junk"), false, "c.toml:9: tls.ca: there is no certificate in junk"},
		{"no list of users", good + "[auth]\nfile = 'x'\n", false, "c.toml:6: auth.file: open x: no such file or directory"},
		{"a list of users with a mistake", good + "[auth]\nfile = 'users.txt'\n", false, "c.toml:6: auth.file: users.txt:2: a user's name in double quotes"},
		{"a rule for certificates that nobody can look at", good + "[auth]\ntype = 'hba'\nhba_file = 'cert.conf'\n", false,
			"c.toml:7: auth.hba_file: cert.conf:2: clients' certificates can only be looked at where there is TLS with tls.ca"},
		{"rules with a mistake", good + "[auth]\ntype = 'hba'\nhba_file = 'hba.conf'\n", false,
			`c.toml:7: auth.hba_file: hba.conf:2: invalid authentication method "scram"`},
		{"a map that is not there", good + "[auth]\ntype = 'cert'\nident_file = 'ident.conf'\n" + fmt.Sprintf(secured, "a.crt", "a.key", "a.crt"), false,
			`c.toml:7: auth.ident_file: ident.conf: there is no map "cert"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile("c.toml", []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			told := func(by string, said string) {
				if !strings.Contains(said, c.want) || strings.Contains(said, "hunter2") {
					t.Errorf("%s tells\n%s\nand not\n%s", by, said, c.want)
				}
			}
			var log output
			from := source{path: "c.toml", environment: lookup(nil)}
			_, err := open(from, streams{&log, &log, lookup(nil)})
			told("serve", fmt.Sprint(err))
			if c.serves {
				return
			}
			var out output
			if err := check(t.Context(), []string{"--config", "c.toml"}, streams{&out, &out, lookup(nil)}); !errors.Is(err, errReported) {
				t.Errorf("check gives %v", err)
			}
			told("check", out.String())
			running.write(c.text)
			_, err = running.Reload()
			told("a reload", fmt.Sprint(err))
			told("the log of a reload", strings.ReplaceAll(running.log.String(), `\"`, `"`))
		})
	}
}
