package console

import "time"

// LockInfo is one advisory lock that a session holds or waits for, as it was at one moment.
type LockInfo struct {
	Words string // the key as the application names it: what it hashes, or the numbers that it gives; "": not known
	Key   string // the key as lock functions take it: "42", or "7, 42" where it has two

	// As pg_locks shows the key.
	ClassID, ObjID uint32
	ObjSubID       uint16

	Level string    // "session" or "transaction"; "": not known
	Mode  string    // "exclusive" or "shared"
	State string    // "held" or "waiting"
	Since time.Time // zero: not known

	Client          uint32 // the process id that its client knows; 0: a session outside of this lockproxy
	Address         string
	ApplicationName string
	Database, User  string
	BackendPid      uint32 // of the server process; 0: a prepared transaction holds it
	Statement       string // the last one, shortened, without values
	Waiters         int    // how many wait for the key, this one not counted
}
