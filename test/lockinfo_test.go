package test

import (
	"context"
	"slices"
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
