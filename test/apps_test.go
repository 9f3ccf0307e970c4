package test

import (
	"fmt"
	"strconv"
	"sync"
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

// A setting is what its own client made it, on whatever backend its next statement runs.
func TestSettingsAreSeenByTheirOwnClientAlone(t *testing.T) {
	const clients, rounds = 20, 15
	zones := []string{"UTC", "Asia/Tokyo", "Europe/Rome", "America/Lima", "Africa/Cairo"}
	run(t, func(t *testing.T, start starter) {
		r := startProxy(t)
		noise(t, r.url, 2)
		a := start(t)
		var all sync.WaitGroup
		for i := range clients {
			s := a.connect(t, withParameter(t, r.url, "application_name", fmt.Sprint("client-", i)))
			all.Go(func() {
				tenant, zone := strconv.Itoa(i), zones[i%len(zones)]
				want := map[string]string{
					"application_name": "client-" + tenant, "app.tenant": tenant, "TimeZone": zone,
					"search_path": "schema_" + tenant, "statement_timeout": strconv.Itoa(30+i) + "s",
				}
				for _, set := range []struct {
					sql  string
					args []string
				}{
					{"SET app.tenant = '" + tenant + "'", nil},
					{"SET TIME ZONE '" + zone + "'", nil},
					{"SELECT set_config('search_path', $1, false)", []string{want["search_path"]}},
					{"BEGIN; SET statement_timeout = '" + want["statement_timeout"] + "'; COMMIT", nil},
					{"BEGIN; SET app.tenant = 'undone'; ROLLBACK", nil},
					{"BEGIN; SET LOCAL app.tenant = 'local'; COMMIT", nil},
				} {
					if _, err := s.query(set.sql, set.args...); err != nil {
						t.Errorf("client %d: %s: %v", i, set.sql, err)
						return
					}
				}
				for range rounds {
					for name, value := range want {
						rows, err := s.query("SELECT current_setting($1)", name)
						if err != nil || rows[0][0] != value {
							t.Errorf("client %d: %s is %v (%v), not %s", i, name, rows, err, value)
						}
					}
				}
			})
		}
		all.Wait()
	})
}
