package console

import (
	"context"
	"strings"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// Server is what the console shows. Errors are told to the operator; those that are a *protocol.Error as they are.
type Server interface {
	Snapshot() *Snapshot
	Locks(ctx context.Context) ([]LockInfo, error)
}

// Controls is what the console controls. Where a database is named, "" means all of them. Calls that wait end with their
// context.
type Controls interface {
	Pause(ctx context.Context, database string) error // returns when nobody has a server connection any more
	Resume(database string) error
	Reconnect(database string) error
	Disable(database string) error
	Enable(database string) error
	Kill(database string) error
	WaitClose(ctx context.Context, database string) error
	KillClient(pid uint32) error
	Reload() (unchangeable []string, err error) // names what takes a restart
	Shutdown(mode ShutdownMode) error
	Set(name, value string) error
}

// ShutdownMode is what a server waits for before it ends.
type ShutdownMode int

const (
	AtOnce         ShutdownMode = iota
	WaitForServers              // until no transaction is under way
	WaitForClients              // until the last client has left
)

// action is a command that controls.
type action struct {
	usage string
	read  func(*command) (args []string, ok bool)
	run   func(ctx context.Context, o *order) error
}

// order is an action that an operator asks for.
type order struct {
	Controls
	args []string
	warn func(*protocol.Error) // tells the operator something beside the answer
}

// actions are the commands that control, by their first word.
var actions = map[string]*action{
	"PAUSE":       {"PAUSE [database]", maybeOne, func(ctx context.Context, o *order) error { return o.Pause(ctx, o.args[0]) }},
	"RESUME":      {"RESUME [database]", maybeOne, on(Controls.Resume)},
	"RECONNECT":   {"RECONNECT [database]", maybeOne, on(Controls.Reconnect)},
	"DISABLE":     {"DISABLE database", needsOne, on(Controls.Disable)},
	"ENABLE":      {"ENABLE database", needsOne, on(Controls.Enable)},
	"KILL":        {"KILL [database], or KILL CLIENT id", readKill, kill},
	"KILL_CLIENT": {"KILL_CLIENT id", readID, on(killClient)},
	"WAIT_CLOSE": {"WAIT_CLOSE [database]", maybeOne, func(ctx context.Context, o *order) error {
		return o.WaitClose(ctx, o.args[0])
	}},
	"RELOAD": {"RELOAD", none, reload},
	"SHUTDOWN": {"SHUTDOWN [WAIT_FOR_SERVERS | WAIT_FOR_CLIENTS]", readShutdown, func(_ context.Context, o *order) error {
		return o.Shutdown(shutdownModes[o.args[0]])
	}},
	"SUSPEND": {"PAUSE", none, func(context.Context, *order) error {
		return &protocol.Error{Severity: "ERROR", Code: protocol.FeatureNotSupported, Message: "SUSPEND is not supported",
			Hint: "PAUSE has all clients wait until RESUME. A new process takes over with server.reuse_port or a systemd socket, without SUSPEND."}
	}},
	"SET": {"SET name = value", nil, func(_ context.Context, o *order) error { return o.Set(o.args[0], o.args[1]) }},
}

func on(f func(Controls, string) error) func(context.Context, *order) error {
	return func(_ context.Context, o *order) error { return f(o.Controls, o.args[0]) }
}

func none(c *command) ([]string, bool) { return nil, len(c.words) == 1 }

// maybeOne reads the name of a database, which may be left out.
func maybeOne(c *command) ([]string, bool) {
	if len(c.words) == 1 {
		return []string{""}, true
	}
	return needsOne(c)
}

func needsOne(c *command) ([]string, bool) {
	if len(c.words) != 2 || c.words[1].Kind == sql.Symbol || c.words[1].Text == "" {
		return nil, false
	}
	return []string{c.words[1].Text}, true
}

// readKill takes CLIENT for the word, unless it stands in quotes: who has forgotten the id does not mean a database.
func readKill(c *command) ([]string, bool) {
	switch isClient := c.word(1) == "CLIENT" && c.words[1].Kind == sql.Word; {
	case isClient && len(c.words) == 3:
		return []string{"", c.words[2].Text}, true
	case isClient:
		return nil, false
	}
	return maybeOne(c)
}

func readID(c *command) ([]string, bool) {
	if len(c.words) != 2 {
		return nil, false
	}
	return []string{c.words[1].Text}, true
}

var shutdownModes = map[string]ShutdownMode{"": AtOnce, "WAIT_FOR_SERVERS": WaitForServers, "WAIT_FOR_CLIENTS": WaitForClients}

func readShutdown(c *command) ([]string, bool) {
	_, known := shutdownModes[c.word(1)]
	return []string{c.word(1)}, known && (len(c.words) == 1 || len(c.words) == 2 && c.word(1) != "")
}

func kill(_ context.Context, o *order) error {
	if len(o.args) > 1 {
		return killClient(o.Controls, o.args[1])
	}
	return o.Kill(o.args[0])
}

func killClient(s Controls, id string) error {
	pid, err := readPid(id)
	if err != nil {
		return err
	}
	return s.KillClient(pid)
}

// reload warns of what takes a restart, as PostgreSQL's log does after pg_reload_conf.
func reload(_ context.Context, o *order) error {
	unchangeable, err := o.Reload()
	for _, name := range unchangeable {
		o.warn(&protocol.Error{Code: protocol.CantChangeRuntimeParam, Message: name + " cannot change without a restart",
			Hint: "SHOW CONFIG has the value that counts."})
	}
	return err
}

// usages lists what there is, for SHOW HELP.
func usages() string {
	var b strings.Builder
	b.WriteString("\n\tSHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION\n\tSHOW LOCKS|PINS\n\tSHOW PEERS|PEER_POOLS\n" +
		"\tSHOW SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE\n\tSHOW DNS_HOSTS|DNS_ZONES\n\tSHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS")
	for _, verb := range verbs() {
		if a := actions[verb]; a != nil && verb != "SUSPEND" {
			b.WriteString("\n\t" + a.usage)
		}
	}
	return b.String()
}
