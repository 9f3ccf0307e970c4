package proxy

import (
	"strconv"
	"time"

	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/proxy/session"
)

// catalogLives is how long a catalog is taken for new, when another connection is made.
const catalogLives = 30 * time.Second

// FindFunctions gives a database's functions with what they may do to a session: PostgreSQL's own lock functions, for
// FunctionCall messages, and all of the user's with their bodies, which session.NewCatalog reads. What calls a function
// without naming it depends on it (pg_depend): triggers and column defaults when somebody writes, the rest at any time. What calls
// PostgreSQL's own does not depend on them: it is read as a function without a name.
const FindFunctions = `WITH v AS MATERIALIZED (SELECT ` + session.AskVersion + ` AS version, EXISTS (SELECT FROM pg_catalog.pg_attrdef
WHERE adbin::pg_catalog.text OPERATOR(pg_catalog.~) ':funcid (1575|2559) ') AS sequences, ` + callsThatLeave + ` AS calls)
SELECT p.oid::pg_catalog.int8::pg_catalog.text, n.nspname::pg_catalog.text, p.proname::pg_catalog.text,
l.lanname::pg_catalog.text, EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid OPERATOR(pg_catalog.=) p.tableoid
AND e.objid OPERATOR(pg_catalog.=) p.oid AND e.deptype OPERATOR(pg_catalog.=) 'e'), c.callers::pg_catalog.text, c.total::pg_catalog.text,
c.writes, v.version, v.sequences, p.prosecdef, CASE WHEN n.nspname OPERATOR(pg_catalog.=) 'pg_catalog' THEN '' ELSE pg_catalog.left(pg_catalog.concat(
CASE WHEN p.pronargdefaults OPERATOR(pg_catalog.>) 0 THEN pg_catalog.concat(pg_catalog.pg_get_function_arguments(p.oid), ' ; ') END,
CASE WHEN p.prosrc OPERATOR(pg_catalog.=) '' THEN pg_catalog.substring(pg_catalog.pg_get_functiondef(p.oid), '\n((BEGIN ATOMIC|RETURN ).*)$')
ELSE p.prosrc END), 200001) END, pg_catalog.array_to_string(p.proconfig, ' ') OPERATOR(pg_catalog.~) 'search_path=.*pg_temp'
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS callers, pg_catalog.sum(d.xmin::pg_catalog.text::pg_catalog.int8) AS total,
pg_catalog.bool_and(d.classid OPERATOR(pg_catalog.=) ANY ('{pg_catalog.pg_trigger,pg_catalog.pg_event_trigger,
pg_catalog.pg_attrdef,pg_catalog.pg_class}'::pg_catalog.regclass[])) AS writes
FROM pg_catalog.pg_depend d WHERE d.refclassid OPERATOR(pg_catalog.=) p.tableoid AND d.refobjid OPERATOR(pg_catalog.=) p.oid) c
CROSS JOIN v
WHERE CASE n.nspname WHEN 'pg_catalog' THEN p.proname OPERATOR(pg_catalog.~) '^pg_(try_)?advisory_(xact_)?(un)?lock'
WHEN 'information_schema' THEN false ELSE p.prokind OPERATOR(pg_catalog.<>) 'a' END
UNION ALL SELECT '0', '', '', 'sql', false, '0', '0', e.writes, v.version, v.sequences, false, pg_catalog.left(e.body, 200001), false FROM (
SELECT ev_type OPERATOR(pg_catalog.<>) '1' AS writes, CASE ev_type WHEN '1' THEN pg_catalog.pg_get_viewdef(ev_class)
ELSE pg_catalog.substring(pg_catalog.pg_get_ruledef(oid), ' DO (.*)$') END AS body FROM pg_catalog.pg_rewrite
WHERE oid OPERATOR(pg_catalog.>=) 16384 AND ev_action::pg_catalog.text OPERATOR(pg_catalog.~) (SELECT calls FROM v)
UNION ALL SELECT true, pg_catalog.pg_get_expr(adbin, adrelid) FROM pg_catalog.pg_attrdef
WHERE adbin::pg_catalog.text OPERATOR(pg_catalog.~) (SELECT calls FROM v)
UNION ALL SELECT conrelid OPERATOR(pg_catalog.<>) 0, pg_catalog.pg_get_constraintdef(oid) FROM pg_catalog.pg_constraint
WHERE conbin::pg_catalog.text OPERATOR(pg_catalog.~) (SELECT calls FROM v)
UNION ALL SELECT false, pg_catalog.concat(pg_catalog.pg_get_expr(polqual, polrelid), ' ; ', pg_catalog.pg_get_expr(polwithcheck, polrelid))
FROM pg_catalog.pg_policy WHERE pg_catalog.concat(polqual, polwithcheck) OPERATOR(pg_catalog.~) (SELECT calls FROM v)) e CROSS JOIN v`

// callsThatLeave is a pattern that finds calls in stored expressions, of PostgreSQL's own functions that leave something in the session
// (pg_proc.dat): setseed, set_config, those that take locks for longer than the transaction; and of those that run a text: query_to_xml and its
// kind, ts_rewrite, ts_stat, and the ones of tablefunc and xml2.
const callsThatLeave = `pg_catalog.concat(':funcid (1599|2078|288[0-36-9]|292[47]|2930|368[59]|3690', (SELECT pg_catalog.string_agg(
pg_catalog.concat('|', oid), '') FROM pg_catalog.pg_proc WHERE oid OPERATOR(pg_catalog.>=) 16384 AND probin IS NOT NULL
AND proname OPERATOR(pg_catalog.~) '^(crosstab[234]?|connectby|xpath_table)$'), ') ')`

// maxBody is how many characters of a body are read. What goes on longer may do anything.
const maxBody = 200000

// newDefinitions reads the rows that FindFunctions gave.
func newDefinitions(rows [][]string) (*session.Definitions, error) {
	d := &session.Definitions{}
	for _, row := range rows {
		oid, err := strconv.ParseUint(row[0], 10, 32)
		if err != nil {
			return nil, err
		}
		r := session.Routine{OID: uint32(oid)}
		r.Schema, r.Name, r.Language, r.Extension, r.Definer, r.Body = row[1], row[2], row[3], row[4] == "t", row[10] == "t", row[11]
		r.Temporary = row[12] == "t"
		r.Callers, _ = strconv.ParseInt(row[5], 10, 64)
		r.CallersSum, _ = strconv.ParseInt(row[6], 10, 64)
		switch {
		case row[7] == "t":
			r.Unseen = session.UnseenWrites
		case row[7] == "f":
			r.Unseen = session.UnseenAlways
		}
		if len(r.Body) > maxBody {
			r.Language = "" // as one that nobody can read
		}
		d.Version, d.Sequences = row[8], row[9] == "t"
		d.Routines = append(d.Routines, r)
	}
	return d, nil
}

// reading is one look at the functions of a database.
type reading struct {
	backend.Probe
	changes uint64 // how many changes were known of when it began
}

func newReading(changes uint64) *reading {
	return &reading{backend.Probe{Name: "the functions that take locks or leave state", SQL: FindFunctions}, changes}
}
