package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// StartStandby starts a server that follows s by streaming replication and answers queries, and ends it at the test's
// cleanup. Promote makes it a server of its own.
func (s *Server) StartStandby(t TB) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	standby, err := run(ctx, s.config, func(standby *Server, ctx context.Context) error { return standby.copyFrom(ctx, s) })
	if err != nil {
		t.Fatalf("start a standby: %v", err)
	}
	t.Cleanup(func() {
		if err := standby.Close(); err != nil {
			t.Fatalf("stop the standby: %v", err)
		}
	})
	return standby
}

// HasStandbys tells whether the installation has what StartStandby needs.
func (s *Server) HasStandbys() bool { return isProgram(filepath.Join(s.programs, "pg_basebackup")) }

// copyFrom fills the data folder by a base backup, which also says whom to follow.
func (s *Server) copyFrom(ctx context.Context, primary *Server) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.programs, "pg_basebackup"), "--pgdata="+s.data, "--host="+primary.SocketDir,
		"--port="+strconv.Itoa(primary.Port), "--username="+Superuser, "--write-recovery-conf", "--checkpoint=fast", "--no-sync")
	s.prepare(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_basebackup: %w\n%s", err, out)
	}
	return nil
}

// Promote makes a standby a server of its own, and returns when it takes writes.
func (s *Server) Promote() error {
	rows, err := s.Query("postgres", "SELECT pg_promote(true, 60)")
	if err == nil && rows[0][0] != "t" {
		err = errors.New("it is still a standby")
	}
	if err != nil {
		return fmt.Errorf("promote the standby: %w", err)
	}
	return nil
}

// Demote has a stopped server come back as one that is read-only, as a standby is.
func (s *Server) Demote() error {
	path := filepath.Join(s.data, "standby.signal")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	return s.user.own(path)
}
