package console

import (
	"context"
	"runtime/metrics"
	"strings"
	"time"
)

// shows are the SHOW commands by name. Where PgBouncer has one of that name, its columns come first, by its names, types and
// order, and ours behind them.
var shows = map[string]*table{
	"pools":          showPools,
	"stats":          showStats,
	"stats_totals":   showStatsTotals,
	"stats_averages": showStatsAverages,
	"totals":         showTotals,
	"clients":        sockets(clients, false),
	"servers":        sockets(servers, false),
	"sockets":        sockets(clients, true, servers),
	"active_sockets": sockets(activeClients, true, activeServers),
	"databases":      showDatabases,
	"users":          showUsers,
	"lists":          pairs("list", "items", int4, lists),
	"config":         showConfig,
	"mem":            showMem,
	"state":          pairs("key", "value", text, state),
	"version":        showVersion,
	"locks":          showLocks,
	"pins":           showPins,
	"peers":          empty(column{"peer_id", int4}, column{"host", text}, column{"port", int4}, column{"pool_size", int4}),
	"peer_pools": empty(column{"peer_id", int4}, column{"cl_active_cancel_req", int4}, column{"cl_waiting_cancel_req", int4},
		column{"sv_active_cancel", int4}, column{"sv_login", int4}),
	"dns_hosts": empty(column{"hostname", text}, column{"ttl", int8}, column{"addrs", text}),
	"dns_zones": empty(column{"zonename", text}, column{"serial", int8}, column{"count", int4}),
}

// both adds up what the two pools have.
func (p *Pool) both(of func(*Slots) int) int { return of(&p.Slots[Admin]) + of(&p.Slots[Lock]) }

// active, idle and dialing count server connections.
func (p *Pool) active() int  { return p.both(func(s *Slots) int { return s.Active }) + p.Replicating }
func (p *Pool) idle() int    { return p.both(func(s *Slots) int { return s.Idle }) }
func (p *Pool) dialing() int { return p.both(func(s *Slots) int { return s.Dialing }) }

// Servers is how many server connections there are.
func (p *Pool) Servers() int { return p.active() + p.idle() }

func (p *Pool) waiting() int {
	return p.Slots[Admin].Waiting + p.Slots[Lock].Waiting + p.Slots[Lock].Promoting
}

// longest is for how long the first of those has waited who wait.
func (p *Pool) longest(now time.Time) (d time.Duration) {
	for _, s := range p.Slots {
		if !s.WaitingSince.IsZero() {
			d = max(d, now.Sub(s.WaitingSince))
		}
	}
	return d
}

func mode(session bool) any {
	if session {
		return "session"
	}
	return "transaction"
}

// poolNow is a pool with the time at which it was looked at.
type poolNow struct {
	*Pool
	now time.Time
}

func poolsNow(s *Snapshot) []poolNow {
	var list []poolNow
	for i := range s.Pools {
		list = append(list, poolNow{&s.Pools[i], s.Now})
	}
	return list
}

var showPools = of(poolsNow,
	field[poolNow]{"database", text, func(p poolNow) any { return p.Database }},
	field[poolNow]{"user", text, func(p poolNow) any { return p.User }},
	field[poolNow]{"cl_active", int4, func(p poolNow) any { return count(max(0, p.Clients-p.waiting())) }},
	field[poolNow]{"cl_waiting", int4, func(p poolNow) any { return count(p.waiting()) }},
	field[poolNow]{"cl_active_cancel_req", int4, func(p poolNow) any { return count(0) }},
	field[poolNow]{"cl_waiting_cancel_req", int4, func(p poolNow) any { return count(0) }},
	field[poolNow]{"sv_active", int4, func(p poolNow) any { return count(p.active()) }},
	field[poolNow]{"sv_active_cancel", int4, func(p poolNow) any { return count(0) }},
	field[poolNow]{"sv_being_canceled", int4, func(p poolNow) any { return count(0) }},
	field[poolNow]{"sv_idle", int4, func(p poolNow) any { return count(p.idle()) }},
	field[poolNow]{"sv_used", int4, func(p poolNow) any { return count(0) }},
	field[poolNow]{"sv_tested", int4, func(p poolNow) any { return count(0) }},
	field[poolNow]{"sv_login", int4, func(p poolNow) any { return count(p.dialing()) }},
	field[poolNow]{"maxwait", int4, func(p poolNow) any { return whole(p.longest(p.now)) }},
	field[poolNow]{"maxwait_us", int4, func(p poolNow) any { return rest(p.longest(p.now)) }},
	field[poolNow]{"pool_mode", text, func(p poolNow) any { return mode(p.SessionMode) }},
	field[poolNow]{"load_balance_hosts", text, func(p poolNow) any { return nil }},

	field[poolNow]{"admin_max", int4, func(p poolNow) any { return count(p.Slots[Admin].Max) }},
	field[poolNow]{"admin_active", int4, func(p poolNow) any { return count(p.Slots[Admin].Active) }},
	field[poolNow]{"admin_idle", int4, func(p poolNow) any { return count(p.Slots[Admin].Idle) }},
	field[poolNow]{"admin_waiting", int4, func(p poolNow) any { return count(p.Slots[Admin].Waiting) }},
	field[poolNow]{"lock_max", int4, func(p poolNow) any { return count(p.Slots[Lock].Max) }},
	field[poolNow]{"lock_active", int4, func(p poolNow) any { return count(p.Slots[Lock].Active) }},
	field[poolNow]{"lock_idle", int4, func(p poolNow) any { return count(p.Slots[Lock].Idle) }},
	field[poolNow]{"lock_waiting", int4, func(p poolNow) any { return count(p.Slots[Lock].Waiting) }},
	field[poolNow]{"lock_promoting", int4, func(p poolNow) any { return count(p.Slots[Lock].Promoting) }},
	field[poolNow]{"lock_holding", int4, func(p poolNow) any { return count(p.both(func(s *Slots) int { return s.Holding })) }},
)

var showDatabases = of(func(s *Snapshot) []Database { return s.Databases },
	field[Database]{"name", text, func(d Database) any { return d.Name }},
	field[Database]{"host", text, func(d Database) any { return optional(d.Host) }},
	field[Database]{"port", int4, func(d Database) any { return count(d.Port) }},
	field[Database]{"database", text, func(d Database) any { return d.ServerDatabase }},
	field[Database]{"force_user", text, func(d Database) any { return optional(d.ForcedUser) }},
	field[Database]{"pool_size", int4, func(d Database) any { return count(d.Sizes[Admin]) }},
	field[Database]{"min_pool_size", int4, func(d Database) any { return count(d.MinIdle) }},
	field[Database]{"reserve_pool_size", int4, func(d Database) any { return count(0) }},
	field[Database]{"server_lifetime", int4, func(d Database) any { return whole(d.MaxLifetime) }},
	field[Database]{"pool_mode", text, func(d Database) any { return mode(d.SessionMode) }},
	field[Database]{"load_balance_hosts", text, func(d Database) any { return nil }},
	field[Database]{"max_connections", int4, func(d Database) any { return count(0) }},
	field[Database]{"current_connections", int4, func(d Database) any { return count(d.Backends) }},
	field[Database]{"max_client_connections", int4, func(d Database) any { return count(d.MaxClients) }},
	field[Database]{"current_client_connections", int4, func(d Database) any { return count(d.Clients) }},
	field[Database]{"paused", int4, func(d Database) any { return flag(d.Paused) }},
	field[Database]{"disabled", int4, func(d Database) any { return flag(d.Disabled) }},

	field[Database]{"lock_pool_size", int4, func(d Database) any { return count(d.Sizes[Lock]) }},
)

var showUsers = of(func(s *Snapshot) []User { return s.Users },
	field[User]{"name", text, func(u User) any { return u.Name }},
	field[User]{"pool_size", text, func(u User) any { return "" }},
	field[User]{"reserve_pool_size", text, func(u User) any { return "" }},
	field[User]{"pool_mode", text, func(u User) any { return nil }},
	field[User]{"max_user_connections", int4, func(u User) any { return count(0) }},
	field[User]{"current_connections", int4, func(u User) any { return count(u.Backends) }},
	field[User]{"max_user_client_connections", int4, func(u User) any { return count(u.MaxClients) }},
	field[User]{"current_client_connections", int4, func(u User) any { return count(u.Clients) }},
)

func lists(s *Snapshot) []pair {
	servers := len(s.Backends)
	return []pair{
		{"databases", count(len(s.Databases))}, {"users", count(len(s.Users))}, {"peers", count(0)}, {"pools", count(len(s.Pools))},
		{"peer_pools", count(0)}, {"free_clients", count(max(0, s.MaxClients-len(s.Sessions)))}, {"used_clients", count(len(s.Sessions))},
		{"login_clients", count(s.LoggingIn)}, {"free_servers", count(0)}, {"used_servers", count(servers)},
		{"dns_names", count(0)}, {"dns_zones", count(0)}, {"dns_queries", count(0)}, {"dns_pending", count(0)},
	}
}

func state(s *Snapshot) []pair {
	yes := map[bool]any{true: "yes", false: "no"}
	return []pair{{"active", yes[!s.Paused]}, {"paused", yes[s.Paused]}, {"suspended", "no"}}
}

// compatible is the version of PgBouncer whose console this one is like: programs look at it.
const compatible = "1.25.2"

var showVersion = of(func(s *Snapshot) []string { return []string{s.Version} },
	field[string]{"version", text, func(v string) any { return "PgBouncer " + compatible + " (lockproxy " + v + ")" }})

var showPins = of(func(s *Snapshot) []SessionInfo { return pinned(s.Sessions) },
	field[SessionInfo]{"id", int4, func(i SessionInfo) any { return int64(i.Pid) }},
	field[SessionInfo]{"database", text, func(i SessionInfo) any { return i.Database }},
	field[SessionInfo]{"user", text, func(i SessionInfo) any { return i.User }},
	field[SessionInfo]{"application_name", text, func(i SessionInfo) any { return i.ApplicationName }},
	field[SessionInfo]{"addr", text, func(i SessionInfo) any { return i.Address }},
	field[SessionInfo]{"reason", text, func(i SessionInfo) any { return strings.Join(i.Pinned, ", ") }},
	field[SessionInfo]{"since", text, func(i SessionInfo) any { return moment(i.PinnedSince) }},
	field[SessionInfo]{"statement", text, func(i SessionInfo) any { return optional(i.PinnedBy) }},
	field[SessionInfo]{"state", text, func(i SessionInfo) any { return i.State }},
	field[SessionInfo]{"backend_pid", int4, func(i SessionInfo) any { return int64(i.BackendPid) }},
)

func pinned(all []SessionInfo) (some []SessionInfo) {
	for _, i := range all {
		if len(i.Pinned) > 0 {
			some = append(some, i)
		}
	}
	return some
}

// showLocks asks the servers: nobody else knows.
var showLocks = func() *table {
	fields := []field[LockInfo]{
		{"key", text, func(l LockInfo) any { return optional(l.Words) }},
		{"pg_key", text, func(l LockInfo) any { return l.Key }},
		{"level", text, func(l LockInfo) any { return optional(l.Level) }},
		{"mode", text, func(l LockInfo) any { return l.Mode }},
		{"state", text, func(l LockInfo) any { return l.State }},
		{"since", text, func(l LockInfo) any { return moment(l.Since) }},
		{"client", int4, func(l LockInfo) any { return int64(l.Client) }},
		{"addr", text, func(l LockInfo) any { return l.Address }},
		{"application_name", text, func(l LockInfo) any { return l.ApplicationName }},
		{"database", text, func(l LockInfo) any { return l.Database }},
		{"user", text, func(l LockInfo) any { return l.User }},
		{"backend_pid", int4, func(l LockInfo) any { return int64(l.BackendPid) }},
		{"statement", text, func(l LockInfo) any { return l.Statement }},
		{"waiters", int4, func(l LockInfo) any { return count(l.Waiters) }},
		{"classid", int8, func(l LockInfo) any { return int64(l.ClassID) }},
		{"objid", int8, func(l LockInfo) any { return int64(l.ObjID) }},
		{"objsubid", int4, func(l LockInfo) any { return int64(l.ObjSubID) }},
	}
	t := of(func(*Snapshot) []LockInfo { return nil }, fields...)
	t.rows = func(ctx context.Context, s Server) ([][]any, error) {
		locks, err := s.Locks(ctx)
		return rowsOf(locks, fields), err
	}
	return t
}()

// memory is one part of this process's memory.
type memory struct {
	name       string
	used, free uint64
}

var showMem = of(func(*Snapshot) []memory { return memoryNow() },
	field[memory]{"name", text, func(m memory) any { return m.name }},
	field[memory]{"size", int4, func(m memory) any { return count(1) }},
	field[memory]{"used", int8, func(m memory) any { return int64(m.used) }},
	field[memory]{"free", int8, func(m memory) any { return int64(m.free) }},
	field[memory]{"memtotal", int8, func(m memory) any { return int64(m.used + m.free) }},
)

// memoryNow reads the Go runtime's account of memory. PgBouncer's has the slabs that it allocates its things from, of which
// there are none here.
func memoryNow() []memory {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/metadata/other:bytes"}, {Name: "/memory/classes/other:bytes"},
	}
	metrics.Read(samples)
	v := func(i int) uint64 {
		if samples[i].Value.Kind() != metrics.KindUint64 {
			return 0
		}
		return samples[i].Value.Uint64()
	}
	return []memory{
		{"heap", v(0), v(1) + v(3)}, {"stacks", v(2), 0}, {"metadata", v(4), 0}, {"other", v(5), 0},
	}
}
