package test

import (
	"strings"
	"testing"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// Whatever driver an operator or a dashboard has, by either protocol: the console answers what it asks, and what drivers say by
// themselves when they connect, pool connections, and begin and end transactions.
func TestTheConsoleServesEveryDriver(t *testing.T) {
	r := startProxy(t, watched, named("app", upstream(t), "postgres"))
	ask(t, r.url, "SELECT 1")
	for _, driver := range askers(t) {
		t.Run(driver.name, func(t *testing.T) {
			for _, mode := range driver.modes {
				got, err := driver.ask(t, as(t, r.consoleURL(t, ""), "watcher", "x"), mode, "SHOW VERSION", "SHOW STATE",
					"SELECT 1", "SELECT version()", "SHOW client_encoding", "SHOW TRANSACTION ISOLATION LEVEL", "SHOW standard_conforming_strings",
					"SHOW DATABASES", "SHOW POOLS", "SHOW STATS", "SHOW LISTS", "SHOW CONFIG", "SHOW CLIENTS", "SHOW LOCKS")
				if err != nil {
					t.Errorf("%s: %v", mode, err)
					continue
				}
				const version = "PgBouncer 1.25.2 (lockproxy 1.2.3)"
				for i, want := range []string{version, "active|yes;paused|no;suspended|no", "1", version, "UTF-8", "read committed", "on"} {
					if got[i] != want {
						t.Errorf("%s: answer %d is %q, not %q", mode, i, got[i], want)
					}
				}
				for i, want := range []string{"app|127.0.0.1|", r.database + "|", r.database + "|", "databases|2;", "max_db_connections|0|"} {
					if !strings.Contains(got[7+i], want) {
						t.Errorf("%s: answer %d is %q, without %q", mode, 7+i, got[7+i], want)
					}
				}
				said := []string{
					"SET extra_float_digits = 3", "SET application_name = 'x'", "SET DateStyle TO 'ISO'", "SET client_encoding TO 'UTF8'",
					"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SET NAMES 'UTF8'",
					"BEGIN", "COMMIT", "START TRANSACTION", "ROLLBACK", "RESET ALL", "DISCARD ALL",
				}
				if driver.name == "psql" {
					said = []string{strings.Join(said, "; ")}
				}
				if _, err := driver.ask(t, as(t, r.consoleURL(t, ""), "watcher", "x"), mode, append(said, "SHOW STATE")...); err != nil {
					t.Errorf("%s: what drivers say by themselves: %v", mode, err)
				}
				for command, want := range map[string]string{"PAUSE app": "admin access needed", "SHOW POOL": "invalid command 'SHOW POOL', use SHOW HELP;"} {
					if _, err := driver.ask(t, as(t, r.consoleURL(t, ""), "watcher", "x"), mode, command); err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("%s: %s: %v", mode, command, err)
					}
				}
				if strings.Contains(mode, "prepared") || strings.Contains(mode, "cache") {
					continue // may run a statement more than once
				}
				if _, err := driver.ask(t, as(t, r.consoleURL(t, ""), postgres.Superuser, "x"), mode, "PAUSE app", "SHOW DATABASES", "RESUME app"); err != nil {
					t.Errorf("%s: PAUSE and RESUME: %v", mode, err)
				}
			}
		})
	}
}

// ask runs a statement by pgx, for what it leaves behind.
func ask(t testing.TB, url, sql string) {
	t.Helper()
	if _, err := askPgx(t, url, execModes[0].String(), sql); err != nil {
		t.Fatal(err)
	}
}
