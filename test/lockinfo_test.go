package test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockproxy/lockproxy/proxy"
)

// as opens a client with a name of its own, by pgx.
func (r *rig) as(t testing.TB, application string) *pgx.Conn {
	t.Helper()
	return connect(t, withParameter(t, r.url, "application_name", application))
}

// lockInfos gives what the proxy says of advisory locks.
func (r *rig) lockInfos(t testing.TB) []proxy.LockInfo {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all, err := r.server.Locks(ctx)
	if err != nil {
		t.Fatalf("ask for locks: %v", err)
	}
	return all
}

// lockOf gives the one lock that an application holds or waits for.
func (r *rig) lockOf(t testing.TB, application string) proxy.LockInfo {
	t.Helper()
	all := r.lockInfos(t)
	theirs := slices.DeleteFunc(slices.Clone(all), func(i proxy.LockInfo) bool { return i.ApplicationName != application })
	if len(theirs) != 1 {
		t.Fatalf("%s has %d locks of %+v", application, len(theirs), all)
	}
	return theirs[0]
}

func runs(t testing.TB, c *pgx.Conn, sql string, args ...any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := c.Exec(ctx, sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// waits has a client run what waits for a lock. The function that it gives has the error once it is over.
func (r *rig) waits(t testing.TB, c *pgx.Conn, sql string, args ...any) (over func() error) {
	t.Helper()
	done := make(chan error, 1)
	before := r.value(t, "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'")
	go func() {
		_, err := c.Exec(context.Background(), sql, args...)
		done <- err
	}()
	r.awaitRow(t, "it waits for a lock", "(SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory') > "+before)
	return func() error {
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			t.Fatalf("%s: no answer", sql)
			return nil
		}
	}
}

func TestLocksAreShownAsTheServerHasThem(t *testing.T) {
	r := startProxy(t)
	start := time.Now()
	holder, waiter := r.as(t, "holder"), r.as(t, "waiter")
	runs(t, holder, "SELECT pg_advisory_lock(42)")
	over := r.waits(t, waiter, "SELECT pg_advisory_xact_lock_shared(42)")
	got := r.lockOf(t, "holder")
	if got.Key != "42" || got.ClassID != 0 || got.ObjID != 42 || got.ObjSubID != 1 || got.Level != "session" || got.Mode != "exclusive" ||
		got.State != "held" || got.Since.Before(start) || got.Since.After(time.Now()) || got.Client != holder.PgConn().PID() || got.Address == "" ||
		got.Database != r.database || got.User != "postgres" || got.BackendPid == 0 || got.Statement != "SELECT pg_advisory_lock(?)" || got.Waiters != 1 {
		t.Errorf("who holds it: %+v", got)
	}
	got = r.lockOf(t, "waiter")
	if got.Key != "42" || got.Mode != "shared" || got.State != "waiting" || got.Client != waiter.PgConn().PID() || got.Waiters != 0 {
		t.Errorf("who waits: %+v", got)
	}
	runs(t, holder, "SELECT pg_advisory_unlock(42)")
	if err := over(); err != nil {
		t.Error(err)
	}
	if all := r.lockInfos(t); len(all) > 0 {
		t.Errorf("nobody holds any: %+v", all)
	}
}

func TestLocksOutsideOfTheProxyAreShown(t *testing.T) {
	r := startProxy(t)
	other := connect(t, withParameter(t, r.direct, "application_name", "other"))
	runs(t, other, "SELECT pg_advisory_lock(-7, 2147483647)")
	over := r.waits(t, r.as(t, "waiter"), "SELECT pg_advisory_xact_lock(-7, 2147483647)")
	got := r.lockOf(t, "other")
	if got.Key != "-7, 2147483647" || got.Client != 0 || got.BackendPid != other.PgConn().PID() || got.User != "postgres" ||
		got.Statement != "SELECT pg_advisory_lock(-?, ?)" || got.Waiters != 1 || got.ObjSubID != 2 {
		t.Errorf("who holds it: %+v", got)
	}
	runs(t, other, "SELECT pg_advisory_unlock_all()")
	if err := over(); err != nil {
		t.Error(err)
	}
}

// keysNamed are the ways in which applications make keys of names, and what they are called then.
var keysNamed = []struct {
	sql   string
	args  []any
	words string
	level string
	mode  string
}{
	{"SELECT pg_advisory_lock(hashtextextended($1, 0))", []any{"invoice:42"}, "invoice:42", "session", "exclusive"},
	{"SELECT pg_advisory_lock(hashtextextended('a name longer than twelve bytes', 7))", nil, "a name longer than twelve bytes", "session", "exclusive"},
	{"SELECT pg_advisory_lock_shared(hashtext('it''s'))", nil, "it's", "session", "shared"},
	{"SELECT pg_advisory_lock(hashtext($1::text)::bigint)", []any{"äöü"}, "äöü", "session", "exclusive"},
	{"SELECT pg_try_advisory_lock(hashtext($1), $2)", []any{"jobs", 42}, "jobs, 42", "session", "exclusive"},
	{"SELECT pg_try_advisory_lock_shared($1, $2)", []any{-1, 2}, "-1, 2", "session", "shared"},
	{"SELECT pg_advisory_lock($1)", []any{int64(-1234567890123)}, "-1234567890123", "session", "exclusive"},
	{"SELECT pg_advisory_lock(-9223372036854775808)", nil, "-9223372036854775808", "session", "exclusive"},
	{"SELECT pg_advisory_lock('4711')", nil, "4711", "session", "exclusive"},
	{"SELECT pg_advisory_lock(CAST(hashtext(E'a\\tb') AS bigint))", nil, "a b", "session", "exclusive"},
	{"BEGIN; SELECT 1; SELECT pg_advisory_xact_lock(hashtextextended('x', -5))", nil, "x", "transaction", "exclusive"},
	{"BEGIN; SELECT pg_try_advisory_xact_lock_shared(7, hashtext('y'))", nil, "7, y", "transaction", "shared"},
	{"BEGIN; SELECT pg_advisory_xact_lock_shared(3) FROM generate_series(1, 2)", nil, "3", "transaction", "shared"},
	{"DO $$ BEGIN PERFORM pg_advisory_lock(hashtext('done')); END $$", nil, "done", "session", "exclusive"},
	{"WITH l AS (SELECT pg_try_advisory_lock(5, 6) AS got) SELECT got FROM l", nil, "5, 6", "session", "exclusive"},
	{"SELECT pg_advisory_lock(('x' || substr(md5($1), 1, 16))::bit(64)::bigint)", []any{"tenant 7"},
		"('x' || substr(md5(tenant 7), 1, 16))::bit(64)::bigint", "session", "exclusive"},
	{"SELECT acquire($1, 5)", []any{"by a function"}, "acquire(by a function, 5)", "", "exclusive"},
	{"SELECT pg_advisory_lock(id) FROM (SELECT 99 AS id) t", nil, "id", "session", "exclusive"},
}

// TestKeysAreNamedInTheApplicationsWords: each in text and in binary, in one statement and in three messages.
func TestKeysAreNamedInTheApplicationsWords(t *testing.T) {
	r := startProxy(t)
	r.query(t, `CREATE FUNCTION acquire(name text, n int) RETURNS void LANGUAGE sql AS $$ SELECT pg_advisory_lock(hashtext(name), n) $$`)
	one := r.as(t, "one")
	for _, c := range keysNamed {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeDescribeExec} {
			if simple := mode == pgx.QueryExecModeSimpleProtocol; len(c.args) == 0 && !simple || strings.Contains(c.words, "md5") && simple {
				continue
			}
			start := time.Now()
			runs(t, one, c.sql, append([]any{mode}, c.args...)...)
			got := r.lockOf(t, "one")
			if got.Words != c.words || got.Level != c.level && c.level != "" || got.Mode != c.mode || got.State != "held" ||
				got.Since.Before(start) || got.Since.After(time.Now()) {
				t.Errorf("%s (%v): %+v", c.sql, mode, got)
			}
			runs(t, one, "ROLLBACK", pgx.QueryExecModeSimpleProtocol)
			runs(t, one, "SELECT pg_advisory_unlock_all()", pgx.QueryExecModeSimpleProtocol)
		}
	}
}

// TestKeysOfNamesAreWhatTheServerMakesOfThem: SHOW LOCKS finds names by the key that lockproxy computes.
func TestKeysOfNamesAreWhatTheServerMakesOfThem(t *testing.T) {
	r := startProxy(t)
	one := r.as(t, "one")
	var names []string
	for size := range 40 {
		name := make([]byte, size)
		for i := range name {
			name[i] = byte('a' + (i*7+size)%26)
		}
		names = append(names, string(name))
	}
	for i, name := range names {
		if i%2 == 0 {
			runs(t, one, "SELECT pg_advisory_lock(hashtextextended($1, $2))", name, int64(i)<<33-int64(i))
		} else {
			runs(t, one, "SELECT pg_advisory_lock(hashtext($1))", name)
		}
	}
	var got []string
	for _, info := range r.lockInfos(t) {
		got = append(got, info.Words)
	}
	slices.Sort(names)
	slices.Sort(got)
	if !slices.Equal(got, names) {
		t.Errorf("the locks are %q", got)
	}
}
