package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/lockproxy/lockproxy/proxy"
)

func serve(ctx context.Context, args []string, w streams) error {
	flags := newFlags("serve", w)
	from := sourceFlags(flags, w)
	if err := parse(flags, args); err != nil {
		return err
	}
	where, err := from()
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, heard...) // From now on: while it starts they would end the program.
	defer signal.Stop(signals)
	inherited, err := activation.Listeners()
	if err != nil {
		return fmt.Errorf("the sockets from systemd: %w", err)
	}
	s, err := open(where, w, inherited...)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- s.server.Serve(ctx) }()
	return s.attend(signals, ended)
}

// open makes a server of a configuration, and has it listen, or accept from the sockets that are there already.
func open(where source, w streams, inherited ...net.Listener) (*steward, error) {
	where, err := where.read()
	if err != nil {
		return nil, err
	}
	config, err := load(where)
	if err != nil {
		return nil, err
	}
	s := &steward{source: where, format: config.logFormat, drain: config.drainTimeout, level: new(slog.LevelVar)}
	if s.log, err = newLogger(w.err, s.level, config); err != nil {
		return nil, err
	}
	s.warn(config)
	if s.server, err = proxy.New(config.proxy, s.log); err != nil {
		return nil, config.locate(err)
	}
	s.server.Configuration = s
	s.server.Inherit(inherited)
	if err := s.server.Listen(); err != nil {
		return nil, config.locate(err)
	}
	for _, address := range s.server.Addrs() {
		s.log.Info("listening", "address", address.String())
	}
	return s, nil
}

// newLogger logs to w, at a level that may change.
func newLogger(w io.Writer, level *slog.LevelVar, config *configuration) (*slog.Logger, error) {
	if err := level.UnmarshalText([]byte(config.logLevel)); err != nil {
		return nil, fmt.Errorf("server.log_level: %w", err)
	}
	options := slog.HandlerOptions{Level: level}
	if config.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, &options)), nil
	}
	return slog.New(slog.NewTextHandler(w, &options)), nil
}
