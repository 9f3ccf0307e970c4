package test

import (
	"os"
	"strings"
	"testing"

	"github.com/lockproxy/lockproxy/proxy/login"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// PostgreSQL itself is the judge of which lines pg_hba.conf may have: its view pg_hba_file_rules reads the file that is
// there, whatever it goes by.
func TestLinesOfHBAFilesAreJudgedAsByPostgres(t *testing.T) {
	server := postgres.Start(t)
	rows, err := server.Query("postgres", "SHOW hba_file")
	if err != nil {
		t.Fatal(err)
	}
	file := rows[0][0]
	for _, line := range []string{
		"local all all trust", "local all all", "local all", "local", "remote all all trust", "LOCAL all all trust",
		`"local" all all trust`, "local,host all all trust", "local all all trust # comment", "local all all # trust",
		`local "a b",c "d""e" md5`, `local all "unterminated trust`, "local\tall\tall\ttrust", "local all ,all trust", "local all all, trust",
		"local all all \\\n trust", "local all all trust \\\n map=x", "local all all peer map=x", "local all all ident",
		"local all all cert", "local all all trust,md5", "local all all magic", "local all all md5 x=y", "local all all md5 x",
		"host all all trust", "host all all 10.0.0.0/8 md5", "host all all 10.0.0.0/33 md5", "host all all 10.0.0.0/-1 md5",
		"host all all 10.0.0.0/ md5", "host all all 10.0.0.0/8x md5", "host all all 10.0.0.1 255.255.255.255 scram-sha-256",
		"host all all 10.0.0.1 md5", "host all all 10.0.0.1", "host all all 10.0.0.1 ::1 md5", "host all all ::1/128 trust",
		"host all all ::1 ffff:: reject", "host all all fe80::/10 trust", "host all all ::ffff:10.0.0.1/128 trust",
		"host all all all trust", `host all all "samehost" trust`, "host all all samehost trust", "host all all samenet trust",
		"host all all all,samenet trust", "host all all all peer", "host all all all cert", "hostnossl all all all trust",
		"hostnossl all all all md5 clientcert=verify-ca", "host all all all md5 clientcert=verify-full", "host all all all md5 map=x",
		"hostnogssenc all all all trust", "host replication,sameuser all all md5", "host all all 1.2.3.4.5/8 md5", "host all all :::/8 md5",
		"host all all 10.0.0.0/08 md5", "host all all 010.0.0.0/8 md5", // 8.0.0.0 to the C library, so we refuse it
	} {
		text := line + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		rows, err := server.Query("postgres", "SELECT coalesce(error, '') FROM pg_hba_file_rules")
		if err != nil {
			t.Fatal(err)
		}
		theirs := ""
		for _, row := range rows {
			theirs += row[0]
		}
		if len(rows) == 0 {
			theirs = "there is no entry"
		}
		_, ours := login.ReadRules(written(t, "pg_hba.conf", text))
		knowingly := ours != nil && (strings.Contains(ours.Error(), "host names are not supported") || strings.Contains(line, "010."))
		if !knowingly && (ours != nil) != (theirs != "") {
			t.Errorf("%q: PostgreSQL says %q, we %v", line, theirs, ours)
		}
	}
}
