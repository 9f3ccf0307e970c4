package test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/proxy"
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

// PostgreSQL itself is also the judge of which rule is whose.
func TestRulesAreDecidedAsByPostgres(t *testing.T) {
	const text = `
host    all                 marker              all                   reject
local   sameuser            all                                       trust
host    "sameuser"          a                   127.0.0.2/32          password
host    sameuser            a,"all"             127.0.0.0/31          trust
host    "all"               b                   127.9.0.0 255.255.0.0 md5
host    replication         a                   127.0.0.1/32          password
host    app,"replication"   "+a"                samehost              reject
host    app,"replication"   @names              127.0.0.1/8           trust
hostssl all                 a                   all                   reject
host    sameuser,app        a                   all                   md5
hostnossl other             "all"               samenet               trust
host    all                 "b c"               0.0.0.0/0             reject
host    all                 all                 ::/0                  trust
local   all                 b                                         reject
`
	server := postgres.Start(t)
	rows, err := server.Query("postgres", "SHOW hba_file")
	if err != nil {
		t.Fatal(err)
	}
	rules := written(t, "pg_hba.conf", "")
	for _, file := range []string{rows[0][0], rules} {
		for name, content := range map[string]string{file: text, filepath.Join(filepath.Dir(file), "names"): "b, # and\n\"all\" \"b c\"\n"} {
			if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := server.Query("postgres", "SELECT pg_reload_conf()"); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	r := startProxy(t, serverOf(server), authenticated(proxy.Auth{Type: proxy.HBA, HBAFile: rules, File: written(t, "userlist.txt", "")}),
		func(c *proxy.Config) { c.Listen = append(c.Listen, folder) })
	direct := func(from string) net.Conn {
		return dialFrom(t, from, fmt.Sprintf("127.0.0.1:%d", server.Port), filepath.Join(server.SocketDir, fmt.Sprintf(".s.PGSQL.%d", server.Port)))
	}
	ours := r.server.Addrs()
	await(t, "PostgreSQL has read the rules", func() bool { return strings.Contains(decision(t, direct("127.0.0.1"), "marker", "app"), "rejects") })
	decisions := map[string]int{}
	decide := func(from, user, database, replication string) {
		theirs := decision(t, direct(from), user, database, "replication", replication)
		got := decision(t, dialFrom(t, from, ours[0].String(), ours[1].String()), user, database, "replication", replication)
		if got != theirs {
			t.Errorf("%s of %s from %q, replication %s: PostgreSQL decides %q, we %q", user, database, from, replication, theirs, got)
		}
		decisions[strings.Fields(theirs)[0]]++
	}
	for _, from := range []string{"", "127.0.0.1", "127.9.1.1"} {
		for _, user := range []string{"a", "b", "all", "+a", "b c"} {
			for _, database := range []string{user, "all", "app"} {
				decide(from, user, database, "false")
			}
		}
		decide(from, "a", "app", "true")
		decide(from, "a", "app", "database")
		decide(from, "all", "replication", "false")
		decide(from, "all", "other", "false")
	}
	decide("127.0.0.2", "a", "sameuser", "false")
	if len(decisions) < 5 {
		t.Errorf("the rules do not tell much: %v", decisions)
	}
}

// dialFrom connects from an address, or to the unix socket if it is empty.
func dialFrom(t *testing.T, from, address, socket string) net.Conn {
	t.Helper()
	network, dialer := "unix", net.Dialer{}
	if from != "" {
		network, socket, dialer.LocalAddr = "tcp", address, &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := dialer.Dial(network, socket)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// decision asks to be let in, and tells by which method that is to be proved, or the refusal.
func decision(t *testing.T, conn net.Conn, user, database string, parameters ...string) string {
	t.Helper()
	defer conn.Close()
	s := &socket{t: t, conn: conn}
	s.send(startup("postgres:", append([]string{"user", user, "database", database}, parameters...)...))
	switch kind, body, failed := s.message(); kind {
	case protocol.Authentication:
		return fmt.Sprintf("R%d", body[3])
	case protocol.ErrorResponse:
		return protocol.ReadError(body).Message
	default:
		return string(kind) + failed
	}
}
