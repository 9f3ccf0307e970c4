package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// plan is what a visitor may choose.
type plan struct {
	workers, jobs int
	pool          int           // Slots of the plain pool, and of each of lockproxy's two.
	stall         time.Duration // How long to watch a round in which nothing is done.
}

// The largest numbers that can be drawn in 80 columns; jobs have no such bound.
const (
	maxDemoWorkers = 20
	maxDemoPool    = 12
	maxDemoJobs    = 1_000_000
)

// demo shows the same workload twice, live: on one plain pool, where it hangs, and through lockproxy, where it ends.
// It succeeds if that is what happened.
func demo(ctx context.Context, args []string, w streams) error {
	flags := newFlags("demo", w)
	var p plan
	flags.IntVar(&p.workers, "workers", 8, "how many workers do jobs at the same time")
	flags.IntVar(&p.jobs, "jobs", 200, "how many jobs there are in each round")
	flags.IntVar(&p.pool, "pool", 4, "the slots of the plain pool, and of each of lockproxy's two pools")
	flags.DurationVar(&p.stall, "stall", 4*time.Second, "how long to watch the hang")
	plain := flags.Bool("plain", false, "print lines instead of drawing, as without a terminal")
	if err := parse(flags, args); err != nil {
		return err
	}
	if err := p.check(); err != nil {
		return err
	}
	on := newDisplay(w, *plain)
	s := newShow(p)
	defer context.AfterFunc(ctx, func() { on.end("") })() // The cursor is back at once, whatever else takes time.
	err := s.perform(ctx, on.update)
	if ctx.Err() != nil {
		on.end("interrupted")
		return errReported
	}
	on.end("")
	if err != nil {
		return err
	}
	if s.proven() {
		return nil
	}
	if s.plain.state == hung { // So it is lockproxy that has not done its part.
		fmt.Fprint(w.err, s.log.String())
	}
	return errReported
}

func (p plan) check() error {
	for _, bound := range []struct {
		flag        string
		value, most int
	}{{"workers", p.workers, maxDemoWorkers}, {"jobs", p.jobs, maxDemoJobs}, {"pool", p.pool, maxDemoPool}} {
		if bound.value < 1 || bound.value > bound.most {
			return usageError{fmt.Sprintf("--%s must be from 1 to %d", bound.flag, bound.most)}
		}
	}
	if p.stall <= 0 {
		return usageError{"--stall must be more than 0"}
	}
	return nil
}

// show is the whole demonstration: what it draws, and lockproxy's log in case it is needed.
type show struct {
	plan
	status string // What goes on before the first round.
	plain  round
	proxy  round
	over   bool // The verdict stands.
	log    bytes.Buffer
}

func newShow(p plan) *show {
	return &show{plan: p, status: "Starting a throw-away PostgreSQL ...",
		plain: round{workers: make([]activity, p.workers)},
		proxy: round{workers: make([]activity, p.workers)}}
}

// clients is how many connections the workers open to lockproxy: as many as they can ever use.
func (s *show) clients() int { return 2 * s.workers }

// proven reports whether both rounds went as promised.
func (s *show) proven() bool {
	return s.over && s.plain.state == hung && s.proxy.state == finished && s.proxy.failed == 0 && s.proxy.rows == s.jobs
}

// patience is how long nothing may be done in lockproxy's round: longer than its checkout timeout, so that a refusal is
// seen as the error that it is.
const patience = 15 * time.Second

// The databases of the two rounds. Each has one of its own, so that what PostgreSQL tells is of that round alone.
const (
	plainDatabase = "plain"
	proxyDatabase = "proxied"
)

// perform starts the servers, runs both rounds and ends the servers. It calls update whenever there is something new.
func (s *show) perform(ctx context.Context, update func(*show)) (err error) {
	update(s)
	upstream, err := postgres.Run(ctx, postgres.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, upstream.Close()) }()
	if err := setTheStage(upstream); err != nil {
		return err
	}
	s.status = ""
	first := stage{plan: s.plan, url: upstream.UserURL(playground, "", plainDatabase), watch: upstream.URL(plainDatabase),
		connections: s.pool, patience: s.stall}
	if err := s.plain.run(ctx, first, func() { update(s) }); err != nil {
		return err
	}
	err = s.throughProxy(ctx, upstream, func(url string) error {
		second := stage{plan: s.plan, url: url, watch: upstream.URL(proxyDatabase),
			connections: s.clients(), patience: max(s.stall, patience)}
		return s.proxy.run(ctx, second, func() { update(s) })
	})
	if err == nil {
		s.over = true
		update(s)
	}
	return err
}

// setTheStage makes the workers' role and the databases. A trigger makes each insert last, so that it can be watched.
func setTheStage(upstream *postgres.Server) error {
	statements := [][2]string{{"postgres", "CREATE ROLE " + playground + " LOGIN"}}
	for _, name := range []string{plainDatabase, proxyDatabase} {
		statements = append(statements, [2]string{"postgres", "CREATE DATABASE " + name + " OWNER " + playground},
			[2]string{name, `SET ROLE ` + playground + `;
				CREATE SCHEMA demo;
				CREATE TABLE demo.results (job int PRIMARY KEY);
				CREATE FUNCTION demo.linger() RETURNS trigger LANGUAGE plpgsql AS
					'BEGIN PERFORM pg_sleep(0.03 + 0.05 * random()); RETURN NEW; END';
				CREATE TRIGGER linger BEFORE INSERT ON demo.results FOR EACH ROW EXECUTE FUNCTION demo.linger()`})
	}
	for _, s := range statements {
		if _, err := upstream.Query(s[0], s[1]); err != nil {
			return err
		}
	}
	return nil
}

// throughProxy runs lockproxy before the server while f works with its URL.
func (s *show) throughProxy(ctx context.Context, upstream *postgres.Server, f func(url string) error) error {
	size := strconv.Itoa(s.pool)
	sizes := map[string]string{"DATABASE_POOL_MAX": size, "DATABASE_LOCK_POOL_MAX": size}
	server, _, err := openProxy(upstream, "127.0.0.1:0",
		streams{io.Discard, &s.log, func(name string) string { return sizes[name] }})
	if err != nil {
		return err
	}
	through := url.URL{Scheme: "postgres", User: url.User(playground), Host: server.Addrs()[0].String(),
		Path: "/" + proxyDatabase, RawQuery: "sslmode=disable"}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(serving) }()
	err = f(through.String())
	stop()
	return errors.Join(err, <-ended)
}
