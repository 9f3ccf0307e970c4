package test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockproxy/lockproxy/proxy"
)

// lockTimeout sets how long a lock is waited for.
func lockTimeout(d time.Duration) func(*proxy.Config) {
	return withDatabase(func(db *proxy.Database) { db.LockTimeout = d })
}

// fails runs what must fail with PostgreSQL's own error, and gives it.
func fails(t testing.TB, c *pgx.Conn, code, sql string, args ...any) *pgconn.PgError {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := c.Exec(ctx, sql, args...)
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("%s: %v, want SQLSTATE %s", sql, err, code)
	}
	return e
}

// says checks a text by a pattern, in which spaces stand for themselves.
func says(t testing.TB, what, text, pattern string) {
	t.Helper()
	if !regexp.MustCompile("^" + pattern + "$").MatchString(text) {
		t.Errorf("%s is\n%q and does not match\n%q", what, text, pattern)
	}
}

const (
	client  = `at 127\.0\.0\.1:\d+ \(user postgres, process \d+\)`
	holding = `It is held for \d\S+ by application holder ` + client + `, which is idle; 0 more wait for it\. Its last statement: `
)

// TestAWaitThatTakesTooLongSaysWhoHasTheLock: whatever way the lock is asked for.
func TestAWaitThatTakesTooLongSaysWhoHasTheLock(t *testing.T) {
	r := startProxy(t, lockTimeout(200*time.Millisecond))
	holder, waiter := r.as(t, "holder"), r.as(t, "waiter")
	runs(t, holder, "SELECT 'secret', pg_advisory_lock(hashtext($1)), $2::text", "invoice:42", "hidden")
	runs(t, holder, "SELECT pg_advisory_lock(hashtextextended($1, 0)) WHERE 'secret' <> $2", "invoice:42", "hidden")
	last := regexp.QuoteMeta("SELECT pg_advisory_lock(hashtextextended($1, ?)) WHERE ? <> $2")
	for _, c := range []struct {
		sql  string
		args []any
		lock string
	}{
		{"SELECT pg_advisory_lock(hashtextextended($1, 0))", []any{"invoice:42"}, `"invoice:42"`},
		{"SELECT pg_advisory_xact_lock_shared(hashtext('invoice:42'))", nil, `"invoice:42"`},
		{"BEGIN; SELECT 1; SELECT pg_advisory_xact_lock(hashtext('invoice:42')); SELECT 2", nil, `"invoice:42"`},
		{"SELECT pg_advisory_lock($1) FROM generate_series(1, 2)", nil, ""},
		{"DO $$ BEGIN PERFORM pg_advisory_lock(hashtext('invoice:42')); END $$", nil, `"invoice:42"`},
	} {
		if strings.Contains(c.sql, "generate_series") {
			key := r.value(t, "SELECT hashtext('invoice:42')")
			c.sql, c.args, c.lock = strings.Replace(c.sql, "$1", key, 1), nil, key
		}
		mode := pgx.QueryExecModeSimpleProtocol
		if len(c.args) > 0 {
			mode = pgx.QueryExecModeExec
		}
		e := fails(t, waiter, "55P03", c.sql, append([]any{mode}, c.args...)...)
		if e.Message != "canceling statement due to lock timeout" || e.Severity != "ERROR" || e.Routine != "ProcessInterrupts" {
			t.Errorf("%s: PostgreSQL's own fields are %+v", c.sql, e)
		}
		says(t, "the detail of "+c.sql, e.Detail, `It waited for advisory lock `+regexp.QuoteMeta(c.lock)+`( \(key -?\d+\))?\. `+holding+last)
		says(t, "the hint", e.Hint, `.*pools\.lock\.lock_timeout \(DATABASE_LOCK_TIMEOUT_MS\) is 200ms\.`)
		runs(t, waiter, "ROLLBACK", pgx.QueryExecModeSimpleProtocol)
		if strings.Contains(e.Detail+e.Hint, "hidden") || strings.Contains(e.Detail, "secret") {
			t.Errorf("a value is shown: %q", e.Detail)
		}
	}
	if !r.log.has("a wait for an advisory lock took too long", `invoice:42`) {
		t.Error("nothing was logged")
	}
}

// TestAWaitInsideAFunctionSaysWhoHasTheLock: what it waits for only the server knows, and is asked while it does.
func TestAWaitInsideAFunctionSaysWhoHasTheLock(t *testing.T) {
	r := startProxy(t, lockTimeout(2*time.Second))
	r.query(t, `CREATE FUNCTION acquire(name text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_lock(hashtext(lower(name))); END $$;
		CREATE FUNCTION take(name text) RETURNS void LANGUAGE sql AS $$ SELECT pg_advisory_lock(hashtext(name)) $$`)
	holder, waiter := r.as(t, "holder"), r.as(t, "waiter")
	runs(t, holder, "SELECT take('invoice:42')")
	for call, words := range map[string]string{"acquire('Invoice:42')": "acquire(Invoice:42)", "take('invoice:42')": "take(invoice:42)"} {
		e := fails(t, waiter, "55P03", "SELECT "+call)
		says(t, "the detail of "+call, e.Detail, `It waited for advisory lock "`+regexp.QuoteMeta(words)+`" \(key -?\d+\)\. `+holding+`SELECT take\(\?\)`)
	}
}

func TestAWaitBoundedByTheApplicationSaysSo(t *testing.T) {
	r := startProxy(t)
	holder, waiter := r.as(t, "holder"), r.as(t, "waiter")
	runs(t, holder, "SELECT pg_advisory_lock(7, 8)")
	for _, setting := range []string{"SET lock_timeout = '150ms'", "SET lock_timeout = 50"} {
		runs(t, waiter, setting)
		e := fails(t, waiter, "55P03", "SELECT pg_advisory_lock($1, $2)", pgx.QueryExecModeDescribeExec, 7, 8)
		says(t, "the detail", e.Detail, `It waited for advisory lock 7, 8\. `+holding+`SELECT pg_advisory_lock\(\?, \?\)`)
		says(t, "the hint", e.Hint, `The application set lock_timeout itself.*`)
	}
	// In a pipeline: what was sent behind it goes on.
	batch := &pgx.Batch{}
	batch.Queue("SELECT pg_advisory_xact_lock(7, 8)")
	batch.Queue("SELECT 1")
	if err := waiter.SendBatch(context.Background(), batch).Close(); sqlState(err) != "55P03" {
		t.Errorf("the batch ends with %v", err)
	}
	runs(t, waiter, "SELECT 1")
}

func TestAHolderOutsideOfTheProxyIsNamed(t *testing.T) {
	r := startProxy(t, lockTimeout(100*time.Millisecond))
	other := connect(t, withParameter(t, r.direct, "application_name", "other"))
	runs(t, other, "SELECT pg_advisory_lock(12)")
	e := fails(t, r.as(t, "waiter"), "55P03", "SELECT pg_advisory_lock(12)")
	says(t, "the detail", e.Detail, `It waited for advisory lock 12\. It is held outside of this lockproxy, by application other at 127\.0\.0\.1:\d+ \(user postgres, server process \d+\); 0 more wait for it\. Its last statement: SELECT pg_advisory_lock\(\?\)`)
}

// TestOtherWaitsFailAsDirectly: a wait for a row or a table is none for an advisory lock, whatever the statement calls.
func TestOtherWaitsFailAsDirectly(t *testing.T) {
	r := startProxy(t, lockTimeout(200*time.Millisecond))
	r.query(t, "CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
	holder, waiter := r.as(t, "holder"), r.as(t, "waiter")
	runs(t, holder, "BEGIN; LOCK TABLE t; SELECT pg_advisory_xact_lock(3)", pgx.QueryExecModeSimpleProtocol)
	for _, sql := range []string{
		"SELECT pg_advisory_xact_lock(1), a FROM t",
		"BEGIN; SELECT pg_advisory_xact_lock(1); LOCK TABLE t NOWAIT",
		"BEGIN; SELECT pg_advisory_xact_lock(1); LOCK TABLE t",
		"BEGIN; SELECT pg_advisory_xact_lock(1); UPDATE t SET a = 2",
	} {
		e := fails(t, waiter, "55P03", sql, pgx.QueryExecModeSimpleProtocol)
		if e.Detail != "" || e.Hint != "" {
			t.Errorf("%s: %+v", sql, e)
		}
		runs(t, waiter, "ROLLBACK", pgx.QueryExecModeSimpleProtocol)
	}
	runs(t, holder, "ROLLBACK; BEGIN; UPDATE t SET a = 3", pgx.QueryExecModeSimpleProtocol)
	for _, sql := range []string{
		"SELECT pg_advisory_xact_lock(1), a FROM t FOR UPDATE",
		"SELECT pg_advisory_xact_lock(1), a FROM t FOR UPDATE NOWAIT",
	} {
		if e := fails(t, waiter, "55P03", sql); e.Detail != "" || e.Hint != "" {
			t.Errorf("%s: %+v", sql, e)
		}
	}
}

// noticed connects a client whose notices are kept.
func (r *rig) noticed(t testing.TB, application string) (*pgx.Conn, chan *pgconn.Notice) {
	t.Helper()
	config, err := pgx.ParseConfig(withParameter(t, r.url, "application_name", application))
	if err != nil {
		t.Fatal(err)
	}
	notices := make(chan *pgconn.Notice, 16)
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { notices <- n }
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeConn(conn.Close) })
	return conn, notices
}

func noticeAfter(d time.Duration) func(*proxy.Config) {
	return func(c *proxy.Config) { c.WaitNotice = d }
}

// heard gives the first notice about something. Before it there may be some about backends that are dialled slowly.
func heard(t testing.TB, notices chan *pgconn.Notice, about string) *pgconn.Notice {
	t.Helper()
	for late := time.After(patience); ; {
		select {
		case n := <-notices:
			if strings.Contains(n.Message, about) {
				return n
			}
		case <-late:
			t.Fatalf("no notice of %s came", about)
		}
	}
}

func TestWhoWaitsLongForALockIsToldForWhat(t *testing.T) {
	r := startProxy(t, noticeAfter(100*time.Millisecond))
	holder := r.as(t, "holder")
	waiter, notices := r.noticed(t, "waiter")
	runs(t, holder, "SELECT pg_advisory_lock(hashtext('daily'), 5)")
	over := r.waits(t, waiter, "SELECT pg_advisory_lock(hashtext($1), 5)", pgx.QueryExecModeExec, "daily")
	n := heard(t, notices, "for advisory lock")
	says(t, "the notice", n.Severity+" "+n.Code+": "+n.Message, `NOTICE 00000: still waiting for advisory lock "daily, 5" \(key -?\d+, 5\) after \d+\S*ms`)
	says(t, "its detail", n.Detail, holding+`SELECT pg_advisory_lock\(hashtext\(\?\), \?\)`)
	runs(t, holder, "SELECT pg_advisory_unlock_all()")
	if err := over(); err != nil {
		t.Error(err)
	}
	if len(notices) > 0 {
		t.Errorf("one more notice: %+v", <-notices)
	}
}

func TestWhoWaitsLongForABackendIsToldForWhat(t *testing.T) {
	r := startProxy(t, sized(1, 1), noticeAfter(100*time.Millisecond))
	holder := r.as(t, "holder")
	waiter, notices := r.noticed(t, "waiter")
	runs(t, holder, "BEGIN; SELECT 'secret'", pgx.QueryExecModeSimpleProtocol)
	done := make(chan error, 1)
	go func() {
		_, err := waiter.Exec(context.Background(), "SELECT 1", pgx.QueryExecModeSimpleProtocol)
		done <- err
	}()
	n := heard(t, notices, "1 of 1 are checked out")
	says(t, "the notice", n.Severity+": "+n.Message, `NOTICE: still waiting for a backend of the admin pool after \d+ms, as number 1 in the queue: 1 of 1 are checked out.*`)
	says(t, "its detail", n.Detail, `Held longest, for \d\S+, by application holder `+client+`, which is idle in transaction\. Its last statement: BEGIN; SELECT \?`)
	runs(t, holder, "ROLLBACK", pgx.QueryExecModeSimpleProtocol)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNobodyIsToldWhoWantsToHearNoNotices(t *testing.T) {
	r := startProxy(t, noticeAfter(50*time.Millisecond), lockTimeout(400*time.Millisecond))
	runs(t, r.as(t, "holder"), "SELECT pg_advisory_lock(1)")
	waiter, notices := r.noticed(t, "waiter")
	runs(t, waiter, "SET client_min_messages = warning")
	fails(t, waiter, "55P03", "SELECT pg_advisory_lock(1)")
	if len(notices) > 0 {
		t.Errorf("a notice: %+v", <-notices)
	}
}
