package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockproxy/lockproxy/test/postgres"
)

// side is one of the two that a row compares: a pooler that runs.
type side struct {
	*stage
	pooler pooler
	name   string // the pooler's, or what else tells it from the other side
	tls    bool   // clients speak TLS
	port   int    // on 127.0.0.1
	pid    int

	kill func()
	log  string     // the path of what it prints
	idle []net.Conn // clients that do nothing
}

// startTimeout is long, for machines that are busy.
const startTimeout = 30 * time.Second

// start starts a pooler and returns when it has answered a query.
func (s *stage) start(ctx context.Context, p pooler, r row) (*side, error) {
	folder, err := os.MkdirTemp(s.folder, "pooler-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(folder, 0o755); err != nil {
		return nil, err
	}
	port, err := postgres.FreePort()
	if err != nil {
		return nil, err
	}
	c := configuration{port: port, upstream: s.server.Port, authentication: "trust", users: filepath.Join(folder, "users")}
	if r.scram {
		c.authentication = "scram-sha-256"
	}
	if r.tls {
		c.certificate, c.key = s.certificate, s.key
	}
	file := filepath.Join(folder, "configuration")
	if err := errors.Join(os.WriteFile(c.users, fmt.Appendf(nil, "%q %q\n", user, s.secret), 0o644),
		os.WriteFile(file, []byte(p.configure(c)), 0o644)); err != nil {
		return nil, err
	}
	one := &side{stage: s, pooler: p, name: p.name, port: port, tls: r.tls, log: filepath.Join(folder, "log")}
	exited, err := one.launch(p.path, append(p.arguments[:len(p.arguments):len(p.arguments)], file))
	if err != nil {
		return nil, err
	}
	if err := one.awaitReady(ctx, exited); err != nil {
		return nil, errors.Join(one.failed(fmt.Errorf("it does not start: %w", err)), one.close())
	}
	return one, nil
}

// launch starts the process.
func (s *side) launch(path string, arguments []string) (exited <-chan struct{}, err error) {
	log, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(path, arguments...)
	cmd.Dir = filepath.Dir(s.log)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.account}
	postgres.DieWithParent(cmd.SysProcAttr, syscall.SIGKILL)
	child, err := postgres.StartChild(cmd)
	if err != nil {
		return nil, err
	}
	s.pid = cmd.Process.Pid
	s.kill = func() {
		_ = cmd.Process.Kill() // It has ended, or will.
		<-child.Exited
	}
	return child.Exited, nil
}

func (s *side) awaitReady(ctx context.Context, exited <-chan struct{}) error {
	const pause = 10 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := s.ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			return errors.New("it ended")
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

func (s *side) ping(ctx context.Context) error {
	c, err := pgconn.Connect(ctx, s.url())
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	_, err = c.Exec(ctx, "SELECT 1").ReadAll()
	return err
}

// failed adds to an error what the pooler has to say.
func (s *side) failed(err error) error {
	text, _ := os.ReadFile(s.log) // Without it the error has to do.
	return fmt.Errorf("%s: %w\n%s", s.name, err, postgres.Tail(string(text)))
}

// close ends the process at once, as nothing of it is worth a farewell, and then its idle clients. Closing none does nothing.
func (s *side) close() error {
	if s == nil {
		return nil
	}
	s.kill()
	for _, c := range s.idle {
		_ = c.Close() // The other end is gone.
	}
	s.idle = nil
	return nil
}

func (s *side) url() string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/%s?sslmode=%s", user, password, s.port, database, s.sslMode())
}

func (s *side) sslMode() string {
	if s.tls {
		return "require"
	}
	return "disable"
}

// environment is libpq's.
func (s *side) environment() []string {
	return []string{"PGHOST=127.0.0.1", "PGPORT=" + strconv.Itoa(s.port), "PGUSER=" + user, "PGPASSWORD=" + password,
		"PGDATABASE=" + database, "PGSSLMODE=" + s.sslMode()}
}
