package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// migrator is a migration tool. Every one of them has migrations of its own in tools, which leave their names in a table
// called applied, and change data in a way that shows if they run twice.
type migrator struct {
	name  string
	needs []string
	own   string // the table where the tool keeps what it has applied
	names string // its column with the names
	busy  string // what a process says that ends because another one migrates: it is run again, as its users do
	// make gives the program that applies all migrations to the database of its environment.
	make func(ctx context.Context, s *stage) (program, error)
}

// suite has eight processes migrate an empty database at once, directly and through lockproxy. All of them succeed, and
// both databases are the same.
func (m migrator) suite() suite { return suite{name: m.name, needs: m.needs, run: m.run} }

func (m migrator) run(ctx context.Context, s *stage) (r result, err error) {
	const patience = 10 * time.Minute
	p, err := m.make(ctx, s)
	if err != nil {
		return r, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	reference, err := s.server.CreateDatabase()
	if err != nil {
		return r, err
	}
	if err := m.migrate(ctx, s, p, s.directly(reference)); err != nil {
		return r, fmt.Errorf("directly: %w", err)
	}
	r.check("eight processes", m.migrate(ctx, s, p, nil))
	r.check("each applied once", m.once(s))
	r.check("the same database as directly", s.same(ctx, reference, s.database, m.own))
	r.check("nothing is left behind", s.nothingLeft())
	r.check("no more backends than slots", s.atMost(4+2))
	return r, nil
}

// migrate runs eight processes at once, and gives one of their errors.
func (m migrator) migrate(ctx context.Context, s *stage, p program, env []string) (err error) {
	const processes = 8
	failed := make(chan error, processes)
	var turn sync.Mutex
	for range processes {
		go func() { failed <- m.migrateOnce(ctx, s, p, env, &turn) }()
	}
	for range processes {
		if e := <-failed; e != nil {
			err = e
		}
	}
	return err
}

// migrateOnce is one of the eight. Those that find another one at it try again, one of them at a time.
func (m migrator) migrateOnce(ctx context.Context, s *stage, p program, env []string, turn *sync.Mutex) error {
	busy := func(out string, err error) bool { return err != nil && m.busy != "" && strings.Contains(out, m.busy) }
	out, err := s.exec(ctx, p, env)
	if !busy(out, err) {
		return err
	}
	turn.Lock()
	defer turn.Unlock()
	for ctx.Err() == nil && busy(out, err) {
		out, err = s.exec(ctx, p, env)
	}
	return err
}

// once is an error unless each migration left its name once, and the tool knows of each once.
func (m migrator) once(s *stage) error {
	for _, from := range []string{"name FROM applied", m.names + " FROM " + m.own} {
		rows, err := s.server.Query(s.database, "SELECT "+from)
		if err != nil {
			return err
		}
		slices.SortFunc(rows, slices.Compare)
		if len(rows) == 0 || len(slices.CompactFunc(slices.Clone(rows), slices.Equal)) != len(rows) {
			return fmt.Errorf("SELECT %s: %v", from, rows)
		}
	}
	return nil
}

// same compares two databases of the server: the schemas, as pg_dump tells them, and all rows. Tables whose names begin
// with but are left out: a tool may make its own before it has the lock, and what PostgreSQL then calls its sequence
// depends on who came first.
func (s *stage) same(ctx context.Context, one, other, but string) error {
	want, err := s.contents(ctx, one, but)
	if err != nil {
		return err
	}
	got, err := s.contents(ctx, other, but)
	if err != nil {
		return err
	}
	return sameLines(want, got)
}

// contents are the lines of a database's schema, and all rows of its tables and states of its sequences.
func (s *stage) contents(ctx context.Context, database, but string) ([]string, error) {
	schema, err := s.command(ctx, s.dir, s.directly(database), "pg_dump", "--schema-only", "--exclude-table="+but+"*")
	if err != nil {
		return nil, err
	}
	lines := strings.Split(comparable(schema), "\n")
	tables, err := s.server.Query(database, `
		SELECT c.oid::regclass::text, relname, CASE relkind WHEN 'S' THEN 'row(last_value, is_called)' ELSE 'row(t.*)' END
		FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
		WHERE relkind IN ('r', 'm', 'S') AND nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1`)
	if err != nil {
		return nil, err
	}
	for _, table := range tables {
		if strings.HasPrefix(table[1], but) {
			continue
		}
		rows, err := s.server.Query(database, "SELECT "+table[2]+"::text FROM "+table[0]+" t ORDER BY 1")
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			lines = append(lines, table[0]+" "+row[0])
		}
	}
	return lines, nil
}
