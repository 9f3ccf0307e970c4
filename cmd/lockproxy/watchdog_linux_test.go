package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
)

// An event loop hangs here because it has something to log, and nobody reads that. It is one that has only a server connection.
func TestSystemdsWatchdogIsToldNothingWhileAnEventLoopHangs(t *testing.T) {
	s := newSystemd(t)
	address := freePort(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize()); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "serve", "--config", servedBy(t, fmt.Sprintf("listen = [%q]", address)))
	cmd.Env = append(os.Environ(), asProgram+"=1", "NOTIFY_SOCKET="+s.path, "WATCHDOG_USEC=30000")
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	log := bufio.NewReader(r)
	for line := ""; !strings.Contains(line, "msg=listening"); {
		if line, err = log.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	one, other := connected(t, address), connected(t, address)
	if _, err := one.Exec(t.Context(), "BEGIN; SELECT"); err != nil { // that the other one gets another server connection
		t.Fatal(err)
	}
	var pid int
	if err := other.QueryRow(t.Context(), "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		t.Fatal(err)
	}
	s.heard("WATCHDOG=1")
	go w.Write(bytes.Repeat([]byte("full\n"), os.Getpagesize())) // it waits, like all that log from now on

	terminated := make(chan error, 1)
	go func() { // the answer comes through the loop that hangs
		_, err := one.Exec(t.Context(), "SELECT pg_terminate_backend($1)", pid)
		terminated <- err
	}()
	for until := time.Now().Add(30 * time.Second); s.within(200*time.Millisecond) != ""; { // twenty times as long as it takes else
		if time.Now().After(until) {
			t.Fatal("an event loop hangs, and the watchdog is told that all is well")
		}
	}
	go io.Copy(io.Discard, log)
	s.heard("WATCHDOG=1")
	if err := <-terminated; err != nil {
		t.Error(err)
	}
	_ = one.Close(t.Context())
	_ = other.Close(t.Context())
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.heard("STOPPING=1")
}

func connected(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), "postgres://postgres@"+address+"/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
