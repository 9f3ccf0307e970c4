// Package sql reads SQL text as far as a connection pooler must: which statements a text holds, which calls of
// advisory-lock functions PostgreSQL would evaluate, and what of the server session they change.
//
// It knows PostgreSQL's lexical rules exactly (manual, "Lexical Structure"; src/backend/parser/scan.l) and of its
// grammar only what tells a function call from a name that merely looks like one. A text that PostgreSQL would reject
// may be read either way, since nothing of it runs. In doubt a call counts.
//
// Every type is a plain value; nothing here blocks, keeps state between calls or looks beyond its arguments.
package sql

// Unit is what one text does: a simple-query string, or the text of a Parse message.
type Unit struct {
	// Statements is the number of statements that are not empty.
	Statements int
	// Verb is the first statement's.
	Verb Verb
	// Lock tells what the lock functions do that the text calls where PostgreSQL would evaluate them. PREPARE and
	// DECLARE count. What an EXECUTE does is not in it: see Prepared. DISCARD ALL calls nothing: see Discards.
	Lock Effect
	// Calls is the number of those calls.
	Calls int
	// Simple tells that each call is an output column of its own, evaluated exactly once for each row that passes by:
	// if the statement ends without an error, its rows tell exactly what was taken and released. A NULL means that
	// the function was not called (all are strict). After an error nothing can be told.
	Simple bool
	// Columns holds the effect of each output column of a Simple text, 0 where it calls no lock function.
	Columns [8]Effect
	// Key is where the arguments of the only call stand in the text, without the parentheses. Empty if there are
	// several calls, or none, or if it is inside a quoted body.
	Key Span
	// Touches tells what of the server session the statements may change.
	Touches Touch
	// Discards tells that a DISCARD ALL is among the statements; it releases session-level locks, outside a transaction.
	Discards bool
	// Begin and End are set if the text is one statement that begins or ends a transaction.
	Begin BeginKind
	End   EndKind
	// Copies tells that a COPY is among the statements.
	Copies bool
	// TransactionInside tells that the text has several statements and begins or ends a transaction among them.
	TransactionInside bool
	// Settings are the settings that the text changes, SET LOCAL's among them, in the order of the text; nil for most.
	Settings []Setting
	// Prepared are the SQL-level PREPARE, EXECUTE and DEALLOCATE in the order of the text; nil for most.
	Prepared []PreparedOp
	// Cluster are the statements about databases as such, and about the settings that sessions begin with; nil for most.
	Cluster []ClusterOp
}

// Span is a part of a text: the bytes from From up to, not including, To.
type Span struct{ From, To int }

// BeginKind says how a transaction begins.
type BeginKind uint8

// What a text that is one statement begins.
const (
	BeginNone      BeginKind = iota
	BeginPlain               // can be answered without the server: it cannot fail there
	BeginReadWrite           // the same, but that a standby refuses it
	BeginOther               // something that is not valid
)

// EndKind says how a transaction ends.
type EndKind uint8

// What a text that is one statement ends. AND CHAIN and two-phase commit are EndNone: only the server can do them.
const (
	EndNone EndKind = iota
	EndCommit
	EndRollback
)

// Setting is one change of a session setting.
type Setting struct {
	Name  string // in lower case; "" if the text does not tell it, and of OpResetAll
	Local bool   // for the transaction alone
	Op    SettingOp
	Null  bool // of set_config: its value may be NULL, which gives the default

	// Where it is given its default: which statement of the text that is, from 0 and without the empty ones, and where it
	// ends, before a semicolon and what is no code.
	Index, End int
}

// SettingOp is what becomes of a setting.
type SettingOp uint8

// SET and set_config; RESET and SET ... TO DEFAULT; RESET ALL.
const (
	OpSet SettingOp = iota
	OpReset
	OpResetAll
)

// PreparedOp is one statement about SQL-level prepared statements.
type PreparedOp struct {
	Op      PrepareOp
	Index   int    // which statement of the text it is in, from 0; empty ones do not count
	Name    string // folded, unquoted and cut as PostgreSQL does it; "" of OpDeallocateAll
	Text    Span   // of OpPrepare and OpExecute: the statement, without a semicolon
	Query   int    // of OpPrepare: how far into Text the statement begins that is prepared
	Types   int    // of OpPrepare: how many parameters it names the types of; 0 where it leaves one of them open
	Effects Effect // of OpPrepare: what the prepared statement does to locks
	Touches Touch  // of OpPrepare: what the prepared statement touches

	Settings []Setting // of OpPrepare: what the prepared statement changes
	Runs     bool      // of OpExecute: false in an EXPLAIN that only plans
	Bare     bool      // of OpExecute: it has no arguments
}

// PrepareOp is the kind of a PreparedOp.
type PrepareOp uint8

// PREPARE; EXECUTE; DEALLOCATE name; DEALLOCATE ALL.
const (
	OpPrepare PrepareOp = iota
	OpExecute
	OpDeallocate
	OpDeallocateAll
)
