package sql

// declare reads what follows DECLARE. Its query counts: FETCH will run it.
func (s *scan) declare() {
	for !s.ended() && s.next() && !(s.depth == 0 && s.on("for")) {
		if s.on("hold") && s.is(s.back(1), "with") && s.live {
			s.touches |= TouchHold
		}
	}
	s.rest()
}

// explain reads what follows EXPLAIN. Only with ANALYZE the statement is run.
func (s *scan) explain() {
	s.live = false
	s.next()
	if s.at(s.tok, '(') {
		s.explainOptions()
	} else {
		if s.on("analyze") || s.on("analyse") {
			s.live = true
			s.next()
		}
		if s.on("verbose") {
			s.next()
		}
	}
	switch verb := s.verb(); verb {
	case Execute:
		s.execute(s.live)
	case Create:
		s.create()
	case Declare:
		s.declare()
	default:
		if s.live {
			s.advances(verb)
		}
		s.rest()
	}
}

// explainOptions reads options in parentheses, and the token after them. A query in parentheses looks alike, and is not
// run either.
func (s *scan) explainOptions() {
	for s.depth > 0 && s.next() {
		if before := s.back(1); !s.on("analyze") && !s.on("analyse") || !s.at(before, '(') && !s.at(before, ',') {
			continue
		}
		s.next()
		s.live = !s.on("off") && !s.on("false") && !s.literally("'off'", "'false'", "'0'", "0")
	}
	s.next()
}

// literally tells whether the last token is written as one of the texts, which have no letter in upper case.
func (s *scan) literally(texts ...string) bool {
	var b [8]byte
	t := s.text[s.tok.start:s.tok.end]
	if len(t) > len(b) {
		return false
	}
	copy(b[:], t)
	for _, text := range texts {
		if string(lowered(b[:len(t)])) == text {
			return true
		}
	}
	return false
}

// do reads what follows DO: a body as a string, and LANGUAGE, in any order.
func (s *scan) do() {
	ours, body := true, token{}
	for !s.ended() && s.next() {
		switch {
		case s.is(s.back(1), "language"):
			ours = s.namesPLpgSQL()
		case s.tok.kind == literal:
			body = s.tok
			s.scanBody(body)
		}
	}
	if !ours && body.kind == literal {
		content, _ := s.content(body)
		s.touches |= foreign(string(content))
	}
}

// namesPLpgSQL tells whether the token, a word or a string, names the language of DO blocks that name none.
func (s *scan) namesPLpgSQL() bool {
	if s.tok.kind == literal {
		content, _ := s.content(s.tok)
		return string(content) == "plpgsql"
	}
	return s.on("plpgsql")
}

// scanBody looks into the body of a DO block. Lock functions in what it quotes again are not looked for.
func (s *scan) scanBody(t token) {
	inside, offset := s.content(t)
	b := scan{reader: s.reader, live: true, body: true, calls: s.calls}
	b.unit.Statements = s.unit.Statements
	b.lexer.begin(inside, s.dialect)
	b.inside(maxQuoted)
	s.effects |= b.effects
	s.touches |= b.touches
	s.unit.Settings = append(s.unit.Settings, b.unit.Settings...)
	if offset >= 0 && b.unit.Calls == 1 && b.unit.Key != (Span{}) {
		s.unit.Key = Span{b.unit.Key.From + offset, b.unit.Key.To + offset}
	}
	s.unit.Calls += b.unit.Calls
}
