package proxy

import (
	"fmt"

	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/proxy/login"
)

// databaseOf finds what a client's database name stands for, and where it leads to.
func (s *Server) databaseOf(name string) (Database, *backend.Target, bool) {
	db, ok := s.config.Databases[name]
	if !ok {
		name = AnyDatabase
		db, ok = s.config.Databases[name]
	}
	return db, s.targets[name], ok
}

// poolOf finds the pools of the client's database and of the user that the server will see, or makes them.
func (s *Server) poolOf(who *login.Client) (*pool, error) {
	db, target, ok := s.databaseOf(who.Database)
	if !ok {
		return nil, noDatabase(who.Database)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := poolName{who.Database, target.UserFor(who.User)}
	if p := s.pools[name]; p != nil {
		return p, nil
	}
	p, err := newPool(s, name, db, s.targetFor(target, who))
	if err != nil {
		return nil, err
	}
	s.pools[name] = p
	p.timer.Reset(0) // min_idle is kept from the start
	return p, nil
}

func noDatabase(name string) *protocol.Error {
	return protocol.Fatal(protocol.InvalidCatalogName, `database "`+name+`" does not exist`)
}

// targetFor says where and as whom to connect for a client. Under the name "*" the client says which database.
func (s *Server) targetFor(target *backend.Target, who *login.Client) *backend.Target {
	if _, named := s.config.Databases[who.Database]; !named {
		target = target.In(who.Database)
	}
	return target.With(who.User, who.Secret.Password(), who.Database)
}

// readTargets reads the databases' URLs, once: where they lead to depends on files and variables as well (passfile,
// service, PGHOST), which cost a login more than all the rest of it.
func (s *Server) readTargets() error {
	for name, db := range s.config.Databases {
		target, err := backend.ParseTarget(db.URL)
		if err == nil {
			_, err = newCatalog(db.Functions, nil)
		}
		if err != nil {
			return fmt.Errorf("databases.%s: %w", name, err)
		}
		s.targets[name] = target
	}
	return nil
}
