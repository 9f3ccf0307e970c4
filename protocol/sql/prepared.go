package sql

// prepare reads what follows PREPARE: a statement to be kept, or TRANSACTION and the name of a global transaction.
func (s *scan) prepare() {
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
	for !s.ended() && s.next() && !s.on("as") {
	}
	s.rest()
	s.unit.Prepared = append(s.unit.Prepared, PreparedOp{Op: OpPrepare, Name: name, Effects: s.effects, Touches: s.touches})
	s.touches |= TouchPrepare
}

// execute reads what follows EXECUTE. Its arguments are evaluated.
func (s *scan) execute(runs bool) {
	s.next()
	s.unit.Prepared = append(s.unit.Prepared, PreparedOp{Op: OpExecute, Name: s.nameString(), Runs: runs})
	s.rest()
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
	s.unit.Prepared = append(s.unit.Prepared, op)
	s.skip()
}

// nameString gives the last token's name.
func (s *scan) nameString() string {
	var b nameBuffer
	return string(s.name(s.tok, &b))
}
