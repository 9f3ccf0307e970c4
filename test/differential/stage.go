package differential

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// AdminMax and LockMax are the sizes of the pools: a server for each client of a conversation that may have a transaction open
// at once, and one more for the noise; one for each that may hold locks, and one more for who comes after them.
const (
	AdminMax = 8
	LockMax  = 5
)

// stage is two PostgreSQL servers, so that what is the same on all databases of one is not shared: the one to be asked
// directly, and the one behind lockproxy.
type stage struct {
	direct, through *postgres.Server
	stop            []func() error // in reverse order
}

// Settings are those of both servers. They find no deadlocks, since whom they would end is chance.
func Settings() map[string]string {
	return map[string]string{"max_prepared_transactions": "10", "deadlock_timeout": "1h", "autovacuum": "off",
		"log_min_messages": "fatal", "log_min_error_statement": "panic"}
}

// newStage starts the servers. Through is one that is there already, or nil.
func newStage(ctx context.Context, through *postgres.Server) (s *stage, err error) {
	s = &stage{through: through}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.direct, err = s.start(ctx); err != nil {
		return s, err
	}
	if s.through == nil {
		if s.through, err = s.start(ctx); err != nil {
			return s, err
		}
	}
	for _, server := range []*postgres.Server{s.direct, s.through} {
		if err := prepare(server); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *stage) start(ctx context.Context) (*postgres.Server, error) {
	server, err := postgres.Run(ctx, postgres.Config{MaxConnections: 60, Settings: Settings()})
	if err == nil {
		s.stop = append(s.stop, server.Close)
	}
	return server, err
}

// database has the same name on both servers, since errors tell it.
const database = "conversations"

// prepare makes a database with what conversations use.
func prepare(server *postgres.Server) error {
	if _, err := server.Query("postgres", "CREATE DATABASE "+database); err != nil {
		return err
	}
	place, err := newSide(addressOf(server), "")
	if err != nil {
		return err
	}
	defer place.watch.close()
	for _, text := range []string{makeRoles, fmt.Sprintf(makeFunctions, database), makeRoutines} {
		if _, err := place.run(text); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) close() error {
	var all []error
	for _, stop := range slices.Backward(s.stop) {
		all = append(all, stop())
	}
	return errors.Join(all...)
}

func addressOf(server *postgres.Server) string { return "127.0.0.1:" + strconv.Itoa(server.Port) }

// twins gives the two sides, the second by lockproxy's address.
func (s *stage) twins(address string) (*twins, error) {
	direct, err := newSide(addressOf(s.direct), addressOf(s.direct))
	if err != nil {
		return nil, err
	}
	through, err := newSide(addressOf(s.through), address)
	if err != nil {
		direct.watch.close()
		return nil, err
	}
	return &twins{direct: direct, through: through}, nil
}

func (t *twins) close() {
	for _, s := range t.sides() {
		s.close()
	}
}

// startProxy starts a lockproxy of its own.
func (s *stage) startProxy() (address string, stop func() error, err error) {
	limits := pools.Config{Max: AdminMax, CheckoutTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxLifetime: time.Hour}
	lock := limits
	lock.Max = LockMax
	p, err := proxy.New(proxy.Config{
		Listen: []string{"127.0.0.1:0"}, MaxClients: 100, LoginTimeout: 10 * time.Second, ShutdownTimeout: time.Second,
		MaxBuffer: 256 << 10, MaxStatement: 16 << 20, MaxPrepared: 200, Instances: 1, Auth: proxy.Auth{Type: proxy.Trust},
		Databases: map[string]proxy.Database{proxy.AnyDatabase: {
			URL: "postgres://" + addressOf(s.through) + "/?sslmode=disable", Admin: limits, Lock: lock,
			LockTimeout: 30 * time.Second, IdleTransactionTimeout: 30 * time.Second,
		}},
	}, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		return "", nil, err
	}
	if err := p.Listen(); err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Serve(ctx) }()
	return p.Addrs()[0].String(), func() error {
		cancel()
		return <-done
	}, nil
}
