package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// running is a command that runs in a goroutine until it is stopped.
type running struct {
	printed
	stop context.CancelFunc
	done chan error
}

// printed is what a command or a process prints.
type printed struct {
	t     *testing.T
	lines chan string // Roomy, so that nobody waits for the test to read.
}

// start runs a command; its output and its log can be read with until.
func start(t *testing.T, environment map[string]string, command func(context.Context, []string, streams) error, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	p := &running{printed: printed{t, make(chan string, 1000)}, stop: cancel, done: make(chan error, 1)}
	go func() {
		defer close(p.lines)
		for scanner := bufio.NewScanner(r); scanner.Scan(); {
			p.lines <- scanner.Text()
		}
	}()
	go func() {
		err := command(ctx, args, streams{w, w, lookup(environment)})
		w.Close()
		p.done <- err
	}()
	t.Cleanup(func() { p.end() })
	return p
}

// until reads up to a line that holds the text, and returns that line.
func (p *printed) until(text string) string {
	p.t.Helper()
	var seen strings.Builder
	for line := range p.lines {
		if strings.Contains(line, text) {
			return line
		}
		seen.WriteString(line + "\n")
	}
	p.t.Fatalf("the output ended without %q:\n%s", text, &seen)
	return ""
}

// end stops the command as a signal would, and returns its error; ending twice is no fault.
func (p *running) end() error {
	p.stop()
	for range p.lines { // Until it has ended.
	}
	err, open := <-p.done
	if open {
		close(p.done)
	}
	return err
}

// ask connects to a URL and returns the value of a query.
func ask(t *testing.T, url, sql string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, err := pgconn.Connect(ctx, url)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer conn.Close(ctx)
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil || len(results) != 1 || len(results[0].Rows) != 1 {
		t.Fatalf("%s: got %v, %v", sql, results, err)
	}
	return string(results[0].Rows[0][0])
}

func TestRunServesUntilItsContextEndsAndLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	folders := func() []string {
		found, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if len(os.Getenv("TMPDIR")) > 60 { // Longer ones are not used: unix sockets need short paths.
		t.Setenv("TMPDIR", shortFolder(t))
	}
	if err := os.Chmod(os.Getenv("TMPDIR"), 0o777); err != nil {
		t.Fatal(err)
	}
	p := start(t, nil, run, "--listen", "127.0.0.1:0", "--max-connections", "33")
	_, url, _ := strings.Cut(p.until("DATABASE_URL="), "=")
	if line := p.until("psql"); line != "  psql '"+url+"'" {
		t.Errorf("a line to copy, got %q", line)
	}
	if got := ask(t, url, "SHOW max_connections"); got != "33" {
		t.Errorf("got %s", got)
	}
	if len(folders()) != 1 {
		t.Errorf("the server lives in the temporary folder, got %v", folders())
	}
	if err := p.end(); err != nil {
		t.Errorf("ends without an error, got %v", err)
	}
	if len(folders()) != 0 {
		t.Errorf("nothing is left, got %v", folders())
	}
}

func shortFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("/tmp", "run")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return folder
}

func TestRunTakesAnotherPortIfItsOwnIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	p := start(t, nil, run, "--listen", taken.Addr().String())
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	p.until("port " + port + " is taken by another program")
	if line := p.until("DATABASE_URL="); strings.Contains(line, ":"+port+"/") {
		t.Errorf("got %s", line)
	}
	if err := p.end(); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestServeListensAndLogsWhere(t *testing.T) {
	upstream := postgres.Start(t)
	if err := upstream.CreateUser("app", "secret", postgres.SCRAM); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	p := start(t, map[string]string{upstreamVariable: upstream.UserURL("app", "secret", "")}, serve, "--listen", "127.0.0.1:0")
	_, address, _ := strings.Cut(p.until("msg=listening"), "address=")
	if got := ask(t, "postgres://app:secret@"+address+"/postgres?sslmode=disable", "SELECT current_user"); got != "app" {
		t.Errorf("clients log in with the url's user and password, got %s", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := pgconn.Connect(ctx, "postgres://app:wrong@"+address+"/postgres?sslmode=disable"); err == nil {
		t.Error("a wrong password is refused")
	}
	if err := p.end(); err != nil {
		t.Errorf("ends without an error, got %v", err)
	}
}

func TestServeFailsOnATakenPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	t.Chdir(t.TempDir())
	var out bytes.Buffer
	status := dispatch(t.Context(), []string{"serve", "--listen", taken.Addr().String()},
		streams{&out, &out, lookup(map[string]string{upstreamVariable: "postgres://app@127.0.0.1"})})
	if status != failed || !strings.Contains(out.String(), "address already in use") {
		t.Errorf("got exit status %d, %s", status, &out)
	}
}
