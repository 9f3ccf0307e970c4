package main

import (
	"context"
	"fmt"
	"time"
)

// queue is a job queue. Its program does what its argument says: install makes the tables, work NAME runs jobs until it
// is told to end, enqueue adds jobs that are numbered from 1, unlock NAME tells the queue that a worker is gone.
type queue struct {
	name       string
	needs      []string
	unfinished string // a query for the number of jobs that the queue believes to be still there
	unlock     bool   // the queue has to be told that a worker is gone, or keeps its jobs for hours
	make       func(ctx context.Context, s *stage) (program, error)
}

const (
	jobs     = 1000
	workers  = 4
	killed   = 2  // so many of the workers are killed,
	jobsEach = 25 // when each has done so many jobs: it is busy with others then
)

// effects is where each job leaves its number, and its worker's name, in a transaction. Who listens hears of both, and
// of each worker that is ready.
const effects = `
	CREATE TABLE workers (name text PRIMARY KEY);
	CREATE TABLE effects (job int NOT NULL, worker text NOT NULL);
	CREATE FUNCTION tell_worker() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN PERFORM pg_notify('progress', NEW.name || ' ready'); RETURN NEW; END $$;
	CREATE FUNCTION tell_effect() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN PERFORM pg_notify('progress', NEW.worker || ' ' || NEW.job); RETURN NEW; END $$;
	CREATE TRIGGER tell AFTER INSERT ON workers FOR EACH ROW EXECUTE FUNCTION tell_worker();
	CREATE TRIGGER tell AFTER INSERT ON effects FOR EACH ROW EXECUTE FUNCTION tell_effect();`

// suite has four workers do a thousand jobs, two of which are killed on the way. Each worker listens, which keeps an
// admin connection.
func (q queue) suite() suite {
	return suite{name: q.name, needs: q.needs, admin: 4 + workers, run: q.run}
}

func (q queue) run(ctx context.Context, s *stage) (r result, err error) {
	const patience = 10 * time.Minute
	p, err := q.make(ctx, s)
	if err != nil {
		return r, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := s.server.Query(s.database, effects); err != nil {
		return r, err
	}
	if _, err := s.exec(ctx, p.with("install"), nil); err != nil {
		return r, err
	}
	if err := q.work(ctx, s, p); err != nil {
		return r, err
	}
	r.check("each effect is there once", s.holds("SELECT count(*) = 1000 AND count(DISTINCT job) = 1000 FROM effects"))
	r.check("the queue is done", s.holds(q.done()))
	r.check("nothing is left behind", s.nothingLeft())
	r.check("no more backends than slots", s.atMost(4+workers+2))
	return r, nil
}

// done is a query that tells whether the queue has nothing left.
func (q queue) done() string { return "SELECT (" + q.unfinished + ") = 0" }

// holds is an error unless a query's answer is true.
func (s *stage) holds(query string) error {
	rows, err := s.server.Query(s.database, query)
	if err == nil && rows[0][0] != "t" {
		err = fmt.Errorf("%s: %s", query, rows[0][0])
	}
	return err
}
