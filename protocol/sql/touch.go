package sql

// Touch is a set of parts of the server session that statements may change.
type Touch uint64

// What a text may touch.
const (
	TouchSettings      Touch = 1 << iota // a setting, for longer than the transaction
	TouchLocalSettings                   // a setting, for the transaction
	TouchLockTimeout                     // lock_timeout, in whatever way
	TouchIdleTimeout                     // idle_in_transaction_session_timeout, in whatever way
	TouchPrepare                         // PREPARE
	TouchNames                           // a look at the prepared statements (pg_prepared_statements)
	TouchDeallocate                      // DEALLOCATE
	TouchTemp                            // the temporary schema
	TouchListen                          // LISTEN
	TouchUnlisten                        // UNLISTEN
	TouchHold                            // DECLARE ... WITH HOLD
	TouchClose                           // CLOSE
	TouchLoad                            // LOAD
	TouchSequence                        // currval or lastval: what nextval left in the session is asked for
	TouchAdvance                         // nextval or setval, or what may call them by a column's default
	TouchSeed                            // the seed of random()
	TouchNotify                          // NOTIFY, or pg_notify
	TouchPids                            // a question about server processes, by their ids
	TouchPid                             // pg_backend_pid in a statement that may store it
	TouchDiscardAll                      // DISCARD ALL
	TouchDiscardOther                    // any other DISCARD
	TouchDrop                            // DROP, of a temporary table for one
	TouchDynamic                         // DO or CALL, whose bodies may do anything
	TouchDefinition                      // what may change which functions take locks, or a role's own settings
	TouchLinks                           // connections that the server session keeps (dblink_connect)
	TouchRollbackTo                      // ROLLBACK TO SAVEPOINT
	TouchFunction                        // whatever a function may keep in the server process
	TouchSchema                          // what tables and other objects there are, or how they are made
	TouchCreates                         // the schema that the search_path begins with, in a function that creates something
	TouchElevates                        // settings, by functions with their owner's rights (SECURITY DEFINER)
	TouchHolds                           // session-level locks, in functions of the user's
)

// Has tells whether t has any of the bits.
func (t Touch) Has(bit Touch) bool { return t&bit != 0 }
