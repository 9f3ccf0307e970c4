package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The units must be what systemd understands, wherever it can be asked.
func TestSystemdUnderstandsTheUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	folder := t.TempDir()
	for _, name := range []string{"lockproxy.service", "lockproxy.socket"} {
		text, err := os.ReadFile(filepath.Join("..", "deploy", "systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		// The program and its user are those of a machine where it is installed.
		here := strings.NewReplacer("/usr/local/bin/lockproxy", "/bin/true", "User=lockproxy\n", "", "Group=lockproxy\n", "").Replace(string(text))
		if err := os.WriteFile(filepath.Join(folder, name), []byte(here), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(analyze, "verify", filepath.Join(folder, name)).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
