package main

import (
	"fmt"
	"maps"
	"math"
	"net/url"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/lockproxy/lockproxy/proxy"
)

// Of connections to servers there are bounds for a pool, and for all that a server has.
const (
	noMaxDB   = "the pools of each user have bounds, and server.max_backends is for all databases of a server together"
	noMaxUser = "the pools of each database have bounds, and server.max_backends is for all users of a server together"
)

// databaseWords are the keys of a database's connection string (parse_database in PgBouncer's loader.c); of those without
// a counterpart, why there is none.
var databaseWords = map[string]string{
	"host": "", "port": "", "dbname": "", "user": "", "password": "", "pool_size": "", "min_pool_size": "", "reserve_pool": "",
	"reserve_pool_size": "", "server_lifetime": "", "query_wait_timeout": "", "pool_mode": "", "application_name": "",
	"client_encoding": "", "datestyle": "", "timezone": "", "load_balance_hosts": "", "max_db_client_connections": "",
	"auth_user": "", "auth_dbname": "", "auth_query": "",

	"connect_query": "nothing is run in a new connection; ALTER ROLE or ALTER DATABASE ... SET gives settings to all of them",

	"max_db_connections": noMaxDB,
}

// userWords are the keys of a user's settings (parse_user in PgBouncer's loader.c), and why they have no counterpart.
var userWords = map[string]string{
	"pool_mode":                   "a pool's mode is its database's",
	"pool_size":                   "a pool's size is its database's",
	"reserve_pool_size":           "a pool's size is its database's",
	"max_user_connections":        noMaxUser,
	"max_user_client_connections": "",
	"query_wait_timeout":          "the checkout timeout is the database's",
	"query_timeout":               "",
	"idle_transaction_timeout":    "",
	"transaction_timeout":         "",
	"client_idle_timeout":         "",
}

// databaseImport is one line of [databases].
type databaseImport struct {
	*translation
	e     iniEntry
	words map[string]string
	table string // Of the configuration file.
	// The url without the user, and in a part of its own, which is empty where it is the database that the client names.
	server, database string
}

func (t *translation) database(e iniEntry) {
	if e.key == "pgbouncer" || e.key == "lockproxy" {
		t.wrong(e, "the name %s is that of the console", e.key)
		return
	}
	d := &databaseImport{translation: t, e: e, words: t.wordsOf(e, databaseWords), table: toml.Key{"databases", e.key}.String()}
	d.url()
	d.poolMode()
	d.maxClients()
	d.pools()
	t.databases = append(t.databases, d)
}

// wordsOf reads a connection string; the last of several values of one key counts.
func (t *translation) wordsOf(e iniEntry, known map[string]string) map[string]string {
	words, err := e.words()
	if err != nil {
		t.add(err)
	}
	values := map[string]string{}
	for _, w := range words {
		why, ok := known[w.key]
		switch {
		case !ok:
			t.wrong(e, "%s: unknown setting %q", e.key, w.key)
		case why != "":
			t.note(e, e.key+": "+w.key, why)
		default:
			values[w.key] = w.value
		}
	}
	return values
}

// url writes where the connection string leads to.
func (d *databaseImport) url() {
	u := url.URL{Scheme: "postgres"}
	if name := d.words["user"]; name != "" {
		u.User = url.User(name)
		if password := d.words["password"]; password != "" {
			u.User = url.UserPassword(name, password)
		} else if d.main["auth_file"].value != "" {
			d.note(d.e, d.e.key+": password", "PgBouncer takes that of "+name+" from auth_file; the url needs it, or a passfile")
		}
	} else if d.words["password"] != "" {
		d.note(d.e, d.e.key+": password", "it belongs to no user")
	}
	query := maps.Clone(d.always)
	tcp := d.address(&u, query)
	d.check(u, query)
	if tcp {
		maps.Copy(query, d.overTCP)
	}
	d.database = d.name()
	server := url.URL{Scheme: u.Scheme, Host: u.Host, RawQuery: encode(query)}
	d.server = server.String()
	for _, name := range []string{"application_name", "client_encoding", "datestyle", "timezone"} {
		if value := d.words[name]; value != "" {
			query.Set(name, value)
		}
	}
	if d.database != "" {
		u.Path = "/" + d.database
	}
	u.RawQuery = encode(query)
	d.set(d.table, "url", u.String(), "")
}

// check has it tried whether the address is one. What else a url has is in files.
func (d *databaseImport) check(u url.URL, query url.Values) {
	u.User, u.RawQuery = nil, encode(query)
	if err := checkURL(u.String()); err != nil {
		d.wrong(d.e, "%s: host and port are no address", d.e.key)
	}
}

// encode writes the parameters of a url: libpq knows no + for a space.
func encode(query url.Values) string {
	return strings.ReplaceAll(query.Encode(), "+", "%20")
}

// name is that of the database at the server; there is none under "*".
func (d *databaseImport) name() string {
	name := d.words["dbname"]
	switch {
	case d.e.key != proxy.AnyDatabase && name == "":
		return d.e.key
	case d.e.key != proxy.AnyDatabase:
		return name
	case name != "":
		d.note(d.e, d.e.key+": dbname", "under * a client gets the database that it names; one that is to have "+name+" under "+
			"another name needs a line of its own")
	}
	return ""
}

// address sets the host, which is a unix socket where none is named, and reports whether it is reached by TCP.
func (d *databaseImport) address(u *url.URL, query url.Values) bool {
	port := d.words["port"]
	if port == "" {
		port = "5432"
	}
	n := d.decimal(d.e, d.e.key+": port", port)
	if n < 1 || n > math.MaxUint16 {
		d.wrong(d.e, "%s: port must be a port", d.e.key)
		n = 1
	}
	host := d.words["host"]
	if host == "" {
		host = d.main["unix_socket_dir"].value
	}
	if strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") {
		query.Set("host", host)
		query.Set("port", strconv.Itoa(n))
		return false
	}
	var hosts []string
	for one := range splitList(host) {
		hosts = append(hosts, joinPort(one, n))
	}
	if len(hosts) == 0 {
		d.wrong(d.e, "%s: has no host, and unix_socket_dir is empty", d.e.key)
	}
	if len(hosts) > 1 && d.words["load_balance_hosts"] != "disable" {
		d.note(d.e, d.e.key+": load_balance_hosts", "connections go to the first host that answers; they are not spread")
	}
	u.Host = strings.Join(hosts, ",")
	return true
}

// poolMode takes the database's mode, or that of all.
func (d *databaseImport) poolMode() {
	s := d.main["pool_mode"]
	mode, from, at, whose := s.value, s.from(), s.iniEntry, ""
	if own := d.words["pool_mode"]; own != "" {
		mode, from, at, whose = own, "", d.e, d.e.key+": "
	}
	switch mode = strings.ToLower(mode); mode {
	case "session", "transaction":
		d.set(d.table, "pool_mode", mode, from)
	case "statement":
		d.wrong(at, "%spool_mode = statement is not supported: it forbids transactions of several statements; use "+
			"transaction, which runs single statements the same way", whose)
	default:
		d.wrong(at, "%spool_mode must be session or transaction", whose)
	}
}

// pools writes what this database has of its own.
func (d *databaseImport) pools() {
	d.sizes()
	for _, timeout := range []struct{ word, name, nought string }{
		{"query_wait_timeout", "checkout_timeout", longestText}, {"server_lifetime", "max_lifetime", ""}, // Nought is that of all.
	} {
		value, ok := d.words[timeout.word]
		if !ok {
			continue
		}
		text := d.seconds(d.e, d.e.key+": "+timeout.word, value)
		if text == "0s" {
			text = timeout.nought
		}
		if text == "" {
			continue
		}
		d.set(d.table+".admin_pool", timeout.name, text, timeout.word)
		d.set(d.table+".lock_pool", timeout.name, text, timeout.word)
	}
}

// sizes writes the pool's size and what is kept of it where they differ from those of all databases.
func (d *databaseImport) sizes() {
	size, extra := d.own("pool_size", "default_pool_size"), d.own("reserve_pool_size", "reserve_pool_size")
	if value, ok := d.words["reserve_pool"]; ok { // Its old name.
		extra = d.decimal(d.e, d.e.key+": reserve_pool", value)
	}
	most := d.max
	if d.words["pool_size"] != "" || d.words["reserve_pool_size"] != "" || d.words["reserve_pool"] != "" {
		most = d.size(d.e, d.e.key+": pool_size", size, extra)
		d.set(d.table+".admin_pool", "max", int64(most), sizeFrom("pool_size", extra))
	}
	if kept := max(0, min(d.own("min_pool_size", "min_pool_size"), most)); kept != min(d.min, d.max) {
		d.set(d.table+".admin_pool", "min_idle", int64(kept), "min_pool_size")
	}
}

// maxClients is the database's own bound of clients, or that of all: nought, or less, is none.
func (d *databaseImport) maxClients() {
	const name = "max_db_client_connections"
	n := 0
	if value, ok := d.words[name]; ok {
		n = d.decimal(d.e, d.e.key+": "+name, value)
	}
	if n <= 0 {
		n = d.integer(d.main[name].iniEntry, name, d.main[name].value)
	}
	if n > 0 {
		d.set(d.table, "max_clients", int64(n), name)
	}
}

// own is the database's own number, or that of all; -1 is none.
func (d *databaseImport) own(word, setting string) int {
	if value, ok := d.words[word]; ok {
		if n := d.decimal(d.e, d.e.key+": "+word, value); n >= 0 {
			return n
		}
	}
	s := d.main[setting]
	n, _ := strconv.ParseInt(s.value, 0, 32) // A bad value has been told already.
	return int(n)
}

func (t *translation) user(e iniEntry) {
	words, table := t.wordsOf(e, userWords), toml.Key{"users", e.key}.String()
	if value, ok := words["max_user_client_connections"]; ok {
		if n := t.decimal(e, e.key+": max_user_client_connections", value); n > 0 {
			t.set(table, "max_clients", int64(n), "max_user_client_connections")
		}
	}
	for _, timeout := range [][2]string{{"client_idle_timeout", "client_idle_timeout"}, {"query_timeout", "query_timeout"},
		{"transaction_timeout", "transaction_timeout"}, {"idle_transaction_timeout", "idle_in_transaction_timeout"}} {
		if value, ok := words[timeout[0]]; ok {
			t.set(table, timeout[1], t.seconds(e, e.key+": "+timeout[0], value), timeout[0])
		}
	}
}

// peerWords are the keys of a peer's connection string (parse_peer in PgBouncer's loader.c).
var peerWords = map[string]string{"host": "", "port": "", "pool_size": ""}

func (t *translation) peer(e iniEntry) {
	t.wordsOf(e, peerWords)
	t.note(e, fmt.Sprintf("[peers] %s", e.key), "processes on one machine pass cancel requests on by themselves; with "+
		"several machines let the load balancer keep an address of clients at one of them")
}
