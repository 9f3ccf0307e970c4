package postgres

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ErrNotInstalled is what Programs and Run return where PostgreSQL's server programs cannot be found.
var ErrNotInstalled = errors.New("PostgreSQL's server programs (initdb, postgres) are neither in PATH nor in " +
	"/usr/lib/postgresql: install them (Debian and Ubuntu: apt-get install postgresql; Fedora: dnf install " +
	"postgresql-server; macOS: brew install postgresql)")

// Variable names the environment variable that may name the folder of initdb and postgres, so that tests run against
// another version than the installed one.
const Variable = "POSTGRES_PROGRAMS"

// Programs returns the folder that holds initdb and postgres: the one that Variable names, the one in PATH, else the newest
// version's.
func Programs() (string, error) {
	if folder := os.Getenv(Variable); folder != "" {
		return firstComplete([]string{folder})
	}
	var folders []string
	if initdb, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(initdb); err == nil {
			folders = append(folders, filepath.Dir(real))
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", // Debian
		"/usr/pgsql-*/bin",          // the project's own RPMs
		"/opt/homebrew/opt/postgresql*/bin",
		"/usr/local/opt/postgresql*/bin",
	} {
		found, _ := filepath.Glob(pattern) // The patterns are well formed, the only error there is.
		folders = append(folders, newestFirst(found)...)
	}
	return firstComplete(folders)
}

func (c *Config) programs() (string, error) {
	if c.Programs != "" {
		return firstComplete([]string{c.Programs})
	}
	return Programs()
}

func firstComplete(folders []string) (string, error) {
	for _, folder := range folders {
		if isProgram(filepath.Join(folder, "initdb")) && isProgram(filepath.Join(folder, "postgres")) {
			return folder, nil
		}
	}
	return "", ErrNotInstalled
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// newestFirst sorts folders by the number in their paths, as 9.6 < 15 is no order of strings.
func newestFirst(folders []string) []string {
	sorted := slices.Clone(folders)
	slices.SortStableFunc(sorted, func(a, b string) int {
		switch va, vb := version(a), version(b); {
		case va > vb:
			return -1
		case va < vb:
			return 1
		}
		return 0
	})
	return sorted
}

// version reads the first number of a path; a path without one counts as the oldest.
func version(path string) float64 {
	digit := func(r rune) bool { return r >= '0' && r <= '9' }
	start := strings.IndexFunc(path, digit)
	if start < 0 {
		return 0
	}
	number := path[start:]
	if end := strings.IndexFunc(number, func(r rune) bool { return !digit(r) && r != '.' }); end >= 0 {
		number = number[:end]
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0
	}
	return v
}
