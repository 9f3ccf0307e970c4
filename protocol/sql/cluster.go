package sql

// ClusterOp is a statement that concerns the server sessions of others.
type ClusterOp struct {
	// Vacates tells that nobody else may be connected to Database while it runs: it is dropped, renamed, moved or copied.
	// Else sessions of Role in Database begin with other settings from then on.
	Vacates        bool
	Database, Role string // "": any
}

// administer reads CREATE, ALTER or DROP from the kind of what it is about, which is the last token.
func (s *scan) administer(verb Verb) {
	switch {
	case !s.live:
	case s.on("database"):
		s.administerDatabase(verb)
	case verb == Alter && (s.on("role") || s.on("user")):
		s.administerRole()
	}
}

func (s *scan) administerDatabase(verb Verb) {
	if s.next(); s.on("if") && s.is(s.peek(), "exists") {
		s.next()
		s.next()
	}
	op := ClusterOp{Vacates: true, Database: s.named()}
	switch verb {
	case Create:
		op.Database = s.template()
	case Alter:
		s.next()
		changes := s.on("set") || s.on("reset")
		if !changes && !s.on("rename") {
			return
		}
		op.Vacates = !changes || s.is(s.peek(), "tablespace")
	}
	s.unit.Cluster = append(s.unit.Cluster, op)
}

// template gives the database that CREATE DATABASE copies.
func (s *scan) template() string {
	name := "template1"
	for !s.ended() && s.next() {
		if s.on("template") {
			if s.next(); s.at(s.tok, '=') {
				s.next()
			}
			if !s.on("default") {
				name = s.named()
			}
		}
	}
	return name
}

// administerRole reads ALTER ROLE name [IN DATABASE name] SET ... or RESET ...; of ALL and CURRENT_USER it is not told who
// that is.
func (s *scan) administerRole() {
	var op ClusterOp
	s.next()
	if !s.on("all") && !s.on("current_role") && !s.on("current_user") && !s.on("session_user") {
		op.Role = s.named()
	}
	if s.next(); s.on("in") {
		s.next()
		s.next()
		op.Database = s.named()
		s.next()
	}
	if s.on("set") || s.on("reset") {
		s.unit.Cluster = append(s.unit.Cluster, op)
	}
}

// named gives the name that the last token is, or the text in quotes, which CREATE DATABASE takes for one.
func (s *scan) named() string {
	if s.tok.kind == literal {
		inside, _ := s.content(s.tok)
		return string(inside)
	}
	var b nameBuffer
	return string(s.name(s.tok, &b))
}
