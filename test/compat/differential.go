package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/lockproxy/lockproxy/test/differential"
)

// differentialSuites hold random conversations with PostgreSQL itself and through lockproxy.
func differentialSuites() []suite {
	return []suite{{name: "differential", admin: differential.AdminMax, lock: differential.LockMax, settings: differential.Settings(), run: runDifferential}}
}

// conversations are held in two halves at a time: a conversation mostly waits for its answers. The second half has servers
// and a lockproxy of its own.
const conversations = 10_000

func runDifferential(ctx context.Context, s *stage) (r result, err error) {
	seed := time.Now().UnixNano() % 1_000_000_000
	fmt.Fprintf(s.log, "conversations from seed %d\n", seed)
	r.notes = []string{fmt.Sprintf("seeds %d to %d", seed, seed+conversations-1)}
	var (
		mu    sync.Mutex // guards r
		errs  [2]error
		group sync.WaitGroup
	)
	for half := range errs {
		cfg := differential.Config{
			Conversations: conversations / 2, Seed: seed + int64(half)*conversations/2, Length: 24, Stop: 10, ShrinkFor: time.Minute,
			Report: func(text string, _ bool) {
				mu.Lock()
				defer mu.Unlock()
				fmt.Fprintln(s.log, text)
				r.failed = append(r.failed, text)
			},
		}
		if half == 0 {
			cfg.Server, cfg.Proxy = s.server, net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
		}
		group.Go(func() {
			its, err := differential.Run(ctx, cfg)
			mu.Lock()
			defer mu.Unlock()
			r.passed += its.Same
			if its.Crashed > 0 {
				r.notes = append(r.notes, fmt.Sprintf("%d more crashed PostgreSQL itself", its.Crashed))
			}
			errs[half] = err
		})
	}
	group.Wait()
	return r, errors.Join(errs[:]...)
}
