package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main() // and ends
	}
	goleak.VerifyTestMain(m)
}

// program runs lockproxy with the arguments, in an empty folder and without environment.
func program(t *testing.T, args ...string) (status int, out, err string) {
	t.Helper()
	t.Chdir(t.TempDir())
	var o, e bytes.Buffer
	status = dispatch(t.Context(), args, streams{&o, &e, lookup(nil)})
	return status, o.String(), e.String()
}

func TestHelpListsEveryCommand(t *testing.T) {
	for _, word := range []string{"help", "-h", "--help"} {
		status, out, _ := program(t, word)
		if status != 0 {
			t.Errorf("%s: exit status %d", word, status)
		}
		for _, c := range commands() {
			if !strings.Contains(out, "\n  "+c.name+" ") || !strings.Contains(out, c.summary) {
				t.Errorf("%s does not name %s:\n%s", word, c.name, out)
			}
		}
	}
}

func TestMisuseOfTheCommandLine(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "usage: lockproxy COMMAND"},
		{[]string{"serv"}, `unknown command "serv"; did you mean serve?`},
		{[]string{"chekc"}, "did you mean check?"},
		{[]string{"hepl"}, "did you mean help?"},
		{[]string{"fly"}, `unknown command "fly"; see lockproxy help`},
		{[]string{"serve", "x"}, `lockproxy serve: unexpected argument "x"`},
		{[]string{"version", "--short"}, "flag provided but not defined: -short"},
		{[]string{"check", "--config"}, "flag needs an argument: -config"},
	} {
		status, out, err := program(t, c.args...)
		if status != misused || out != "" || !strings.Contains(err, c.want) {
			t.Errorf("%q: got exit status %d, %q, %q; want %d and %q", c.args, status, out, err, misused, c.want)
		}
	}
}

func TestFlagsOfACommandAreListedOnRequest(t *testing.T) {
	for _, c := range commands() {
		if status, _, err := program(t, c.name, "-h"); status != 0 || !strings.Contains(err, "Usage of lockproxy "+c.name) {
			t.Errorf("%s -h: got exit status %d, %q", c.name, status, err)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, word := range []string{"version", "--version"} {
		if status, out, _ := program(t, word); status != 0 || !strings.HasPrefix(out, "lockproxy ") || !strings.Contains(out, "go1.") {
			t.Errorf("%s: got exit status %d, %q", word, status, out)
		}
	}
}

func TestServeWithoutConfigurationSaysWhatToDo(t *testing.T) {
	status, _, err := program(t, "serve")
	if status != failed || !strings.Contains(err, "--config") || !strings.Contains(err, upstreamVariable) {
		t.Errorf("got exit status %d, %q", status, err)
	}
}

func TestServeTellsEveryProblemOfItsConfiguration(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile(defaultPath, []byte("[server]\ninstances = 0\nbeer = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, err bytes.Buffer
	status := dispatch(t.Context(), []string{"serve"}, streams{&out, &err, lookup(nil)})
	want := "lockproxy.toml:2: server.instances: must be at least 1\nlockproxy.toml:3: server.beer: unknown setting\n" +
		"lockproxy.toml: databases: there is none"
	if status != failed || !strings.HasPrefix(err.String(), want) {
		t.Errorf("the file in the current folder is read; got exit status %d, %q", status, &err)
	}
}

func TestHelpIsNoFailure(t *testing.T) {
	c := command{name: "c", run: func(context.Context, []string, streams) error { return flag.ErrHelp }}
	var out bytes.Buffer
	if status := c.status(c.run(t.Context(), nil, streams{}), &out); status != 0 || out.Len() > 0 {
		t.Errorf("got %d, %q", status, &out)
	}
	if status := c.status(errors.New("broken"), &out); status != failed || out.String() != "broken\n" {
		t.Errorf("got %d, %q", status, &out)
	}
}

func TestLogFormatsAndLevels(t *testing.T) {
	var out bytes.Buffer
	log, err := newLogger(&out, new(slog.LevelVar), &configuration{logLevel: "warn", logFormat: "json"})
	if err != nil {
		t.Fatal(err)
	}
	log.Info("hidden")
	log.Warn("shown", "key", 7)
	if got := out.String(); strings.Contains(got, "hidden") || !strings.Contains(got, `"msg":"shown","key":7`) {
		t.Errorf("got %q", got)
	}
	out.Reset()
	if log, err = newLogger(&out, new(slog.LevelVar), &configuration{logLevel: "debug", logFormat: "text"}); err != nil {
		t.Fatal(err)
	}
	if log.Debug("shown"); !strings.Contains(out.String(), "level=DEBUG msg=shown") {
		t.Errorf("got %q", out.String())
	}
}
