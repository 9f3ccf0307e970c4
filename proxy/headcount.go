package proxy

import (
	"fmt"
	"net/netip"

	"github.com/lockproxy/lockproxy/protocol"
)

// headcount counts who is connected, by what there are limits for. It counts without limits as well: they may come with
// another configuration. Under the server's mutex.
type headcount struct {
	addresses map[netip.Addr]int // connections, those that are logging in included
	databases map[string]int     // clients, by the name of the database that they gave
	users     map[string]int     // clients, by the name that they logged in with
	operators int                // clients of the console, which do not count as those of a database do
}

func newHeadcount() headcount {
	return headcount{addresses: make(map[netip.Addr]int), databases: make(map[string]int), users: make(map[string]int)}
}

// comes counts a connection. Those over a unix socket come from nowhere.
func (c *headcount) comes(v *visitor, from netip.Addr) {
	if v.from = from.Unmap(); from.IsValid() {
		c.addresses[v.from]++
	}
}

func (c *headcount) goes(from netip.Addr) {
	if from.IsValid() {
		countDown(c.addresses, from)
	}
}

// enters counts a client, whose connection is counted already.
func (c *headcount) enters(g guest) {
	if _, operates := g.(*operator); operates {
		c.operators++
		return
	}
	a := g.known()
	c.databases[a.database]++
	c.users[a.user]++
}

func (c *headcount) leaves(g guest) {
	a := g.known()
	if _, operates := g.(*operator); operates {
		c.operators--
	} else {
		countDown(c.databases, a.database)
		countDown(c.users, a.user)
	}
	c.goes(a.peer.Addr().Unmap())
}

func countDown[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] <= 0 {
		delete(counts, key)
	}
}

// admits tells a connection that it is one too many, where PostgreSQL does: as soon as it has said what it wants
// (postmaster.c, ProcessStartupPacket), so that nobody need prove anything in vain. Cancel requests are not asked.
func (v *visitor) admits(from netip.Addr, database string) error {
	s := v.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if from.Unmap() != v.from { // who knocked was a proxy
		s.heads.goes(v.from)
		s.heads.comes(v, from)
	}
	if most := s.rules.Load().MaxClientsPerAddress; most > 0 && s.heads.addresses[v.from] > most {
		return tooMany(`too many connections for address "`+v.from.String()+`"`, "from there, logins included", s.heads.addresses[v.from]-1,
			"server.max_clients_per_address")
	}
	if s.rules.Load().isConsole(database) {
		return nil
	}
	return s.crowded()
}

// crowded is nil while there is room for another client. Called with the mutex held.
func (s *Server) crowded() error {
	n := len(s.clients) - s.heads.operators
	if n < s.rules.Load().MaxClients {
		return nil
	}
	return tooMany("sorry, too many clients already", "in all", n, "server.max_clients")
}

// mostOf gives how many clients a user may have, 0 where there is no bound, and the setting that says so.
func (r *rules) mostOf(user string) (most int, setting string) {
	if own := r.Users[user].MaxClients; own > 0 {
		return own, "users." + user + ".max_clients"
	}
	return r.MaxClientsPerUser, "server.max_clients_per_user"
}

// tooMany refuses a client in PostgreSQL's words, with how many there are and the setting that bounds them.
func tooMany(message, which string, n int, setting string) error {
	e := protocol.Fatal(protocol.TooManyConnections, message)
	e.Detail = fmt.Sprintf("Connected %s: %d.", which, n)
	e.Hint = "Close connections that are not needed, or raise " + setting + "."
	return e
}

// full is nil while there is room for this client, who has proved who it is: others may have been faster since it was
// admitted. The words are those of miscinit.c, InitializeSessionUserId, and postinit.c, CheckMyDatabase. Called with the
// mutex held.
func (s *Server) full(g guest) error {
	if _, operates := g.(*operator); operates {
		if s.heads.operators >= maxOperators {
			return protocol.Fatal(protocol.TooManyConnections, "too many consoles are open")
		}
		return nil
	}
	if err := s.crowded(); err != nil {
		return err
	}
	a, r := g.known(), s.rules.Load()
	most, setting := r.mostOf(a.user)
	if n := s.heads.users[a.user]; most > 0 && n >= most {
		return tooMany(`too many connections for role "`+a.user+`"`, "as this role", n, setting)
	}
	db, _, _ := r.database(a.database)
	if n := s.heads.databases[a.database]; db.MaxClients > 0 && n >= db.MaxClients {
		entry := a.database
		if _, named := r.Databases[entry]; !named {
			entry = `"` + AnyDatabase + `"`
		}
		return tooMany(`too many connections for database "`+a.database+`"`, "to it", n, "databases."+entry+".max_clients")
	}
	return nil
}
