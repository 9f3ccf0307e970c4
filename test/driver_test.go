package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// The contract tests are written once and run with two drivers. Their applications are processes of their own: the Go
// one is this test binary (app_test.go), the other is node/app.js. Both do what they are told over their standard input.

// starter starts an application with the driver at hand. It ends at the test's cleanup.
type starter func(t testing.TB) *app

// run runs a test with every driver.
func run(t *testing.T, f func(t *testing.T, start starter)) {
	t.Run("pgx", func(t *testing.T) {
		f(t, func(t testing.TB) *app {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), appVariable+"=pgx", "GORACE=atexit_sleep_ms=0")
			return startApp(t, cmd)
		})
	})
	t.Run("node", func(t *testing.T) {
		f(t, func(t testing.TB) *app { return startApp(t, nodeCommand(t, "app.js")) })
	})
}

// nodeCommand is a script of the folder node, run with the packages that `npm ci` installs.
func nodeCommand(t testing.TB, script string, args ...string) *exec.Cmd {
	t.Helper()
	program, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("there is no program node, which this test needs: `make test` installs it")
	}
	if _, err := os.Stat(filepath.Join("node_modules", "pg")); err != nil {
		t.Fatalf("node's package pg is not installed: run `make test/node_modules` (%v)", err)
	}
	return exec.Command(program, append([]string{filepath.Join("node", script)}, args...)...)
}

// node runs a script of the folder node to its end and gives the JSON lines that it wrote.
func node(t testing.TB, script string, args ...string) []map[string]any {
	t.Helper()
	cmd := nodeCommand(t, script, args...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Start(); err != nil {
		t.Fatalf("node %s: %v", script, err)
	}
	late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("node %s: %v\n%s%s", script, err, out.String(), complaints.String())
	}
	var lines []map[string]any
	for line := range bytes.Lines(out.Bytes()) {
		var value map[string]any
		if err := json.Unmarshal(line, &value); err != nil {
			t.Fatalf("node %s wrote %q: %v", script, line, err)
		}
		lines = append(lines, value)
	}
	return lines
}

// app is an application: a process with connections by its driver. Its methods may be called from any goroutine.
type app struct {
	t   testing.TB
	cmd *exec.Cmd

	mu      sync.Mutex // guards the rest, and writing to the process
	in      *json.Encoder
	last    int
	waiting map[int]chan *appAnswer
	gone    bool
}

// session is one connection of an application.
type session struct {
	app    *app
	number int
}

// pool is a pool of connections in an application, by its driver.
type pool struct {
	app    *app
	number int
}

// piped connects a program that is about to be started: what it complains of is shown.
func piped(t testing.TB, cmd *exec.Cmd) (in io.WriteCloser, out io.Reader) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if out, err = cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	return in, out
}

func startApp(t testing.TB, cmd *exec.Cmd) *app {
	t.Helper()
	in, out := piped(t, cmd)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start an application: %v", err)
	}
	a := &app{t: t, cmd: cmd, in: json.NewEncoder(in), waiting: map[int]chan *appAnswer{}}
	done := make(chan struct{})
	go func() {
		a.read(json.NewDecoder(bufio.NewReader(out)))
		_ = cmd.Wait() // How it ended does not matter.
		close(done)
	}()
	t.Cleanup(func() {
		_ = in.Close() // Which ends it.
		select {
		case <-done:
		case <-time.After(time.Second):
			a.kill()
			<-done
		}
	})
	return a
}

// read hands answers to who waits for them, until the process ends.
func (a *app) read(lines *json.Decoder) {
	for {
		answer := new(appAnswer)
		err := lines.Decode(answer)
		a.mu.Lock()
		if err != nil {
			a.gone = true
			for _, waiter := range a.waiting {
				close(waiter)
			}
			a.mu.Unlock()
			return
		}
		waiter := a.waiting[answer.ID]
		delete(a.waiting, answer.ID)
		a.mu.Unlock()
		waiter <- answer
	}
}

// kill ends the application as kill -9 does.
func (a *app) kill() {
	_ = a.cmd.Process.Kill() // It may have ended.
}

var (
	errAppGone = errors.New("the application has ended")
	errLate    = errors.New("the application hangs")
)

// longest is how long an operation may take. It is longer than every timeout that a test waits for, so that the test
// fails with its own words, and not with those of a test binary that hangs.
const longest = 45 * time.Second

// ask has the application do something. It fails the test only if the process does not answer as it should.
func (a *app) ask(request appRequest) (*appAnswer, error) {
	answer := make(chan *appAnswer, 1)
	a.mu.Lock()
	if a.gone {
		a.mu.Unlock()
		return nil, errAppGone
	}
	a.last++
	request.ID = a.last
	a.waiting[request.ID] = answer
	err := a.in.Encode(request)
	a.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var got *appAnswer
	select {
	case got = <-answer:
	case <-time.After(longest):
		return nil, errLate
	}
	switch {
	case got == nil:
		return nil, errAppGone
	case got.Error != nil:
		return nil, got.Error
	}
	return got, nil
}

// connect opens a connection.
func (a *app) connect(t testing.TB, url string) *session {
	t.Helper()
	s, err := a.tryConnect(url)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	return s
}

func (a *app) tryConnect(url string) (*session, error) {
	answer, err := a.ask(appRequest{Op: "connect", URL: url})
	if err != nil {
		return nil, err
	}
	return &session{a, answer.Conn}, nil
}

// newPool makes a pool of at most max connections.
func (a *app) newPool(t testing.TB, url string, max int) *pool {
	t.Helper()
	answer, err := a.ask(appRequest{Op: "pool", URL: url, Max: max})
	if err != nil {
		t.Fatalf("make a pool: %v", err)
	}
	return &pool{a, answer.Pool}
}

// acquire waits for a connection of the pool.
func (p *pool) acquire() (*session, error) {
	answer, err := p.app.ask(appRequest{Op: "acquire", Pool: p.number})
	if err != nil {
		return nil, err
	}
	return &session{p.app, answer.Conn}, nil
}

// query runs SQL: without arguments by the simple protocol, else by the extended one in the driver's usual way. All
// values are texts; NULL is the empty one.
func (s *session) query(sql string, args ...string) ([][]string, error) {
	answer, err := s.app.ask(appRequest{Op: "query", Conn: s.number, SQL: sql, Args: args})
	if err != nil {
		return nil, err
	}
	return answer.Rows, nil
}

// value gives the one value of a query, which must succeed.
func (s *session) value(t testing.TB, sql string, args ...string) string {
	t.Helper()
	rows, err := s.query(sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		t.Fatalf("%s: one value was expected, not %v", sql, rows)
	}
	return rows[0][0]
}

// exec runs SQL that must succeed.
func (s *session) exec(t testing.TB, sql string, args ...string) {
	t.Helper()
	if _, err := s.query(sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// refused runs SQL that must fail with the SQLSTATE.
func (s *session) refused(t testing.TB, code, sql string, args ...string) *appError {
	t.Helper()
	_, err := s.query(sql, args...)
	return wantError(t, code, sql, err)
}

// wantError checks that an error has the SQLSTATE.
func wantError(t testing.TB, code, what string, err error) *appError {
	t.Helper()
	var e *appError
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("%s: an error %s was expected, not %v", what, code, err)
	}
	return e
}

// pending is a call whose outcome is still to come.
type pending struct {
	what string
	done chan struct{}
	rows [][]string
	err  error
}

// start runs SQL and does not wait for its end.
func (s *session) start(sql string, args ...string) *pending {
	p := &pending{what: sql, done: make(chan struct{})}
	go func() {
		p.rows, p.err = s.query(sql, args...)
		close(p.done)
	}()
	return p
}

// hear waits, without asking anything, for what the connection says next: a notification, or why it ends.
func (s *session) hear() *pending {
	p := &pending{what: "hear", done: make(chan struct{})}
	go func() {
		var answer *appAnswer
		if answer, p.err = s.app.ask(appRequest{Op: "hear", Conn: s.number}); p.err == nil {
			p.rows = [][]string{{answer.Payload}}
		}
		close(p.done)
	}()
	return p
}

// wait waits for the outcome.
func (p *pending) wait(t testing.TB, within time.Duration) ([][]string, error) {
	t.Helper()
	select {
	case <-p.done:
		return p.rows, p.err
	case <-time.After(within):
		t.Fatalf("no answer within %v: %s", within, p.what)
		return nil, nil
	}
}

// end closes the connection, or gives it back to its pool.
func (s *session) end() error {
	_, err := s.app.ask(appRequest{Op: "end", Conn: s.number})
	return err
}
