package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/lockproxy/lockproxy/test/postgres"
	"github.com/lockproxy/lockproxy/test/project"
)

// pooler is a program that is measured.
type pooler struct {
	name, path, version string

	// configure gives the text of its configuration file.
	configure func(c configuration) string
	// arguments are those of its command line, without the configuration file, which follows.
	arguments []string
}

// configuration is what poolers are told. Each has the same number of server connections.
type configuration struct {
	port, upstream int // on 127.0.0.1
	authentication string
	users          string // the path of a list of users, which both read in the same format
	certificate    string // and of a certificate for TLS, and its key; empty: none
	key            string
}

// poolSize is the number of server connections; maxClients is more than any row has.
const (
	poolSize   = 20
	maxClients = 2 * crowdClients
)

// findPoolers finds or builds the programs.
func (s *stage) findPoolers(ctx context.Context) (err error) {
	if s.subject, err = s.lockproxy(ctx, "lockproxy", s.proxy); err != nil {
		return err
	}
	if s.against != "" {
		s.peer, err = s.lockproxy(ctx, "the other", s.against)
		return err
	}
	path, err := output(ctx, "bash", filepath.Join(project.Root(), "test/bench/pgbouncer.sh"))
	if err != nil {
		return err
	}
	version, err := output(ctx, path, "--version")
	if err != nil {
		return err
	}
	version, _, _ = strings.Cut(version, "\n")
	s.peer = pooler{name: "PgBouncer", path: path, version: version, configure: pgbouncerConfiguration}
	return nil
}

// lockproxy is a built one, or, without a path, the one that users get from the sources as they are.
func (s *stage) lockproxy(ctx context.Context, name, path string) (pooler, error) {
	p := pooler{name: name, path: path, configure: lockproxyConfiguration, arguments: []string{"serve", "--config"}}
	if path != "" {
		var err error
		if p.path, err = filepath.Abs(path); err == nil {
			p.version, err = output(ctx, p.path, "version")
		}
		return p, err
	}
	s.say("building lockproxy")
	p.path = filepath.Join(s.folder, "lockproxy")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", p.path, "./cmd/lockproxy")
	cmd.Dir, cmd.Env = project.Root(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return p, fmt.Errorf("build lockproxy: %w\n%s", err, out)
	}
	version, err := output(ctx, p.path, "version")
	if commit, err := output(ctx, "git", "-C", project.Root(), "describe", "--always", "--dirty"); err == nil { // Else there is no repository.
		version += ", commit " + commit
	}
	p.version = version
	return p, err
}

func lockproxyConfiguration(c configuration) string {
	secured := ""
	if c.certificate != "" {
		secured = fmt.Sprintf("\n[tls]\nmode = \"require\"\ncert = %q\nkey = %q\n", c.certificate, c.key)
	}
	return fmt.Sprintf(`[server]
listen      = ["127.0.0.1:%d"]
max_clients = %d

[auth]
type = "%s"
file = "%s"

[databases."*"]
url = "postgres://127.0.0.1:%d/?sslmode=disable"

[pools.admin]
max = %d

[pools.lock]
max = %[6]d
`, c.port, maxClients, c.authentication, c.users, c.upstream, poolSize) + secured
}

// pgbouncerConfiguration turns off the log lines about each connection: lockproxy writes none, and they would be PgBouncer's
// disadvantage.
func pgbouncerConfiguration(c configuration) string {
	secured := ""
	if c.certificate != "" {
		secured = fmt.Sprintf("client_tls_sslmode = require\nclient_tls_cert_file = %s\nclient_tls_key_file = %s\n", c.certificate, c.key)
	}
	return fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%d

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
max_client_conn = %d
auth_type = %s
auth_file = %s
pool_mode = transaction
default_pool_size = %d
max_prepared_statements = 200
log_connections = 0
log_disconnections = 0
`, c.upstream, c.port, maxClients, c.authentication, c.users, poolSize) + secured
}

// output runs a program and gives what it prints.
func output(ctx context.Context, name string, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, arguments...)
	var errors strings.Builder
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", name, err, postgres.Tail(errors.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
