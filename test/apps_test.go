package test

import (
	"fmt"
	"strconv"
	"testing"
	"time"
)

// What ordinary applications do, with both drivers.

func TestDriversSeeWhatTheyAskFor(t *testing.T) {
	run(t, func(t *testing.T, start starter) {
		r := startProxy(t)
		noise(t, r.url, 3)
		a := start(t)
		s := a.connect(t, withParameter(t, r.url, "application_name", "self"))
		for _, c := range []struct {
			want, sql string
			args      []string
		}{
			{"7", "SELECT 3 + 4", nil},
			{"7", "SELECT $1::int + 4", []string{"3"}},
			{"true", "SELECT 1 = 1", nil},
			{"true", "SELECT $1::int = 1", []string{"1"}},
			{"2", "SELECT 1; SELECT 2", nil},
			{"self", "SELECT current_setting('application_name')", nil},
			{"", "SELECT pg_advisory_xact_lock($1)", []string{"1"}},
		} {
			if got := s.value(t, c.sql, c.args...); got != c.want {
				t.Errorf("%s gives %q, not %q", c.sql, got, c.want)
			}
		}
		s.refused(t, "22012", "SELECT 1/0")
		s.refused(t, "22012", "SELECT 1/$1::int", "0")
		if err := s.end(); err != nil {
			t.Error(err)
		}
	})
}

// transfer moves one unit between two accounts, and changes its mind every fifth time.
func transfer(p *pool, n int) error {
	s, err := p.acquire()
	if err != nil {
		return err
	}
	defer s.end()
	from, to := n%5, (n+1+n%3)%5
	change := [5]int{}
	change[from]--
	change[to]++
	if _, err := s.query("BEGIN"); err != nil {
		return err
	}
	for id, by := range change { // In one order, or PostgreSQL would find deadlocks.
		if by == 0 {
			continue
		}
		_, err := s.query("UPDATE accounts SET balance = balance + $1 WHERE id = $2", strconv.Itoa(by), strconv.Itoa(id))
		if err != nil {
			return err
		}
	}
	rows, err := s.query("SELECT sum(balance) FROM accounts")
	if err != nil {
		return err
	}
	if rows[0][0] != "500" {
		return fmt.Errorf("in a transfer the sum of all accounts is %s", rows[0][0])
	}
	end := "COMMIT"
	if n%5 == 0 {
		end = "ROLLBACK"
	}
	_, err = s.query(end)
	return err
}

func TestTransactionsOfAPoolAreWhole(t *testing.T) {
	run(t, func(t *testing.T, start starter) {
		r := startProxy(t)
		noise(t, r.url, 2)
		r.query(t, "CREATE TABLE accounts AS SELECT id, 100 AS balance FROM generate_series(0, 4) id")
		p := start(t).newPool(t, r.url, 10)
		inParallel(16, 200, func(n int) {
			if err := transfer(p, n); err != nil {
				t.Errorf("transfer %d: %v", n, err)
			}
		})
		if got := r.value(t, "SELECT sum(balance) FROM accounts"); got != "500" {
			t.Errorf("the sum of all accounts is %s", got)
		}
	})
}

func TestListenerHearsWhileItIsIdle(t *testing.T) {
	run(t, func(t *testing.T, start starter) {
		r := startProxy(t)
		noise(t, r.url, 3)
		a := start(t)
		listener, speaker := a.connect(t, r.url), a.connect(t, r.url)
		listener.exec(t, "LISTEN news")
		for i := range 5 {
			heard := listener.hear()
			speaker.exec(t, "SELECT pg_notify('news', $1)", strconv.Itoa(i))
			rows, err := heard.wait(t, time.Second)
			if err != nil || rows[0][0] != strconv.Itoa(i) {
				t.Errorf("the listener heard %v %v, not %d", rows, err, i)
			}
		}
		listener.exec(t, "SELECT 1")
	})
}

// tenant is a client with settings of its own: what it runs once, and what it must then see.
type tenant struct {
	*session
	sets []string
	want map[string]string
}

// newTenant is a client that sets all sorts of things in all sorts of ways.
func newTenant(s *session, number int) *tenant {
	zones := []string{"Asia/Tokyo", "Europe/Rome", "America/Lima", "Africa/Cairo"}
	id := strconv.Itoa(number)
	want := map[string]string{
		"application_name": "client-" + id, "app.tenant": id, "TimeZone": zones[number%len(zones)],
		"search_path": "schema_" + id, "statement_timeout": strconv.Itoa(30+number) + "s",
	}
	return &tenant{s, []string{
		"SET app.tenant = '" + id + "'",
		"SET TIME ZONE '" + want["TimeZone"] + "'",
		"SELECT set_config('search_path', '" + want["search_path"] + "', false)",
		"BEGIN; SET statement_timeout = '" + want["statement_timeout"] + "'; COMMIT",
		"BEGIN; SET app.tenant = 'undone'; ROLLBACK",
		"BEGIN; SET LOCAL app.tenant = 'local'; COMMIT",
	}, want}
}

// plainTenant is a client that sets nothing, and so has the server's defaults.
func plainTenant(s *session) *tenant {
	return &tenant{s, nil, map[string]string{
		"app.tenant": "", "TimeZone": "UTC", "search_path": `"$user", public`, "statement_timeout": "0",
	}}
}

func (c *tenant) live(rounds int) error {
	for _, set := range c.sets {
		if _, err := c.query(set); err != nil {
			return err
		}
	}
	for range rounds {
		for name, value := range c.want {
			rows, err := c.query("SELECT current_setting($1, true)", name)
			if err != nil {
				return err
			}
			if rows[0][0] != value {
				return fmt.Errorf("%s is %q, not %q", name, rows[0][0], value)
			}
		}
	}
	return nil
}

// A setting is what its own client made it, on whatever backend its next statement runs.
func TestSettingsAreSeenByTheirOwnClientAlone(t *testing.T) {
	const clients, plain, rounds = 20, 4, 15
	run(t, func(t *testing.T, start starter) {
		r := startProxy(t)
		noise(t, r.url, 2)
		a := start(t)
		var tenants []*tenant
		for i := range clients {
			tenants = append(tenants, newTenant(a.connect(t, withParameter(t, r.url, "application_name", fmt.Sprint("client-", i))), i))
		}
		for range plain {
			tenants = append(tenants, plainTenant(a.connect(t, r.url)))
		}
		inParallel(len(tenants), len(tenants), func(i int) {
			if err := tenants[i].live(rounds); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	})
}
