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

// listed finds entries e of pools.lock.functions, the parameter, that mean the function p in the namespace n.
const listed = `FROM unnest($1::text[]) e, parse_ident(e) i
	WHERE i[cardinality(i)] = p.proname AND (cardinality(i) = 1 OR i[1] = n.nspname)`

// functionsQuery lists functions with a call of a lock function in their text, and whether the configuration names them.
// CASE holds back pg_get_functiondef, which fails for aggregates.
const functionsQuery = `
	SELECT quote_ident(n.nspname) || '.' || quote_ident(p.proname), bool_or(EXISTS (SELECT ` + listed + `))
	FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
	WHERE CASE WHEN n.nspname NOT IN ('pg_catalog', 'information_schema') AND p.prokind IN ('f', 'p')
		THEN pg_get_functiondef(p.oid) ~* '\mpg_(try_)?advisory_(xact_)?lock' END
	GROUP BY 1 ORDER BY 1`

// missingQuery lists the names in the configuration that no function has.
const missingQuery = `
	SELECT m FROM unnest($1::text[]) m WHERE m NOT IN (
		SELECT e FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, LATERAL (SELECT e ` + listed + `) f)`

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
	return found, found.readFunctions(ctx, conn, []byte(textArray(functions)))
}

// readFunctions compares the functions of the database with the configured ones, a literal of type text[].
func (f *findings) readFunctions(ctx context.Context, conn *pgconn.PgConn, configured []byte) error {
	taking := conn.ExecParams(ctx, functionsQuery, [][]byte{configured}, nil, nil, nil).Read()
	if taking.Err != nil {
		return fmt.Errorf("look for lock functions: %w", taking.Err)
	}
	for _, row := range taking.Rows {
		name := string(row[0])
		f.lockFunctions = append(f.lockFunctions, name)
		if string(row[1]) == "f" {
			f.unlisted = append(f.unlisted, name)
		}
	}
	missing := conn.ExecParams(ctx, missingQuery, [][]byte{configured}, nil, nil, nil).Read()
	if missing.Err != nil {
		return fmt.Errorf("look for the functions in the configuration: %w", missing.Err)
	}
	for _, row := range missing.Rows {
		f.missing = append(f.missing, string(row[0]))
	}
	return nil
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
