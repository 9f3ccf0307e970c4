package session

import "sync"

// Beginning stands for the settings that server sessions begin with, from one ALTER ROLE ... SET or ALTER DATABASE ... SET to the
// next. A session of PostgreSQL's has for its life what it began with: such a change is for those that come later. So a client's
// session that outlives a beginning takes over what it had of it as defaults of its own, as it has those of its startup message:
// they are put in place on servers that began later, and RESET gives them back. It does so when it has a server next: until then
// it costs nothing.
type Beginning struct {
	mu    sync.Mutex
	old   *Settings            // the values of what is another one in the next
	next  *Beginning           // nil: it is still so
	taken map[string]*Settings // the defaults of sessions with this in addition, by what they had: they share them
}

// End ends it, and gives the next. Old are the settings whose defaults are others from now on, as they have been.
func (b *Beginning) End(old *Settings) (next *Beginning) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.old, b.next = old, &Beginning{}
	return b.next
}

// maxTaken bounds the sets of defaults that are shared.
const maxTaken = 256

// keep adds to a session's defaults what it had of a beginning that is over. Next is nil where it is not.
func (b *Beginning) keep(defaults *Settings) (kept *Settings, next *Beginning) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil || b.old == nil {
		return defaults, b.next
	}
	print := defaults.Fingerprint()
	if kept = b.taken[print]; kept == nil {
		if kept = b.old.over(defaults); b.taken == nil || len(b.taken) >= maxTaken {
			b.taken = make(map[string]*Settings)
		}
		b.taken[print] = kept
	}
	return kept, b.next
}

// keepDefaults takes over what has changed since the session was let in.
func (s *Session) keepDefaults() {
	if s.beginning == nil { // an audit
		return
	}
	for now := s.cfg.Beginning(); s.beginning != now; {
		kept, next := s.beginning.keep(s.defaults)
		if next == nil { // it has another pool by now
			s.beginning = now
			return
		}
		s.takeDefaults(kept)
		s.beginning = next
	}
}

// takeDefaults gives the session more defaults of its own. What it has set itself stays.
func (s *Session) takeDefaults(more *Settings) {
	st, before := &s.state, s.defaults
	s.defaults = more
	if st.settings == before {
		st.settings = more
	}
	for _, one := range more.All() {
		if _, had := before.Get(one.Name); had {
			continue
		}
		if _, set := st.settings.Get(one.Name); !set {
			st.settings = st.settings.With(one.Name, one.Value)
		}
		if _, told := st.welcomed.Get(one.Name); told {
			st.welcomed = st.welcomed.With(one.Name, one.Value) // which is what it is after a RESET
		}
	}
	st.dialect = dialectOf(st.settings)
}
