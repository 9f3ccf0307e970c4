package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

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
	config, err := load(where)
	if err != nil {
		return err
	}
	log, err := newLogger(w.err, config.logLevel, config.logFormat)
	if err != nil {
		return err
	}
	for _, warning := range config.warnings {
		log.Warn(warning.what, "setting", warning.where)
	}
	server, err := proxy.New(config.proxy, log)
	if err != nil {
		return err
	}
	if err := server.Listen(); err != nil {
		return err
	}
	for _, address := range server.Addrs() {
		log.Info("listening", "address", address.String())
	}
	return server.Serve(ctx)
}

// newLogger logs to w; level and format are those of the configuration.
func newLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var options slog.HandlerOptions
	var threshold slog.Level
	if err := threshold.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("server.log_level: %w", err)
	}
	options.Level = threshold
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, &options)), nil
	}
	return slog.New(slog.NewTextHandler(w, &options)), nil
}
