package postgres

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// template is the cluster as the last initdb made it, kept in memory (some 25 MB): initdb takes a second, a copy a tenth
// of it, and a template on disk would have nobody to remove it when the process ends.
var template struct {
	sync.Mutex
	programs string // whose
	files    []templateFile
}

type templateFile struct {
	path    string // Relative to the data folder; a folder precedes what is in it.
	folder  bool
	content []byte
}

// createCluster fills the data folder.
func (s *Server) createCluster(ctx context.Context) error {
	template.Lock()
	defer template.Unlock()
	if template.programs == s.programs {
		return s.copyTemplate()
	}
	if err := s.initdb(ctx); err != nil {
		return err
	}
	files, err := readTemplate(s.data)
	if err != nil {
		return fmt.Errorf("read the new cluster: %w", err)
	}
	template.programs, template.files = s.programs, files
	return nil
}

func (s *Server) initdb(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.programs, "initdb"), "--pgdata="+s.data, "--username="+Superuser,
		"--auth=trust", "--no-sync", "--no-locale", "--encoding=UTF8", "--wal-segsize=1")
	s.prepare(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func readTemplate(data string) ([]templateFile, error) {
	var files []templateFile
	err := filepath.WalkDir(data, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(data, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			files = append(files, templateFile{path: relative, folder: true})
			return nil
		}
		content, err := os.ReadFile(path)
		files = append(files, templateFile{path: relative, content: content})
		return err
	})
	return files, err
}

func (s *Server) copyTemplate() error {
	for _, file := range template.files {
		path := filepath.Join(s.data, file.path)
		var err error
		if file.folder {
			err = os.Mkdir(path, 0o700)
		} else {
			err = os.WriteFile(path, file.content, 0o600)
		}
		if err == nil {
			err = s.user.own(path)
		}
		if err != nil {
			return fmt.Errorf("copy the template of a cluster: %w", err)
		}
	}
	return nil
}

// configure writes the configuration files of the cluster; the server reads them when it starts.
func (s *Server) configure() error {
	for name, text := range map[string]string{"postgresql.conf": s.settings(), "pg_hba.conf": s.hba()} {
		path := filepath.Join(s.data, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return fmt.Errorf("configure the cluster: %w", err)
		}
	}
	return nil
}

// settings is postgresql.conf: durability is off because nobody keeps the data, and nothing is created outside of the
// server's folder (dynamic_shared_memory_type).
func (s *Server) settings() string {
	settings := map[string]string{
		"listen_addresses":           "127.0.0.1",
		"port":                       strconv.Itoa(s.Port),
		"unix_socket_directories":    s.SocketDir,
		"max_connections":            strconv.Itoa(s.maxConnections()),
		"shared_buffers":             "16MB",
		"dynamic_shared_memory_type": "mmap",
		"fsync":                      "off",
		"synchronous_commit":         "off",
		"full_page_writes":           "off",
		"max_wal_size":               "256MB",
		"jit":                        "off",
		"log_line_prefix":            "%m [%p] %q%u@%d ",
		"timezone":                   "UTC",
		"log_timezone":               "UTC",
	}
	maps.Copy(settings, s.config.Settings)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&text, "%s = '%s'\n", name, strings.ReplaceAll(settings[name], "'", "''"))
	}
	return text.String()
}

func (s *Server) maxConnections() int {
	const standard = 100
	if s.config.MaxConnections == 0 {
		return standard
	}
	return s.config.MaxConnections
}

// hba is pg_hba.conf. The members of the roles that CreateUser makes need their passwords; everybody else is trusted.
func (s *Server) hba() string {
	lines := slices.Clone(s.config.HBA)
	for _, rule := range []struct{ who, method string }{
		{Superuser, "trust"},
		{"+" + SCRAM.role(), "scram-sha-256"},
		{"+" + MD5.role(), "md5"},
		{"+" + Cleartext.role(), "password"},
		{"all", "trust"},
	} {
		lines = append(lines, "local all "+rule.who+" "+rule.method, "host all "+rule.who+" 127.0.0.1/32 "+rule.method)
	}
	lines = append(lines, "local replication "+Superuser+" trust", "host replication "+Superuser+" 127.0.0.1/32 trust")
	return strings.Join(lines, "\n") + "\n"
}
