package session

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lockproxy/lockproxy/protocol"
)

// Explanation is what the surroundings found out about a lock that the session waits for, or waited for.
type Explanation struct {
	Waits  bool    // the server says that it waits for an advisory lock now: that of Key
	Key    LockKey //
	Lock   string  // the lock, in words: `advisory lock "invoice:42"`; "": it is not known which
	Holder string  // who has it, how long, and how many wait for it; "": nobody is known to have it
}

// lockWait is a wait for a lock inside the server.
type lockWait struct {
	since time.Time // when what may wait was sent; zero: nothing that may is under way
	ask   time.Time // when the surroundings are to be asked; zero: not again
	asks  bool      // they are asked, and have not answered
	told  verdict   // by the server, when it was last asked
	key   LockKey   // if told is advisory
	back  bool      // the server's error is kept back until it is explained
	why   *Explanation
}

// verdict is what the server says a session waits for.
type verdict uint8

const (
	unheard verdict = iota
	advisory
	somethingElse
)

// lockSent notes that a statement is on its way that may wait for a lock.
func (s *Session) lockSent() {
	w := &s.lockNames.wait
	if !w.since.IsZero() {
		return // behind another
	}
	*w = lockWait{since: s.now}
	if !s.cfg.Explains {
		return
	}
	after := s.cfg.WaitNotice
	if half := s.lockTimeoutInPlace() / 2; half > 0 && (after == 0 || half < after) {
		after = half // to know it before the server gives up
	}
	if after > 0 {
		w.ask = s.now.Add(after)
	}
}

// lockOver notes that a statement is over that may have waited for a lock. Another may follow.
func (s *Session) lockOver() {
	n := s.lockNames
	if n == nil {
		return
	}
	n.wait = lockWait{}
	if s.waitsForLock() {
		s.lockSent()
	}
}

// lockTimeoutInPlace gives the server session's lock_timeout, as far as it is known; 0: it is not, or there is none.
func (s *Session) lockTimeoutInPlace() time.Duration {
	value, _ := s.inPlace().Get(lockTimeout)
	digits := strings.TrimRight(value, "abcdefghijklmnopqrstuvwxyz ")
	n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 31) // in milliseconds, without a unit
	unit := map[string]time.Duration{"": time.Millisecond, "ms": time.Millisecond, "s": time.Second, "min": time.Minute}
	if err != nil {
		return 0
	}
	return time.Duration(n) * unit[strings.TrimSpace(value[len(digits):])]
}

// askAbout asks the surroundings, when it is time, what the session waits for.
func (s *Session) askAbout() {
	if s.lockNames == nil {
		return
	}
	w := &s.lockNames.wait
	if w.ask.IsZero() || s.now.Before(w.ask) {
		return
	}
	notice := w.since.Add(s.cfg.WaitNotice)
	if w.ask.Before(notice) {
		w.ask = notice
	} else {
		w.ask = time.Time{}
	}
	s.explain()
}

func (s *Session) explain() {
	s.explains++
	s.lockNames.wait.asks = true
	s.do(Action{Op: Explain, Number: s.explains, On: s.keptBack()})
}

// Explained answers Explain. An answer to an older question counts for nothing.
func (s *Session) Explained(o *Output, now time.Time, number int, e *Explanation) {
	s.step(o, now)
	defer s.finish()
	if s.lockNames == nil || number != s.explains {
		return
	}
	w := &s.lockNames.wait
	w.asks = false
	switch {
	case w.since.IsZero():
	case e.Waits:
		if w.told, w.key = advisory, e.Key; !w.back && s.cfg.WaitNotice > 0 && !now.Before(w.since.Add(s.cfg.WaitNotice)) {
			s.notice(protocol.SuccessfulCompletion, "still waiting for "+e.Lock+" after "+now.Sub(w.since).Round(time.Millisecond).String(), e.Holder)
		}
	case !w.back: // else it had failed by then
		w.told = somethingElse
	}
	if w.back {
		s.goOn(e)
	}
}

// notice tells the client something that ends nothing, where it may be said (manual, "Asynchronous Operations") and the
// client wants to hear such.
func (s *Session) notice(code, message, detail string) {
	switch level, _ := s.state.settings.Get("client_min_messages"); strings.ToLower(level) {
	case "warning", "error":
		return
	}
	if !s.midMessage() {
		s.tellError(&protocol.Error{Severity: "NOTICE", Code: code, Message: s.sayable(message), Detail: s.sayable(detail)})
	}
}

// Notice tells a client that waits for a server something that ends nothing.
func (s *Session) Notice(o *Output, now time.Time, message, detail string) {
	s.step(o, now)
	defer s.finish()
	if s.phase == queueing || s.phase == promoting {
		s.notice(protocol.SuccessfulCompletion, message, detail)
	}
}

// sayable gives a text as clients can read it that do not read UTF-8.
func (s *Session) sayable(text string) string {
	if encoding, known := s.state.told.Get(encodingSetting); !known || encoding == "UTF8" {
		return text
	}
	return strings.Map(func(r rune) rune {
		if r >= 0x80 {
			return '?'
		}
		return r
	}, text)
}

// keepsBack tells whether an error of the server's is to be kept back until it is explained: one about a wait for an
// advisory lock that took too long. It asks for the explanation, unless one is under way.
func (s *Session) keepsBack(frame []byte) bool {
	if s.lockNames == nil || !s.cfg.Explains || s.lockNames.wait.why != nil {
		return false
	}
	w := &s.lockNames.wait
	if !s.waitedForLock(frame) && !(w.asks && s.waitedTooLong(frame)) {
		return false
	}
	if w.back = true; !w.asks {
		s.explain()
	}
	return true
}

// waitedTooLong tells whether an error says that a wait took too long, of a statement that takes advisory locks. NOWAIT of
// rows and tables has the same code, and comes from elsewhere in the server.
func (s *Session) waitedTooLong(frame []byte) bool {
	if s.srv.flight.len() == 0 || s.goodbye {
		return false
	}
	head, body := s.srv.flight.front(), frame[protocol.HeadSize:]
	return head.purpose == theirs && head.lock&acquires != 0 &&
		string(protocol.ErrorField(body, 'C')) == protocol.LockNotAvailable &&
		string(protocol.ErrorField(body, 'R')) == "ProcessInterrupts"
}

// waitedForLock tells whether that wait was for an advisory lock, by the server's word or else by the statement's text.
func (s *Session) waitedForLock(frame []byte) bool {
	switch n := s.lockNames; {
	case !s.waitedTooLong(frame) || n.wait.told == somethingElse:
		return false
	case n.wait.told == advisory:
		return true
	default:
		// Waits for rows say that they are, and those inside of functions which statement it was.
		where, _, _ := bytes.Cut(protocol.ErrorField(frame[protocol.HeadSize:], 'W'), []byte("\n"))
		return (len(where) == 0 || bytes.Contains(where, []byte("_advisory_"))) && n.asksIn(s.srv.flight.front())
	}
}

// asksIn tells whether the statement of a message that is at hand has asked for a lock whose key is known.
func (n *lockNames) asksIn(r *request) bool {
	first := n.waiting()
	return slices.ContainsFunc(n.list, func(one lockName) bool {
		return one.known && one.got.IsZero() && one.text == first && one.in(r)
	})
}

// goOn takes what the server said since its error was kept back.
func (s *Session) goOn(e *Explanation) {
	w := &s.lockNames.wait
	w.back, w.why = false, e
	s.fromServer(nil)
}

// giveUpExplaining goes on without an explanation.
func (s *Session) giveUpExplaining() {
	if s.lockNames != nil && s.lockNames.wait.back {
		s.goOn(&Explanation{})
	}
}

// WaitsFor gives the key of the lock that the session waits for, or failed to get in time, where the server told it; else nil.
func (s *Session) WaitsFor() *LockKey {
	if s.lockNames == nil || s.lockNames.wait.told != advisory {
		return nil
	}
	key := s.lockNames.wait.key
	return &key
}

// keptBack tells whether the server's answers are kept back.
func (s *Session) keptBack() bool { return s.lockNames != nil && s.lockNames.wait.back }

// explained writes the server's error with what was found out about it. It gives false where nothing was.
func (s *Session) explained(frame []byte) bool {
	n := s.lockNames
	if n == nil || n.wait.why == nil || !s.waitedForLock(frame) {
		return false
	}
	why := n.wait.why
	detail := "It waited for " + why.Lock + "."
	switch {
	case why.Lock == "" || why.Holder == "" && n.wait.told != advisory:
		return false
	case why.Holder == "":
		detail += " Nobody holds that any more."
	default:
		detail += " " + why.Holder
	}
	hint := "The application set lock_timeout itself: a longer one waits longer. Or hold the lock for a shorter time."
	if !s.ownsTimeout(lockTimeout, s.state.ownLock, s.srv.OwnLockTimeout) {
		hint = "Hold the lock for a shorter time, or wait longer: " + s.cfg.LockTimeoutName + " is " +
			s.cfg.LockTimeout.String() + "."
	}
	at := len(s.o.scratch)
	s.o.scratch = protocol.AppendExplained(s.o.scratch, frame, s.sayable(detail), s.sayable(hint))
	s.toClient(s.o.since(at))
	return true
}
