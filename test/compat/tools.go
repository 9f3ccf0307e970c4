package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/lockproxy/lockproxy/test/postgres"
	"github.com/lockproxy/lockproxy/test/project"
)

// program is a command line that may be run several times, by several processes.
type program struct {
	dir  string
	env  []string
	args []string // the first is the program
}

// with is the same program with more arguments.
func (p program) with(args ...string) program {
	p.args = append(p.args[:len(p.args):len(p.args)], args...)
	return p
}

// exec runs a program on the stage, with more of an environment.
func (s *stage) exec(ctx context.Context, p program, env []string) (output string, err error) {
	return s.command(ctx, p.dir, append(p.env[:len(p.env):len(p.env)], env...), p.args[0], p.args[1:]...)
}

// directly is the environment of a program that is to use a database of the server's without lockproxy.
func (s *stage) directly(database string) []string {
	return []string{"PGPORT=" + strconv.Itoa(s.server.Port), "PGDATABASE=" + database, "DATABASE_URL=" + s.server.URL(database)}
}

// through is the environment of a program that is to use a database of the server's through lockproxy.
func (s *stage) through(database string) []string {
	url := strings.Replace(s.url(), "/"+s.database+"?", "/"+database+"?", 1)
	return []string{"PGDATABASE=" + database, "DATABASE_URL=" + url}
}

// sources copies a folder of test/compat/tools to the stage's, since programs write beside their sources.
func (s *stage) sources(folder string) (dir string, err error) {
	dir = filepath.Join(s.dir, folder)
	return dir, os.CopyFS(dir, os.DirFS(filepath.Join(project.Root(), "test/compat/tools", folder)))
}

// shared is a folder of the cache that several suites use.
func (s *stage) shared(name string) string { return filepath.Join(filepath.Dir(s.cache), name) }

// goTool builds the programs of tools/go and gives one of them. They are a module of their own: lockproxy needs none of
// what they do.
func (s *stage) goTool(ctx context.Context, name string, args ...string) (program, error) {
	bin := s.shared("tools-go")
	if _, err := s.command(ctx, filepath.Join(project.Root(), "test/compat/tools/go"), nil, "go", "build", "-o", bin+"/", "./..."); err != nil {
		return program{}, err
	}
	dir, err := s.sources("go/" + name)
	return program{dir: dir, args: append([]string{filepath.Join(bin, name)}, args...)}, err
}

// nodeTool installs the packages of tools/node and gives a program in a folder of it. A node that is new enough is one of
// these packages.
func (s *stage) nodeTool(ctx context.Context, folder string, args ...string) (program, error) {
	cached := s.shared("tools-node")
	dir, err := s.sources("node")
	if err == nil {
		err = s.installPackages(ctx, dir, cached)
	}
	if err == nil {
		err = os.Symlink(filepath.Join(cached, "node_modules"), filepath.Join(dir, "node_modules"))
	}
	path := filepath.Join(cached, "node_modules/.bin") + string(os.PathListSeparator) + os.Getenv("PATH")
	return program{dir: filepath.Join(dir, folder), env: []string{"PATH=" + path}, args: append([]string{"env"}, args...)}, err
}

// installPackages installs what the lock file in the folder from names into another, unless it is there.
func (s *stage) installPackages(ctx context.Context, from, into string) error {
	lock, err := os.ReadFile(filepath.Join(from, "package-lock.json"))
	if err != nil {
		return err
	}
	mark := filepath.Join(into, "installed")
	if installed, err := os.ReadFile(mark); err == nil && bytes.Equal(installed, lock) {
		return nil
	}
	if err := os.RemoveAll(into); err != nil {
		return err
	}
	if err := os.CopyFS(into, os.DirFS(from)); err != nil {
		return err
	}
	if _, err := s.command(ctx, into, nil, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"); err != nil {
		return err
	}
	return os.WriteFile(mark, lock, 0o644)
}

// check notes one thing that was looked at.
func (r *result) check(name string, err error) {
	if err != nil {
		r.failed = append(r.failed, fmt.Sprintf("%s: %v", name, err))
		return
	}
	r.passed++
}

// leftovers are what a client that is gone may have left on the server, the noise clients aside.
const leftovers = `
	SELECT 'lock', l.pid::text, l.mode, coalesce(a.query, '')
	FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory'
	UNION ALL
	SELECT 'session', pid::text, state, query FROM pg_stat_activity
	WHERE backend_type = 'client backend' AND state <> 'idle' AND application_name NOT LIKE 'noise %' AND pid <> pg_backend_pid()`

// nothingLeft waits until all clients but the noise are gone from the server, with their advisory locks and their
// transactions, and tells what is still there after a while. Some of it goes with the end of a socket, which nobody sees
// but the server, so that there is nothing to wait for but the time.
func (s *stage) nothingLeft() error {
	return inAWhile(func() error {
		rows, err := s.server.Query(s.database, leftovers)
		if err == nil && len(rows) > 0 {
			err = fmt.Errorf("left behind: %v", rows)
		}
		return err
	})
}

// atMost is an error if a database has more backends than lockproxy's pools have slots, or else none of its clients went
// through the pools. One that has just been used directly, to compare what is in it, is not gone at once.
func (s *stage) atMost(backends int) error {
	return inAWhile(func() error {
		rows, err := s.server.Query("postgres",
			fmt.Sprintf("SELECT count(*) FROM pg_stat_activity WHERE datname = '%s' AND usename = '%s'", s.database, postgres.Superuser))
		if err != nil {
			return err
		}
		if n, err := strconv.Atoi(rows[0][0]); err != nil || n > backends {
			return errors.Join(err, fmt.Errorf("%d backends, the pools have %d slots", n, backends))
		}
		return nil
	})
}

// inAWhile gives what check gives, once it is content or has not been for long.
func inAWhile(check func() error) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if err := check(); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
