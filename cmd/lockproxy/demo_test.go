package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// inOrder checks that the texts occur in output, one after the other.
func inOrder(t *testing.T, output string, texts ...string) {
	t.Helper()
	rest := output
	for _, text := range texts {
		_, after, found := strings.Cut(rest, text)
		if !found {
			t.Fatalf("no %q, or too early:\n%s", text, output)
		}
		rest = after
	}
}

func TestDemoHangsOnOnePoolAndEndsThroughLockproxy(t *testing.T) {
	status, out, errors := program(t, "demo", "--plain", "--workers", "5", "--jobs", "20", "--pool", "2", "--stall", "1500ms")
	if status != 0 || errors != "" {
		t.Fatalf("got exit status %d, %q\n%s", status, errors, out)
	}
	inOrder(t, out,
		"5 workers, 20 jobs.",
		"\n1  one plain pool: 2 slots (connections to PostgreSQL)\n",
		"0 of 20, 0 errors, 3 workers without a slot; slots: lock ", ", lock ",
		"\n   Deadlock: 0 of 20, every slot holds a lock and waits for another.",
		"\n2  through lockproxy: 10 clients, 2 slots for locks, 2 for the rest\n",
		"20 of 20, 0 errors, 0 workers without a slot; lock pool: idle, idle; admin pool: idle",
		"\n   All done, and PostgreSQL has 20 rows.\n",
		"\nVERDICT ",
		"\n   plain pool    0 of 20           0         deadlock, given up after ",
		"\n   lockproxy     20 of 20          0         ",
		"\nSame code, another DATABASE_URL. A larger plain pool hangs too: --pool 5\n")
	if strings.Contains(out, "\x1b") {
		t.Errorf("lines are for pipes, which know no colors:\n%q", out)
	}
}

func TestDemoFailsIfThePlainPoolDoesNotHang(t *testing.T) {
	status, out, errors := program(t, "demo", "--workers", "1", "--jobs", "3", "--pool", "2", "--stall", "20s")
	if status != failed || errors != "" {
		t.Errorf("got exit status %d, %q", status, errors)
	}
	inOrder(t, out, "3 of 3, 0 errors", "No deadlock: there are fewer workers than slots.",
		"PostgreSQL has 3 rows", "The plain pool did not hang, so there was nothing to solve.")
}

func TestDemoLeavesNothingWhenItIsInterrupted(t *testing.T) {
	for _, moment := range []string{"Starting", "1  one plain pool", "2  through lockproxy"} {
		folder := shortFolder(t)
		if err := os.Chmod(folder, 0o777); err != nil { // PostgreSQL may run as another user.
			t.Fatal(err)
		}
		t.Setenv("TMPDIR", folder)
		p := start(t, nil, demo, "--plain", "--jobs", "100000", "--stall", "1ms")
		p.until(moment)
		p.stop()
		p.until("interrupted")
		if err := p.end(); !errors.Is(err, errReported) {
			t.Errorf("interrupted at %q: it is a failure that has been told, got %v", moment, err)
		}
		if left, _ := filepath.Glob(filepath.Join(folder, "*")); len(left) > 0 {
			t.Errorf("interrupted at %q: left %v", moment, left)
		}
	}
}

func TestDemoTakesOnlyWhatItCanDraw(t *testing.T) {
	for _, c := range []struct{ flag, value, want string }{
		{"--workers", "0", "--workers must be from 1 to 20"},
		{"--workers", "21", "--workers must be from 1 to 20"},
		{"--jobs", "0", "--jobs must be from 1 to 1000000"},
		{"--pool", "13", "--pool must be from 1 to 12"},
		{"--stall", "0s", "--stall must be more than 0"},
		{"--stall", "x", "invalid value"},
	} {
		status, out, err := program(t, "demo", c.flag, c.value)
		if status != misused || out != "" || !strings.Contains(err, c.want) {
			t.Errorf("%s %s: got exit status %d, %q, %q", c.flag, c.value, status, out, err)
		}
	}
}

func TestDemoIsProvenOnlyByAHangAndACompleteRound(t *testing.T) {
	good := func() *show {
		s := newShow(plan{workers: 8, jobs: 200, pool: 4})
		s.over, s.plain.state, s.proxy.state, s.proxy.rows = true, hung, finished, 200
		return s
	}
	if !good().proven() {
		t.Error("a hang and a complete round prove it")
	}
	for name, spoil := range map[string]func(*show){
		"interrupted":        func(s *show) { s.over = false },
		"no hang":            func(s *show) { s.plain.state = finished },
		"lockproxy hangs":    func(s *show) { s.proxy.state = hung },
		"an error":           func(s *show) { s.proxy.failed = 1 },
		"a row is not there": func(s *show) { s.proxy.rows = 199 },
	} {
		s := good()
		if spoil(s); s.proven() {
			t.Errorf("%s: still proven", name)
		}
	}
}

func TestDemoSaysThatThereIsNoPostgreSQL(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := postgres.Programs(); err == nil {
		t.Skip("PostgreSQL is found without PATH on this machine")
	}
	var out, errors bytes.Buffer
	if status := dispatch(t.Context(), []string{"demo"}, streams{&out, &errors, lookup(nil)}); status != failed || errors.Len() == 0 {
		t.Errorf("got exit status %d, %q", status, &errors)
	}
}

func TestJobsFailWithTheirFirstError(t *testing.T) {
	upstream := postgres.Start(t)
	c := newCrew(upstream.URL("postgres"), 4, 2, 5) // There is no table to insert into.
	c.start(t.Context())
	c.wait()
	if c.done.Load() != 0 || c.failed.Load() != 5 {
		t.Errorf("each job is counted once, got %d done and %d failed", c.done.Load(), c.failed.Load())
	}
	if err := c.firstError(); err == nil || !strings.Contains(err.Error(), "demo.results") {
		t.Errorf("got %v", err)
	}
	r := round{workers: make([]activity, 2)}
	if !r.look(c, nil) || r.failed != 5 || r.err == nil || r.count(rested) != 2 {
		t.Errorf("a failed job is one less to do, got %+v", r)
	}
}

func TestAPlainPoolOpensALostConnectionAgain(t *testing.T) {
	upstream := postgres.Start(t)
	p := newConnections(upstream.URL("postgres"), 1)
	defer p.close()
	exec := func(sql string) error {
		return p.use(t.Context(), func(c *pgx.Conn) error {
			_, err := c.Exec(t.Context(), sql)
			return err
		})
	}
	if err := exec("SELECT pg_terminate_backend(pg_backend_pid())"); err == nil {
		t.Fatal("the connection is lost")
	}
	if err := exec("SELECT 1"); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestALookTellsWhoWaitsHoldsAndWorks(t *testing.T) {
	c := newCrew("", 1, 5, 10)
	c.left[4].Store(true)
	r := round{workers: make([]activity, 5)}
	slots := []slot{{doing: locked, worker: 2, lock: true}, {doing: idle}, {doing: inserting, worker: 3},
		{doing: locked, worker: 3, lock: true}, {doing: locked, worker: 5, lock: true}}
	if r.look(c, slots) {
		t.Error("no job was done")
	}
	for i, want := range []activity{waits, holds, works, waits, rested} {
		if r.workers[i] != want {
			t.Errorf("worker %d: got %d, want %d", i+1, r.workers[i], want)
		}
	}
	c.done.Store(2)
	if !r.look(c, nil) || r.done != 2 || r.count(waits) != 4 {
		t.Errorf("two jobs are done and no slot is in use, got %+v", r)
	}
}

func TestADeadlockIsWhenEverySlotHoldsALock(t *testing.T) {
	full := []slot{{doing: locked, worker: 1}, {doing: locked, worker: 2}}
	for _, c := range []struct {
		name  string
		slots []slot
		still time.Duration
		want  bool
	}{
		{"every slot, for a while", full, time.Second, true},
		{"every slot, a moment ago", full, 100 * time.Millisecond, false},
		{"a slot is idle", []slot{full[0], {doing: idle}}, time.Minute, false},
		{"a slot is not open", full[:1], time.Minute, false},
		{"a slot inserts", []slot{full[0], {doing: inserting, worker: 1}}, time.Minute, false},
	} {
		if got := (&round{slots: c.slots, still: c.still}).deadlocked(2); got != c.want {
			t.Errorf("%s: got %t", c.name, got)
		}
	}
}

func TestAnObserverTellsPoolsApartByWhatConnectionsHaveDone(t *testing.T) {
	o := observer{lockers: map[int32]bool{}, workers: map[int32]bool{}}
	const insert = "INSERT INTO demo.results (job) VALUES ($1) /* worker 12 */"
	for _, c := range []struct {
		name         string
		pid          int32
		state, query string
		key          int
		want         slot
		used         bool
	}{
		{"what lockproxy asks first is no use", 1, "idle", "SELECT p.oid", 0, slot{doing: idle}, false},
		{"a lock", 1, "idle in transaction", lockStatement, 7, slot{locked, 7, true}, true},
		{"a locker stays one", 1, "idle", "commit", 0, slot{idle, 0, true}, true},
		{"a lock is asked for", 2, "active", lockStatement, 0, slot{idle, 0, true}, true},
		{"an insert runs", 3, "active", insert, 0, slot{inserting, 12, false}, true},
		{"an insert has run", 3, "idle", insert, 0, slot{idle, 0, false}, true},
		{"somebody else's insert", 4, "active", "INSERT INTO t VALUES (1)", 0, slot{doing: idle}, false},
	} {
		if got, used := o.see(c.pid, c.state, c.query, c.key); got != c.want || used != c.used {
			t.Errorf("%s: got %+v, %t", c.name, got, used)
		}
	}
}
