package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"syscall"
	"time"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// playground is the name of the database, and of its owner, in the server that run starts.
const playground = "app"

// run starts a throw-away PostgreSQL and lockproxy before it, until ctx ends. Nothing is left behind.
func run(ctx context.Context, args []string, w streams) (err error) {
	flags := newFlags("run", w)
	listen := flags.String("listen", "127.0.0.1:6432", "the `address` to listen on; if it is taken, any free port")
	maxConnections := flags.Int("max-connections", 100, "max_connections of the PostgreSQL server")
	if err := parse(flags, args); err != nil {
		return err
	}
	fmt.Fprintln(w.out, "starting a throw-away PostgreSQL ...")
	upstream, err := postgres.Run(ctx, postgres.Config{MaxConnections: *maxConnections})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, upstream.Close()) }()
	for _, sql := range []string{"CREATE ROLE " + playground + " LOGIN", "CREATE DATABASE " + playground + " OWNER " + playground} {
		if _, err := upstream.Query("postgres", sql); err != nil {
			return err
		}
	}
	server, log, err := playgroundProxy(upstream, *listen, w)
	if err != nil {
		return err
	}
	announce(w, upstream, server.Addrs()[0])
	log.Info("ready")
	return server.Serve(ctx)
}

// playgroundProxy opens lockproxy before the server, at another port if the one asked for is taken.
func playgroundProxy(upstream *postgres.Server, listen string, w streams) (*proxy.Server, *slog.Logger, error) {
	server, log, err := openProxy(upstream, listen, w)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return server, log, err
	}
	host, port, splitErr := net.SplitHostPort(listen)
	if splitErr != nil {
		return nil, nil, err
	}
	fmt.Fprintf(w.out, "port %s is taken by another program, so lockproxy listens on another one\n", port)
	return openProxy(upstream, net.JoinHostPort(host, "0"), w)
}

func openProxy(upstream *postgres.Server, listen string, w streams) (*proxy.Server, *slog.Logger, error) {
	environment := func(name string) string {
		if name == upstreamVariable {
			return upstream.UserURL(playground, "", "")
		}
		return w.environment(name)
	}
	config, err := load(source{environment: environment, listen: []string{listen}})
	if err != nil {
		return nil, nil, err
	}
	log, err := newLogger(w.err, new(slog.LevelVar), config)
	if err != nil {
		return nil, nil, err
	}
	config.proxy.ShutdownTimeout = time.Second // Nothing here is worth a long wait for transactions.
	server, err := proxy.New(config.proxy, log)
	if err != nil {
		return nil, nil, err
	}
	return server, log, server.Listen()
}

// announce prints how to connect.
func announce(w streams, upstream *postgres.Server, address net.Addr) {
	through := url.URL{Scheme: "postgres", User: url.User(playground), Host: address.String(), Path: "/" + playground,
		RawQuery: "sslmode=disable"}
	fmt.Fprintf(w.out, `
DATABASE_URL=%s

  psql '%s'

lockproxy listens on %s; PostgreSQL itself is at %s
Ctrl-C ends both and leaves nothing behind.
`, &through, &through, address, upstream.UserURL(playground, "", playground))
}
