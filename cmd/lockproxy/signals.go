package main

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/lockproxy/lockproxy/proxy"
)

// heard are the signals that serve obeys, as PgBouncer does (its manual, "Signals").
var heard = []os.Signal{syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2}

// attend obeys signals until the server has ended, and tells systemd how it is, where that has started it.
func (s *steward) attend(signals <-chan os.Signal, ended <-chan error) error {
	tell(daemon.SdNotifyReady)
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		s.log.Warn("the watchdog's interval cannot be read", "error", err)
	}
	if interval > 0 {
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		go s.watch(ctx, interval)
	}
	for {
		select {
		case err := <-ended:
			return err
		case signal := <-signals:
			s.obey(signal)
		}
	}
}

// watch tells systemd's watchdog that nothing hangs, until ctx ends. It writes to no log: that may be what hangs.
func (s *steward) watch(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval / 3) // The manual of sd_watchdog_enabled asks for half of it at most.
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if s.server.Hangs(ctx) == nil {
			tell(daemon.SdNotifyWatchdog)
		}
	}
}

func (s *steward) obey(signal os.Signal) {
	s.log.Info("a signal came", "signal", signal.String())
	switch signal {
	case syscall.SIGHUP:
		tell(reloading())
		_, _ = s.Reload() // It has logged all that there is to say.
		tell(daemon.SdNotifyReady)
	case syscall.SIGUSR1:
		go s.pause()
	case syscall.SIGUSR2:
		if err := s.server.Resume(""); err != nil {
			s.log.Warn("the databases cannot be resumed", "error", err)
		}
	case syscall.SIGTERM:
		s.end(proxy.WaitForClients)
	case syscall.SIGINT:
		s.end(proxy.WaitForServers)
	case syscall.SIGQUIT:
		s.end(proxy.AtOnce)
	}
}

// pause waits for the server connections to be gone.
func (s *steward) pause() {
	if err := s.server.Pause(context.Background(), ""); err != nil {
		s.log.Warn("the databases cannot be paused", "error", err)
		return
	}
	s.log.Info("no server connection is left")
}

// end has the server end; at once, if it was told so before. It serves its clients no longer than drain_timeout.
func (s *steward) end(mode proxy.ShutdownMode) {
	s.mu.Lock()
	drain, again := s.drain, s.ending
	s.ending = true
	s.mu.Unlock()
	switch {
	case again:
		mode = proxy.AtOnce
	case mode == proxy.WaitForClients && drain == 0:
		mode = proxy.WaitForServers
	case mode == proxy.WaitForClients:
		time.AfterFunc(drain, func() { s.server.Shutdown(proxy.WaitForServers) })
	}
	tell(daemon.SdNotifyStopping)
	s.server.Shutdown(mode)
}

// tell notifies systemd, if that has started the program.
func tell(state string) { _, _ = daemon.SdNotify(false, state) }

// reloading is the message that Type=notify-reload waits for (manual, sd_notify).
func reloading() string {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000)
}
