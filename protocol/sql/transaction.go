package sql

// begin reads what follows BEGIN or START (gram.y: TransactionStmt, transaction_mode_list_or_empty).
func (s *scan) beginTransaction() {
	start := s.on("start")
	s.control = true
	s.next()
	ok := !start || s.on("transaction")
	if s.on("transaction") || s.on("work") && !start {
		s.next()
	}
	for more := false; ok && (more || !s.ended()); {
		ok = s.mode()
		more = s.at(s.tok, ',')
		if more {
			s.next()
		}
	}
	switch {
	case !ok:
		s.unit.Begin = BeginOther
	case s.unit.Begin != BeginReadWrite:
		s.unit.Begin = BeginPlain
	}
	s.skip()
}

// mode reads one transaction mode; false if it is READ WRITE, or none.
func (s *scan) mode() bool {
	take := func(keyword string) bool {
		if s.on(keyword) {
			s.next()
			return true
		}
		return false
	}
	switch {
	case take("isolation"):
		if !take("level") {
			return false
		}
		if take("repeatable") {
			return take("read")
		}
		return take("serializable") || take("read") && (take("committed") || take("uncommitted"))
	case take("read"):
		if take("write") {
			s.unit.Begin = BeginReadWrite
			return true
		}
		return take("only")
	case take("not"):
		return take("deferrable")
	}
	return take("deferrable")
}

// finishTransaction reads what follows COMMIT, END, ROLLBACK or ABORT.
func (s *scan) finishTransaction(verb Verb) {
	defer s.skip()
	s.next()
	if s.on("work") || s.on("transaction") {
		s.next()
	}
	if verb == Rollback && s.on("to") {
		s.touches |= TouchRollbackTo
		if s.unit.Statements == 1 {
			s.unit.Verb = RollbackTo
		}
		return
	}
	s.control = true
	if s.on("prepared") {
		s.touches |= TouchSchema // as the transaction may have
		if s.unit.Statements == 1 {
			s.unit.Verb = Other
		}
	}
	for _, keyword := range []string{"and", "no", "chain"} {
		if s.ended() && keyword == "and" {
			break
		}
		if !s.on(keyword) {
			return
		}
		s.next()
	}
	if !s.ended() {
		return
	}
	s.unit.End = EndCommit
	if verb == Rollback {
		s.unit.End = EndRollback
	}
}

// discard reads what follows DISCARD.
func (s *scan) discard() {
	s.next()
	if s.on("all") {
		s.touches |= TouchDiscardAll
		s.unit.Discards = true
	} else {
		s.touches |= TouchDiscardOther
	}
	s.skip()
}
