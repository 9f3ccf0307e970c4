// Package session is one client's conversation: what it sent, where its units run, its transaction, its settings, its
// prepared statements, its locks. It is an automaton without I/O. In come bytes from the client and from its server, a
// granted or refused checkout, a lost peer, the time; out go bytes for either side and requests to the pools. What it
// does is a function of what went in, so that every rule is a table test and thousands of sessions run in one thread.
package session

import (
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
)

// Config is what the sessions of one database have in common. Not changed once sessions use it.
type Config struct {
	Catalog      func() *Catalog  // the newest that is known of the database's functions
	Beginning    func() Beginning // what server sessions begin with now; nil: nobody knows
	Schema       Schema           // of the database
	LockTimeout  time.Duration    // for waiting for an advisory lock; 0: none of ours
	IdleTimeout  time.Duration    // for a lock transaction left idle; 0: none of ours
	MaxStatement int              // bytes of one statement's text
	MaxBuffer    int              // bytes that a client may send ahead of what its server took
	MaxPrepared  int              // statements kept prepared on a server; beyond it the one used longest ago is closed
	SessionMode  bool             // one server for the client's life

	// Current gives the configuration that has come to count in the place of this one, or this one; nil: it counts for ever.
	Current func() *Config

	Pids Pids // nil: nobody knows
	// Explains tells that somebody answers Explain. WaitNotice is how long a client waits for a lock until it is told for
	// what; 0: it never is.
	Explains   bool
	WaitNotice time.Duration
	// LockTimeoutName is what errors call the setting that LockTimeout comes from.
	LockTimeoutName string

	Linger time.Duration // how long a server is kept for a client that may ask what nextval left; 0: not at all

	// SequencesRead tells whether clients of this database ask for what nextval left in their sessions; nil: none does.
	// Read by every session, and true for good once it is.
	SequencesRead func() bool
}

// Client is what login found out about a client. Immutable.
type Client struct {
	Pid      uint32 // our own, for its cancel requests
	Key      []byte
	Settings *Settings // from its startup message
}

// Session is one client's conversation. Not for concurrent use; whoever steps it gives an Output, which holds until
// the next step.
type Session struct {
	cfg    *Config
	client *Client
	o      *Output
	now    time.Time

	defaults  *Settings // its own, which RESET gives back: those of its startup message, and what it has kept of its beginning
	beginning Beginning // up to which it has; nil: it is not let in yet

	phase      phase
	kind       pools.Kind // of the slot: wanted while queueing, held while attached
	draining   bool       // the client is to go as soon as it is idle
	goodbye    bool       // the client is gone, or leaves in good order: nothing more is said to it
	cancelNext bool       // a cancel request came for a unit that is held back
	srv        *Server    // while attached or promoting
	deadline   time.Time  // for cleaning up behind it, or for a cancel request to be of use
	quiet      time.Time  // when the client was told last that it is its turn
	linger     linger

	strayCancels int // cancel requests under way to servers that it no longer has

	clientSide
	serverSide
	transaction
	held    locks
	state   serverState
	bounded bounded

	lockNames *lockNames // nil: it asked for none on the server that it has
	explains  int        // how often an explanation was asked for
}

// phase is where the session stands towards the pools.
type phase uint8

const (
	starting  phase = iota // logged in, and waits for a server that says what to welcome it with
	resting                // needs no server
	queueing               // waits for a server
	attached               // has a server
	promoting              // has a server, and waits until its slot counts in the lock pool
	ended                  // has neither client nor server
)

// transaction is what the session knows of the transaction under way.
type transaction struct {
	begin   []byte          // a BEGIN that was answered and not yet sent; empty: none
	beginAs *string         // the portal that it was executed in; nil: it was a simple query
	owed    *protocol.Error // the answer to the next unit: what became of the transaction while nothing was asked
	portals map[string]*statement
	portal  *statement // of the unnamed portal
	fresh   int32      // so long is the BEGIN, still in the memory of begin, of a transaction that can begin anew elsewhere; 0: it cannot; unbegun: it may begin
	again   int32      // and so long what comes behind it, once what was bound or sent last has run

	// Flags, together: each idle client has these.
	tx        byte // the status that the client was told last: 'I', 'T' or 'E'
	failed    bool // after the BEGIN in begin the transaction is to fail: its server was lost
	redefines bool // the schema may have changed in it
	anew      bool // the BEGIN comes with what the transaction had set elsewhere
}

// New gives the session of a client that has logged in. Start is its first step.
func New(cfg *Config, client *Client) *Session {
	s := &Session{cfg: cfg, client: client, defaults: client.Settings}
	s.batch = firstBatch
	s.tx = 'I'
	s.state.settings = client.Settings
	s.state.dialect = dialectOf(client.Settings)
	return s
}

// NewAudit gives a session without a client that holds an idle server, asks it for locks that no session holds, and
// gives it back. Granted is its first step.
func NewAudit(cfg *Config) *Session {
	s := New(cfg, &Client{})
	s.phase, s.goodbye = queueing, true
	return s
}

// Over gives a session that has ended: it hears everything and does nothing.
func Over() *Session {
	return &Session{cfg: &Config{}, client: &Client{}, phase: ended, goodbye: true}
}

// Start welcomes the client. Known is what a server of its pool reported for the same startup settings; nil: not known,
// and a server is asked.
func (s *Session) Start(o *Output, now time.Time, known *Settings) {
	s.step(o, now)
	defer s.finish()
	if known != nil {
		s.welcome(known)
		return
	}
	s.kind = pools.Admin
	s.do(Action{Op: Checkout, Kind: pools.Admin})
}

// welcome says what a server says after authentication (manual, "Start-up").
func (s *Session) welcome(reported *Settings) {
	s.tellCut(reported)
	at := len(s.o.scratch)
	for _, p := range reported.reported() {
		s.o.scratch = protocol.AppendParameterStatus(s.o.scratch, reportedName(p.Name), p.Value)
	}
	s.o.scratch = protocol.AppendKeyData(s.o.scratch, s.client.Pid, s.client.Key)
	s.o.scratch = protocol.AppendReady(s.o.scratch, s.tx)
	s.toClient(s.o.since(at)) // in one piece: a write takes a few only
	s.state.told, s.state.welcomed, s.state.agreed = reported, reported, reported
	if s.cfg.Beginning != nil {
		s.beginning = s.cfg.Beginning()
	}
	s.quiet = s.now
	s.do(Action{Op: Welcomed})
	if s.phase == starting {
		s.phase = resting
	}
}

// welcomeFrom welcomes the client with what its first server reports, now that its settings are in place there.
func (s *Session) welcomeFrom() {
	switch e := s.syncError; {
	case e == nil:
	case e.Code == protocol.QueryCanceled: // by somebody who meant what ran there before
		s.startElsewhere(e.Message)
		return
	default:
		s.fatal(e, ReasonLogin)
		return
	}
	s.welcome(s.srv.Reported)
	if !s.giveBack() {
		s.phase, s.begun = attached, true // as behind a unit, until that is done
	}
}

// startElsewhere has another server asked that says what to welcome the client with.
func (s *Session) startElsewhere(why string) {
	s.remove(ReasonSettings, why)
	s.phase = starting
	s.do(Action{Op: Checkout, Kind: pools.Admin})
}

// Told gives what the client was told of its settings by ParameterStatus.
func (s *Session) Told() *Settings { return s.state.told }

// step begins a step, and finish ends it.
func (s *Session) step(o *Output, now time.Time) {
	o.Reset()
	s.o, s.now = o, now
	s.view = s.kept
}

func (s *Session) finish() {
	s.run()
	for s.srv != nil && s.takeTurns() { // what has nothing before it is answered now: a client may only have asked to Flush
		s.run() // what waited for that may go on
	}
	if s.cancelDue {
		s.cancelRunning()
	}
	s.keep()
	s.ahead.giveBack(&s.o.rings)
	s.o = nil
}

// ClientBytes takes what the client sent. P holds until the outputs are done with.
func (s *Session) ClientBytes(o *Output, now time.Time, p []byte) {
	o.Reset()
	s.o, s.now = o, now
	if s.goodbye || s.phase == ended {
		return
	}
	o.Received = len(p)
	p = s.streamClient(p)
	if s.view = p; len(s.kept) > 0 {
		s.kept = append(s.kept, p...)
		s.view = s.kept
	}
	s.finish()
}

// Follow has the session go by another configuration from now on. It has no server.
func (s *Session) Follow(cfg *Config) {
	if s.cfg != cfg {
		s.cfg, s.bounded = cfg, bounded{}
	}
}

// followCurrent has the session go by the configuration that counts now, if it is between two transactions. On a server that it
// keeps the next unit puts in place what is another now; a question that is under way is answered by what was in place.
func (s *Session) followCurrent() {
	if s.cfg.Current == nil || s.tx != 'I' || s.open || s.srv != nil && (s.phase != attached || s.asking || s.srv.flight.firstOfClient() != nil) {
		return
	}
	now := s.cfg.Current()
	if now == s.cfg {
		return
	}
	if s.Follow(now); s.srv != nil {
		s.state.pins &^= pinSession
		s.tie()
	}
}

// MaxBuffer is how many bytes are to be kept at most for a socket that does not take them.
func (s *Session) MaxBuffer() int { return s.cfg.MaxBuffer }

// Paused tells whether the client has sent more than is to be kept for it: reading from it is to stop.
func (s *Session) Paused() bool {
	return len(s.kept) > s.cfg.MaxBuffer && !s.needsMore && s.phase != ended
}

// Granted answers Checkout.
func (s *Session) Granted(o *Output, now time.Time, srv *Server, kind pools.Kind) {
	s.step(o, now)
	defer s.finish()
	s.srv, s.kind = srv, kind
	if s.phase == ended { // it left the queue too late
		s.do(Action{Op: Release})
		s.srv = nil
		return
	}
	if s.phase == starting {
		if srv.recent.next > 0 || now.Sub(srv.audited) > cleanWithin { // it is not new, and whether it still answers is not known
			s.deadline = now.Add(cleanWithin)
		}
		s.takesOver()
		s.renew()
		s.putSettings(false)
		return
	}
	s.attach()
}

// Refused answers Checkout: the unit that wanted a server gets e.
func (s *Session) Refused(o *Output, now time.Time, e *protocol.Error) {
	s.step(o, now)
	defer s.finish()
	switch s.phase {
	case starting:
		s.fatal(e, ReasonLogin)
	case queueing:
		s.phase = resting
		s.answerUnit(e)
	}
}

// Promoted answers Promote.
func (s *Session) Promoted(o *Output, now time.Time) {
	s.step(o, now)
	defer s.finish()
	s.kind = pools.Lock
	if s.phase == promoting {
		s.phase, s.toMove = attached, false
	}
}

// Demotable says that the admin pool has room for the session's server, which it had not when the session asked.
func (s *Session) Demotable(o *Output, now time.Time) {
	s.step(o, now)
	defer s.finish()
	if s.rests() && s.state.pins != 0 {
		s.demote()
	}
}

// PromotionRefused answers Promote: the statement gets e and its transaction is aborted, unless that begins anew, as is told then.
func (s *Session) PromotionRefused(o *Output, now time.Time, e *protocol.Error) (anew bool) {
	s.step(o, now)
	defer s.finish()
	if s.phase != promoting {
		return false
	}
	s.phase = attached
	switch {
	case s.toMove:
		s.toMove, s.moveFailed = false, true
	case s.canStartOver():
		s.startOver()
		return true
	default:
		s.refuseWaiting(e)
	}
	return false
}

// refuseWaiting refuses the message that waited for a promotion, unless its batch has failed meanwhile.
func (s *Session) refuseWaiting(e *protocol.Error) {
	if s.ahead.len() > 0 && !s.skip {
		s.refuseNext(e)
	}
}

// Reconsider answers Redefined: Catalog gives what is known now.
func (s *Session) Reconsider(o *Output, now time.Time) {
	s.step(o, now)
	s.finish()
}

// Tick lets the time pass: it is due at Deadline.
func (s *Session) Tick(o *Output, now time.Time) {
	s.step(o, now)
	defer s.finish()
	if !now.Before(s.linger.until) {
		s.linger.until = time.Time{} // what waited for it is released
	}
	s.askAbout()
	if at, setting := s.mayIdleUntil(); setting != "" && !now.Before(at) {
		s.dismissFor(setting)
		return
	}
	if s.deadline.IsZero() || now.Before(s.deadline) {
		return
	}
	s.deadline = time.Time{}
	switch {
	case s.goodbye:
		s.giveUpCleaning()
	case s.last != nil:
		s.lost(s.lastWords())
	case s.phase == starting:
		s.startElsewhere("it does not answer")
	case s.overtime != 0:
		s.giveUpStatement()
	}
}

// run goes on until bytes, a grant or an answer is needed, or the end of a server that has said its last words.
func (s *Session) run() {
	for s.last == nil {
		switch s.phase {
		case starting:
			if s.srv == nil || s.srv.flight.len() > 0 {
				return
			}
			s.welcomeFrom()
		case resting:
			if s.goodbye {
				s.end()
				return
			}
			if s.draining && s.Idle() && len(s.view) == 0 { // which holds what was kept
				s.shutdown()
				return
			}
			if !s.gather() {
				return
			}
			s.decide()
		case attached:
			if s.settled() || s.forward() {
				continue
			}
			return
		default:
			return
		}
	}
}

// Ended tells whether the session is over: it holds no server and wants none.
func (s *Session) Ended() bool { return s.phase == ended }

// Idle tells whether the client waits for nothing and holds nothing: no unit, no transaction, no server.
func (s *Session) Idle() bool { return s.phase == resting && s.tx == 'I' && s.ahead.len() == 0 }

// Pins gives the reasons why the session keeps its server beyond transactions; none: it does not.
func (s *Session) Pins() []string { return pinNames(s.state.pins) }

// end is reached when there is neither client nor server left.
func (s *Session) end() {
	s.phase = ended
	s.deadline = time.Time{}
	s.kept, s.view = nil, nil
	s.ahead.clear()
}

// fatal ends the client with an error, and its server if it has one.
func (s *Session) fatal(e *protocol.Error, why Reason) {
	e.Severity = "FATAL"
	if !s.midMessage() {
		s.tellError(e)
	}
	s.farewell(why, e.Message)
}

// farewell closes the client after what it was told, and lets go of the server by closing it.
func (s *Session) farewell(why Reason, text string) {
	s.do(Action{Op: CloseClient, Reason: why, Text: text})
	s.goodbye = true
	switch s.phase {
	case starting, queueing:
		if s.srv == nil {
			s.do(Action{Op: Leave})
		}
	case promoting:
		s.do(Action{Op: Leave})
	}
	if s.srv != nil {
		s.remove(why, text)
	}
	s.end()
}

// remove has the server closed and lets go of it.
func (s *Session) remove(why Reason, text string) {
	s.do(Action{Op: Remove, Reason: why, Text: text})
	s.letGo()
}

// letGo forgets the server, which somebody else may have now.
func (s *Session) letGo() {
	s.schemaSettled()
	s.streamDrop = true // the rest of a message that was on its way there is nobody else's
	if s.cancelling {
		s.strayCancels++
	}
	s.definesNoMore()
	s.overtime, s.deadline = 0, time.Time{}
	s.forgetLocks()
	s.srv = nil
	s.serverSide = serverSide{batch: firstBatch}
	if s.ahead.len() == 0 {
		s.portals, s.portal = nil, nil
	}
	s.phase = resting
}

// violation answers bytes that no client sends (manual, "Message Formats").
func (s *Session) violation(message string) {
	s.cancelRunning()
	s.fatal(&protocol.Error{Code: protocol.ProtocolViolation, Message: message}, ReasonProtocol)
}

// impossible ends the session that found itself where it can not be: its client and its server, never the program.
func (s *Session) impossible(text string) {
	s.fatal(&protocol.Error{Code: protocol.InternalError, Message: "lockproxy: " + text}, ReasonInternal)
}
