package proxy

import "sync/atomic"

// schema counts the changes of a database's schema that its sessions saw, whoever their users are.
type schema struct {
	version atomic.Uint64
	pools   int // that lead there; under the server's mutex
}

// Version gives the number of changes so far.
func (s *schema) Version() uint64 { return s.version.Load() }

// Changed counts one more.
func (s *schema) Changed() { s.version.Add(1) }

// schemaOf gives the one of a database, by the server's name. Called with the mutex held.
func (s *Server) schemaOf(database string) *schema {
	if s.schemas[database] == nil {
		// A session whose database becomes another one must not take the new one's version for the old one's.
		made := new(schema)
		made.version.Store(s.schemaSeq << 40)
		s.schemaSeq++
		s.schemas[database] = made
	}
	return s.schemas[database]
}

// leaveSchema takes note that a pool is no more that led to a database. Called with the mutex held.
func (s *Server) leaveSchema(database string) {
	one := s.schemas[database]
	if one.pools--; one.pools == 0 {
		delete(s.schemas, database)
	}
}
