package backend

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"unique"

	"github.com/jackc/pgx/v5/pgconn"
)

// factsQuery asks where the two timeouts come from, and for what else is to be known. It is qualified down to the operators, since the search_path is the
// user's.
const factsQuery = `SELECT name, reset_val, source FROM pg_catalog.pg_settings` +
	` WHERE name OPERATOR(pg_catalog.=) 'lock_timeout'` +
	` OR name OPERATOR(pg_catalog.=) 'idle_in_transaction_session_timeout'` +
	` OR name OPERATOR(pg_catalog.=) 'statement_timeout'` +
	` OR name OPERATOR(pg_catalog.=) 'search_path'` +
	` OR name OPERATOR(pg_catalog.=) 'server_version_num'`

// askFacts fills in Version, SearchPath, Defaults and the Own fields, in one round trip.
func (c *Conn) askFacts(ctx context.Context, pg *pgconn.PgConn) error {
	results, err := untimed(ctx, pg, factsQuery+";"+defaultsQuery)
	if err != nil {
		return fmt.Errorf("ask for the server's settings: %w", err)
	}
	if len(results) != 2 || len(results[1].Rows) != 1 || len(results[1].Rows[0]) != 2 {
		return errors.New("ask for the server's settings: no answer")
	}
	c.Defaults = Defaults{string(results[1].Rows[0][0]), unique.Make(string(results[1].Rows[0][1]))}
	for _, row := range results[0].Rows {
		if len(row) != 3 {
			return errors.New("ask for the server's settings: unexpected columns")
		}
		setting, source := string(row[1]), string(row[2])
		switch string(row[0]) {
		case "lock_timeout":
			c.OwnLockTimeout = isApplications(source)
		case "idle_in_transaction_session_timeout":
			c.OwnIdleTimeout = isApplications(source)
		case "statement_timeout":
			c.BoundsStatements = setting != "0"
		case "search_path":
			c.SearchPath = setting
		case "server_version_num":
			c.Version, err = strconv.Atoi(setting)
			if err != nil {
				return fmt.Errorf("ask for the server's settings: version %q", setting)
			}
		}
	}
	return nil
}

// isApplications tells whether a value with this pg_settings.source was chosen for the application: with ALTER DATABASE,
// ALTER ROLE, or at the start of the session. The rest is how the server as a whole was set up (GucSource_Names in
// src/backend/utils/misc/guc_tables.c).
func isApplications(source string) bool {
	switch source {
	case "default", "environment variable", "configuration file", "command line":
		return false
	}
	return true
}
