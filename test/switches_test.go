package test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

func TestDisableRefusesNewClientsOnly(t *testing.T) {
	r := startProxy(t)
	s := logIn(t, r.url)
	mustNot(t, r.server.Disable(r.database))
	if !r.server.State().Disabled[r.database] {
		t.Error("the state does not tell")
	}
	_, err := pgx.Connect(t.Context(), r.url)
	wantsError(t, err, "database does not allow connections: "+r.database)
	s.wants("who was there", one, "Z", text("SELECT 1"))
	mustNot(t, r.server.Enable(r.database))
	logIn(t, r.url)
}

// Under "*" a database is turned off by a name that nobody has come by yet.
func TestADatabaseIsTurnedOffBeforeItsClientsCome(t *testing.T) {
	r := startProxy(t, watched, checkouts(patience))
	c := r.console(t, postgres.Superuser)
	order := func(text string) {
		t.Helper()
		if _, err := c.Exec(t.Context(), text, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	order("DISABLE " + r.database)
	_, err := pgx.Connect(t.Context(), r.url)
	wantsError(t, err, "database does not allow connections: "+r.database)
	order("PAUSE " + r.database)
	order("ENABLE " + r.database)
	wantRow(t, "before anybody comes", find(t, table(t, c, "DATABASES"), "name", r.database), "paused", "1", "disabled", "0")
	s := openSocket(t, r.url)
	s.send(startup(r.url))
	r.awaitQueued(t)
	order("RESUME " + r.database)
	s.until("Z")
	s.wants("it is resumed", one, "Z", text("SELECT 1"))
	wantsError(t, r.server.Disable("pgbouncer"), "no such database: pgbouncer")
	order("PAUSE elsewhere")
	r.reload(t, named("app", r.upstream, r.database), without(proxy.AnyDatabase))
	order("RESUME elsewhere")
	wantsError(t, r.server.Resume("elsewhere"), "no such database: elsewhere")
}
