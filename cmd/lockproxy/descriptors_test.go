package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestTooFewFileDescriptorsAreWarnedOf(t *testing.T) {
	const (
		needed = 1000 + 7 + otherDescriptors
		file   = "[server]\nmax_clients = 1000\n[pools.admin]\nmax = 5\n[pools.lock]\nmax = 2\n[databases.app]\nurl = \"postgres://u:p@h\"\n"
	)
	loaded := func(text string) *configuration {
		c, err := loadText(t, text, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := loaded(file)
	if got := c.tooFewDescriptors(needed); got != nil {
		t.Errorf("there are enough of them: %v", got)
	}
	got := c.tooFewDescriptors(needed - 1)
	if len(got) != 1 || !strings.Contains(got[0].where, "server.max_clients") || !strings.Contains(got[0].what, "1000 clients and 7 connections to servers need 1071 file descriptors, and this process may have 1070 ") {
		t.Errorf("got %v", got)
	}
	if got := loaded(strings.Replace(file, "[server]", "[server]\nmax_backends = 6", 1)).tooFewDescriptors(needed - 1); got != nil {
		t.Errorf("max_backends bounds them: %v", got)
	}
}

func TestAProcessWithFewFileDescriptorsWarnsWhenItStarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.toml")
	const nowhere = "[server]\nlisten = [\"203.0.113.1:1\"]\n[databases.app]\nurl = \"postgres://u:p@h\"\n" // so that it ends
	if err := os.WriteFile(path, []byte(nowhere), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `ulimit -n 500 && exec "$0" "$@"`, os.Args[0], "serve", "--config", path)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	if out, _ := cmd.CombinedOutput(); !strings.Contains(string(out), "and this process may have 500 ") || !strings.Contains(string(out), "server.max_clients") {
		t.Errorf("got %s", out)
	}
}
