package proxy

import "sync/atomic"

// schema counts the changes of a database's schema that its sessions saw, whoever their users are.
type schema struct{ version atomic.Uint64 }

// Version gives the number of changes so far.
func (s *schema) Version() uint64 { return s.version.Load() }

// Changed counts one more.
func (s *schema) Changed() { s.version.Add(1) }

// schemaOf gives the one of a database, by the server's name. Called with the mutex held.
func (s *Server) schemaOf(database string) *schema {
	if s.schemas[database] == nil {
		// A session whose database becomes another one must not take the new one's version for the old one's.
		made := new(schema)
		made.version.Store(uint64(len(s.schemas)) << 40)
		s.schemas[database] = made
	}
	return s.schemas[database]
}
