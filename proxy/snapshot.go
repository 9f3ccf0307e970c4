package proxy

import (
	"cmp"
	"crypto/tls"
	"iter"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/proxy/console"
	"github.com/lockproxy/lockproxy/proxy/login"
	"github.com/lockproxy/lockproxy/proxy/session"
)

// Snapshot gives what the server looks like. Each client and each pool is looked at on its own, so that nobody is stopped
// for longer than one look takes.
func (s *Server) Snapshot() *console.Snapshot {
	r := s.rules.Load()
	shot := &console.Snapshot{
		Version: r.Version, Begun: s.begun, Sessions: s.Sessions(), MaxClients: r.MaxClients, Settings: r.Settings,
		Refused: s.counters.refused.all(), Pinned: s.counters.pinned.all(),
	}
	s.mu.Lock()
	shot.LoggingIn, shot.Older, shot.Buried = s.asking.Len(), s.older, s.finished()
	s.mu.Unlock()
	shot.Pools, shot.Backends = s.portray(r, shot.Sessions)
	shot.Now = time.Now()
	describeClients(shot)
	off := s.State()
	shot.Databases, shot.Users = r.databasesOf(shot, &off), r.usersOf(shot)
	shot.Paused, shot.Draining = off.Paused, off.Ending
	for i := range shot.Databases {
		d := &shot.Databases[i]
		d.Paused, d.Disabled = off.PausedOf[d.Name], off.Disabled[d.Name]
	}
	return shot
}

// portray gives what the pools look like, one for each database and user, and all server connections: those included that a
// pool still has which is no more, and those of replication, which are in none.
func (s *Server) portray(r *rules, sessions []SessionInfo) (list []console.Pool, servers []console.Backend) {
	s.mu.Lock()
	live, leaving := slices.Collect(maps.Values(s.pools)), slices.Collect(maps.Keys(s.retired))
	s.mu.Unlock()
	all := make(map[poolName]*console.Pool)
	for _, p := range live {
		p.settle()
		one, its := p.portrait()
		all[p.name], servers = &one, append(servers, its...)
	}
	for _, p := range leaving {
		if one, its := p.portrait(); len(its) > 0 {
			servers = append(servers, its...)
			r.row(all, p.name).Inherit(&one)
		}
	}
	s.each(func(g guest) {
		if one, replicates := g.(*relay); replicates {
			servers = append(servers, one.backend())
			r.row(all, poolName{one.about.database, one.user}).Replicating++
		}
	})
	clients := countClients(sessions)
	for name, p := range all {
		p.Clients = clients[name]
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b console.Pool) int {
		return cmp.Or(cmp.Compare(a.Database, b.Database), cmp.Compare(a.User, b.User))
	})
	slices.SortFunc(servers, func(a, b console.Backend) int {
		return cmp.Or(cmp.Compare(a.Database, b.Database), cmp.Compare(a.User, b.User), cmp.Compare(a.Pid, b.Pid))
	})
	return list, servers
}

func countClients(all []SessionInfo) map[poolName]int {
	counts := make(map[poolName]int)
	for i := range all {
		counts[poolName{all[i].Database, all[i].Pooled}]++
	}
	return counts
}

// describeClients tells of each server connection whose it is.
func describeClients(s *console.Snapshot) {
	byServer := make(map[uint32]*SessionInfo)
	for i := range s.Sessions {
		if pid := s.Sessions[i].BackendPid; pid != 0 {
			byServer[pid] = &s.Sessions[i]
		}
	}
	for i := range s.Backends {
		b := &s.Backends[i]
		if c := byServer[b.Pid]; c != nil && b.Active {
			b.Client, b.Application = c.Pid, c.ApplicationName
		}
	}
}

// databasesOf gives the databases that the configuration names, and those that clients and operators have named under "*".
func (r *rules) databasesOf(s *console.Snapshot, off *State) []console.Database {
	all := make(map[string]*console.Database)
	database := func(name string) *console.Database {
		if db, target, known := r.database(name); all[name] == nil && known {
			all[name] = r.describe(name, db, target)
		}
		return all[name]
	}
	for _, names := range []iter.Seq[string]{maps.Keys(r.Databases), maps.Keys(off.PausedOf), maps.Keys(off.Disabled)} {
		for name := range names {
			if name != AnyDatabase {
				database(name)
			}
		}
	}
	for i := range s.Pools {
		if d := database(s.Pools[i].Database); d != nil {
			d.Clients += s.Pools[i].Clients
			d.Backends += s.Pools[i].Servers()
		}
	}
	var list []console.Database
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, *all[name])
	}
	return list
}

// usersOf gives the users that the configuration and its files name, and those that there are.
func (r *rules) usersOf(s *console.Snapshot) []console.User {
	all := make(map[string]*console.User)
	user := func(name string) *console.User {
		if all[name] == nil {
			most, _ := r.mostOf(name)
			all[name] = &console.User{Name: name, MaxClients: most}
		}
		return all[name]
	}
	for name := range r.Users {
		user(name)
	}
	for _, name := range r.listed {
		user(name)
	}
	for _, target := range r.targets {
		if target.ForcesUser() {
			user(target.User())
		}
	}
	for i := range s.Pools {
		user(s.Pools[i].User).Backends += s.Pools[i].Servers()
	}
	for i := range s.Sessions {
		if one := &s.Sessions[i]; one.Pooled != "" { // who has a console is no client
			user(one.User).Clients++
		}
	}
	var list []console.User
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, *all[name])
	}
	return list
}

func (r *rules) describe(name string, db Database, target *backend.Target) *console.Database {
	d := &console.Database{
		Name: name, SessionMode: db.SessionMode, MinIdle: db.Admin.MinIdle, MaxLifetime: db.Admin.MaxLifetime,
		Sizes: [console.Kinds]int{db.Admin.Max, db.Lock.Max}, ServerDatabase: name, MaxClients: db.MaxClients,
	}
	if _, named := r.Databases[name]; named && target.ForcesDatabase() {
		d.ServerDatabase = target.Database()
	}
	if target.ForcesUser() {
		d.ForcedUser = target.User()
	}
	d.Host, d.Port = target.Host()
	return d
}

// row finds what is shown of a database and user that have connections, whether or not they have a pool at the moment.
func (r *rules) row(all map[poolName]*console.Pool, name poolName) *console.Pool {
	if all[name] == nil {
		db, _, _ := r.database(name.database)
		all[name] = &console.Pool{Database: name.database, User: name.user, SessionMode: db.SessionMode}
		all[name].Slots[console.Admin].Max, all[name].Slots[console.Lock].Max = db.Admin.Max, db.Lock.Max
	}
	return all[name]
}

// portrait gives what the pool looks like, and its server connections.
func (p *pool) portrait() (console.Pool, []console.Backend) {
	shot := console.Pool{Database: p.name.database, User: p.name.user, SessionMode: p.terms.Load().SessionMode}
	var backends []console.Backend
	p.mu.Lock()
	defer p.mu.Unlock()
	a := &p.ledger
	shot.Totals, shot.Older = p.totals(), a.older
	shot.Births, shot.Misses, shot.Promotions = a.births, a.misses, a.promises
	shot.Deaths = maps.Clone(a.deaths)
	shot.Locks = make(map[string]uint64)
	for i, n := range a.locks {
		shot.Locks[session.LockOutcome(i).String()] = n
	}
	for _, kind := range []pools.Kind{pools.Admin, pools.Lock} {
		c := p.pair.Counts(kind)
		shot.Slots[kind] = console.Slots{
			Max: c.Max, Active: c.Active, Holding: c.Holding, Idle: c.Idle, Dialing: c.Dialing, Waiting: c.Waiting,
			Promoting: c.PromotionsWaiting, WaitingSince: c.WaitingSince, Waits: a.waits[kind], Holds: a.holds[kind],
			Refusals: maps.Clone(a.refusals[kind]),
		}
	}
	for b := range p.pair.Backends() {
		backends = append(backends, p.backend(b))
	}
	return shot, backends
}

// backend gives what a server connection looks like. Called with the mutex held.
func (p *pool) backend(b *pools.Backend) console.Backend {
	sc := b.Conn.(*serverConn)
	return console.Backend{
		Pid: sc.conn.Pid, Database: p.name.database, User: p.name.user, Kind: console.Kind(b.Kind()), Active: b.Holder() != nil,
		Holding: b.Holding(), Replication: "none", Address: addressOf(sc.conn.Net.RemoteAddr()), Local: addressOf(sc.conn.Net.LocalAddr()),
		TLS: tlsOf(sc.conn.Net), Born: b.Born(), Since: b.Since(),
	}
}

// backend gives what the relay's server connection looks like.
func (r *relay) backend() console.Backend {
	return console.Backend{
		Pid: r.conn.Pid, Database: r.about.database, User: r.user, Active: true, Replication: r.kind(),
		Address: addressOf(r.conn.Net.RemoteAddr()), Local: addressOf(r.conn.Net.LocalAddr()), TLS: tlsOf(r.conn.Net),
		Born: r.about.since, Since: r.about.since,
	}
}

// addressOf gives host and port of a TCP address, and "local" for a unix socket.
func addressOf(a net.Addr) string {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.String()
	case *net.UnixAddr:
		return unixAddress(a.Name)
	}
	return noAddress
}

// unixAddress is how PgBouncer shows a unix socket, whose port is in its name.
func unixAddress(path string) string {
	_, port, found := strings.Cut(filepath.Base(path), ".s.PGSQL.")
	if _, err := strconv.ParseUint(port, 10, 16); !found || err != nil {
		return noAddress
	}
	return net.JoinHostPort("unix", port)
}

// tlsOf says what an encrypted connection speaks.
func tlsOf(conn net.Conn) string {
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return ""
	}
	state := secure.ConnectionState()
	return login.Spoken(&state)
}
