package sql

// Effect is a set of what calls of lock functions do.
type Effect uint8

// Session-level locks are held until released or until the session ends, transaction-level ones until the transaction
// ends. A "try" takes the lock or gives false. (PostgreSQL manual, "Advisory Lock Functions".)
const (
	SessionAcquire Effect = 1 << iota
	SessionTry
	SessionRelease
	UnlockAll
	XactAcquire
	XactTry
	Unknown // a function of the user's that takes locks in a way that is not known
)

// lockFunctions are PostgreSQL's own, all in pg_catalog.
var lockFunctions = map[string]Effect{
	"pg_advisory_lock":                 SessionAcquire,
	"pg_advisory_lock_shared":          SessionAcquire,
	"pg_try_advisory_lock":             SessionTry,
	"pg_try_advisory_lock_shared":      SessionTry,
	"pg_advisory_unlock":               SessionRelease,
	"pg_advisory_unlock_shared":        SessionRelease,
	"pg_advisory_unlock_all":           UnlockAll,
	"pg_advisory_xact_lock":            XactAcquire,
	"pg_advisory_xact_lock_shared":     XactAcquire,
	"pg_try_advisory_xact_lock":        XactTry,
	"pg_try_advisory_xact_lock_shared": XactTry,
}

// lockNames holds the names once, for those who keep one.
var lockNames = func() map[string]string {
	names := make(map[string]string, len(lockFunctions))
	for name := range lockFunctions {
		names[name] = name
	}
	return names
}()

// touchingFunctions are functions of PostgreSQL's own and of dblink that change the server session.
var touchingFunctions = map[string]Touch{
	"setseed":        TouchSeed,
	"currval":        TouchSequence,
	"lastval":        TouchSequence,
	"nextval":        TouchAdvance,
	"setval":         TouchAdvance,
	"pg_notify":      TouchNotify,
	"pg_backend_pid": TouchPid,

	"dblink_connect": TouchLinks, "dblink_connect_u": TouchLinks,
	// A backup that is not ended by its session is none; origins and temporary slots are the session's.
	"pg_backup_start": TouchFunction, "pg_start_backup": TouchFunction, "pg_replication_origin_session_setup": TouchFunction,
	"pg_create_physical_replication_slot": TouchFunction, "pg_create_logical_replication_slot": TouchFunction,
	"pg_copy_physical_replication_slot": TouchFunction, "pg_copy_logical_replication_slot": TouchFunction,
}

// ofExtensions are C functions of well-known extensions that do: of pg_trgm, isn, HypoPG, set_user, temporal_tables and pg_variables, and
// those that run texts. Others
// keep nothing but caches.
var ofExtensions = func() map[string]Function {
	all := map[string]Function{"set_limit": {Settings: []string{"pg_trgm.similarity_threshold"}}}
	for _, name := range []string{
		"isn_weak", "hypopg_create_index", "hypopg_hide_index", "set_user", "set_user_u", "set_session_auth", "set_system_time", "pgv_set", "pgv_insert",
		"pgv_set_int", "pgv_set_text", "pgv_set_numeric", "pgv_set_timestamp", "pgv_set_timestamptz", "pgv_set_date", "pgv_set_jsonb",
	} {
		all[name] = Function{Touches: TouchFunction}
	}
	for name, texts := range textsOfExtensions {
		all[name] = Function{Texts: texts}
	}
	return all
}()

// touchingNames are views and functions that count wherever they are named: those that show prepared statements, and
// those that tell of server processes by id.
var touchingNames = map[string]Touch{
	"pg_prepared_statements":               TouchNames,
	"pg_prepared_statement":                TouchNames,
	"pg_stat_activity":                     TouchPids,
	"pg_stat_get_activity":                 TouchPids,
	"pg_locks":                             TouchPids,
	"pg_cancel_backend":                    TouchPids,
	"pg_terminate_backend":                 TouchPids,
	"pg_blocking_pids":                     TouchPids,
	"pg_safe_snapshot_blocking_pids":       TouchPids,
	"pg_isolation_test_session_is_blocked": TouchPids,
}

// FunctionEffect gives the effect of PostgreSQL's own function of that name in lower case, 0 if it takes no locks.
func FunctionEffect(name string) Effect { return lockFunctions[name] }
