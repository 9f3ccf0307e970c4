package session

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// serverState is what of the server session's state belongs to the client, wherever its next transaction runs.
type serverState struct {
	settings *Settings // wanted: from the startup message, as changed by SET and RESET since
	told     *Settings // by ParameterStatus
	welcomed *Settings // the same when it was let in
	agreed   *Settings // the same outside its last transaction
	dialect  sql.Dialect
	pins     sql.Touch // why the server may not be given back

	pinsUnsure bool // some of it may have gone: the server is to be asked

	// Settings that may have changed since the session and its server agreed on them. What became of them is asked
	// before the server could be given back: a rollback, a savepoint or a function may have undone it.
	touched    []string
	resetting  []string // startup parameters that DISCARD ALL gave the server's defaults, in this unit
	resetAll   bool
	otherwise  bool      // some by which texts are read may have been changed for the transaction
	otherPath  bool      // search_path may have been
	unasked    bool      // the client was told that they have, outside a transaction or by its COMMIT
	maybeReset bool      // by RESET, or since it was rolled back: the default need not be a value that can be set
	advanced   bool      // sequences may have been moved, in the transaction at hand
	unclear    bool      // something failed meanwhile, or was rolled back
	everything bool      // names that the text did not tell: all settings are to be asked
	opaque     bool      // a statement ran that may have left anything, locks as well
	elevated   bool      // some may be such as the client's own user may not set
	mayHold    bool      // one ran that may have left locks, where no text shows it
	defines    bool      // the transaction may change functions
	redefaults *[]Action // of the transaction; a pointer, since each idle client has room for it

	local      *Settings // in place until the end of the transaction, on a lock backend
	isLocal    bool
	localKnown bool
	ownLock    bool // the application set lock_timeout itself since
	ownIdle    bool
}

const (
	lockTimeout = "lock_timeout"
	idleTimeout = "idle_in_transaction_session_timeout"
)

// touch notes what running a message may change of the server session, before it is sent.
func (s *Session) touch(r *request) {
	t := r.touches
	pins := t & pinning
	if s.createsTemporary(r) {
		pins |= sql.TouchTemp
	}
	s.pin(pins)
	s.state.pinsUnsure = s.state.pinsUnsure || t.Has(mayUnpin)
	if t.Has(sql.TouchAdvance) {
		s.advances()
	}
	s.state.elevated = s.state.elevated || t.Has(sql.TouchElevates)
	s.state.mayHold = s.state.mayHold || t.Has(sql.TouchHolds)
	s.o.Notifies = s.o.Notifies || t.Has(sql.TouchNotify)
	if t.Has(sql.TouchDefinition) {
		s.state.defines, s.state.opaque = true, true // until its end nobody knows what its functions are
		s.tellOthers(r.unit)
	}
	if t.Has(sql.TouchDiscardAll) || t.Has(sql.TouchDeallocate) {
		s.forgets = true
	}
	if t.Has(sql.TouchDiscardAll) || t.Has(sql.TouchDeallocate) && deallocatesAll(r.unit) {
		s.srv.prepared.clear() // what comes behind it must not count on them
		s.srv.own.doubt("", true)
	}
	if t.Has(sql.TouchDynamic) {
		s.srv.hidden = s.client // a text that it put together may have set what no view shows (guc.c, GUC_NO_SHOW_ALL of placeholders)
		s.state.opaque = true
	}
	if t.Has(sql.TouchLockTimeout) {
		s.state.ownLock = true
	}
	if t.Has(sql.TouchIdleTimeout) {
		s.state.ownIdle = true
	}
	if t.Has(sql.TouchRollbackTo) {
		s.state.unclear, s.state.localKnown = true, false
	}
	if r.unit == nil {
		return
	}
	for _, one := range r.unit.Settings {
		s.state.maybeReset = s.state.maybeReset || isReset(one) || one.Null && s.ownDefault(one.Name)
		s.state.otherwise = s.state.otherwise || one.Local && (one.Name == "" || reading[one.Name])
		s.state.otherPath = s.state.otherPath || one.Local && changesPath(one)
		switch {
		case one.Local:
			s.touchLocal(one.Name)
		case one.Op == sql.OpResetAll:
			s.state.resetAll = true
			s.touchName(lockTimeout)
			s.touchName(idleTimeout)
			s.state.unclear = s.state.unclear || s.state.settings.hasCustom() || s.mayRollBack(r)
			s.srv.settings = s.srv.settings.Without(lockTimeout).Without(idleTimeout)
		case one.Name == "":
			// pg_settings would tell, but not of settings that no extension has defined (guc.c, show_all_settings).
			s.state.everything = true
			s.pin(pinSetting)
		default:
			s.touchName(one.Name)
			if one.Name == authorization {
				s.touchName(roleSetting) // which it resets
			}
			s.state.unclear = s.state.unclear || one.Op != sql.OpReset || custom(one.Name) || s.mayRollBack(r)
		}
		if !one.Local && (one.Name == encodingSetting || one.Op == sql.OpResetAll) {
			s.touchLetters()
		}
	}
}

// mayRollBack tells whether what a message does may be undone without an error.
func (s *Session) mayRollBack(r *request) bool {
	return s.tx != 'I' || s.unitsAhead > 0 || r.has(flagCommit)
}

func deallocatesAll(u *sql.Unit) bool {
	return u != nil && slices.ContainsFunc(u.Prepared, func(op sql.PreparedOp) bool { return op.Op == sql.OpDeallocateAll })
}

// touchAgain notes once more what the messages behind the one at hand may change: they were sent before it was known that
// it forgets all that came before.
func (s *Session) touchAgain() {
	for i := 1; i < s.srv.flight.len(); i++ {
		if r := s.srv.flight.at(i); r.touches != 0 && r.purpose == theirs {
			s.touch(r)
		}
	}
}

// readsOtherwise tells whether the server may read a text by other settings than the session is known to have.
func (s *Session) readsOtherwise() bool {
	st := &s.state
	return st.otherwise || st.opaque || st.everything || st.resetAll || slices.ContainsFunc(st.touched, func(name string) bool { return reading[name] })
}

// reading are the settings by which constants are read when their text is parsed: no plan is made anew when they change, as it is for
// search_path and roles (plancache.c).
var reading = map[string]bool{"client_encoding": true, "standard_conforming_strings": true, "backslash_quote": true, "datestyle": true, "timezone": true,
	"intervalstyle": true, "array_nulls": true, "transform_null_equals": true, "xmloption": true, "default_text_search_config": true}

// touchLocal notes a setting that is for the transaction alone. One that no extension has defined is there afterwards, as
// an empty text (guc.c, add_placeholder_variable), where it was unknown before.
func (s *Session) touchLocal(name string) {
	if _, known := s.state.settings.Get(name); custom(name) && !known {
		s.touchName(name)
		s.state.unclear = true
	}
}

// touchLetters notes the startup parameters whose values are known in another client_encoding than the one to come.
func (s *Session) touchLetters() {
	for _, one := range s.state.settings.All() {
		if hasLetters(one.Value) {
			s.touchName(one.Name)
			s.state.unclear = true
		}
	}
}

func (s *Session) touchName(name string) {
	if !slices.Contains(s.state.touched, name) {
		s.state.touched = append(s.state.touched, name)
	}
}

// wanted gives the settings that are to be in place for the next unit. On a lock backend they hold the pool's own
// timeouts, unless the application has its own: lock_timeout for units alone that may wait for a lock, since it would bound ordinary
// statements as well.
func (s *Session) wanted(waits bool) *Settings {
	want := s.state.settings
	if s.kind != pools.Lock {
		return want
	}
	ownLock := s.ownsTimeout(lockTimeout, s.state.ownLock, s.srv.OwnLockTimeout)
	ownIdle := s.ownsTimeout(idleTimeout, s.state.ownIdle, s.srv.OwnIdleTimeout)
	if !ownLock && !ownIdle {
		return s.bounded.of(want, s.cfg, waits)
	}
	inPlace := s.inPlace()
	if s.state.ownLock {
		want = want.like(inPlace, lockTimeout)
	} else if !ownLock && waits && s.cfg.LockTimeout > 0 {
		want = want.With(lockTimeout, milliseconds(s.cfg.LockTimeout))
	}
	if s.state.ownIdle {
		want = want.like(inPlace, idleTimeout)
	} else if !ownIdle && s.cfg.IdleTimeout > 0 {
		want = want.With(idleTimeout, milliseconds(s.cfg.IdleTimeout))
	}
	return want
}

// bounded is a session's settings with the lock pool's timeouts, made once: a set is costly to make.
type bounded struct {
	plain  *Settings    // what it was made of; nil is the empty set
	made   bool         // as it is for plain
	bounds [2]*Settings // with the timeout of idle transactions; with that of waiting for locks as well
}

func (b *bounded) of(plain *Settings, cfg *Config, waits bool) *Settings {
	if !b.made || b.plain != plain {
		b.plain, b.made = plain, true
		b.bounds[0] = plain
		if cfg.IdleTimeout > 0 {
			b.bounds[0] = plain.With(idleTimeout, milliseconds(cfg.IdleTimeout))
		}
		b.bounds[1] = b.bounds[0]
		if cfg.LockTimeout > 0 {
			b.bounds[1] = b.bounds[0].With(lockTimeout, milliseconds(cfg.LockTimeout))
		}
	}
	if waits {
		return b.bounds[1]
	}
	return b.bounds[0]
}

// ownsTimeout tells whether a timeout is the application's business: it touched it, or has it in its settings, or its
// role or database comes with one.
func (s *Session) ownsTimeout(name string, touched, byRole bool) bool {
	if touched {
		return true
	}
	_, own := s.state.settings.Get(name)
	return own || byRole
}

// like gives the set with one setting as it is in another, unless it has it already.
func (s *Settings) like(other *Settings, name string) *Settings {
	if _, own := s.Get(name); own {
		return s
	}
	if value, ok := other.Get(name); ok {
		return s.With(name, value)
	}
	return s
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// inPlace gives the settings that the server has now, as far as sessions put them there.
func (s *Session) inPlace() *Settings {
	if s.state.isLocal { // which nil says nothing of: it is the empty set
		return s.state.local
	}
	return s.srv.settings
}

// putSettings puts the session's settings in place on a server that has no transaction. Should one be refused, the
// block is left open and failed, so that the unit sent behind it cannot run without it. Where it matters what the unit runs under, the
// block is begun by itself: else somebody's cancel request could prevent both at once, the BEGIN and the settings.
func (s *Session) putSettings(waits bool) {
	want := s.wanted(waits)
	if want.inPlaceOn(s.srv) {
		s.srv.settings = want
		switch {
		case s.anew:
			s.state.agreed = s.srv.Reported // the client knows already what is set again with the BEGIN
		case s.srv.flight.len() == 0: // else what is reported is still to come
			s.tellReported()
		}
		return
	}
	for _, one := range s.srv.refused.All() {
		want = want.Without(one.Name)
	}
	p := &s.srv.putting
	p.before, p.names = s.srv.settings, p.names[:0]
	if !want.agrees(s.srv.settings, encodingSetting) {
		// The values of the others are read in the encoding that is in place when they arrive.
		if encoding, ok := want.Get(encodingSetting); ok {
			s.sendQuery(forSettings, string(appendSet(nil, encodingSetting, encoding, false)))
			p.before = p.before.With(encodingSetting, encoding)
		} else {
			s.sendQuery(forSettings, string(appendReset(nil, encodingSetting, false)))
			p.before = p.before.Without(encodingSetting)
		}
	}
	statements, names := change([]byte("BEGIN;"), append(p.names, ""), s.srv.settings, want)
	text := string(append(statements, "COMMIT"...))
	// A text with letters that are none in the encoding is not read at all.
	if want.planned() != s.srv.settings.planned() || hasLetters(text) {
		s.sendQuery(forSettings, "BEGIN")
		s.mayFail()
		text, names = text[len("BEGIN;"):], names[1:]
	}
	p.names = names
	s.sendQuery(forSettings, text)
	s.srv.settings = want
}

// mayFail says of what was sent last that it may fail.
func (s *Session) mayFail() { s.srv.flight.at(s.srv.flight.len() - 1).flags |= flagMayFail }

// inPlaceOn tells whether a server has the settings. A role of the same name may be another one by now, dropped and made
// again: the server knows it by its oid (isolation suite, truncate-conflict). So it counts only as long as the session has
// kept its settings.
func (s *Settings) inPlaceOn(srv *Server) bool {
	if s != nil && s.acts {
		return s == srv.settings
	}
	return s.Equal(srv.settings)
}

// needsTimeouts tells whether the lock pool's timeouts must be switched for the next unit.
func (s *Session) needsTimeouts(waits bool) bool {
	switch {
	case s.tx == 'E':
		return false
	case !s.state.localKnown && s.tx == 'T' && s.kind == pools.Lock:
		return true
	case s.state.everything:
		want, have := s.wanted(waits), s.inPlace()
		return !want.agrees(have, lockTimeout) || !want.agrees(have, idleTimeout)
	}
	return !s.wanted(waits).Equal(s.inPlace())
}

// agrees tells whether both sets have the same of one setting.
func (s *Settings) agrees(other *Settings, name string) bool {
	value, set := s.Get(name)
	its, is := other.Get(name)
	return set == is && value == its
}

// putTimeouts switches them between units: for good outside a transaction, else until its end. What else the session has set
// is put in place again on the way, unless nobody has followed that.
func (s *Session) putTimeouts(waits bool) {
	switch {
	case s.tx != 'I':
		s.localTimeouts(waits)
		s.syncOurs(forTimeouts)
	case s.state.everything:
		want := s.wanted(waits)
		s.switchTimeouts(want, s.srv.settings, false)
		s.srv.settings = s.srv.settings.Without(lockTimeout).Without(idleTimeout).like(want, lockTimeout).like(want, idleTimeout)
		s.syncOurs(forTimeouts)
	default:
		s.putSettings(waits)
	}
}

// putTimeoutsInBatch switches them on in the middle of a batch, for the rest of its transaction.
func (s *Session) putTimeoutsInBatch() { s.localTimeouts(true) }

// localTimeouts switches the timeouts until the end of the transaction.
func (s *Session) localTimeouts(waits bool) {
	want := s.wanted(waits)
	s.switchTimeouts(want, s.inPlace(), true)
	s.state.local, s.state.isLocal, s.state.localKnown = want, true, true
}

// switchTimeouts uses the extended protocol with names of its own: a simple query would end a batch, and destroy the
// client's unnamed statement and portal.
func (s *Session) switchTimeouts(want, have *Settings, local bool) {
	for _, name := range []string{lockTimeout, idleTimeout} {
		if s.state.localKnown && want.agrees(have, name) {
			continue
		}
		if value, set := want.Get(name); set {
			s.runInBatch(appendOwn(nil, Setting{name, value}, local), forTimeouts)
		} else {
			s.runInBatch(appendReset(nil, name, local), forTimeouts)
		}
	}
}

// once is the name of statements and portals of ours that are for one use.
const once = ourNames + "once"

// runInBatch runs a statement of ours without parameters in the batch at hand, or as one before it.
func (s *Session) runInBatch(text []byte, why purpose) { s.runAs(once, text, why) }

// runAs does so in a portal of that name, which stays if it is not ours.
func (s *Session) runAs(portal string, text []byte, why purpose) {
	at := len(s.o.scratch)
	if s.srv.leftover {
		s.srv.leftover = false
		s.closeOwn(once, why)
		at = len(s.o.scratch)
	}
	b := appendParse(s.o.scratch, once, string(text)+"\x00\x00\x00")
	b = appendHead(b, protocol.Bind, len(portal)+1+len(once)+1+6)
	b = append(append(b, portal...), 0)
	b = append(b, once+"\x00\x00\x00\x00\x00\x00\x00"...)
	b = appendHead(b, protocol.Execute, len(portal)+1+4)
	b = append(append(b, portal...), "\x00\x00\x00\x00\x00"...)
	kinds := []byte{protocol.Parse, protocol.Bind, protocol.Execute, protocol.Close, protocol.Close}
	if portal == once {
		b = appendHead(b, protocol.Close, 1+len(once)+1)
		b = append(b, "P"+once+"\x00"...)
	} else {
		kinds = kinds[:4]
	}
	s.o.scratch = appendCloseStatement(b, once)
	s.toServer(s.o.since(at))
	for _, kind := range kinds {
		s.pushed(request{kind: kind, purpose: why, flags: flagOnce})
	}
}

// transactionOver follows the settings through the end of a transaction.
func (st *serverState) transactionOver() {
	st.advanced = false
	st.local, st.isLocal, st.localKnown = nil, false, true
}

// definesNoMore says that the functions may have changed which the transaction that ends has defined.
func (s *Session) definesNoMore() {
	if s.state.defines {
		s.state.defines = false
		s.o.Redefined = max(s.o.Redefined, RedefinedHere)
	}
}

// recall has what ran since the server was granted asked about where functions have changed meanwhile. Where nobody saw
// that they did, others may have left here what is found now: then the server is reset before it is used again.
func (s *Session) recall() {
	now := s.cfg.Catalog()
	if now == s.known {
		return
	}
	if s.alone || now.resets == s.known.resets {
		s.state.opaque = true
	}
	s.known = now
}

// discarded takes over what DISCARD ALL does to a session.
func (s *Session) discarded() {
	s.state.settings = s.defaults
	s.state.pins &= pinSession | indelible
	s.settingsAgreed()
	maps.DeleteFunc(s.statements, func(_ string, st *statement) bool { return st.there })
	if s.srv != nil {
		s.srv.own.clear()
	}
	s.held = locks{shown: s.held.shown}
}

// settingsAgreed notes that session and server agree on all settings.
func (s *Session) settingsAgreed() {
	st := &s.state
	st.touched, st.resetAll, st.unclear, st.everything, st.opaque = st.touched[:0], false, false, false, false
	st.unasked, st.elevated = false, false
	st.ownLock, st.ownIdle, st.maybeReset = false, false, false
	st.dialect = dialectOf(st.settings)
}

// dialectOf tells how a session with these settings has its texts read.
func dialectOf(settings *Settings) sql.Dialect {
	var d sql.Dialect
	if v, ok := settings.Get("standard_conforming_strings"); ok {
		d.BackslashQuotes = isFalse(v)
	}
	if v, ok := settings.Get(encodingSetting); ok {
		d.Encoding = sql.EncodingOf(v)
	}
	return d
}

// isFalse reads a boolean as PostgreSQL does (bool.c, parse_bool): any beginning of false, no, off that is no other's.
func isFalse(v string) bool {
	v = strings.ToLower(strings.TrimSpace(v))
	return v == "0" || len(v) > 0 && (strings.HasPrefix("false", v) || strings.HasPrefix("no", v)) ||
		len(v) > 1 && strings.HasPrefix("off", v)
}

// tellReported tells the client what the server has reported otherwise than the client was told.
func (s *Session) tellReported() {
	reported := s.srv.Reported
	if s.state.told == reported || s.phase == starting {
		return
	}
	if s.state.told.Equal(reported) { // on another server
		s.state.told, s.state.agreed = reported, reported
		return
	}
	for _, p := range reported.All() {
		if told, ok := s.state.told.Get(p.Name); ok && told == p.Value {
			continue
		}
		at := len(s.o.scratch)
		s.o.scratch = protocol.AppendParameterStatus(s.o.scratch, reportedName(p.Name), p.Value)
		s.toClient(s.o.since(at))
	}
	s.state.told, s.state.agreed = reported, reported
}

// tellBack tells the client that what a lost transaction had set is undone.
func (s *Session) tellBack() {
	for _, p := range s.state.agreed.All() {
		if told, _ := s.state.told.Get(p.Name); told == p.Value {
			continue
		}
		at := len(s.o.scratch)
		s.o.scratch = protocol.AppendParameterStatus(s.o.scratch, reportedName(p.Name), p.Value)
		s.toClient(s.o.since(at))
	}
	s.state.told = s.state.agreed
}

// reportedName gives a setting's name as servers spell it in ParameterStatus (guc_tables.c): ours are in lower case.
func reportedName(name string) string {
	switch name {
	case "datestyle":
		return "DateStyle"
	case "timezone":
		return "TimeZone"
	case "intervalstyle":
		return "IntervalStyle"
	}
	return name
}
