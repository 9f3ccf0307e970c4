package test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestMakeAloneListsEveryTarget(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("make", "--no-print-directory", "-C", "..")
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=")
	help, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("make: %v\n%s", err, help)
	}
	var listed []string
	for line := range strings.Lines(string(help)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[0] != "make" {
			t.Errorf("a line names a target and says what it does, got %q", line)
			continue
		}
		listed = append(listed, fields[1])
	}
	phony := regexp.MustCompile(`(?m)^\.PHONY: (.*)$`).FindStringSubmatch(string(makefile))
	if phony == nil || !slices.Equal(listed, strings.Fields(phony[1])) {
		t.Errorf("make lists %v, the targets are %v", listed, phony)
	}
}

// What nobody has to say has a default: a target without it would run something else.
func TestTargetsNeedNoVariables(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	optional := []string{"MAKE", "ONLY", "QUICK"} // empty, they mean all
	for _, use := range regexp.MustCompile(`\$\(([A-Z]+)\)`).FindAllStringSubmatch(string(makefile), -1) {
		if name := use[1]; !slices.Contains(optional, name) && !regexp.MustCompile(`(?m)^`+name+` *\??=`).Match(makefile) {
			t.Errorf("%s has no default", name)
		}
	}
}

func TestScriptsAreValidAndExecutable(t *testing.T) {
	for _, script := range []string{"../.ci/run", "bench/pgbouncer.sh", "install.sh", "versions.sh"} {
		if out, err := exec.Command("bash", "-n", script).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
		info, err := os.Stat(script)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode()&0o111 == 0 {
			t.Errorf("%s is not executable", script)
		}
	}
}

func TestInstallingWhatIsThereDoesNothing(t *testing.T) {
	out, err := exec.Command("bash", "install.sh", "postgres").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("got %v\n%s", err, out)
	}
	if out, err := exec.Command("bash", "install.sh", "beer").CombinedOutput(); err == nil || !strings.Contains(string(out), "unknown need: beer") {
		t.Errorf("got %v\n%s", err, out)
	}
}

// Addresses of a registry in the lock file would make it work on one network alone.
func TestLockFileOfNodePackagesNamesNoRegistry(t *testing.T) {
	text, err := os.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "http") || !strings.Contains(string(text), `"node_modules/pg"`) {
		t.Error("package-lock.json has an address, or lacks pg")
	}
}
