package proxy

import (
	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/proxy/login"
)

// databaseOf finds what a client's database name stands for.
func (s *Server) databaseOf(name string) (Database, bool) {
	if db, ok := s.config.Databases[name]; ok {
		return db, true
	}
	db, ok := s.config.Databases[AnyDatabase]
	return db, ok
}

// poolOf finds the pools of the client's database and of the user that the server will see, or makes them.
func (s *Server) poolOf(who *login.Client) (*pool, error) {
	db, ok := s.databaseOf(who.Database)
	if !ok {
		return nil, noDatabase(who.Database)
	}
	target, err := s.targetOf(&db, who)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := poolName{who.Database, target.User()}
	if p := s.pools[name]; p != nil {
		return p, nil
	}
	p, err := newPool(s, name, db, target)
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

// targetOf says where and as whom to connect for a client. Under the name "*" the client says which database.
func (s *Server) targetOf(db *Database, who *login.Client) (*backend.Target, error) {
	target, err := backend.ParseTarget(db.URL)
	if err != nil {
		return nil, err
	}
	if _, named := s.config.Databases[who.Database]; !named {
		target = target.In(who.Database)
	}
	return target.With(who.User, who.Secret.Password(), who.Database), nil
}

// checkDatabase says what is wrong with a database's settings before anybody connects to it.
func checkDatabase(db *Database) error {
	if _, err := backend.ParseTarget(db.URL); err != nil {
		return err
	}
	_, err := newCatalog(db.Functions, nil)
	return err
}
