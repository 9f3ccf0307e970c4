package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/spelling"
)

var errEmpty = errors.New("must not be empty")

// source says where the configuration comes from.
type source struct {
	path        string // The configuration file; "" for none.
	environment func(name string) string
	listen      []string // From flags; wins over the file if not empty.

	text *string // The file's; nil: it is not read yet, or there is none.
	set  []entry // What an operator has set since; wins over everything.
}

// read gives the source with its file's text, which stays the one that it has.
func (s source) read() (source, error) {
	if s.path == "" || s.text != nil {
		return s, nil
	}
	text, err := readText(s.path)
	s.text = &text
	return s, err
}

// configuration is what was read, checked.
type configuration struct {
	proxy               proxy.Config
	logLevel, logFormat string
	drainTimeout        time.Duration
	warnings            problems // What works, but is hardly meant.

	origins map[string]string // See loader.
	path    string
}

// loader collects values and what is wrong with them, so that all of it can be told at once.
type loader struct {
	source
	values   *values
	problems problems
	warnings problems
	// origins says for each setting where its value was set: "lockproxy.toml:14: pools.admin.max", or the name of a
	// variable or flag.
	origins map[string]string
}

// load reads the configuration. Its error holds everything that is wrong, a line each.
func load(from source) (*configuration, error) {
	from, err := from.read()
	if err != nil {
		return nil, err
	}
	l := &loader{source: from, values: defaults(), origins: map[string]string{}}
	inDatabases := func(e entry) bool { return e.path[0] == "databases" }
	entries, err := l.entries()
	if err != nil {
		return nil, err
	}
	// Databases come last: each begins with the pools that the file and the environment set for all.
	l.bindAll(slices.DeleteFunc(slices.Clone(entries), inDatabases))
	l.bindEnvironment()
	l.bindAll(slices.DeleteFunc(slices.Clone(l.set), inDatabases))
	l.bindAll(slices.DeleteFunc(entries, func(e entry) bool { return !inDatabases(e) }))
	l.bindUpstream()
	l.bindAll(slices.DeleteFunc(slices.Clone(l.set), func(e entry) bool { return !inDatabases(e) }))
	l.bindListen()
	c := l.configuration()
	l.problems.sort(l.path)
	if err := l.problems.orNil(); err != nil {
		return nil, err
	}
	return c, nil
}

// entries are those of the file.
func (l *loader) entries() ([]entry, error) {
	if l.text == nil {
		return nil, nil
	}
	entries, err := readDocument(*l.text)
	var syntax toml.ParseError
	if errors.As(err, &syntax) {
		message := syntax.Message
		if strings.HasPrefix(message, `expected value but found "`) {
			message += ": a text is written in quotes"
		}
		return nil, problems{{fmt.Sprintf("%s:%d", l.path, mistakenLine(*l.text, syntax)), message}}
	}
	return entries, err
}

func readText(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: there is no such file", path)
	}
	return string(text), err
}

func (l *loader) bindAll(entries []entry) {
	var unknown []toml.Key // Tables: what is in them is not told again.
	for _, e := range entries {
		if slices.ContainsFunc(unknown, func(table toml.Key) bool { return isBelow(e.path, table) }) {
			continue
		}
		l.origins[e.path.String()] = l.place(e)
		if !l.bindEntry(e) && e.isTable() {
			unknown = append(unknown, e.path)
		}
	}
}

func isBelow(path, table toml.Key) bool {
	return len(path) > len(table) && slices.Equal(path[:len(table)], table)
}

func (l *loader) place(e entry) string {
	switch e.line {
	case 0:
		return l.path + ": " + e.path.String()
	case byOperator:
		return "SET " + e.path.String()
	}
	return fmt.Sprintf("%s:%d: %s", l.path, e.line, e.path)
}

// bindEntry reports whether the entry is a known table or a known setting; a bad value is known all the same.
func (l *loader) bindEntry(e entry) bool {
	if _, ok := l.values.section(e.path); ok {
		if !e.isTable() {
			l.problem(e.path.String(), "must be a table")
		}
		return true
	}
	section, _ := l.values.section(e.path[:len(e.path)-1])
	name := e.path[len(e.path)-1]
	for _, s := range section {
		if s.name == name {
			l.bind(e.path.String(), s, e.value)
			return !e.isTable() // What is in it would only repeat that it should not be a table.
		}
	}
	l.problem(e.path.String(), "unknown setting"+l.suggestion(e.path))
	return false
}

func (l *loader) bind(path string, s setting, value any) {
	if err := s.bind.set(value); err != nil {
		l.problem(path, err.Error())
	}
}

// section finds the table at a path; that of a database or user comes into being when it is asked for.
func (v *values) section(path toml.Key) ([]setting, bool) {
	const name, inner = 1, 2
	switch {
	case len(path) > name && len(path) <= inner+1 && path[0] == "databases":
		return v.database(path[name]).sections().find(strings.Join(path[inner:], ""))
	case len(path) == inner && path[0] == "users":
		return userSettings(v.user(path[name])), true
	}
	return v.sections().find(strings.Join(path, "."))
}

// suggestion names the setting that was probably meant: one of that name in another table, else one like it in the same.
func (l *loader) suggestion(path toml.Key) string {
	above, name := path[:len(path)-1], strings.ToLower(path[len(path)-1])
	switch hint := ofDatabases[name]; {
	case len(above) == 0 && name == "pgbouncer":
		return "; lockproxy import reads PgBouncer's file"
	case len(above) > 1 && above[0] == "databases" && hint != "":
		return "; " + hint
	}
	for _, table := range l.values.sections() {
		if slices.ContainsFunc(table.settings, func(s setting) bool { return s.name == name }) {
			return fmt.Sprintf("; did you mean %s.%s?", table.name, name)
		}
	}
	if other := renamed[name]; other != "" {
		return fmt.Sprintf("; did you mean %s?", other)
	}
	if found := spelling.Nearest(name, l.namesIn(above)); found != "" {
		return fmt.Sprintf("; did you mean %s?", append(slices.Clone(above), found))
	}
	return ""
}

// namesIn lists what a table may hold: its settings and its tables.
func (l *loader) namesIn(table toml.Key) []string {
	var names []string
	section, _ := l.values.section(table)
	for _, s := range section {
		names = append(names, s.name)
	}
	const database = 2
	if len(table) == database && table[0] == "databases" {
		return append(names, "admin_pool", "lock_pool")
	}
	for _, section := range l.values.sections() {
		if above, last, found := cutLast(section.name); above == strings.Join(table, ".") {
			if found || len(table) == 0 {
				names = append(names, last)
			}
		}
	}
	slices.Sort(names)
	return names
}

// cutLast takes "pools.admin" apart into "pools" and "admin".
func cutLast(name string) (above, last string, found bool) {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return "", name, false
	}
	return name[:i], name[i+1:], true
}

// problem notes what is wrong with the setting at a path.
func (l *loader) problem(path, what string) {
	l.problems = append(l.problems, problem{l.origin(path), what})
}

func (l *loader) warn(path, what string) {
	l.warnings = append(l.warnings, problem{l.origin(path), what})
}

// origin says where a setting was set, or where it could be.
func (l *loader) origin(path string) string {
	return originOf(l.origins, l.path, path)
}

func originOf(origins map[string]string, file, path string) string {
	if origin := origins[path]; origin != "" {
		return origin
	}
	if file == "" {
		return path
	}
	return file + ": " + path
}

// origin says where a setting was set, or where it could be.
func (c *configuration) origin(path string) string {
	return originOf(c.origins, c.path, path)
}

// configuration turns the values into what package proxy takes, and checks what concerns more than one setting.
func (l *loader) configuration() *configuration {
	c := &configuration{
		proxy: l.values.server, logLevel: l.values.logLevel, logFormat: l.values.logFormat, drainTimeout: l.values.drainTimeout,
		origins: l.origins, path: l.path,
	}
	c.proxy.Databases = map[string]proxy.Database{}
	for _, name := range slices.Sorted(maps.Keys(l.values.databases)) {
		c.proxy.Databases[name] = l.database(name, l.values.databases[name])
	}
	c.proxy.MaxBackends = l.values.shares()
	c.proxy.Users = map[string]proxy.User{}
	for name, u := range l.values.users {
		c.proxy.Users[name] = *u
	}
	if len(c.proxy.Databases) == 0 {
		l.problem("databases", "there is none: add [databases.NAME] with a url, or set "+upstreamVariable)
	}
	c.proxy.Auth = l.auth()
	c.proxy.TLS.Mode = l.tlsMode()
	c.proxy.Version, c.proxy.Settings = versionText(), l.values.shown()
	c.warnings = l.warnings
	return c
}

func (l *loader) database(name string, d *database) proxy.Database {
	path := toml.Key{"databases", name}
	if d.url == "" {
		l.problem(append(path, "url").String(), "is missing")
	} else if err := checkURL(d.url); err != nil {
		l.problem(append(path, "url").String(), err.Error())
	}
	l.checkPool(d.admin.Config, append(path, "admin_pool"), "pools.admin")
	l.checkPool(d.lock.Config, append(path, "lock_pool"), "pools.lock")
	return proxy.Database{
		URL: d.url, SessionMode: d.poolMode == "session", MaxClients: d.maxClients,
		Admin: d.admin.Config, Lock: d.lock.Config,
		LockTimeout: d.lock.lockTimeout, IdleTransactionTimeout: d.lock.idleTransactionTimeout,
		Functions: d.lock.functions, Own: l.own(path),
	}
}

// own names what a database's table has in place of what counts for all.
func (l *loader) own(table toml.Key) map[string]string {
	own := map[string]string{}
	for _, pool := range []string{"admin", "lock"} {
		for _, key := range []string{"max", "max_waiting", "checkout_timeout", "lock_timeout"} {
			path := append(slices.Clone(table), pool+"_pool", key).String()
			if l.origins[path] != "" {
				own["pools."+pool+"."+key] = path
			}
		}
	}
	return own
}

// checkPool finds the limits of a pool that contradict each other. They may come from the database's own table, or from
// the one for all, which is told once.
func (l *loader) checkPool(pool pools.Config, own toml.Key, shared string) {
	if pool.MinIdle <= pool.Max {
		return
	}
	path := shared + ".min_idle"
	if p := append(slices.Clone(own), "min_idle").String(); l.origins[p] != "" {
		path = p
	} else if p := append(slices.Clone(own), "max").String(); l.origins[p] != "" {
		path = p
	}
	found := problem{l.origin(path), fmt.Sprintf("min_idle (%d) is more than max (%d)", pool.MinIdle, pool.Max)}
	if !slices.Contains(l.problems, found) {
		l.problems = append(l.problems, found)
	}
}
