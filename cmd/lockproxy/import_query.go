package main

import (
	"net/url"
	"slices"
	"strings"
)

// defaultAuthQuery is PgBouncer's.
const defaultAuthQuery = "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid WHERE " +
	"rolname=$1 AND rolcanlogin"

// question is how PgBouncer finds the users of a database that auth_file does not have: it asks, as auth_user, the database
// itself, or the one that it knows by the name of auth_dbname (start_auth_query and prepare_auth_database in its client.c).
type question struct {
	user, query, dbname iniSetting // user is empty where nobody is asked for.
	server, database    string     // database is empty where it is the one that the client names.
}

// authQuery takes the question of all databases. One connection asks for all of them here, so that it must be the same.
func (t *translation) authQuery() {
	var all []question
	for _, d := range t.databases {
		all = append(all, d.question())
	}
	asks := slices.ContainsFunc(all, func(q question) bool { return q.user.value != "" })
	why := ""
	switch {
	case !asks:
		why = "it counts with auth_user alone"
	case slices.ContainsFunc(all, func(q question) bool { return !q.like(all[0]) }):
		why = "one question is asked for all databases, auth.query at auth.query_url, and here they differ in auth_user, " +
			"auth_query, the server that is asked, or whether one is: of users auth_file alone is left"
	case t.believes():
		why = "nobody is asked for, since nobody has to prove a password: whoever is not in auth_file has none for the server either"
	default:
		t.setQuery(all)
		return
	}
	for _, s := range t.querySettings() {
		t.note(s.iniEntry, s.key, why)
	}
	t.needUsers(asks)
}

// believes tells whether clients log in without a password, whoever they are.
func (t *translation) believes() bool {
	kind := strings.ToLower(t.main["auth_type"].value)
	return kind == "trust" || kind == "cert"
}

// needUsers finds that nobody could log in where no query is written.
func (t *translation) needUsers(asks bool) {
	s := t.main["auth_type"]
	switch {
	case t.main["auth_file"].value != "" || t.believes() || strings.ToLower(s.value) == "hba":
	case asks:
		t.wrong(s.iniEntry, "there is no auth_file, and the databases differ in auth_user, auth_query, the server that is asked, or "+
			"whether one is; lockproxy asks one server for the users of all databases")
	default:
		t.wrong(s.iniEntry, "there is neither auth_file nor auth_user, so nobody could log in")
	}
}

// question is the database's, whose own settings count before those of all.
func (d *databaseImport) question() question {
	q := question{d.query("auth_user"), d.query("auth_query"), d.query("auth_dbname"), d.server, d.database}
	if q.user.value == "" {
		return question{}
	}
	if q.query.value == "" {
		q.query.value = defaultAuthQuery
	}
	if name := q.dbname.value; name != "" {
		at, found := d.named(name)
		if !found {
			d.wrong(q.dbname.iniEntry, "%s: there is no database %s to ask for users", q.dbname.key, name)
			return q
		}
		if q.server, q.database = at.server, at.database; q.database == "" {
			q.database = name
		}
	}
	return q
}

// query is one of the settings of the question.
func (d *databaseImport) query(name string) iniSetting {
	value, own := d.words[name]
	if !own {
		return d.main[name]
	}
	s := iniSetting{d.e, true}
	s.key, s.value = d.e.key+": "+name, value
	return s
}

// named finds the database of a name, which is "*" where no other is.
func (t *translation) named(name string) (found *databaseImport, ok bool) {
	for _, d := range t.databases {
		if d.e.key == name {
			return d, true
		}
		if d.e.key == "*" {
			found, ok = d, true
		}
	}
	return found, ok
}

// like tells whether one question serves both. Where no auth_dbname says in which database, that is any: PgBouncer needs
// what the query calls in each.
func (q question) like(other question) bool {
	return q.user.value == other.user.value && q.query.value == other.query.value && q.server == other.server &&
		(q.database == other.database || q.dbname.value == "" && other.dbname.value == "")
}

// setQuery writes the question, in the first database that has a name.
func (t *translation) setQuery(all []question) {
	one := all[max(0, slices.IndexFunc(all, func(q question) bool { return q.database != "" }))]
	if !strings.Contains(one.query.value, "$1") {
		t.wrong(one.query.iniEntry, "%s does not ask for a user: $1 stands for the name", one.query.key)
	}
	database := one.database
	if database == "" {
		database = "postgres"
	}
	at, err := url.Parse(one.server)
	if err != nil {
		return // It has been told.
	}
	at.User, at.Path = url.User(one.user.value), "/"+database
	t.set("auth", "query", one.query.value, one.query.from())
	from := one.user.from()
	if one.dbname.value != "" {
		from += ", " + one.dbname.from()
	}
	t.set("auth", "query_url", at.String(), from)
	t.note(one.user.iniEntry, one.user.key, "PgBouncer has the password of "+one.user.value+" from auth_file; auth.query_url needs it, or a passfile")
	if one.dbname.value == "" && one.query.given && (len(all) > 1 || one.database == "") {
		t.note(one.query.iniEntry, one.query.key, "PgBouncer asks in the database that the client wants, lockproxy in "+database+
			" for all: what the query calls must be there")
	}
	t.unusedQuery(all)
}

// unusedQuery says of settings for all databases that each of them has its own.
func (t *translation) unusedQuery(all []question) {
	for _, s := range t.querySettings() {
		if !slices.ContainsFunc(all, func(q question) bool { return q.user.key == s.key || q.query.key == s.key || q.dbname.key == s.key }) {
			t.note(s.iniEntry, s.key, "each database has its own")
		}
	}
}

// querySettings are those of questions that the file has, for all databases and for single ones.
func (t *translation) querySettings() []iniSetting {
	var all []iniSetting
	for _, name := range []string{"auth_user", "auth_dbname", "auth_query"} {
		if s := t.main[name]; s.value != "" {
			all = append(all, s)
		}
		for _, d := range t.databases {
			if _, own := d.words[name]; own {
				all = append(all, d.query(name))
			}
		}
	}
	return all
}
