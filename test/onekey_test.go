package test

import (
	"sync"
	"testing"
)

const createThings = "CREATE TABLE things (name text, attempt text)"

// checkThenInsert inserts a row unless there is one. The pause makes sure that others look before it is there.
func checkThenInsert(t testing.TB, a *app, url string, locked bool) error {
	holder, err := a.tryConnect(url)
	if err != nil {
		return err
	}
	defer holder.end()
	worker, err := a.tryConnect(url)
	if err != nil {
		return err
	}
	defer worker.end()
	if _, err := holder.query("BEGIN"); err != nil {
		return err
	}
	if locked {
		if _, err := holder.query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", "the thing"); err != nil {
			return err
		}
	}
	rows, err := worker.query("SELECT 1 FROM things WHERE name = $1", "the thing")
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		if _, err := worker.query("SELECT pg_sleep(0.2)"); err != nil {
			return err
		}
		if _, err := worker.query("INSERT INTO things (name) VALUES ($1)", "the thing"); err != nil {
			return err
		}
	}
	_, err = holder.query("COMMIT")
	return err
}

func TestOneKeyLetsOneOfManyProcessesInsert(t *testing.T) {
	const processes, attempts = 6, 5
	run(t, func(t *testing.T, start starter) {
		r := startProxy(t, sized(4, 4))
		r.query(t, createThings)
		noise(t, r.url, 3)
		var apps []*app
		for range processes {
			apps = append(apps, start(t))
		}
		race := func(locked bool) string {
			r.query(t, "TRUNCATE things")
			var all sync.WaitGroup
			for _, a := range apps {
				for range attempts {
					all.Go(func() {
						if err := checkThenInsert(t, a, r.url, locked); err != nil {
							t.Errorf("an attempt failed: %v", err)
						}
					})
				}
			}
			all.Wait()
			return r.value(t, "SELECT count(*) FROM things")
		}
		if got := race(false); got == "0" || got == "1" {
			t.Errorf("without the lock there are %s rows: the race that the lock is to decide does not happen", got)
		}
		if got := race(true); got != "1" {
			t.Errorf("under one key there are %s rows", got)
		}
		r.awaitNoLocks(t)
	})
}
