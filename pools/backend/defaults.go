package backend

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unique"
)

// Defaults are the settings that a session begins with.
type Defaults struct {
	print string                // stands for what ALTER ROLE ... SET and ALTER DATABASE ... SET say: another one after every change
	text  unique.Handle[string] // what the server told, which many sessions have in common
}

// beginning is what the server tells of them.
type beginning struct {
	Altered []string          // the names of those that ALTER ROLE and ALTER DATABASE give
	Values  map[string]string // of all that every user may set, by lower-case names
}

// Same tells whether ALTER ROLE and ALTER DATABASE have said the same when both sessions began.
func (d Defaults) Same(other Defaults) bool { return d.print == other.print }

// Kept gives what a session that began with d keeps where ALTER ROLE and ALTER DATABASE give later ones something else. Only
// what any user may put in place at any time is among it.
func (d Defaults) Kept(later Defaults) (kept []Parameter) {
	was, is := d.read(), later.read()
	altered := append(slices.Clone(was.Altered), is.Altered...)
	slices.Sort(altered)
	for _, name := range slices.Compact(altered) {
		old, had := was.Values[name]
		now, has := is.Values[name]
		if had == has && old == now || fixed[name] || poolsOwn[name] && !slices.Contains(was.Altered, name) {
			continue
		}
		if had || strings.Contains(name, ".") { // which is unknown to a session that never had it: for a policy, the empty text
			kept = append(kept, Parameter{name, old})
		}
	}
	return kept
}

// fixed are settings that SET may refuse though they were in place when a session began: those that name what may be gone, and
// one that temporary tables fix. Those of a transaction end with it.
var fixed = map[string]bool{
	"default_tablespace": true, "temp_tablespaces": true, "default_table_access_method": true, "default_text_search_config": true,
	"temp_buffers": true, "transaction_isolation": true, "transaction_read_only": true, "transaction_deferrable": true,
}

// poolsOwn are the timeouts that a pool sets for sessions whose application has none of its own.
var poolsOwn = map[string]bool{"lock_timeout": true, "idle_in_transaction_session_timeout": true}

func (d Defaults) read() (b beginning) {
	if d.text == (unique.Handle[string]{}) || json.Unmarshal([]byte(d.text.Value()), &b) != nil {
		return beginning{}
	}
	for i, name := range b.Altered {
		b.Altered[i] = strings.ToLower(name)
	}
	for _, name := range slices.Collect(maps.Keys(b.Values)) {
		if lower := strings.ToLower(name); lower != name {
			b.Values[lower] = b.Values[name]
			delete(b.Values, name)
		}
	}
	return b
}

// defaultsQuery asks for them. What the catalog says may have changed since the session began, so it also asks what the session has had from
// there (the sources of its settings). It leaves out what is no ASCII, which the connection's encoding may not have.
// The settings that are others now are those that give it the time to answer.
const defaultsQuery = `WITH said AS (SELECT * FROM pg_catalog.pg_db_role_setting s` +
	` WHERE setdatabase OPERATOR(pg_catalog.=) ANY (ARRAY[0::pg_catalog.oid, (SELECT oid FROM pg_catalog.pg_database` +
	` WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database())])` +
	` AND setrole OPERATOR(pg_catalog.=) ANY (ARRAY[0::pg_catalog.oid, (SELECT oid FROM pg_catalog.pg_roles` +
	` WHERE rolname OPERATOR(pg_catalog.=) session_user)])),` +
	` own AS (SELECT name, context, source, reset_val FROM pg_catalog.pg_settings),` +
	` begun AS (SELECT name FROM own WHERE source OPERATOR(pg_catalog.=) ANY ('{database,user,database user}')),` +
	` altered AS (SELECT pg_catalog.split_part(one, '=', 1) AS name FROM said, pg_catalog.unnest(setconfig) one UNION SELECT name FROM begun),` +
	` settable AS (SELECT name, CASE WHEN name OPERATOR(pg_catalog.=) ANY ('{statement_timeout,transaction_timeout}') THEN reset_val ELSE pg_catalog.current_setting(name, true) END AS value FROM own WHERE context OPERATOR(pg_catalog.=) 'user'` +
	` UNION ALL SELECT name, pg_catalog.current_setting(name, true) FROM altered` +
	` WHERE pg_catalog.strpos(name, '.') OPERATOR(pg_catalog.>) 0 AND NOT EXISTS (SELECT FROM own WHERE own.name OPERATOR(pg_catalog.=) altered.name))` +
	` SELECT pg_catalog.concat((SELECT pg_catalog.hashtextextended(pg_catalog.string_agg(said::pg_catalog.text, '' ORDER BY setdatabase, setrole), 0) FROM said), ' ',` +
	` (SELECT pg_catalog.hashtextextended(pg_catalog.string_agg(pg_catalog.concat(name, '=', pg_catalog.current_setting(name, true)), ',' ORDER BY name), 0) FROM begun)),` +
	` pg_catalog.json_build_object('altered', (SELECT pg_catalog.json_agg(name) FROM altered` +
	` WHERE name OPERATOR(pg_catalog.~) '^[ -~]*$'), 'values', (SELECT pg_catalog.json_object_agg(name, value) FROM settable` +
	` WHERE (name OPERATOR(pg_catalog.||) value) OPERATOR(pg_catalog.~) '^[ -~]*$'))`
