package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/lockproxy/lockproxy/test/differential"
)

// differentialSuites hold random conversations with PostgreSQL itself and through lockproxy.
func differentialSuites() []suite {
	return []suite{{name: "differential", admin: differential.AdminMax, lock: differential.LockMax, settings: differential.Settings(), run: runDifferential}}
}

func runDifferential(ctx context.Context, s *stage) (r result, err error) {
	seed := time.Now().UnixNano() % 1_000_000_000
	fmt.Fprintf(s.log, "conversations from seed %d\n", seed)
	r.passed, _, err = differential.Run(ctx, differential.Config{
		Conversations: 10_000, Seed: seed, Length: 24, Server: s.server, Proxy: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)),
		Stop: 20, ShrinkFor: time.Minute,
		Report: func(text string, _ bool) { r.failed = append(r.failed, text) },
	})
	return r, err
}
