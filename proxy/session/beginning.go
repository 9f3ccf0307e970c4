package session

// Beginning stands for the settings that server sessions begin with, from one ALTER ROLE ... SET or ALTER DATABASE ... SET to the
// next. A session of PostgreSQL's has for its life what it began with: such a change is for those that come later. So a client's
// session that outlives a beginning takes over what it had of it as defaults of its own, as it has those of its startup message:
// they are put in place on servers that began later, and RESET gives them back. It does so when it has a server next: until then
// it costs nothing. Called from steps of any session.
type Beginning interface {
	// Keep adds to a session's defaults what it had of the beginning, if that is over. Next is nil where it is not.
	Keep(defaults *Settings) (kept *Settings, next Beginning)
}

// keepDefaults takes over what has changed since the session was let in.
func (s *Session) keepDefaults() {
	if s.beginning == nil { // an audit
		return
	}
	for now := s.cfg.Beginning(); s.beginning != now; {
		kept, next := s.beginning.Keep(s.defaults)
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
