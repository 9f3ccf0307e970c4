package console

import (
	"net"
	"strconv"
	"time"
)

// socket is a client or a server as a row of CLIENTS, SERVERS and SOCKETS.
type socket struct {
	kind, user, database, replication, state string
	peer, local                              string
	born, asked                              time.Time
	wait                                     time.Duration
	ptr, link, pid                           uint32
	tls, application                         string
	prepared                                 int
	reason                                   string // ours: why a client keeps its server, or which pool a server is counted in
}

func clients(s *Snapshot) []socket {
	var list []socket
	for i := range s.Sessions {
		list = append(list, clientSocket(&s.Sessions[i], s.Now))
	}
	return list
}

func clientSocket(i *SessionInfo, now time.Time) socket {
	c := socket{
		kind: "C", user: i.User, database: i.Database, replication: i.Replication, state: "idle", peer: i.Address, local: i.Local,
		born: i.Since, asked: i.Asked, ptr: i.Pid, link: i.BackendPid, tls: i.TLS, application: i.ApplicationName, prepared: i.Prepared,
		reason: i.State,
	}
	if c.peer == "local" {
		c.peer = c.local // as PgBouncer has it: a port for both ends
	}
	switch {
	case i.WaitsFor != "":
		c.state, c.wait = "waiting", now.Sub(i.WaitingSince)
	case i.BackendPid != 0 || i.State == "active":
		c.state = "active"
	}
	return c
}

func servers(s *Snapshot) []socket {
	var list []socket
	for i := range s.Backends {
		list = append(list, serverSocket(&s.Backends[i]))
	}
	return list
}

func serverSocket(b *Backend) socket {
	v := socket{
		kind: "S", user: b.User, database: b.Database, replication: b.Replication, state: "idle", peer: b.Address, local: b.Local,
		born: b.Born, asked: b.Since, ptr: b.Pid, link: b.Client, pid: b.Pid, tls: b.TLS, application: b.Application,
		reason: b.Kind.String(),
	}
	if host(v.peer) == "unix" {
		v.local = v.peer
	}
	if b.Active {
		v.state = "active"
	}
	if b.Replication != "none" {
		v.reason = "replication"
	}
	return v
}

func activeClients(s *Snapshot) []socket { return active(clients(s)) }
func activeServers(s *Snapshot) []socket { return active(servers(s)) }

func active(list []socket) (some []socket) {
	for _, one := range list {
		if one.state != "idle" {
			some = append(some, one)
		}
	}
	return some
}

// host and port take an address apart. That of a unix socket is "unix" to PgBouncer.
func host(address string) any {
	if h, _, err := net.SplitHostPort(address); err == nil {
		return h
	}
	if address == "" {
		return ""
	}
	return "unix"
}

func port(address string) any {
	_, p, _ := net.SplitHostPort(address)
	n, _ := strconv.ParseUint(p, 10, 16)
	return int64(n)
}

func zero(socket) any { return int64(0) }

var socketFields = []field[socket]{
	{"type", text, func(s socket) any { return s.kind }},
	{"user", text, func(s socket) any { return s.user }},
	{"database", text, func(s socket) any { return s.database }},
	{"replication", text, func(s socket) any { return s.replication }},
	{"state", text, func(s socket) any { return s.state }},
	{"addr", text, func(s socket) any { return host(s.peer) }},
	{"port", int4, func(s socket) any { return port(s.peer) }},
	{"local_addr", text, func(s socket) any { return host(s.local) }},
	{"local_port", int4, func(s socket) any { return port(s.local) }},
	{"connect_time", text, func(s socket) any { return moment(s.born) }},
	{"request_time", text, func(s socket) any { return moment(s.asked) }},
	{"wait", int4, func(s socket) any { return whole(s.wait) }},
	{"wait_us", int4, func(s socket) any { return rest(s.wait) }},
	{"close_needed", int4, zero},
	{"ptr", text, func(s socket) any { return pointer(s.ptr) }},
	{"link", text, func(s socket) any { return pointer(s.link) }},
	{"remote_pid", int4, func(s socket) any { return int64(s.pid) }},
	{"tls", text, func(s socket) any { return s.tls }},
	{"application_name", text, func(s socket) any { return s.application }},
	{"prepared_statements", int4, func(s socket) any { return count(s.prepared) }},
	{"id", int4, func(s socket) any { return int64(s.ptr) }},
}

// debugFields are where PgBouncer's buffers stand, of which there are none here.
var debugFields = []field[socket]{
	{"recv_pos", int4, zero}, {"pkt_pos", int4, zero}, {"pkt_remain", int4, zero}, {"send_pos", int4, zero},
	{"send_remain", int4, zero}, {"pkt_avail", int4, zero}, {"send_avail", int4, zero},
}

// ourFields tell of a client what it does, in pg_stat_activity's words, and of a server which pool it is counted in.
var ourFields = []field[socket]{{"detail", text, func(s socket) any { return s.reason }}}

// sockets makes one of those tables, of one list or several. In those of several, PgBouncer says in the state which list it is.
func sockets(list func(*Snapshot) []socket, debug bool, more ...func(*Snapshot) []socket) *table {
	fields := append([]field[socket]{}, socketFields...)
	if debug {
		fields = append(fields, debugFields...)
	}
	fields = append(fields, ourFields...)
	return of(func(s *Snapshot) []socket {
		all := list(s)
		for _, other := range more {
			all = append(all, other(s)...)
		}
		for i := range all {
			if debug {
				all[i].state = map[string]string{"C": "cl_", "S": "sv_"}[all[i].kind] + all[i].state
			}
		}
		return all
	}, fields...)
}
