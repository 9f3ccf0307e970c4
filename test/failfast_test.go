package test

import (
	"regexp"
	"testing"
	"time"
)

// wantRefusal checks that an error says all that an operator needs.
func wantRefusal(t testing.TB, e *appError, message, detail, hint string) {
	t.Helper()
	for _, field := range []struct{ what, got, want string }{
		{"severity", e.Severity, "^ERROR$"},
		{"message", e.Message, message}, {"detail", e.Detail, detail}, {"hint", e.Hint, hint},
	} {
		if !regexp.MustCompile(field.want).MatchString(field.got) {
			t.Errorf("the %s is %q and does not match %q", field.what, field.got, field.want)
		}
	}
}

func TestFullPoolRefusesAfterItsTimeoutAndTheSessionLivesOn(t *testing.T) {
	const timeout = 300 * time.Millisecond
	held := `^Held longest, for \d.*s, by application holder at 127\.0\.0\.1:\d+ \(user postgres, process \d+\), which is idle in transaction\. Its last statement: `
	for _, c := range []struct {
		name, hold, ask  string
		message, hint    string
		works, worksArgs string // what must work at once, in the same session
	}{
		{
			name: "lock", hold: "SELECT pg_advisory_xact_lock(%)", ask: "SELECT pg_advisory_lock(9)",
			message: `^no backend of the lock pool became free within \d+ms: 2 of 2 are checked out, 2 of them by sessions that hold advisory locks, and 0 other sessions wait for it$`,
			hint:    `pools\.lock\.max \(DATABASE_LOCK_POOL_MAX\).*pools\.lock\.checkout_timeout`,
			works:   "SELECT 1", worksArgs: "SELECT $1::int",
		},
		{
			name: "admin", hold: "INSERT INTO jobs (key) VALUES ('%')", ask: "SELECT 1",
			message: `^no backend of the admin pool became free within \d+ms: 2 of 2 are checked out, 0 of them by sessions that hold advisory locks, and \d+ other sessions? waits? for it$`,
			hint:    `pools\.admin\.max \(DATABASE_POOL_MAX\).*pools\.admin\.checkout_timeout`,
			works:   "SELECT pg_advisory_xact_lock(5)", worksArgs: "SELECT pg_advisory_xact_lock($1)",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, func(t *testing.T, start starter) {
				r := startProxy(t, sized(2, 2), checkouts(timeout))
				r.query(t, createJobs)
				noise(t, r.url, 2, "53300")
				a := start(t)
				waiter := a.connect(t, withParameter(t, r.url, "application_name", "waiter"))
				waiter.exec(t, c.worksArgs, "1") // Preparing it is an ordinary unit; pgx does so at its first use.
				var holders []*session
				for _, key := range []string{"1", "2"} {
					holder := a.connect(t, withParameter(t, r.url, "application_name", "holder"))
					holders = append(holders, holder)
					holder.holdOn(t, regexp.MustCompile("%").ReplaceAllString(c.hold, key))
				}
				for _, ask := range []func() ([][]string, error){
					func() ([][]string, error) { return waiter.query(c.ask) },
					func() ([][]string, error) { return waiter.query(c.ask+" WHERE $1 = 'a'", "a") },
				} {
					asked := time.Now()
					_, err := ask()
					wantRefusal(t, wantError(t, "53300", c.ask, err), c.message, held, c.hint)
					if waited := time.Since(asked); waited < timeout || waited > timeout+2*time.Second {
						t.Errorf("the answer came after %v, the timeout is %v", waited, timeout)
					}
					waiter.exec(t, c.works)
					waiter.exec(t, c.worksArgs, "1")
				}
				for _, holder := range holders {
					holder.exec(t, "COMMIT")
				}
				waiter.exec(t, c.ask)
				waiter.exec(t, "SELECT pg_advisory_unlock_all()")
				r.awaitNoLocks(t)
			})
		})
	}
}

// holdOn begins a transaction and runs a statement in it, again where others were faster to the slots.
func (s *session) holdOn(t testing.TB, sql string) {
	t.Helper()
	await(t, sql, func() bool {
		s.exec(t, "BEGIN")
		_, err := s.query(sql)
		if err != nil {
			wantError(t, "53300", sql, err)
			s.exec(t, "ROLLBACK")
		}
		return err == nil
	})
}
