package session

import (
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// Output is what one step wants done, in this order: what Redefined says; bytes to the server, bytes to the client, then the actions. It
// belongs to the caller, which reuses it from step to step and for any session.
type Output struct {
	Server  [][]byte // for the server; parts may lie in the bytes that the step was given
	Client  [][]byte // for the client, likewise
	Actions []Action

	Pools Pools // asked for a server within the step; nil: by a Checkout action only

	Redefined Redefinition // to be known before anything else of the output; answered by Reconsider
	Notifies  bool         // what the server is sent may send a notification, to be known before that
	Work                   // for those who count
	Pinned    []string     // why Transactions ran on a server that the session keeps, a reason once for each

	scratch []byte
	units   spares[*sql.Unit] // for what is known of simple queries until they are answered
	rings   spares[[]request] // of queues that are empty
	rooms   spares[*room]     // for what little a client has sent and its session waits with
	spent   []*room           // that the output may still point to

	lockNames spares[*lockNames]
}

// spares is memory that nobody uses, for who needs some next: a client that waits for nothing owns none, and to make it for each
// message would be garbage.
type spares[T any] []T

// How many are kept. Other sessions' queries are read before the first one's are answered.
const (
	maxUnits = 64
	maxRings = 16
	maxRooms = 64
)

// take gives one, if there is one.
func (s *spares[T]) take() (one T, ok bool) {
	last := len(*s) - 1
	if last < 0 {
		return one, false
	}
	one, (*s)[last] = (*s)[last], one
	*s = (*s)[:last]
	return one, true
}

// keep keeps one, unless there are enough.
func (s *spares[T]) keep(one T, most int) {
	if len(*s) < most {
		*s = append(*s, one)
	}
}

// room is for a query or two: most wait at once, when there are more clients than servers.
type room [1024]byte

func (o *Output) newRoom() *room {
	if r, ok := o.rooms.take(); ok {
		return r
	}
	return new(room)
}

// spend takes a room back, once the output is done with.
func (o *Output) spend(r *room) {
	if r != nil && len(o.rooms)+len(o.spent) < maxRooms {
		o.spent = append(o.spent, r)
	}
}

// Pools answers at once. Servers it gives where one is idle and nobody waits: the client's bytes then need not be kept.
type Pools interface {
	// Checkout asks for a server as the action Checkout does. Nil: there is none now, and Granted or Refused will answer.
	Checkout(kind pools.Kind) *Server
	// Demote moves the slot of the session's server, one of the lock pool's, to the admin pool's account, and tells whether it
	// did. If not, Demotable may follow.
	Demote() bool
}

// Reset empties the output and keeps its memory.
func (o *Output) Reset() {
	clear(o.Server)
	clear(o.Client)
	clear(o.Actions)
	o.Server, o.Client, o.Actions = o.Server[:0], o.Client[:0], o.Actions[:0]
	o.rooms, o.spent = append(o.rooms, o.spent...), o.spent[:0]
	o.Redefined, o.Notifies, o.Work, o.Pinned = NotRedefined, false, Work{}, o.Pinned[:0]
	if cap(o.scratch) > maxScratch {
		o.scratch = nil
	}
	o.scratch = o.scratch[:0]
}

func (o *Output) newUnit() *sql.Unit {
	if u, ok := o.units.take(); ok {
		return u
	}
	return new(sql.Unit)
}

// maxScratch is how many bytes of an output's own memory are kept between steps.
const maxScratch = 64 << 10

// Action is something that the session wants done by its surroundings.
type Action struct {
	Op     Op
	Kind   pools.Kind // of Checkout
	On     bool       // of Hold: it holds advisory locks now; of Explain: it failed to get one
	Reason Reason
	Text   string // for the log: of Pinned what pins, of Remove and CloseClient what happened

	Number         int    // of Explain
	Database, Role string // of Vacate and Redefault; "": any
}

// Op says what an Action is.
type Op uint8

const (
	Checkout       Op = iota + 1 // a server from the pool of Kind; answered by Granted or Refused
	Promote                      // the server's slot moves to the lock pool; answered by Promoted or PromotionRefused
	Leave                        // the queue: neither will be answered any more
	Release                      // the server is clean and goes back to its pool
	Remove                       // the server is to be closed, whatever it does
	Hold                         // whether the session holds advisory locks, for those who count
	CancelServer                 // a cancel request to the server; answered by CancelDone or CancelAstray
	CloseClient                  // once the bytes for it are written
	Pinned                       // the session keeps its server beyond its transaction; Text says why
	Welcomed                     // the client was let in
	Stray                        // advisory locks were found that no session holds; Remove follows
	ReadsSequences               // the client asked for what nextval left in its session, in an earlier transaction
	Vacate                       // a statement is on its way that waits until nobody else is connected to Database
	Explain                      // what lock the session waits for, or waited for, and who has it; answered by Explained
	Redefault                    // a statement is on its way that changes the settings that sessions of Role in Database begin with
)

// Redefinition says that functions may have changed: which take locks, or what else they leave. Until the catalog has been
// read again no server is to be granted.
type Redefinition uint8

const (
	NotRedefined       Redefinition = iota
	RedefinedHere                   // a transaction of the session's may have done it, and is over
	RedefinedElsewhere              // it was done where nobody saw it, and the new ones may have run since
)

// Reason says why a server or a client is closed.
type Reason uint8

const (
	ReasonNone       Reason = iota
	ReasonClientLeft        // in the middle of something that only closing ends, or with something there that only that takes back
	ReasonProtocol          // the client or the server broke the protocol
	ReasonServerLost        // the server closed the connection
	ReasonNotCleaned        // what a client left could not be reset in time
	ReasonStrayLock         // it held an advisory lock that no session holds
	ReasonSettings          // the session's settings could not be put in place
	ReasonShutdown          // lockproxy ends
	ReasonLogin             // no server for a client that has just logged in
	ReasonInternal          // the session found itself in an impossible state
	ReasonTimeout           // the client took too long
	ReasonCancel            // a cancel request may still reach the server, and hit what runs there then
)

func (r Reason) String() string {
	return [...]string{"none", "client left", "protocol violation", "server lost", "not cleaned in time", "stray lock",
		"settings not in place", "shutdown", "login failed", "internal error",
		"timeout", "late cancel request"}[r]
}

func (s *Session) do(a Action) { s.o.Actions = append(s.o.Actions, a) }

// toClient hands on bytes that hold until the end of the step.
func (s *Session) toClient(p []byte) {
	if len(p) > 0 && !s.goodbye {
		s.pass()
		s.o.Client = append(s.o.Client, p)
	}
}

func (s *Session) toServer(p []byte) {
	if len(p) > 0 {
		s.o.Server = append(s.o.Server, p)
	}
}

// since gives what was appended to the scratch memory behind a length. A later append may move the scratch, but not
// the bytes given here.
func (o *Output) since(at int) []byte { return o.scratch[at:len(o.scratch):len(o.scratch)] }

func (s *Session) tellError(e *protocol.Error) {
	at := len(s.o.scratch)
	s.o.scratch = protocol.AppendError(s.o.scratch, e)
	s.toClient(s.o.since(at))
}

func (s *Session) tellReady() {
	s.quiet = s.now
	s.o.Queries++
	at := len(s.o.scratch)
	s.o.scratch = protocol.AppendReady(s.o.scratch, s.tx)
	s.toClient(s.o.since(at))
}

func (s *Session) tellComplete(tag string) {
	at := len(s.o.scratch)
	s.o.scratch = protocol.AppendComplete(s.o.scratch, tag)
	s.toClient(s.o.since(at))
}

// Deadline gives the time at which Tick is due; zero: never.
func (s *Session) Deadline() time.Time {
	due := s.deadline
	if until := s.linger.until; !until.IsZero() && (due.IsZero() || until.Before(due)) {
		due = until
	}
	if n := s.lockNames; n != nil && !n.wait.ask.IsZero() && (due.IsZero() || n.wait.ask.Before(due)) {
		due = n.wait.ask
	}
	if s.state.settings != nil && s.state.settings.idles {
		if at, setting := s.mayIdleUntil(); setting != "" && (due.IsZero() || at.Before(due)) {
			due = at
		}
	}
	return due
}
