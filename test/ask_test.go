package test

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// asker is a driver that connects, runs statements and leaves. What each gave comes as text: rows apart by ";", columns by "|".
type asker struct {
	name  string
	modes []string // by which of them it runs statements; the first is its usual one
	ask   func(t testing.TB, url, mode string, statements ...string) ([]string, error)
}

// askers are the drivers of several languages. Those that are not installed are left out, which the test's log tells.
func askers(t testing.TB) []asker {
	t.Helper()
	all := []asker{
		{"pgx", modesOfPgx(), askPgx},
		{"psql", []string{"simple"}, askPsql},
		{"node", []string{"simple", "extended", "prepared"}, askProcess(t, nodeCommand(t, "ask.js"))},
	}
	const python = "/usr/bin/python3" // Debian's own, which has its packages
	if err := exec.Command(python, "-c", "import psycopg, psycopg2").Run(); err != nil {
		t.Logf("psycopg is left out: %s does not have it (test/install.sh psycopg): %v", python, err)
	} else {
		all = append(all, asker{"psycopg", []string{"extended", "binary", "prepared", "psycopg2", "extended" + inside, "prepared" + inside, "psycopg2" + inside},
			askProcess(t, exec.Command(python, "-B", filepath.Join("python", "ask.py")))})
	}
	const jar = "/usr/share/java/postgresql.jar"
	java, err := exec.LookPath("java")
	if _, missing := os.Stat(jar); err != nil || missing != nil {
		t.Logf("JDBC is left out: there is no java, or no %s (test/install.sh java)", jar)
	} else {
		all = append(all, asker{"JDBC", []string{"extended", "simple", "prepared", "extended" + inside, "simple" + inside, "prepared" + inside},
			askProcess(t, exec.Command(java, "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", jar, filepath.Join("java", "Ask.java")))})
	}
	return all
}

// inside has a driver begin a transaction by itself, and commit it.
const inside = " in a transaction"

func modesOfPgx() (names []string) {
	for _, mode := range execModes {
		names = append(names, mode.String())
	}
	return names
}

func askPgx(t testing.TB, url, mode string, statements ...string) ([]string, error) {
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		return nil, err
	}
	defer closeConn(c.Close)
	var all []string
	for _, sql := range statements {
		rows, err := c.Query(t.Context(), sql, execModes[slices.Index(modesOfPgx(), mode)])
		if err != nil {
			return nil, err
		}
		found, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (string, error) {
			values, err := r.Values()
			texts := row{}
			var line []string
			for i, v := range values {
				texts[r.FieldDescriptions()[i].Name] = v
				line = append(line, texts.text(r.FieldDescriptions()[i].Name))
			}
			return strings.Join(line, "|"), err
		})
		if err != nil {
			return nil, err
		}
		all = append(all, strings.Join(found, ";"))
	}
	return all, nil
}

func askPsql(t testing.TB, url, _ string, statements ...string) ([]string, error) {
	var all []string
	for _, sql := range statements { // each by a process of its own
		out, err := psql(t, url, sql).Output()
		if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
			return nil, errors.New(string(failed.Stderr))
		} else if err != nil {
			return nil, err
		}
		all = append(all, strings.ReplaceAll(strings.TrimSuffix(string(out), "\n"), "\n", ";"))
	}
	return all, nil
}

// askProcess asks a program that takes a question a line, and gives an answer a line. It starts with the first.
func askProcess(t testing.TB, cmd *exec.Cmd) func(t testing.TB, url, mode string, statements ...string) ([]string, error) {
	in, out := piped(t, cmd)
	lines := bufio.NewReader(out)
	start := sync.OnceValue(func() error {
		err := cmd.Start()
		t.Cleanup(func() {
			_ = in.Close() // which ends it
			_ = cmd.Wait()
		})
		return err
	})
	return func(t testing.TB, url, mode string, statements ...string) ([]string, error) {
		t.Helper()
		if err := start(); err != nil {
			t.Fatal(err)
		}
		late := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() }) // a compiler may come first
		defer late.Stop()
		if _, err := io.WriteString(in, strings.Join(append([]string{url, mode}, statements...), "\t")+"\n"); err != nil {
			t.Fatal(err)
		}
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("%s ended: %v", cmd, err)
		}
		words := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if words[0] != "ok" {
			return nil, errors.New(strings.Join(words[1:], ": "))
		}
		return words[1:], nil
	}
}
