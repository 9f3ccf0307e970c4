package test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// exporter finds the program pgbouncer_exporter, which `test/install.sh exporter` fetches where that can be done.
func exporter(t testing.TB) string {
	t.Helper()
	if path, err := exec.LookPath("pgbouncer_exporter"); err == nil {
		return path
	}
	folder, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "lockproxy", "pgbouncer_exporter")
	if _, err := os.Stat(path); err != nil {
		t.Skip("the program pgbouncer_exporter is not here: test/install.sh exporter could not fetch it, or was not asked to")
	}
	return path
}

// What pgbouncer_exporter makes of the console: every metric that it has, each filled in, and the same that lockproxy gives by those
// names itself.
func TestPgBouncersExporterReadsTheConsole(t *testing.T) {
	program := exporter(t)
	r := startProxy(t, measured, named("app", upstream(t), "postgres"), func(c *proxy.Config) {
		c.Settings = []proxy.Setting{{Name: "server.max_clients", Value: "5000"}}
	})
	idle, inside := logIn(t, r.url), logIn(t, r.url)
	idle.asks("Z", text("SELECT 1"))
	inside.asks("ZZ", text("BEGIN"), text("SELECT pg_sleep(0.01)"))
	port, err := postgres.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(program, fmt.Sprintf("--web.listen-address=127.0.0.1:%d", port),
		"--pgBouncer.connectionString="+as(t, r.consoleURL(t, ""), "watcher", "x"))
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var theirs string
	await(t, "the exporter answers", func() bool {
		answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("a scrape gives %s, %v: %s", answer.Status, err, body)
		}
		theirs = string(body)
		return true
	})
	_, ours := r.get(t, "/metrics")
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if strings.Contains(strings.ToLower(log.String()), "level=error") || metric(theirs, "pgbouncer_up") != "1" {
		t.Errorf("the exporter says:\n%s", log.String())
	}
	their, our := seriesOf(theirs), seriesOf(ours)
	delete(their, "pgbouncer_exporter_build_info")
	if got, want := slices.Sorted(maps.Keys(our)), slices.Sorted(maps.Keys(their)); len(want) < 40 || !slices.Equal(got, want) {
		t.Errorf("lockproxy itself has the metrics\n%v, and the exporter makes of its console\n%v", got, want)
	}
	for name, labels := range their {
		if name != "pgbouncer_client_connections" && our[name] != labels { // which has no names of applications with us
			t.Errorf("%s: the exporter has\n%s and lockproxy itself\n%s", name, labels, our[name])
		}
	}
}

// seriesOf gives the series of each metric of PgBouncer's, by its name: their labels, without values.
func seriesOf(text string) map[string]string {
	all := make(map[string][]string)
	for _, found := range regexp.MustCompile(`(?m)^(pgbouncer_[a-z_]+)(\{.*\})? \S+$`).FindAllStringSubmatch(text, -1) {
		all[found[1]] = append(all[found[1]], found[2])
	}
	series := make(map[string]string)
	for name, labels := range all {
		slices.Sort(labels)
		series[name] = strings.Join(labels, "\n")
	}
	return series
}
