package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/lockproxy/lockproxy/pools/backend"
	"github.com/lockproxy/lockproxy/proxy"
)

// check reads the configuration, connects to each database as lockproxy would, and tells what it found.
func check(ctx context.Context, args []string, w streams) error {
	flags := newFlags("check", w)
	from := sourceFlags(flags, w)
	if err := parse(flags, args); err != nil {
		return err
	}
	where, err := from()
	if err != nil {
		return err
	}
	config, err := load(where)
	if err != nil {
		return report(w.out, asProblems(err))
	}
	c := checker{config: config, out: w.out}
	c.checkAll(ctx)
	for _, warning := range config.warnings {
		fmt.Fprintln(w.out, "warning:", warning)
	}
	return report(w.out, c.problems)
}

func asProblems(err error) problems {
	var ps problems
	if errors.As(err, &ps) {
		return ps
	}
	return problems{{"configuration", err.Error()}}
}

// report ends the output of check.
func report(out io.Writer, ps problems) error {
	for _, p := range ps {
		fmt.Fprintln(out, "problem:", p)
	}
	if len(ps) > 0 {
		return errReported
	}
	fmt.Fprintln(out, "no problems found")
	return nil
}

// checker collects what is wrong while it prints what it sees.
type checker struct {
	config   *configuration
	out      io.Writer
	problems problems
	demands  map[string]*demand // By the server's identity.
}

// demand is how many connections lockproxy may open at one server, over all databases there.
type demand struct {
	facts serverFacts
	terms []string // "app: 20 + 10"
	sum   int
	path  string // The setting to change.
}

func (c *checker) problem(path, what string) {
	c.problems = append(c.problems, problem{c.config.origin(path), what})
}

func (c *checker) checkAll(ctx context.Context) {
	// New opens nothing, but reads the list of users and the names of functions.
	if server, err := proxy.New(c.config.proxy, slog.New(slog.DiscardHandler)); err != nil {
		c.problems = append(c.problems, asProblems(c.config.locate(err))...)
	} else {
		c.checkQuery(ctx, server)
	}
	c.demands = map[string]*demand{}
	for _, name := range slices.Sorted(maps.Keys(c.config.proxy.Databases)) {
		c.checkDatabase(ctx, name, c.config.proxy.Databases[name])
	}
	for _, identity := range slices.Sorted(maps.Keys(c.demands)) {
		c.checkDemand(c.demands[identity])
	}
}

// checkTimeout bounds the work on one database, connecting included.
const checkTimeout = 30 * time.Second

// checkQuery has auth.query asked as it would be for a client.
func (c *checker) checkQuery(ctx context.Context, server *proxy.Server) {
	if c.config.proxy.Auth.Query == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if err := server.TryQuery(ctx); err != nil {
		c.problem("auth.query", err.Error())
		return
	}
	fmt.Fprintln(c.out, "auth.query: works, and knows no user that there cannot be")
}

func (c *checker) checkDatabase(ctx context.Context, name string, d proxy.Database) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	path := toml.Key{"databases", name, "url"}.String()
	parsed, err := backend.ParseTarget(d.URL)
	if err != nil {
		c.problem(path, err.Error())
		return
	}
	if !parsed.ForcesUser() {
		c.checkReachable(ctx, name, parsed.With("postgres", sampleDatabase(name)))
		return
	}
	target := parsed.With(parsed.User(), sampleDatabase(name))
	fmt.Fprintf(c.out, "database %s: %s\n", name, target)
	found, err := survey(ctx, target, d.Functions)
	if err != nil {
		c.problem(path, err.Error())
		return
	}
	c.tell(name, d, found)
}

// checkReachable knocks at the server of a database whose url names no user: each client connects as itself. Any answer
// of the server's will do, a refusal as well.
func (c *checker) checkReachable(ctx context.Context, name string, target *backend.Target) {
	conn, err := backend.Dial(ctx, target)
	var refused *backend.Error
	switch {
	case err == nil:
		conn.Close()
	case !errors.As(err, &refused) || refused.Server == nil:
		c.problem(toml.Key{"databases", name, "url"}.String(), err.Error())
		return
	}
	fmt.Fprintf(c.out, "database %s: the server answers; its url names no user: each client connects as itself\n", name)
}

// sampleDatabase is the server's database that stands for those that clients may name.
func sampleDatabase(name string) string {
	if name == proxy.AnyDatabase {
		return "postgres"
	}
	return name
}

// tell prints what was found in a database and checks its own limits; those of the server are checked at the end.
func (c *checker) tell(name string, d proxy.Database, found findings) {
	s := found.server
	fmt.Fprintf(c.out, "  PostgreSQL %s, max_connections %d, %d of them reserved\n", s.version, s.maxConnections, s.reserved)
	need := c.config.proxy.Instances * (d.Admin.Max + d.Lock.Max)
	fmt.Fprintf(c.out, "  instances (%d) * (%d admin + %d lock) = %d connections\n",
		c.config.proxy.Instances, d.Admin.Max, d.Lock.Max, need)
	path := c.sizePath(name)
	if all := c.config.proxy.MaxBackends; all != (proxy.Shares{}) {
		need = min(need, c.config.proxy.Instances*(all.Admin+all.Lock))
	}
	for _, limit := range found.limits {
		if limit.connections >= 0 && need > limit.connections {
			c.problem(path, fmt.Sprintf("the pools may open %d connections, but %s allows %d", need, limit.of, limit.connections))
		}
	}
	c.tellFunctions(name, d, found)
	at := c.demands[s.identity]
	if at == nil {
		at = &demand{facts: s, path: path}
		c.demands[s.identity] = at
	}
	at.sum += need
	at.terms = append(at.terms, fmt.Sprintf("%s: %d", name, need))
}

func (c *checker) tellFunctions(name string, d proxy.Database, found findings) {
	if len(found.lockFunctions) > 0 {
		fmt.Fprintf(c.out, "  functions that take advisory locks: %s\n", strings.Join(found.lockFunctions, ", "))
	}
	for _, function := range found.unlisted {
		fmt.Fprintf(c.out, "  note: %s takes advisory locks, but is not in %s\n", function, c.functionsPath(name))
	}
	for _, function := range found.missing {
		c.problem(c.functionsPath(name), fmt.Sprintf("the database has no function %s", function))
	}
}

// checkDemand holds the sizing rule: instances * (admin max + lock max) <= max_connections - reserved ones.
func (c *checker) checkDemand(d *demand) {
	available := d.facts.maxConnections - d.facts.reserved
	if shares := c.config.proxy.MaxBackends; shares != (proxy.Shares{}) {
		c.checkBackends(d, available, shares.Admin+shares.Lock)
		return
	}
	if d.sum <= available {
		return
	}
	what := fmt.Sprintf("the pools may open %d connections for each user, but the server has %d (max_connections %d, "+
		"%d of them reserved): lower pools.admin.max or pools.lock.max, or raise max_connections",
		d.sum, available, d.facts.maxConnections, d.facts.reserved)
	if len(d.terms) > 1 {
		what += " (" + strings.Join(d.terms, ", ") + ")"
	}
	c.problem(d.path, what)
}

// checkBackends is checkDemand where max_backends bounds all pools together.
func (c *checker) checkBackends(d *demand, available, most int) {
	instances := c.config.proxy.Instances
	fmt.Fprintf(c.out, "server.max_backends: instances (%d) * %d = %d connections of %d\n", instances, most, instances*most, available)
	if instances*most > available {
		c.problem("server.max_backends", fmt.Sprintf("lockproxy may open %d connections, but the server has %d (max_connections %d, "+
			"%d of them reserved)", instances*most, available, d.facts.maxConnections, d.facts.reserved))
	}
}

// sizePath is the setting that decides the size of a database's admin pool: its own, if it has one.
func (c *checker) sizePath(name string) string {
	return c.ownPath("pools.admin.max", toml.Key{"databases", name, "admin_pool", "max"})
}

func (c *checker) functionsPath(name string) string {
	return c.ownPath("pools.lock.functions", toml.Key{"databases", name, "lock_pool", "functions"})
}

func (c *checker) ownPath(shared string, own toml.Key) string {
	if c.config.origins[own.String()] != "" {
		return own.String()
	}
	return shared
}
