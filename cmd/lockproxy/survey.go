package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockproxy/lockproxy/pools/backend"
)

// serverFacts are facts of a server, whichever database was asked.
type serverFacts struct {
	identity                 string // The same for all databases of one server.
	version                  string
	maxConnections, reserved int
}

// connectionLimit is a limit besides max_connections; -1 connections means none.
type connectionLimit struct {
	of          string
	connections int
}

// findings are what survey sees in a database.
type findings struct {
	server        serverFacts
	limits        []connectionLimit
	lockFunctions []string // Functions of the user's that take advisory locks, by their text.
	unlisted      []string // Those of them that the configuration does not name.
	missing       []string // Those in the configuration that do not exist.
}

// factsQuery gives one row. The start of the postmaster tells servers apart: to the microsecond, and for everybody to
// see, unlike the system identifier, which a standby shares. reserved_connections exists since PostgreSQL 16.
const factsQuery = `
	SELECT current_setting('server_version'), current_setting('max_connections'),
		current_setting('superuser_reserved_connections')::int
			+ coalesce(nullif(current_setting('reserved_connections', true), '')::int, 0),
		pg_postmaster_start_time(), d.datconnlimit, r.rolconnlimit, quote_ident(datname), quote_ident(rolname)
	FROM pg_database d, pg_roles r
	WHERE d.datname = current_database() AND r.rolname = current_user`

// functionsQuery lists functions with a call of a lock function in their text. CASE holds back pg_get_functiondef, which
// fails for aggregates.
const functionsQuery = `
	SELECT DISTINCT n.nspname, p.proname, quote_ident(n.nspname) || '.' || quote_ident(p.proname) AS name
	FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
	WHERE CASE WHEN n.nspname NOT IN ('pg_catalog', 'information_schema') AND p.prokind IN ('f', 'p')
		THEN pg_get_functiondef(p.oid) ~* '\mpg_(try_)?advisory_(xact_)?lock' END`

// listed matches an entry e of pools.lock.functions, taken apart by parse_ident, with a function of a schema and name.
const listed = `(parse_ident(e))[cardinality(parse_ident(e))] = %[2]s
	AND (cardinality(parse_ident(e)) = 1 OR (parse_ident(e))[1] = %[1]s)`

// survey connects to a target and looks around. functions are the configured ones.
func survey(ctx context.Context, target *backend.Target, functions []string) (findings, error) {
	var found findings
	conn, err := connect(ctx, target)
	if err != nil {
		return found, err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "SET search_path = pg_catalog").ReadAll(); err != nil {
		return found, err
	}
	if err := found.readFacts(ctx, conn); err != nil {
		return found, err
	}
	array := textArray(functions)
	for _, query := range []struct {
		to  *[]string
		sql string
	}{
		{&found.lockFunctions, `SELECT f.name FROM (` + functionsQuery + `) f WHERE $1 IS NOT NULL ORDER BY 1`},
		{&found.unlisted, `SELECT f.name FROM (` + functionsQuery + `) f WHERE NOT EXISTS (SELECT FROM unnest($1::text[]) e WHERE ` +
			fmt.Sprintf(listed, "f.nspname", "f.proname") + `) ORDER BY 1`},
		{&found.missing, `SELECT e FROM unnest($1::text[]) e WHERE NOT EXISTS (
			SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE ` +
			fmt.Sprintf(listed, "n.nspname", "p.proname") + `)`},
	} {
		result := conn.ExecParams(ctx, query.sql, [][]byte{[]byte(array)}, nil, nil, nil).Read()
		if result.Err != nil {
			return found, fmt.Errorf("look for lock functions: %w", result.Err)
		}
		for _, row := range result.Rows {
			*query.to = append(*query.to, string(row[0]))
		}
	}
	return found, nil
}

// connect dials as the pools do, and puts pgconn's client around the socket.
func connect(ctx context.Context, target *backend.Target) (*pgconn.PgConn, error) {
	dialed, err := backend.Dial(ctx, target)
	if err != nil {
		return nil, err
	}
	config, err := pgconn.ParseConfig("")
	if err != nil {
		dialed.Close()
		return nil, err
	}
	const idle = 'I'
	return pgconn.Construct(&pgconn.HijackedConn{
		Conn: dialed.Net, PID: dialed.Pid, SecretKey: dialed.Key, TxStatus: idle, Config: config,
		ParameterStatuses: map[string]string{},
	})
}

func (f *findings) readFacts(ctx context.Context, conn *pgconn.PgConn) error {
	results, err := conn.Exec(ctx, factsQuery).ReadAll()
	if err != nil {
		return fmt.Errorf("ask for the server's limits: %w", err)
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return errors.New("ask for the server's limits: the catalog does not know this database or user")
	}
	row := results[0].Rows[0]
	numbers := make([]int, len(row))
	for _, i := range []int{1, 2, 4, 5} {
		if numbers[i], err = strconv.Atoi(string(row[i])); err != nil {
			return fmt.Errorf("ask for the server's limits: %w", err)
		}
	}
	f.server = serverFacts{
		version: string(row[0]), maxConnections: numbers[1], reserved: numbers[2], identity: string(row[3]),
	}
	f.limits = []connectionLimit{
		{"the connection limit of database " + string(row[6]), numbers[4]},
		{"the connection limit of role " + string(row[7]), numbers[5]},
	}
	return nil
}

// textArray is a literal of type text[].
func textArray(texts []string) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	all := make([]string, len(texts))
	for i, text := range texts {
		all[i] = `"` + escape.Replace(text) + `"`
	}
	return "{" + strings.Join(all, ",") + "}"
}
