package test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// HikariCP without autocommit leaves its idle connections in transactions that have set a schema: more of them than the pool has
// servers kept everybody else out.
func TestTransactionsThatHaveDoneNothingKeepNobodyOut(t *testing.T) {
	r := startProxy(t, sized(2, 1), checkouts(20*time.Second))
	value := func(conn *pgx.Conn, text string, args ...any) (got string) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), text, args...).Scan(&got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return got
	}
	schema, user := connect(t, r.url), connect(t, r.url)
	runs(t, schema, "BEGIN")
	runs(t, schema, "SET search_path = pg_temp, public")
	runs(t, user, "BEGIN")
	value(user, "SELECT set_config('app.user', $1, true)", "a")

	other := connect(t, r.url)
	for range 3 {
		value(other, "SELECT 'others find a server'")
	}
	if got := value(user, "SELECT current_setting('app.user')"); got != "a" {
		t.Errorf("the transaction has begun anew with %q", got)
	}
	runs(t, user, "COMMIT")
	runs(t, schema, "COMMIT")
	if got := value(schema, "SHOW search_path"); got != "pg_temp, public" {
		t.Errorf("what was committed is %q", got)
	}
}
