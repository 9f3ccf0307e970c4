// Command river is a worker of the queue River, and what makes its tables and its jobs:
//
//	river install
//	river work NAME
//	river enqueue
//
// A job leaves its number in the transaction that completes it, as River's users do who need each effect once.
package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const jobs = 1000

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, args []string) error {
	pool, err := pgxpool.New(context.WithoutCancel(ctx), os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer pool.Close()
	switch args[0] {
	case "install":
		return install(ctx, pool)
	case "work":
		return work(ctx, pool, args[1])
	case "enqueue":
		return enqueue(ctx, pool)
	}
	return fmt.Errorf("unknown command %s", args[0])
}

func install(ctx context.Context, pool *pgxpool.Pool) error {
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		return err
	}
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

// effect is a job.
type effect struct {
	Number int `json:"number"`
}

func (effect) Kind() string { return "effect" }

// worker does jobs.
type worker struct {
	river.WorkerDefaults[effect]
	pool *pgxpool.Pool
	name string
}

// Work leaves a job's number and completes the job, both or none.
func (w *worker) Work(ctx context.Context, job *river.Job[effect]) error {
	return pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO effects VALUES ($1, $2)", job.Args.Number, w.name); err != nil {
			return err
		}
		_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
}

func work(ctx context.Context, pool *pgxpool.Pool, name string) error {
	all := river.NewWorkers()
	river.AddWorker(all, &worker{pool: pool, name: name})
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		ID:                   name,
		Logger:               slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Queues:               map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 5}},
		Workers:              all,
		JobTimeout:           20 * time.Second,
		RescueStuckJobsAfter: 25 * time.Second,
	})
	if err != nil {
		return err
	}
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	if _, err := pool.Exec(ctx, "INSERT INTO workers VALUES ($1)", name); err != nil {
		return err
	}
	<-ctx.Done()
	return client.Stop(context.WithoutCancel(ctx))
}

// enqueue adds the jobs, one half in one statement, the others in transactions of their own.
func enqueue(ctx context.Context, pool *pgxpool.Pool) error {
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{})
	if err != nil {
		return err
	}
	var many []river.InsertManyParams
	for n := range jobs / 2 {
		many = append(many, river.InsertManyParams{Args: effect{Number: n}})
	}
	if _, err := client.InsertMany(ctx, many); err != nil {
		return err
	}
	for n := jobs / 2; n < jobs; n++ {
		err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			_, err := client.InsertTx(ctx, tx, effect{Number: n}, nil)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
