package main

import (
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/authority"
)

// oddValues are at the edges of what PgBouncer's readers of numbers, durations, choices and texts take, and beyond them.
var oddValues = []string{"", "0", "-1", "1", "2", "0.2", "0.5", "0x1f", "010", "+3", "1e3", "1e300", "inf", "nan", "65536", "262144",
	"1048576", "2147483647", "-2147483648", "2147483648", "4294967295", "on", "x y", "*", "/x", "@x", "a%b", "::1", "[::1]", "a,b", "'", `"`,
	"ä", "trust", "any", "md5", "scram-sha-256", "cert", "hba", "plain", "session", "transaction", "statement", "disable", "allow", "prefer",
	"require", "verify-ca", "verify-full", "SELECT $1", "app"}

// oddOnes is how many of them are tried at a time: for all of them a configuration is made some thousand times.
const oddOnes = 12

// Whatever stands in the file, what is written is a configuration that can be served, or an error names the line.
func TestImportOfOddValues(t *testing.T) {
	t.Chdir(t.TempDir())
	cert, key, err := authority.Files(".", authority.New().Issue("a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("users.txt", []byte(`"app" "md5900150983cd24fb0d6963f7d28e17f72"`), 0o600); err != nil {
		t.Fatal(err)
	}
	const main, databases = "[pgbouncer]\nauth_file = users.txt\n", "[databases]\napp = host=db\n"
	secured := fmt.Sprintf("client_tls_sslmode = verify-full\nclient_tls_cert_file = %s\nclient_tls_key_file = %s\nclient_tls_ca_file = %[1]s\n"+
		"server_tls_sslmode = verify-full\nserver_tls_cert_file = %[1]s\nserver_tls_key_file = %[2]s\n", cert, key)
	var lost []string
	for _, keys := range withoutCounterpart {
		lost = append(lost, strings.Fields(keys.names)...)
	}
	seen := map[string]bool{}
	try := func(text string) { serves(t, text, seen) }
	for _, i := range rand.Perm(len(oddValues))[:oddOnes] { // errors show what was tried
		value := oddValues[i]
		for _, k := range mainKeys() {
			if slices.Contains(lost, k.name) || strings.HasSuffix(k.name, "_file") && value != "" {
				continue // Nothing is made of it, or what is in the file may be odd.
			}
			try(databases + main + k.name + " = " + value + "\n")
			if strings.HasPrefix(k.name, "auth_") || strings.Contains(k.name, "_tls_") {
				try(databases + main + secured + k.name + " = " + value + "\n")
			}
		}
		quoted := "'" + strings.ReplaceAll(value, "'", "''") + "'"
		for _, word := range slices.Sorted(maps.Keys(databaseWords)) {
			try(main + "[databases]\napp = host=db " + word + "=" + quoted + "\n")
			try(main + "[databases]\n* = auth_user=u " + word + "=" + quoted + "\n")
		}
		for _, word := range slices.Sorted(maps.Keys(userWords)) {
			try(databases + main + "[users]\nu = " + word + "=" + quoted + "\n")
		}
		try(main + "[databases]\n\"" + strings.ReplaceAll(value, `"`, `""`) + "\" = host=db\n")
	}
}

// serves imports a text and has a server made of it, unless one has been made of the same file, but for its comments.
func serves(t *testing.T, text string, seen map[string]bool) {
	t.Helper()
	translated, err := translate("a.ini", reading(text))
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if !strings.HasPrefix(line, "a.ini:") {
				t.Errorf("%s\nan error that names no place: %s", text, line)
			}
		}
		return
	}
	translated.notes, translated.warnings = nil, nil
	written := translated.text("a.ini")
	if seen[written] {
		return
	}
	seen[written] = true
	config, err := load(source{path: "lockproxy.toml", text: &written, environment: lookup(nil)})
	if err == nil {
		_, err = proxy.New(config.proxy, slog.New(slog.DiscardHandler))
	}
	if err != nil {
		t.Errorf("%s\nbecomes a file with mistakes: %v", text, err)
	}
}
