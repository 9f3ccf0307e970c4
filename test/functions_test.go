package test

import (
	"testing"
)

// What a function leaves in the server session is its caller's, and nobody else's (PITFALLS, B#396: row-level security
// that reads another tenant's setting). The bodies are read when the first connection is made.
func TestWhatAFunctionLeavesBehindIsItsCallersAlone(t *testing.T) {
	r := startProxy(t, sized(2, 1))
	r.query(t, `CREATE FUNCTION tenant(x text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('app.tenant', x, false); END $$;
		CREATE FUNCTION tenant_here(x text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('app.tenant', x, true); END $$;
		CREATE PROCEDURE memory(x text) LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SET work_mem = ' || quote_literal(x); END $$;
		CREATE FUNCTION scratch() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CREATE TEMP TABLE scratch (a int); END $$`)
	for _, test := range []struct{ leaves, shows, mine, others string }{
		{"SELECT tenant('a')", "SELECT coalesce(current_setting('app.tenant', true), '')", "a", ""},
		{"CALL memory('7MB')", "SELECT current_setting('work_mem')", "7MB", "4MB"},
		{"SELECT scratch()", "SELECT coalesce(to_regclass('pg_temp.scratch')::text, '')", "scratch", ""},
	} {
		a, b := logIn(t, r.url), logIn(t, r.url)
		a.asks("Z", text(test.leaves))
		if got := a.value(test.shows); got != test.mine {
			t.Errorf("%s: its caller sees %q, want %q", test.leaves, got, test.mine)
		}
		if got := b.value(test.shows); got != test.others {
			t.Errorf("%s: another client sees %q, want %q", test.leaves, got, test.others)
		}
		a.conn.Close()
		b.conn.Close()
	}
	r.log.forget()
	c := logIn(t, r.url)
	c.asks("Z", text("SELECT tenant_here('a')"))
	if r.log.has("pinned") {
		t.Error("a function whose settings end with the transaction pins nobody")
	}
}
