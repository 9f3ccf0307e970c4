// Package console is what operators see of a running lockproxy, and what they tell it: one snapshot, as the rows of SHOW
// commands and as metrics, so that the two cannot drift apart, and the commands that control it.
package console

import "time"

// Snapshot is what a server looks like at one moment. Who has it may keep it: nothing in it changes.
type Snapshot struct {
	Version string    // of lockproxy
	Begun   time.Time // when the server was made
	Now     time.Time
	Older   time.Time // when the averages begin: one or two periods ago

	Pools     []Pool        // by database and user
	Buried    Totals        // of pools that are no more
	Databases []Database    // by name
	Users     []User        // by name
	Sessions  []SessionInfo // by process id
	Backends  []Backend     // by database, user and process id
	Settings  []Setting

	Paused     bool // everywhere
	LoggingIn  int  // connections that have not proved yet who they are
	MaxClients int
	Draining   bool // the server ends, and lets nobody in

	Refused map[string]uint64 // logins, by SQLSTATE
	Pinned  map[string]uint64 // transactions on a server connection that their session keeps, by reason
}

// Kind is one of the two pools of a (database, user).
type Kind int

const (
	Admin Kind = iota // of everything but advisory locks
	Lock              // of sessions that ask for, wait for or hold an advisory lock

	Kinds // how many there are
)

// String gives the pool's name.
func (k Kind) String() string { return [...]string{"admin", "lock"}[k] }

// Pool is the two pools of one (database, user), with whatever other connections of theirs there are.
type Pool struct {
	Database, User string
	SessionMode    bool
	Clients        int // whatever they do
	Replicating    int // of those: with a server connection of their own, which is in neither pool

	Slots [Kinds]Slots
	Totals
	Older Totals // what they were at the beginning of the averages

	Births     uint64            // server connections made
	Deaths     map[string]uint64 // and closed, by reason
	Misses     uint64            // attempts that failed
	Locks      map[string]uint64 // statements that may have waited for an advisory lock, by outcome
	Promotions Promotions
}

// Inherit adds the server connections of a pool that this one has taken the place of. What it has counted is Buried's.
func (p *Pool) Inherit(old *Pool) {
	for k := range p.Slots {
		s, o := &p.Slots[k], &old.Slots[k]
		s.Active, s.Holding, s.Idle, s.Dialing = s.Active+o.Active, s.Holding+o.Holding, s.Idle+o.Idle, s.Dialing+o.Dialing
	}
}

// Promotions are transactions on an admin connection that came to ask for an advisory lock.
type Promotions struct{ Granted, Refused, Anew uint64 }

// Slots is what one of the two pools looks like.
type Slots struct {
	Max          int
	Active       int // checked out
	Holding      int // of those: by sessions that hold advisory locks
	Idle         int
	Dialing      int
	Waiting      int       // checkouts in the queue
	Promoting    int       // promotions in the queue; of the lock pool alone
	WaitingSince time.Time // of the longest wait; zero: nobody waits
	Waits        Histogram // of checkouts, those that waited and those that did not
	Holds        Histogram // from checkout to release
	Refusals     map[string]uint64
}

// Database is a name that clients connect to, or one that they have used under "*".
type Database struct {
	Name           string
	Host           string
	Port           int
	ServerDatabase string
	ForcedUser     string // the server's name for all its clients; "": each has its own
	SessionMode    bool
	Sizes          [Kinds]int
	MinIdle        int
	MaxLifetime    time.Duration
	MaxClients     int // 0: no bound of its own
	Clients        int
	Backends       int
	Paused         bool
	Disabled       bool
}

// User is a name that is known: to clients, by which they log in, or to servers, or to both.
type User struct {
	Name       string
	MaxClients int // 0: no bound of its own
	Clients    int // that logged in with it
	Backends   int // that a server knows by it
}

// SessionInfo is what one client looks like.
type SessionInfo struct {
	Pid             uint32 // that its cancel requests name
	Database, User  string // as it gave them
	Pooled          string // the user as the server sees it
	Address         string // and port; "local" for a unix socket
	Local           string // to which it came; "": it is over
	TLS             string // version and cipher; "": clear text
	ApplicationName string
	Since           time.Time
	State           string    // "idle", "active", "idle in transaction", "idle in transaction (aborted)", "replication", "console"
	Asked           time.Time // when it sent something last; zero: not known
	BackendPid      uint32    // of the server process that it has; 0: none
	Prepared        int       // statements that it has prepared
	Replication     string    // "none", "logical" or "physical"

	Pinned      []string  // why it keeps its server beyond a transaction; none: it does not
	PinnedSince time.Time // zero: it is not pinned
	PinnedBy    string    // the statement that pinned it first, shortened, without values

	WaitingSince time.Time // for a server; zero: it does not wait
	WaitsFor     string    // "admin" or "lock": the pool; "promotion"; "" where it does not wait
}

// Backend is one server connection.
type Backend struct {
	Pid            uint32
	Database, User string
	Kind           Kind
	Active         bool
	Holding        bool   // its session holds advisory locks
	Replication    string // "none", "logical" or "physical"
	Address        string // of the server, with the port
	Local          string
	TLS            string
	Born           time.Time
	Since          time.Time // active or idle
	Client         uint32    // whose session has it; 0: nobody's
	Application    string    // that client's
}

// Setting is one of the configuration's.
type Setting struct {
	Name, Value, Default string
	Changeable           bool // without a restart
}
