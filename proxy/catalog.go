package proxy

import (
	"context"
	"strconv"
	"time"

	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/proxy/session"
)

// A catalog is read when the first server connection of a pool is made, when a statement ran that may have changed the
// functions, and with new connections once it is old.

// catalogLives is how long a catalog is taken for new, when another connection is made.
const catalogLives = 30 * time.Second

// FindFunctions finds the functions whose bodies name a lock function: those of PostgreSQL by oid, for FunctionCall
// messages, and the users' own by name. And it finds those whose bodies change settings for longer than a transaction, or
// make temporary tables. Trigger functions cannot be called by name.
const FindFunctions = `SELECT p.oid::pg_catalog.int8::pg_catalog.text, n.nspname::pg_catalog.text, p.proname::pg_catalog.text, f.locks, f.leaves
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace CROSS JOIN LATERAL (SELECT
CASE WHEN n.nspname OPERATOR(pg_catalog.=) ANY ('{pg_catalog,information_schema}')
THEN p.proname OPERATOR(pg_catalog.~) '^pg_(try_)?advisory_(xact_)?(un)?lock' AND n.nspname OPERATOR(pg_catalog.=) 'pg_catalog'
WHEN p.prokind OPERATOR(pg_catalog.<>) 'a'
THEN pg_catalog.pg_get_functiondef(p.oid) OPERATOR(pg_catalog.~*) 'pg_(try_)?advisory_' ELSE false END AS locks,
n.nspname OPERATOR(pg_catalog.<>) ALL ('{pg_catalog,information_schema}') AND
(pg_catalog.regexp_replace(p.prosrc, 'set_config\s*\([^()]*,\s*true\s*\)', '', 'gi') OPERATOR(pg_catalog.~*) 'set_config\s*\('
OR p.prosrc OPERATOR(pg_catalog.~*) '(^|;|''|\ybegin|\ythen|\yelse|\yloop)\s*(re)?set\s+(?!local\y|transaction\y|constraints\y)["\w]'
OR p.prosrc OPERATOR(pg_catalog.~*) '\ycreate\s+((local|global)\s+)?temp') AS leaves) f
WHERE p.prorettype OPERATOR(pg_catalog.<>) 'pg_catalog.trigger'::pg_catalog.regtype AND (f.locks OR f.leaves)`

// newCatalog makes a catalog of the functions from the configuration and of the rows that FindFunctions gave.
func newCatalog(configured []string, rows [][]string) (*session.Catalog, error) {
	var found []session.Function
	for _, row := range rows {
		oid, err := strconv.ParseUint(row[0], 10, 32)
		if err != nil {
			return nil, err
		}
		found = append(found, session.Function{
			OID: uint32(oid), Schema: row[1], Name: row[2], Locks: row[3] == "t", Leaves: row[4] == "t",
		})
	}
	return session.NewCatalog(configured, found)
}

// findings gives the probe for a connection about to be made, or none while the catalog is new.
func (p *pool) findings() []*backend.Probe {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.known.IsZero() && time.Since(p.known) < catalogLives {
		return nil
	}
	return []*backend.Probe{{Name: "the functions that take locks or leave state", SQL: FindFunctions}}
}

// learn takes over what the probe found.
func (p *pool) learn(probes []*backend.Probe) {
	for _, probe := range probes {
		catalog, err := newCatalog(p.database.Functions, probe.Rows)
		if err != nil {
			p.server.log.Error("the functions that take locks cannot be used", "database", p.name.database, "error", err)
			continue
		}
		p.catalog.Store(catalog)
		p.mu.Lock()
		p.known = time.Now()
		p.mu.Unlock()
	}
}

// redefined has the catalog read again, soon: when the transaction that changed it may be over, and once more later.
func (p *pool) redefined() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = time.Time{}
	if p.rereading || p.closed {
		return
	}
	p.rereading = true
	time.AfterFunc(rereadAfter, p.reread)
}

// rereadAfter is how long a statement that changes functions may take until its change is seen.
const rereadAfter = 200 * time.Millisecond

func (p *pool) reread() {
	p.mu.Lock()
	p.rereading = false
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return
	}
	ctx, cancel := context.WithTimeout(closing{p.done}, cancelWithin)
	defer cancel()
	probes := p.findings()
	conn, err := backend.Dial(ctx, p.target, probes...)
	if err == nil {
		conn.Close()
		p.learn(probes)
		p.heed(conn)
	} else {
		p.server.log.Warn("the functions that take locks could not be read again", "database", p.name.database, "error", err)
	}
}
