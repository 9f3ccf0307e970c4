package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/lockproxy/lockproxy/test/project"
)

// benchClients are more than the pools have slots.
const benchClients = 10

// benches are what pgbench runs: its own scripts, and some with advisory locks. perClient is how many transactions each
// client runs.
var benches = []struct {
	name      string
	args      []string
	perClient int
	simple    bool // also in simple mode, which has no pipelines
}{
	{"TPC-B", nil, 100, true},
	{"simple update", []string{"--builtin=simple-update"}, 100, true},
	{"select only", []string{"--select-only"}, 500, true},
	{"a connection each time", []string{"--select-only", "--connect"}, 10, true},
	{"locks", []string{"--file=locks.sql"}, 100, true},
	{"session's locks", []string{"--file=session.sql"}, 100, true},
	{"a pipeline", []string{"--file=pipeline.sql"}, 100, false},
}

// counters are what the scripts with locks add to.
const counters = "CREATE TABLE counters (key int PRIMARY KEY, n int NOT NULL); INSERT INTO counters SELECT key, 0 FROM generate_series(1, 5) key"

// runPgbench runs pgbench in its three modes: no transaction fails, and no change is lost.
func runPgbench(ctx context.Context, s *stage) (r result, err error) {
	if _, err := s.server.Query(s.database, counters); err != nil {
		return r, err
	}
	_, err = s.command(ctx, s.dir, nil, "pgbench", "--initialize", "--scale=2", "--foreign-keys", "--quiet")
	r.check("initialize", err)
	added := 0
	for _, mode := range []string{"simple", "extended", "prepared"} {
		for _, b := range benches {
			if mode == "simple" && !b.simple {
				continue
			}
			r.check(mode+", "+b.name, s.pgbench(ctx, mode, b.perClient, b.args))
			if strings.Contains(strings.Join(b.args, " "), "--file") {
				added += b.perClient * benchClients
			}
		}
	}
	r.check("the balances agree", s.holds(`SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)
		AND (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(bbalance) FROM pgbench_branches)`))
	r.check("no change is lost", s.holds("SELECT sum(n) = "+strconv.Itoa(added)+" FROM counters"))
	r.check("nothing is left behind", s.nothingLeft())
	r.check("no more backends than slots", s.atMost(4+2))
	return r, nil
}

// pgbench runs one script in one mode; every transaction has to succeed. Each client is a thread of its own: pgbench waits
// for the answer to a Parse message without a look at the other clients of a thread, who may hold all slots.
func (s *stage) pgbench(ctx context.Context, mode string, perClient int, args []string) error {
	args = append([]string{"--protocol=" + mode, "--no-vacuum", "--client=" + strconv.Itoa(benchClients),
		"--jobs=" + strconv.Itoa(benchClients), "--transactions=" + strconv.Itoa(perClient)}, args...)
	out, err := s.command(ctx, filepath.Join(project.Root(), "test/compat/tools/pgbench"), nil, "pgbench", args...)
	if err != nil {
		return err
	}
	all := strconv.Itoa(perClient * benchClients)
	for _, want := range []string{"actually processed: " + all + "/" + all + "\n", "failed transactions: 0 ("} {
		if !strings.Contains(out, want) {
			return fmt.Errorf("lacks %q:\n%s", want, out)
		}
	}
	return nil
}
