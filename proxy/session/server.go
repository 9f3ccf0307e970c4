package session

import (
	"time"
)

// Server is what is known of one server connection. It goes with the backend from session to session: whoever holds
// the backend's slot may use it, and nobody else.
type Server struct {
	Pid      uint32
	Reported *Settings // what its ParameterStatus messages have said last

	// What ALTER ROLE or ALTER DATABASE give this user comes before the lock pool's own timeouts.
	OwnLockTimeout, OwnIdleTimeout bool

	BoundsStatements bool // its sessions begin with a statement_timeout

	SearchPath string // as it is where no session has set it

	born     *Settings // what it reported when it had logged in
	flight   queue     // sent and not yet answered
	partial  []byte    // the beginning of a frame that we must see whole
	settings *Settings // put in place by sessions, beyond the server session's own defaults
	putting  puttingSettings
	refused  *Settings // what the session has, and could not be put in place
	prepared preparedStatements
	own      ownNames // prepared statements that it knows by clients' own names
	unnamed  struct {
		making
		parsing
		of *statement // nil: not known
	}
	leftover bool      // a statement of ours that was for once may be there: an error came before its Close
	taken    bool      // another may be, whose name stands for one that is taken
	hidden   *Client   // whose statements may have left settings of which nothing tells; nil: nobody's
	advanced *Client   // whose statements moved sequences last; nil: nobody's, as far as is known
	differed time.Time // when its functions were last found to be others than the catalog's
	audited  time.Time // when it was last seen to hold no lock that it should not
	dirty    bool      // used since then
	asked    time.Time // when it was sent what it is at for its client
	began    time.Time // when the transaction did that it is in, or was in last
	resets   int       // the catalog's when it was last known what is there
	recent   recentTexts
}

// NewServer gives what is known of a connection that has just logged in.
func NewServer(pid uint32, reported *Settings, now time.Time) *Server {
	return &Server{Pid: pid, Reported: reported, born: reported, audited: now}
}

// Recent gives the latest statements that ran on it, the oldest first, shortened.
func (v *Server) Recent() []string { return v.recent.all() }

// AuditDue tells whether the idle backend ran something since it was last asked for locks that no session holds.
func (v *Server) AuditDue(now time.Time) bool { return v.dirty && now.Sub(v.audited) >= auditEvery }

// forget takes over what DISCARD ALL leaves: a server session as new.
func (v *Server) forget() {
	v.settings = nil
	v.prepared.clear()
	v.own.clear()
	v.advanced = nil
	v.unnamed.of = nil
}

// auditEvery is how often a backend in use is asked whether it holds locks that nobody knows of.
const auditEvery = time.Second

// recentTexts holds the beginnings of the last few statements, without allocating.
type recentTexts struct {
	texts [8][96]byte
	sizes [8]uint8
	next  int
}

func (r *recentTexts) add(text []byte) {
	i := r.next % len(r.texts)
	r.sizes[i] = uint8(copy(r.texts[i][:], text))
	r.next++
}

func (r *recentTexts) addString(text string) {
	i := r.next % len(r.texts)
	r.sizes[i] = uint8(copy(r.texts[i][:], text))
	r.next++
}

// last gives the beginning of the last statement; nil: none ran.
func (r *recentTexts) last() []byte {
	if r.next == 0 {
		return nil
	}
	at := (r.next - 1) % len(r.texts)
	return r.texts[at][:r.sizes[at]]
}

func (r *recentTexts) all() []string {
	var list []string
	for i := max(0, r.next-len(r.texts)); i < r.next; i++ {
		at := i % len(r.texts)
		list = append(list, string(r.texts[at][:r.sizes[at]]))
	}
	return list
}
