package proxy

import (
	"time"

	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/proxy/login"
	"github.com/lockproxy/lockproxy/proxy/session"
)

// rules are the configuration with all that is derived from it. Server.rules is the one place where the server reads what it
// was told, and Reload puts other rules there as a whole, so that nobody sees half of a change. Immutable.
type rules struct {
	Config
	salts    *login.Salts
	failures *login.Failures // whatever their bound was first
	looks    *login.Looks
	door     *login.Door
	inquiry  *inquiry                   // what the door asks for secrets; nil: nobody
	shown    *identity                  // to clients in TLS; nil: there is none
	listed   []string                   // the users of Auth.File
	targets  map[string]*backend.Target // where the databases of the configuration lead to, by their names there
}

// newRules derives the rules. An error names what cannot be used. Where the databases' URLs lead to depends on files and
// variables as well (passfile, service, PGHOST), which cost a login more than all the rest of it: it is read here, once. Salts
// and failed logins are those of the rules before; nil: there are none.
func newRules(config Config, before *rules) (*rules, error) {
	r := &rules{Config: config, targets: make(map[string]*backend.Target)}
	r.Databases = make(map[string]Database) // the caller's stays as it is
	for name, db := range config.Databases {
		db.Admin.Notice, db.Lock.Notice = config.WaitNotice, config.WaitNotice
		r.Databases[name] = db
		target, err := backend.ParseTarget(db.URL)
		if err == nil {
			_, err = newCatalog(db.Functions, nil)
		}
		if err != nil {
			return nil, inSetting("databases."+name, err)
		}
		r.targets[name] = target
	}
	var err error
	if r.shown, err = newIdentity(config.TLS); err != nil {
		return nil, err
	}
	if before != nil {
		r.salts, r.failures = before.salts, before.failures
	} else {
		r.salts, r.failures = r.shown.salts(), login.NewFailures(config.Auth.MaxFailures)
	}
	r.looks = login.NewLooks()
	if config.Auth.Query != "" {
		if before != nil && before.inquiry != nil {
			r.looks = before.looks // else they would be others until all users have been looked up again
		}
		if r.inquiry, err = newInquiry(&config.Auth, r.salts, config.LoginTimeout, r.targets); err != nil {
			return nil, err
		}
	}
	r.door, err = newDoor(r)
	return r, err
}

// database finds what a client's database name stands for, and where it leads to.
func (r *rules) database(name string) (Database, *backend.Target, bool) {
	db, ok := r.Databases[name]
	if !ok {
		name = AnyDatabase
		db, ok = r.Databases[name]
	}
	return db, r.targets[name], ok
}

// targetFor says where and as whom to connect for a client. Under the name "*" the client says which database.
func (r *rules) targetFor(who *login.Client) *backend.Target {
	_, target, _ := r.database(who.Database)
	if _, named := r.Databases[who.Database]; !named {
		target = target.In(who.Database)
	}
	return target.With(who.User, who.Database).Proving(who.User, proofOf(who))
}

// proofOf is what a client logs in with on its servers: its password, or what else it has proved itself by.
func proofOf(who *login.Client) backend.Proof {
	clientKey, serverKey := who.Secret.Keys()
	return backend.Proof{
		Password: who.Secret.Password(), MD5: who.Secret.MD5(), ClientKey: clientKey, ServerKey: serverKey,
	}
}

// terms are what the rules say for one pool. Immutable.
type terms struct {
	Database
	target   *backend.Target
	sessions *session.Config
}

// lingerFor is how long a server connection waits for a client that may ask what nextval left: longer than it takes an
// application to come from an INSERT to that question.
const lingerFor = 50 * time.Millisecond

// termsOf gives the terms of a pool. Called with the server's mutex held.
func (s *Server) termsOf(p *pool, r *rules, db Database, target *backend.Target) *terms {
	return &terms{Database: db, target: target, sessions: &session.Config{
		Catalog: p.catalog.Load, Beginning: func() session.Beginning { return p.began.Load() }, Schema: s.schemaOf(target.Database()), LockTimeout: db.LockTimeout, IdleTimeout: db.IdleTransactionTimeout,
		MaxStatement: r.MaxStatement, MaxPrepared: r.MaxPrepared, MaxBuffer: r.MaxBuffer, SessionMode: db.SessionMode,
		Current:       func() *session.Config { return p.terms.Load().sessions },
		SequencesRead: func() bool { return p.readsSeq.Load() || p.catalog.Load().Sequences() }, Pids: pids{s}, Linger: lingerFor,
		Explains: true, WaitNotice: r.WaitNotice, LockTimeoutName: db.advise("pools.lock.lock_timeout (DATABASE_LOCK_TIMEOUT_MS)"),
	}}
}
