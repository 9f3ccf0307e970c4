package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// crew are the workers of a queue while they run, and what they tell of themselves.
type crew struct {
	s       *stage
	p       program
	workers []*worker
	news    *pgconn.PgConn // not through lockproxy
	heard   []string       // and not looked at yet
}

// work runs the workers until all jobs have left their effects, and ends those that were not killed.
func (q queue) work(ctx context.Context, s *stage, p program) (err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	c := &crew{s: s, p: p}
	if err := c.listen(ctx); err != nil {
		return err
	}
	defer c.news.Close(context.Background())
	defer func() { err = errors.Join(err, c.end()) }()
	if err := c.start(ctx, fail); err != nil {
		return err
	}
	if _, err := s.exec(ctx, p.with("enqueue"), nil); err != nil {
		return err
	}
	if err := c.watch(ctx, q.unlock); err != nil {
		return err
	}
	// A job whose worker was killed between its effect and its completion runs again, behind all others.
	return inAWhile(func() error { return s.holds(q.done()) })
}

func (c *crew) listen(ctx context.Context) error {
	config, err := pgconn.ParseConfig(c.s.direct())
	if err != nil {
		return err
	}
	config.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) { c.heard = append(c.heard, n.Payload) }
	if c.news, err = pgconn.ConnectConfig(ctx, config); err != nil {
		return err
	}
	return c.news.Exec(ctx, "LISTEN progress").Close()
}

// hear waits for the next that a worker tells: its name, and what it has done.
func (c *crew) hear(ctx context.Context) (name, what string, err error) {
	for len(c.heard) == 0 {
		if err := c.news.WaitForNotification(ctx); err != nil {
			return "", "", errors.Join(err, context.Cause(ctx))
		}
	}
	name, what, _ = strings.Cut(c.heard[0], " ")
	c.heard = c.heard[1:]
	return name, what, nil
}

// start starts the workers and waits until all are ready, so that each gets a share of the jobs.
func (c *crew) start(ctx context.Context, fail context.CancelCauseFunc) error {
	for i := range workers {
		w, err := c.s.startWorker(ctx, c.p, fmt.Sprint("worker", i), fail)
		if err != nil {
			return err
		}
		c.workers = append(c.workers, w)
	}
	for range workers {
		if _, _, err := c.hear(ctx); err != nil {
			return err
		}
	}
	return nil
}

// watch waits for the effects of all jobs. The first workers are killed when they have done their share.
func (c *crew) watch(ctx context.Context, unlock bool) error {
	done, share := make(map[string]bool), make(map[string]int)
	for len(done) < jobs {
		name, job, err := c.hear(ctx)
		if err != nil {
			return fmt.Errorf("%d jobs of %d are done, by %v: %w", len(done), jobs, share, err)
		}
		done[job] = true
		share[name]++
		i := slices.IndexFunc(c.workers[:killed], func(w *worker) bool { return w.name == name })
		if i < 0 || share[name] != jobsEach {
			continue
		}
		c.workers[i].kill()
		if !unlock {
			continue
		}
		if _, err := c.s.exec(ctx, c.p.with("unlock", name), nil); err != nil {
			return err
		}
	}
	return c.allKilled()
}

// allKilled is an error if a worker that should have been killed has not had enough to do.
func (c *crew) allKilled() error {
	for _, w := range c.workers[:killed] {
		if !w.asked.Load() {
			return fmt.Errorf("%s did not do %d jobs, and lives", w.name, jobsEach)
		}
	}
	return nil
}

// end asks those who live to end, and is an error if one does not end well.
func (c *crew) end() error {
	var all []error
	for _, w := range c.workers {
		if !w.asked.Swap(true) {
			_ = w.cmd.Process.Signal(syscall.SIGTERM) // It may have ended, which Wait tells.
			if err := <-w.ended; err != nil {
				all = append(all, fmt.Errorf("%s, asked to end: %w", w.name, err))
			}
		}
	}
	return errors.Join(all...)
}

// worker is one process of a queue.
type worker struct {
	name  string
	cmd   *exec.Cmd
	asked atomic.Bool // to end, or killed
	ended chan error
}

// startWorker starts a worker, whose end fails the suite unless it was asked for.
func (s *stage) startWorker(ctx context.Context, p program, name string, fail context.CancelCauseFunc) (*worker, error) {
	p = p.with("work", name)
	w := &worker{name: name, ended: make(chan error, 1), cmd: exec.CommandContext(ctx, p.args[0], p.args[1:]...)}
	w.cmd.Dir, w.cmd.Env = p.dir, slices.Concat(os.Environ(), s.environment(), p.env)
	w.cmd.Stdout, w.cmd.Stderr = s.log, s.log
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		err := w.cmd.Wait()
		if !w.asked.Load() {
			fail(fmt.Errorf("%s ended: %v (what it said is in %s)", name, err, s.log.Name()))
		}
		w.ended <- err
	}()
	return w, nil
}

// kill kills a worker in the middle of its jobs.
func (w *worker) kill() {
	w.asked.Store(true)
	_ = w.cmd.Process.Kill() // If it has ended, the next jobs are somebody else's all the same.
	<-w.ended
}
