package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// checkFile runs `lockproxy check` on a configuration file c.toml.
func checkFile(t *testing.T, file string) (output string, failed bool) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("c.toml", []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err := check(t.Context(), []string{"--config", "c.toml"}, streams{&out, &out, lookup(nil)})
	if err != nil && !errors.Is(err, errReported) {
		t.Fatalf("check tells problems itself, got the error %v", err)
	}
	return out.String(), err != nil
}

func wantOutput(t *testing.T, output string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(output, part) {
			t.Errorf("the output does not hold %q:\n%s", part, output)
		}
	}
}

// wantProblems checks that exactly these problems are told, each by its beginning.
func wantProblems(t *testing.T, output string, want ...string) {
	t.Helper()
	var got []string
	for line := range strings.Lines(output) {
		if text, found := strings.CutPrefix(line, "problem: "); found {
			got = append(got, strings.TrimSpace(text))
		}
	}
	if len(got) != len(want) {
		t.Fatalf("got %d problems, want %d:\n%s", len(got), len(want), output)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
}

func TestCheckAgainstARealServer(t *testing.T) {
	server := postgres.Start(t, postgres.MaxConnections(40), postgres.Setting("superuser_reserved_connections", "4"))
	if err := server.CreateUser("app", "secret", postgres.SCRAM); err != nil {
		t.Fatal(err)
	}
	name, other := server.NewDatabase(t), server.NewDatabase(t)
	for _, sql := range []string{
		"CREATE SCHEMA \"My\"",
		"CREATE FUNCTION \"My\".take(n int) RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_lock(n)'",
		"CREATE FUNCTION public.try_it() RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN pg_try_advisory_xact_lock(1); END'",
		"CREATE FUNCTION public.standard() RETURNS bool LANGUAGE sql RETURN pg_try_advisory_lock_shared(1)",
		"CREATE FUNCTION public.release() RETURNS bool LANGUAGE sql AS 'SELECT pg_advisory_unlock(1)'",
		"CREATE AGGREGATE public.total(int) (SFUNC = int4pl, STYPE = int)", // pg_get_functiondef would fail
	} {
		if _, err := server.Query(name, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	url := server.UserURL("app", "secret", name)
	database := fmt.Sprintf("[databases.app]\nurl = %q\n", url)

	t.Run("a good configuration", func(t *testing.T) {
		out, failed := checkFile(t, database+`
			[pools.lock]
			functions = ["try_it", "STANDARD", '"My".take']`)
		if failed {
			t.Error("the exit status is 0")
		}
		wantProblems(t, out)
		wantOutput(t, out, "database app: postgres://app@127.0.0.1", "PostgreSQL 1", "max_connections 40, 4 of them reserved",
			"instances (1) * (20 admin + 10 lock) = 30 connections", "no problems found",
			`functions that take advisory locks: "My".take, public.standard, public.try_it`)
		if strings.Contains(out, "secret") {
			t.Errorf("the password is shown:\n%s", out)
		}
		if strings.Contains(out, "note:") {
			t.Errorf("all functions are named in the file:\n%s", out)
		}
	})
	t.Run("lock functions that the file does not name, or that do not exist", func(t *testing.T) {
		out, _ := checkFile(t, database+"[databases.app.lock_pool]\nfunctions = ['try_it', 'my.take', 'gone']\n")
		wantOutput(t, out, `note: "My".take takes advisory locks, but is not in databases.app.lock_pool.functions`,
			"note: public.standard takes")
		wantProblems(t, out, "c.toml:4: databases.app.lock_pool.functions: the database has no function my.take",
			"c.toml:4: databases.app.lock_pool.functions: the database has no function gone")
	})
	t.Run("pools too large for the server", func(t *testing.T) {
		out, failed := checkFile(t, database+"[pools.admin]\nmax = 27\n")
		if !failed {
			t.Error("the exit status is 1")
		}
		wantProblems(t, out, "c.toml:4: pools.admin.max: the pools may open 37 connections for each user, but the server has 36 ")
	})
	t.Run("just small enough", func(t *testing.T) {
		out, _ := checkFile(t, database+"[pools.admin]\nmax = 26\n")
		wantProblems(t, out)
	})
	t.Run("max_backends bounds all pools together", func(t *testing.T) {
		out, _ := checkFile(t, "[server]\nmax_backends = 36\n"+database+"[pools.admin]\nmax = 100\n")
		wantProblems(t, out)
		wantOutput(t, out, "server.max_backends: instances (1) * 36 = 36 connections of 36")
	})
	t.Run("max_backends too large for the server", func(t *testing.T) {
		out, _ := checkFile(t, "[server]\ninstances = 2\nmax_backends = 20\n"+database)
		wantProblems(t, out, "c.toml:3: server.max_backends: lockproxy may open 40 connections, but the server has 36 ")
	})
	t.Run("instances count", func(t *testing.T) {
		out, _ := checkFile(t, "[server]\ninstances = 2\n"+database)
		wantProblems(t, out, "c.toml: pools.admin.max: the pools may open 60 connections")
	})
	t.Run("databases of one server count together", func(t *testing.T) {
		out, _ := checkFile(t, database+fmt.Sprintf("[databases.b]\nurl = %q\nadmin_pool = {max = 1}\n",
			server.UserURL("app", "secret", other)))
		wantProblems(t, out, "c.toml: pools.admin.max: the pools may open 41 connections")
		wantOutput(t, out, "(app: 30, b: 11)")
	})
	t.Run("limits of database and role", func(t *testing.T) {
		for _, sql := range []string{"ALTER DATABASE " + other + " CONNECTION LIMIT 29", "CREATE ROLE few LOGIN CONNECTION LIMIT 5"} {
			if _, err := server.Query("postgres", sql); err != nil {
				t.Fatal(err)
			}
		}
		out, _ := checkFile(t, fmt.Sprintf("[auth]\ntype = 'trust'\n[databases.%s]\nurl = %q", other, server.UserURL("few", "", "")))
		wantProblems(t, out, "c.toml: pools.admin.max: the pools may open 30 connections, but the connection limit of database "+
			other+" allows 29", "c.toml: pools.admin.max: the pools may open 30 connections, but the connection limit of role few allows 5")
	})
	t.Run("wrong password", func(t *testing.T) {
		out, failed := checkFile(t, fmt.Sprintf("[databases.app]\nurl = %q\n", server.UserURL("app", "mistyped", name)))
		wantProblems(t, out, `c.toml:2: databases.app.url: FATAL: password authentication failed for user "app" (SQLSTATE 28P01)`)
		if !failed || strings.Contains(out, "mistyped") {
			t.Errorf("it fails, and shows no password:\n%s", out)
		}
	})
	t.Run("one bad database does not hide the others", func(t *testing.T) {
		out, _ := checkFile(t, database+fmt.Sprintf("[databases.absent]\nurl = %q\n", server.UserURL("app", "secret", "absent")))
		wantProblems(t, out, `c.toml:4: databases.absent.url: FATAL: database "absent" does not exist (SQLSTATE 3D000)`)
		wantOutput(t, out, "database app:", "= 30 connections")
	})
	t.Run("any database", func(t *testing.T) {
		out, _ := checkFile(t, fmt.Sprintf("[databases.'*']\nurl = %q\n", server.UserURL("app", "secret", "")))
		wantProblems(t, out)
		wantOutput(t, out, "database *: postgres://app@", "/postgres\n")
	})
	t.Run("upstream from the environment", func(t *testing.T) {
		t.Chdir(t.TempDir())
		var out bytes.Buffer
		err := check(t.Context(), nil, streams{&out, &out, lookup(map[string]string{
			upstreamVariable: url, "DATABASE_POOL_MAX": "100"})})
		if !errors.Is(err, errReported) {
			t.Errorf("got %v", err)
		}
		wantProblems(t, out.String(), "DATABASE_POOL_MAX: the pools may open 110 connections")
	})
}

func TestCheckOfAServerThatCannotBeReached(t *testing.T) {
	out, failed := checkFile(t, "[databases.app]\nurl = 'postgres://app:secret@127.0.0.1:1/app'\n")
	wantProblems(t, out, "c.toml:2: databases.app.url: ")
	wantOutput(t, out, "connection refused")
	if !failed || strings.Contains(out, "secret") {
		t.Errorf("it fails, and shows no password:\n%s", out)
	}
}

func TestCheckOfABadFileTellsEverything(t *testing.T) {
	out, failed := checkFile(t, "[server]\ninstances = 0\nbeer = 1\n"+minimal)
	wantProblems(t, out, "c.toml:2: server.instances: must be at least 1", "c.toml:3: server.beer: unknown setting")
	if !failed {
		t.Error("the exit status is 1")
	}
}

func TestCheckOfAMissingUserListFails(t *testing.T) {
	out, failed := checkFile(t, "[auth]\nfile = '/nowhere/users.txt'\n[databases.app]\nurl = 'postgres://127.0.0.1:1/app'\n")
	wantOutput(t, out, "/nowhere/users.txt", "databases.app.url: failed to connect")
	if !failed {
		t.Errorf("the exit status is 1:\n%s", out)
	}
}

func TestCheckEndsWithItsContext(t *testing.T) {
	t.Chdir(t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	err := check(ctx, nil, streams{&out, &out, lookup(map[string]string{upstreamVariable: "postgres://u:p@127.0.0.1:1"})})
	if !errors.Is(err, errReported) {
		t.Errorf("got %v", err)
	}
	wantProblems(t, out.String(), "LOCKPROXY_UPSTREAM: ")
}

func TestCheckKnocksAtTheServerOfAURLWithoutAUser(t *testing.T) {
	server := postgres.Start(t)
	out, failed := checkFile(t, fmt.Sprintf("[auth]\ntype = 'trust'\n[databases.app]\nurl = 'postgres://127.0.0.1:%d/postgres'\n", server.Port))
	wantOutput(t, out, "database app: the server answers")
	if failed {
		t.Errorf("there is no problem:\n%s", out)
	}
}

func TestCheckTriesAuthQuery(t *testing.T) {
	server := postgres.Start(t)
	if err := server.CreateUser("asker", "secret", postgres.SCRAM); err != nil {
		t.Fatal(err)
	}
	all, few := server.URL("postgres"), server.UserURL("asker", "secret", "postgres")
	for _, c := range []struct{ name, query, url, problem string }{
		{"a good one", "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1", all, ""},
		{"may not read", "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1", few,
			"c.toml:4: auth.query: as user asker: ERROR: permission denied for table pg_authid"},
		{"no such table", "SELECT name, secret FROM nowhere WHERE name = $1", all,
			"c.toml:4: auth.query: as user postgres: ERROR: relation \"nowhere\" does not exist"},
		{"somebody else", "SELECT 'asker', 'md5' || $1", all, "c.toml:4: auth.query: as user postgres: it gives the secret of user"},
		{"everybody", "SELECT $1::text, 'plain'", all, "c.toml:4: auth.query: it has a secret for"},
		{"wrong password", "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1", strings.Replace(few, "secret", "mistyped", 1),
			"c.toml:4: auth.query: as user asker: FATAL: password authentication failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, failed := checkFile(t, fmt.Sprintf("[auth]\ntype = 'md5'\nquery_url = %q\nquery = %q\n[databases.postgres]\nurl = 'postgres://127.0.0.1:%d'\n",
				c.url, c.query, server.Port))
			if c.problem == "" {
				wantProblems(t, out)
				wantOutput(t, out, "auth.query: works")
			} else {
				wantProblems(t, out, c.problem)
			}
			if failed != (c.problem != "") || strings.Contains(out, "mistyped") {
				t.Errorf("got\n%s", out)
			}
		})
	}
}
