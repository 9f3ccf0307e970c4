package postgres

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestNewestVersionComesFirst(t *testing.T) {
	got := newestFirst([]string{"/usr/lib/postgresql/9.6/bin", "/usr/lib/postgresql/15/bin", "/opt/postgresql/bin",
		"/usr/lib/postgresql/100/bin", "/usr/pgsql-16/bin"})
	want := []string{"/usr/lib/postgresql/100/bin", "/usr/pgsql-16/bin", "/usr/lib/postgresql/15/bin",
		"/usr/lib/postgresql/9.6/bin", "/opt/postgresql/bin"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestProgramsInPathWin(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"initdb", "postgres"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	if got, err := Programs(); err != nil || got != dir {
		t.Errorf("got %q, %v, want %q", got, err, dir)
	}
}

func TestTheVariableNamesTheFolderAlone(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(Variable, dir)
	if got, err := Programs(); err == nil {
		t.Errorf("an empty folder is taken, or another: %s", got)
	}
	for _, name := range []string{"initdb", "postgres"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := Programs(); err != nil || got != dir {
		t.Errorf("got %q, %v, want %q", got, err, dir)
	}
}

func TestClientOnlyInstallationDoesNotCount(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "initdb"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := firstComplete([]string{dir, filepath.Join(dir, "absent")})
	if !errors.Is(err, ErrNotInstalled) || !strings.Contains(err.Error(), "apt-get install postgresql") {
		t.Errorf("the error says what to install, got %v", err)
	}
}
