package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// A client that comes while its pool is being forgotten, again and again and at any point of its login, is served.
func TestWhoComesWhileAPoolIsForgottenIsServed(t *testing.T) {
	upstream := postgres.Start(t)
	limits := pools.Config{Max: 4, CheckoutTimeout: time.Minute, IdleTimeout: time.Minute, MaxLifetime: time.Hour}
	s, err := New(Config{
		Listen: []string{"127.0.0.1:0"}, MaxClients: 100, MaxBuffer: 256 << 10, MaxStatement: 1 << 20, MaxPrepared: 200,
		LoginTimeout: time.Minute, ShutdownTimeout: time.Second, StatsPeriod: time.Minute, PoolIdleTimeout: time.Minute,
		Auth: Auth{Type: Trust}, Databases: map[string]Database{AnyDatabase: {URL: upstream.URL(""), Admin: limits, Lock: limits}},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var serving, client sync.WaitGroup
	serving.Go(func() { _ = s.Serve(ctx) })
	url := fmt.Sprintf("postgres://%s@%s/postgres?sslmode=disable", postgres.Superuser, s.Addrs()[0])
	var enough atomic.Bool
	client.Go(func() {
		for !enough.Load() && !t.Failed() {
			if err := selectOne(t.Context(), url); err != nil {
				t.Error(err)
			}
		}
	})
	made, last, now, pace := 0, (*pool)(nil), time.Now(), time.Tick(time.Millisecond)
	for ; made < 4 && !t.Failed(); <-pace {
		now = now.Add(time.Hour) // since when nobody has come
		s.forgetUnused(now)
		if all := s.allPools(); len(all) > 0 && all[0] != last {
			last = all[0]
			made++
		}
	}
	enough.Store(true)
	client.Wait()
	cancel()
	serving.Wait()
	if len(s.retired)+len(s.definitions) > 0 {
		t.Errorf("%d pools and %d definitions are left", len(s.retired), len(s.definitions))
	}
}

func selectOne(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "SELECT 1")
	return err
}
