package sql

// prepare reads what follows PREPARE: a statement to be kept, or TRANSACTION and the name of a global transaction.
func (s *scan) prepare() {
	start, settings := int(s.tok.start), len(s.unit.Settings)
	s.next()
	if s.on("transaction") && s.peek().kind == literal {
		s.control = true
		if s.unit.Statements == 1 {
			s.unit.Verb = Other
		}
		s.skip()
		return
	}
	name := s.nameString()
	types := s.parameterTypes()
	verb, query := Other, len(s.source)
	if !s.ended() && s.next() {
		query = int(s.tok.start)
		verb = s.verb()
	}
	s.advances(verb)
	s.rest()
	s.looksOnly(verb, int32(query))
	end := len(s.source)
	if s.at(s.tok, ';') {
		end = int(s.tok.start)
	}
	op := PreparedOp{Op: OpPrepare, Name: name, Text: Span{start, end}, Query: query - start, Types: types, Effects: s.effects, Touches: s.touches}
	// What it does to the session it does at EXECUTE.
	if len(s.unit.Settings) > settings {
		op.Settings = append(op.Settings, s.unit.Settings[settings:]...)
		s.unit.Settings = s.unit.Settings[:settings:settings]
	}
	s.preparedOp(op)
	s.touches = TouchPrepare
}

// parameterTypes reads up to AS, and counts the types that are named; 0 where one of them is left to be found out.
func (s *scan) parameterTypes() (types int) {
	unknown := false
	for !s.ended() && s.next() && !s.on("as") {
		if s.depth == 1 && (s.at(s.tok, ',') || s.at(s.tok, '(')) {
			types++
		}
		unknown = unknown || s.on("unknown")
	}
	if unknown {
		return 0
	}
	return types
}

func (s *scan) preparedOp(op PreparedOp) {
	op.Index = s.unit.Statements - 1
	s.unit.Prepared = append(s.unit.Prepared, op)
}

// execute reads what follows EXECUTE. Its arguments are evaluated.
func (s *scan) execute(runs bool) {
	start := int(s.tok.start)
	s.next()
	op := PreparedOp{Op: OpExecute, Name: s.nameString(), Runs: runs}
	name := int(s.tok.end)
	s.rest()
	op.Text = Span{start, int(s.back(1).end)}
	op.Bare = op.Text.To == name
	s.preparedOp(op)
}

// deallocate reads what follows DEALLOCATE. PREPARE may stand before the name, or be it.
func (s *scan) deallocate() {
	s.touches |= TouchDeallocate
	s.next()
	if k := s.peek().kind; s.on("prepare") && (k == word || k == quoted) {
		s.next()
	}
	op := PreparedOp{Op: OpDeallocateAll}
	if !s.on("all") {
		op = PreparedOp{Op: OpDeallocate, Name: s.nameString()}
	}
	s.preparedOp(op)
	s.skip()
}

// nameString gives the last token's name.
func (s *scan) nameString() string {
	var b nameBuffer
	return string(s.name(s.tok, &b))
}
