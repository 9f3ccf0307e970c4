package differential

import (
	"fmt"
	"math/rand"
	"strconv"
)

// generate makes up the conversation of a seed.
func generate(seed int64, length int) conversation {
	w := &writer{Rand: rand.New(rand.NewSource(seed)), key: 1000 * (1 + int(seed%1_000_000))}
	w.clients = []int{1, 1, 2, 2, 2, 3, 4}[w.Intn(7)]
	var c conversation
	var scripts [][]step
	for client := range w.clients {
		c.clients = append(c.clients, w.start())
		scripts = append(scripts, w.script(client, 2+length/w.clients))
	}
	for holders := w.Intn(3); holders > 0; holders-- {
		client := len(c.clients)
		c.clients = append(c.clients, []string{"user", "postgres", "application_name", "holder " + strconv.Itoa(client), "DateStyle", w.pick("German", "SQL", "Postgres")})
		scripts = append(scripts, w.holds(client, length/3))
	}
	c.steps = w.interleave(scripts)
	for client := range c.clients {
		c.steps = append(c.steps, epilogue(client)...)
	}
	c.comeAfter(fmt.Sprintf("SELECT pg_try_advisory_xact_lock(%d)", w.key), "SELECT 1", "SELECT 2")
	return c
}

// comeAfter has new clients look at what the others have left: all at once, so that they are on different servers, and each
// begins its transaction with a statement of its own.
func (c *conversation) comeAfter(begin ...string) {
	c.guests = len(begin)
	for _, text := range begin {
		c.clients = append(c.clients, []string{"user", "postgres"})
		c.steps = append(c.steps, step{client: len(c.clients) - 1, messages: []message{query("BEGIN; " + text)}})
	}
	for client := len(c.clients) - c.guests; client < len(c.clients); client++ {
		c.steps = append(c.steps, step{client: client, messages: queries(leftBehind...)})
	}
}

// leftBehind asks for whatever a session may leave on its server. The two timeouts are the lock pool's own,
// and what was set for one transaction may count as set long after, with its default.
var leftBehind = []string{
	"SELECT name, setting FROM pg_settings WHERE source = 'session' AND name NOT IN ('lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_isolation', 'transaction_read_only', 'transaction_deferrable') ORDER BY 1",
	"SELECT session_user, current_user, nullif(current_setting('app.user_id', true), ''), '2024-02-03'::date, interval '1 day 2 hours', '\\x01ff'::bytea, current_schemas(false)",
	"SELECT (SELECT count(*) FROM pg_listening_channels()), (SELECT count(*) FROM pg_cursors), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), " +
		"(SELECT count(*) FROM pg_prepared_statements WHERE name !~ '^lockproxy_'), (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema())",
	"SELECT currval('sq')",
	"ROLLBACK",
}

// start is what a client says first: who it is, and the settings that it wants.
func (w *writer) start() []string {
	p := []string{"user", w.pick("postgres", "postgres", "postgres", "app")}
	choices := [][]string{{"application_name", "twin"}, {"DateStyle", "German"}, {"datestyle", "SQL, DMY"}, {"TimeZone", "Asia/Tokyo"}, {"client_encoding", "LATIN1"}, {"client_encoding", "utf8"}, {"options", "-c work_mem=8MB"},
		{"options", "-c search_path=other,public --app.user_id=start"}, {"search_path", "other, public"}, {"extra_float_digits", "3"}, {"options", "-c DateStyle=Postgres\\,\\ DMY -c statement_timeout=30s"}, {"app.user_id", "7"}, {"IntervalStyle", "iso_8601"},
		{"default_transaction_isolation", "serializable"}, {"lock_timeout", "20s"}, {"standard_conforming_strings", "off"}, {"work_mem", "2MB"}, {"options", "-c role=writer"}, {"bytea_output", "escape"}}
	for range w.Intn(4) {
		p = append(p, choices[w.Intn(len(choices))]...)
	}
	if w.one(60) {
		p = append(p, [][]string{{"nosuch", "1"}, {"DateStyle", "nonsense"}, {"options", "-c nosuch=2"}, {"client_encoding", "nosuch"}, {"options", "-x"}, {"work_mem", "a lot"}, {"_pq_.nosuch", "1"}}[w.Intn(7)]...)
	}
	return p
}

// script is what one client says.
func (w *writer) script(client, length int) (steps []step) {
	for len(steps) < length {
		for _, messages := range w.steps() {
			one := step{client: client, messages: messages}
			for n := one.size(); w.one(5) && len(one.cuts) < 4; {
				one.cuts = append(one.cuts, 1+w.Intn(n))
			}
			steps = append(steps, one)
		}
	}
	return steps
}

func (w *writer) steps() [][]message {
	switch n := w.Intn(20); {
	case n < 7:
		return w.say(w.texts())
	case n < 12:
		return [][]message{w.batches()}
	case n < 13:
		return [][]message{w.copyIn()}
	case n < 14:
		return [][]message{{w.functionCall()}}
	}
	return w.scenario()
}

// holds is a client that has a transaction now and then, so that others find its server taken, and another one free.
func (w *writer) holds(client, length int) (steps []step) {
	for range length {
		steps = append(steps, step{client: client, messages: []message{query("BEGIN; SELECT current_setting('DateStyle')")}}, step{client: client, messages: []message{query("COMMIT")}})
	}
	return steps
}

// interleave merges the clients' scripts: each goes on for a while.
func (w *writer) interleave(scripts [][]step) (all []step) {
	for len(scripts) > 0 {
		i := w.Intn(len(scripts))
		n := min(1+w.Intn(4), len(scripts[i]))
		all = append(all, scripts[i][:n]...)
		if scripts[i] = scripts[i][n:]; len(scripts[i]) == 0 {
			scripts = append(scripts[:i], scripts[i+1:]...)
		}
	}
	return all
}

// epilogue brings a client out of whatever it is in, and has it tell what it is left with.
func epilogue(client int) []step {
	return []step{
		{client: client, messages: []message{copyFail("the end"), sync}},
		{client: client, messages: queries("ROLLBACK")},
		{client: client, messages: queries(leftWith...)},
	}
}

var leftWith = []string{
	"SELECT name, setting FROM pg_settings WHERE name IN ('application_name', 'DateStyle', 'TimeZone', 'work_mem', 'search_path', 'client_encoding', 'IntervalStyle', " +
		"'extra_float_digits', 'role', 'session_authorization', 'statement_timeout', 'bytea_output', 'default_transaction_isolation') ORDER BY 1",
	"SELECT nullif(current_setting('app.user_id', true), ''), current_setting('app.tenant', true), current_user, '2024-02-03'::date",
	"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
}
