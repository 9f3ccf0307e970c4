package test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// elsewhere is the address of another database through the same proxy: its clients keep the proxy busy, but have pools
// of their own.
func (r *rig) elsewhere() string {
	return strings.Replace(r.url, "/"+r.database+"?", "/postgres?", 1)
}

// whenCut are the errors that clients may see whose backends are cut off as well: also 08001, where none can be dialled,
// and 08007, in COMMIT.
var whenCut = []string{"08001", "08006", "08007"}

// terminate ends the backends of the rig's database that a condition on pg_stat_activity names, and waits until they
// are gone. There must be some.
func (r *rig) terminate(t testing.TB, condition string) {
	t.Helper()
	pids := r.query(t, `SELECT pid FROM pg_stat_activity WHERE datname = current_database()
		AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND `+condition)
	if len(pids) == 0 {
		t.Fatalf("no backend to terminate: %s", condition)
	}
	for _, row := range pids {
		r.query(t, "SELECT pg_terminate_backend("+row[0]+")")
		r.awaitRow(t, "the backend is gone", "count(*) = 0 FROM pg_stat_activity WHERE pid = "+row[0])
	}
}

// running starts a statement on the session and waits until the server runs it. The text must be the test's only one.
func (r *rig) running(t testing.TB, s *session, sql string) *pending {
	t.Helper()
	p := s.start(sql)
	r.awaitRow(t, sql+" runs", fmt.Sprintf(`count(*) = 1 FROM pg_stat_activity
		WHERE query = '%s' AND state = 'active' AND datname = current_database()`, sql))
	return p
}

func TestBackendThatDiesIdleIsNotNoticed(t *testing.T) {
	run(t, func(t *testing.T, start starter) {
		r := startProxy(t)
		noise(t, r.elsewhere(), 3)
		a := start(t)
		sessions := []*session{a.connect(t, r.url), a.connect(t, r.url)}
		for round := range 3 {
			for _, s := range sessions {
				s.exec(t, "SELECT $1::int", "1")
			}
			pids := r.query(t, `SELECT pid FROM pg_stat_activity WHERE datname = current_database()
				AND pid <> pg_backend_pid() AND backend_type = 'client backend'`)
			r.terminate(t, "state = 'idle'")
			for _, row := range pids {
				await(t, "the proxy drops the dead backend", func() bool {
					return r.log.has("an idle backend is dropped", "pid="+row[0]+" ")
				})
			}
			for _, s := range sessions {
				if got := s.value(t, "SELECT $1::int", fmt.Sprint(round)); got != fmt.Sprint(round) {
					t.Errorf("round %d: got %s", round, got)
				}
			}
		}
	})
}

func TestBackendThatDiesUnderATransactionFailsItAndTheSessionLivesOn(t *testing.T) {
	for _, c := range []struct {
		name    string
		running string // the statement under way, if any
		die     func(t testing.TB, r *rig, cable *relay)
		code    string
	}{
		{"idle, ended by an administrator", "", terminateAll, "57P01"},
		{"in a statement, ended by an administrator", "SELECT pg_sleep(60)", terminateAll, "57P01"},
		{"idle, the network is cut", "", cutNetwork, "08006"},
		{"in a statement, the network is cut", "SELECT pg_sleep(60)", cutNetwork, "08006"},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, func(t *testing.T, start starter) {
				cable := startRelay(t, upstream(t))
				r := startProxy(t, cable.behind())
				noise(t, r.elsewhere(), 2, whenCut...)
				r.query(t, createJobs)
				s := start(t).connect(t, r.url)
				s.exec(t, "BEGIN")
				s.exec(t, "INSERT INTO jobs (key) VALUES ('lost')")
				var answer *pending
				if c.running != "" {
					answer = r.running(t, s, c.running)
				}
				c.die(t, r, cable)
				if answer == nil {
					await(t, "the proxy knows", func() bool { return r.log.has("a backend died under a session") })
					answer = s.start("SELECT 1")
				}
				_, err := answer.wait(t, patience)
				if e := wantError(t, c.code, "the answer to the statement under way, or to the next one", err); e.Severity != "ERROR" {
					t.Errorf("the session lives on, so the severity is ERROR, not %s", e.Severity)
				}
				s.refused(t, "25P02", "SELECT 1")
				s.refused(t, "25P02", "SELECT $1::int", "1")
				s.exec(t, "ROLLBACK")
				if got := s.value(t, "SELECT count(*) FROM jobs"); got != "0" {
					t.Errorf("%s rows of a transaction that was lost", got)
				}
			})
		})
	}
}

func terminateAll(t testing.TB, r *rig, _ *relay) { r.terminate(t, "true") }

func cutNetwork(t testing.TB, _ *rig, cable *relay) { cable.cut() }

func TestBackendThatDiesUnderAStatementAloneLeavesNoTransaction(t *testing.T) {
	run(t, func(t *testing.T, start starter) {
		r := startProxy(t)
		noise(t, r.elsewhere(), 3)
		s := start(t).connect(t, r.url)
		answer := r.running(t, s, "SELECT pg_sleep(60)")
		terminateAll(t, r, nil)
		_, err := answer.wait(t, patience)
		wantError(t, "57P01", "the statement's answer", err)
		s.exec(t, "SELECT 1")
		s.exec(t, "SELECT $1::int", "1")
	})
}

func TestBackendThatDiesWithALockEndsItsClientAtOnce(t *testing.T) {
	for _, level := range lockLevels {
		for _, c := range []struct {
			name    string
			running string
			die     func(t testing.TB, r *rig, cable *relay)
		}{
			{"idle, ended by an administrator", "", terminateAll},
			{"in a statement, ended by an administrator", "SELECT pg_sleep(60)", terminateAll},
			{"idle, the network is cut", "", cutNetwork},
			{"in a statement, the network is cut", "SELECT pg_sleep(60)", cutNetwork},
		} {
			t.Run(level.name+", "+c.name, func(t *testing.T) {
				run(t, func(t *testing.T, start starter) {
					cable := startRelay(t, upstream(t))
					r := startProxy(t, cable.behind())
					noise(t, r.elsewhere(), 2, whenCut...)
					s := start(t).connect(t, r.url)
					s.holdLock(t, level.begin, level.lock)
					var told *pending
					if c.running == "" {
						told = s.hear()
					} else {
						told = r.running(t, s, c.running)
					}
					c.die(t, r, cable)
					_, err := told.wait(t, time.Second)
					if e := wantError(t, "57P01", "the holder is told at once", err); e.Severity != "FATAL" {
						t.Errorf("the connection of a lost lock ends with FATAL, not %s", e.Severity)
					}
					if _, err := s.query("SELECT 1"); err == nil {
						t.Error("the connection of a lost lock still answers")
					}
					r.terminateLeft(t)
					r.awaitNoLocks(t)
				})
			})
		}
	}
}

// terminateLeft ends what a cut network left running in the server, which has not noticed yet.
func (r *rig) terminateLeft(t testing.TB) {
	t.Helper()
	r.query(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
		AND pid <> pg_backend_pid() AND backend_type = 'client backend'`)
}

// slowCommit has COMMIT take a while: its work is in a trigger that runs then.
const slowCommit = createJobs + `;
	CREATE FUNCTION wait_in_commit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END';
	CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON jobs DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION wait_in_commit()`

func TestBackendThatDiesInCommit(t *testing.T) {
	for _, c := range []struct {
		name     string
		lock     string
		die      func(t testing.TB, r *rig, cable *relay)
		code     string
		severity string
	}{
		{"ended by an administrator: the server's last error", "", terminateAll, "57P01", "ERROR"},
		{"the network is cut: the outcome is unknown", "", cutNetwork, "08007", "ERROR"},
		{"with a lock, ended by an administrator", "SELECT pg_advisory_xact_lock(1)", terminateAll, "57P01", "FATAL"},
		{"with a lock, the network is cut", "SELECT pg_advisory_xact_lock(1)", cutNetwork, "57P01", "FATAL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, func(t *testing.T, start starter) {
				cable := startRelay(t, upstream(t))
				r := startProxy(t, cable.behind())
				noise(t, r.elsewhere(), 2, whenCut...)
				r.query(t, slowCommit)
				s := start(t).connect(t, r.url)
				s.exec(t, "BEGIN")
				s.exec(t, "INSERT INTO jobs (key) VALUES ('a')")
				if c.lock != "" {
					s.exec(t, c.lock)
				}
				answer := r.running(t, s, "COMMIT")
				c.die(t, r, cable)
				_, err := answer.wait(t, patience)
				if e := wantError(t, c.code, "the answer to COMMIT", err); e.Severity != c.severity {
					t.Errorf("the severity is %s, not %s", e.Severity, c.severity)
				}
				if c.severity == "ERROR" {
					s.exec(t, "SELECT 1") // Its transaction is over.
					s.exec(t, "SELECT $1::int", "1")
				}
				r.terminateLeft(t)
				r.awaitNoLocks(t)
			})
		})
	}
}
