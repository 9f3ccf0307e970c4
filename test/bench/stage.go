package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/lockproxy/lockproxy/test/authority"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// stage is what all rows have in common: a PostgreSQL server with a database for them, and the programs.
type stage struct {
	*options
	server        *postgres.Server
	folder        string // removed with the stage
	programs      string // PostgreSQL's
	subject, peer pooler

	secret  string              // the user's password as PostgreSQL keeps it
	account *syscall.Credential // whom poolers run as; nil: our own user

	certificate, key string // the paths of a certificate for 127.0.0.1 and its key
}

// The database, and the user and the password for it.
const (
	database = "bench"
	user     = "bench"
	password = "bench"
)

// scale is pgbench's: a million accounts.
const scale = 10

// quiet settings keep what is not measured from disturbing what is: nothing is written to disk for safety's sake, and nothing
// runs in the background.
var quiet = map[string]string{
	"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off", "wal_level": "minimal",
	"max_wal_senders": "0", "checkpoint_timeout": "1h", "max_wal_size": "16GB", "shared_buffers": "512MB",
}

func newStage(ctx context.Context, o *options) (s *stage, err error) {
	s = &stage{options: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.folder, err = os.MkdirTemp("", "lockproxy-bench-"); err != nil {
		return s, err
	}
	if err := os.Chmod(s.folder, 0o755); err != nil { // Poolers may run as another user.
		return s, err
	}
	if err := s.findPoolers(ctx); err != nil {
		return s, err
	}
	if s.programs, err = postgres.Programs(); err != nil {
		return s, err
	}
	s.say("starting PostgreSQL")
	if s.server, err = postgres.Run(ctx, postgres.Config{MaxConnections: 200, Settings: quiet}); err != nil {
		return s, err
	}
	if s.account, err = owner(s.server.SocketDir); err != nil {
		return s, err
	}
	if err := s.certify(); err != nil {
		return s, err
	}
	return s, s.fill(ctx)
}

// certify makes a certificate that poolers may read.
func (s *stage) certify() (err error) {
	if s.certificate, s.key, err = authority.Files(s.folder, authority.New().Issue("pooler")); err != nil {
		return err
	}
	return errors.Join(os.Chmod(s.certificate, 0o644), os.Chmod(s.key, 0o644))
}

// fill makes the user and the database.
func (s *stage) fill(ctx context.Context) error {
	rows, err := s.server.Query("postgres", fmt.Sprintf("SET password_encryption = 'scram-sha-256'; CREATE ROLE %s LOGIN PASSWORD '%s'; "+
		"SELECT rolpassword FROM pg_authid WHERE rolname = '%[1]s'", user, password))
	if err != nil {
		return err
	}
	s.secret = rows[0][0]
	if _, err := s.server.Query("postgres", "CREATE DATABASE "+database+" OWNER "+user); err != nil {
		return err
	}
	s.say("filling the tables")
	arguments := []string{"--initialize", "--quiet", fmt.Sprintf("--scale=%d", scale), s.server.UserURL(user, "", database)}
	if out, err := exec.CommandContext(ctx, s.program("pgbench"), arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("pgbench: %w\n%s", err, postgres.Tail(string(out)))
	}
	_, err = s.server.Query(database, "CREATE UNLOGGED TABLE sink (LIKE pgbench_accounts); ALTER TABLE sink OWNER TO "+user+"; CHECKPOINT")
	return err
}

func (s *stage) close() error {
	var all []error
	if s.server != nil {
		all = append(all, s.server.Close())
	}
	if s.folder != "" {
		all = append(all, os.RemoveAll(s.folder))
	}
	return errors.Join(all...)
}

// program is the path of one of PostgreSQL's client programs: where the server's are, else the one in PATH.
func (s *stage) program(name string) string {
	path := filepath.Join(s.programs, name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	return name
}

// say tells how far it is, beside the table.
func (s *stage) say(text string) { fmt.Fprintln(os.Stderr, "bench:", text) }

// owner gives the user whom a folder belongs to, unless that is ours. PostgreSQL's is the right one for PgBouncer, which
// refuses to run as root as well, and so that both poolers are treated alike for lockproxy.
func owner(folder string) (*syscall.Credential, error) {
	info, err := os.Stat(folder)
	if err != nil {
		return nil, err
	}
	system, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(system.Uid) == os.Geteuid() {
		return nil, nil
	}
	return &syscall.Credential{Uid: system.Uid, Gid: system.Gid}, nil
}
