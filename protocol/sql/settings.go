package sql

// set reads what follows SET (gram.y: VariableSetStmt).
func (s *scan) set() {
	defer s.skip()
	s.next()
	local := s.on("local")
	if session := s.on("session"); local || session {
		// SESSION may be a scope, or begin SESSION AUTHORIZATION and SESSION CHARACTERISTICS.
		next := s.peek()
		if session && s.is(next, "characteristics") {
			s.characteristics()
			return
		}
		if local || !s.is(next, "authorization") {
			s.next()
		}
	}
	switch {
	case s.on("transaction") || s.on("constraints"):
	case s.on("time") && s.is(s.peek(), "zone"):
		s.next()
		s.assign("timezone", local)
	case s.on("session") && s.is(s.peek(), "authorization"):
		s.next()
		s.assign("session_authorization", local)
	case s.on("xml") && s.is(s.peek(), "option"):
		s.next()
		s.assign("xmloption", local)
	case s.on("names"):
		s.assign("client_encoding", local)
	case s.on("schema"):
		s.assign("search_path", local)
	default:
		s.assign(s.settingName(), local)
	}
}

// assign reads the value, whose name was read.
func (s *scan) assign(name string, local bool) {
	s.next()
	switch {
	case s.on("to") || s.at(s.tok, '='):
		s.next()
	case s.body && s.tok.kind == atEnd && !wholeNames[name]:
		name = "" // what is added to the string may go on with it
	}
	op := OpSet
	// SET TIME ZONE LOCAL and SET NAMES alone mean DEFAULT too.
	if s.on("default") || name == "timezone" && s.on("local") || name == "client_encoding" && s.ended() {
		op = OpReset
	}
	s.setting(Setting{Name: name, Local: local, Op: op})
}

// wholeNames are the settings that other words than their names stand for.
var wholeNames = setOf("role", "session_authorization", "timezone", "xmloption", "client_encoding", "search_path")

// settingName reads a name with its dots. Case does not matter in names of settings, quoted or not.
func (s *scan) settingName() string {
	var b nameBuffer
	name := string(lowered(s.name(s.tok, &b)))
	for s.at(s.peek(), '.') {
		s.next()
		s.next()
		name += "." + string(lowered(s.name(s.tok, &b)))
	}
	return name
}

func lowered(name []byte) []byte {
	for i, c := range name {
		name[i] = lower(c)
	}
	return name
}

// characteristics reads SET SESSION CHARACTERISTICS AS TRANSACTION, which sets defaults.
func (s *scan) characteristics() {
	for !s.ended() && s.next() {
		name := ""
		switch {
		case s.on("isolation"):
			name = "default_transaction_isolation"
		case s.on("only") || s.on("write"):
			name = "default_transaction_read_only"
		case s.on("deferrable"):
			name = "default_transaction_deferrable"
		default:
			continue
		}
		s.setting(Setting{Name: name})
	}
}

// reset reads what follows RESET.
func (s *scan) reset() {
	defer s.skip()
	s.next()
	switch {
	case s.on("all"):
		s.touches |= TouchSettings | TouchLockTimeout | TouchIdleTimeout
		s.unit.Settings = append(s.unit.Settings, Setting{Op: OpResetAll})
	case s.on("time") && s.is(s.peek(), "zone"):
		s.setting(Setting{Name: "timezone", Op: OpReset})
	case s.on("transaction"):
	case s.on("session") && s.is(s.peek(), "authorization"):
		s.setting(Setting{Name: "session_authorization", Op: OpReset})
	default:
		s.setting(Setting{Name: s.settingName(), Op: OpReset})
	}
}

// setting notes a change.
func (s *scan) setting(c Setting) {
	switch c.Name {
	case "seed":
		s.touches |= TouchSeed
		return
	case "transaction_isolation", "transaction_read_only", "transaction_deferrable":
		return
	case "lock_timeout":
		s.touches |= TouchLockTimeout
	case "idle_in_transaction_session_timeout":
		s.touches |= TouchIdleTimeout
	}
	if c.Local {
		s.touches |= TouchLocalSettings
	} else {
		s.touches |= TouchSettings
	}
	s.unit.Settings = append(s.unit.Settings, c)
}

// openSetting notes a call of set_config, whose last argument tells whether it is for the transaction alone.
func (s *scan) openSetting() {
	l := s.lexer
	l.next()
	l.next()
	name := l.tok
	l.next()
	l.castToText()
	if name.kind != literal || !l.at(l.tok, ',') {
		name = token{}
	}
	if !s.push(frame{setting: true, name: name}) {
		s.setting(Setting{Name: s.literalName(name)})
	}
}

// closeSetting notes the setting at the end of set_config's arguments.
func (s *scan) closeSetting(name token) {
	local := s.at(s.back(2), ',') && s.isTrue(s.back(1))
	literalValue := s.at(s.back(4), ',') && s.back(3).kind == literal
	s.setting(Setting{Name: s.literalName(name), Local: local, Null: !literalValue})
}

func (s *scan) literalName(t token) string {
	if t.kind != literal {
		return ""
	}
	inside, _ := s.content(t)
	return string(lowered(append([]byte(nil), inside...)))
}

// isTrue tells whether the token is true, or a literal that is.
func (s *scan) isTrue(t token) bool {
	if t.kind == literal {
		switch string(s.text[t.start:t.end]) {
		case "'t'", "'true'", "'TRUE'":
			return true
		}
	}
	return s.is(t, "true")
}
