package test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// measured has a proxy serve metrics, those of pgbouncer_exporter as well.
func measured(c *proxy.Config) {
	watched(c)
	c.HTTPListen, c.PgBouncerMetrics = "127.0.0.1:0", true
}

// get asks the proxy by HTTP.
func (r *rig) get(t testing.TB, path string) (status int, body string) {
	t.Helper()
	answer, err := http.Get("http://" + r.server.HTTPAddr().String() + path)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return answer.StatusCode, string(text)
}

// metric gives the value of a series; "" if there is none.
func metric(text, series string) string {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func TestMetricsAreWhatTheConsoleShows(t *testing.T) {
	const key = "471147114711471147" // so long that no count and no time has it among its digits
	r := startProxy(t, measured, sized(1, 2))
	holder := logIn(t, r.url, "application_name", "secretive")
	holder.asks("ZZ", text("BEGIN"), text("SELECT pg_advisory_xact_lock("+key+")"))
	busy := logIn(t, r.url)
	busy.asks("ZZ", text("BEGIN"), text("SELECT 1"))
	waiter := logIn(t, r.url)
	waiter.send(packed(t, text("SELECT 1")))
	at := `{database="` + r.database + `",user="` + postgres.Superuser + `"}`
	pool := func(name string) string { return strings.Replace(at, ",user", `,pool="`+name+`",user`, 1) }
	await(t, "a client waits", func() bool {
		_, text := r.get(t, "/metrics")
		return metric(text, "lockproxy_waiting"+pool("admin")) == "1"
	})
	busy.asks("Z", text("COMMIT"))
	waiter.until("Z")
	holder.asks("Z", text("COMMIT"))
	var text string
	await(t, "the servers are given back", func() bool {
		_, text = r.get(t, "/metrics")
		return metric(text, "lockproxy_slots_active"+pool("admin")) == "0" && metric(text, "lockproxy_slots_active"+pool("lock")) == "0"
	})
	for series, want := range map[string]string{
		"lockproxy_transactions_total" + at: "3", "lockproxy_slots" + pool("lock"): "2", "lockproxy_slots" + pool("admin"): "1",
		"lockproxy_backends_opened_total" + at: "2", "lockproxy_hold_seconds_count" + pool("lock"): "1",
		"lockproxy_lock_statements_total" + strings.Replace(at, ",user", `,outcome="taken",user`, 1): "1",
		"pgbouncer_up": "1", "pgbouncer_pools_server_idle_connections" + at: "2",
		`pgbouncer_stats_totals_sql_transactions_pooled_total{database="` + r.database + `"}`: "3",
	} {
		if got := metric(text, series); got != want {
			t.Errorf("%s is %q, want %s", series, got, want)
		}
	}
	if n, _ := strconv.ParseFloat(metric(text, "lockproxy_checkout_wait_seconds_sum"+pool("admin")), 64); n <= 0 {
		t.Errorf("nobody waited: %v", n)
	}
	for _, never := range []string{key, "secretive", "127.0.0.1:", "advisory_xact"} {
		if strings.Contains(text, never) {
			t.Errorf("%q is among the metrics", never)
		}
	}
	names := map[string]bool{}
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			names[strings.Fields(name)[0]] = true
		}
	}
	everyMetricExists(t, names)
	wellNamed(t, text)
}

// wellNamed finds our metrics named and typed as Prometheus has it; those of pgbouncer_exporter are as its are.
func wellNamed(t *testing.T, text string) {
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if !strings.HasPrefix(p.Metric, "pgbouncer_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// What the dashboard and the alerts speak of is there, by name.
func everyMetricExists(t *testing.T, names map[string]bool) {
	sometimes := map[string]bool{"lockproxy_logins_refused_total": true, "lockproxy_pinned_transactions_total": true,
		"lockproxy_pinned_sessions": true, "lockproxy_checkouts_refused_total": true, "lockproxy_backends_closed_total": true}
	for _, file := range []string{"grafana.json", "alerts.yaml"} {
		text, err := os.ReadFile(filepath.Join("..", "deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`lockproxy_[a-z_]+`).FindAllString(string(text), -1) {
			whole := name
			for _, end := range []string{"_bucket", "_count", "_sum"} {
				name = strings.TrimSuffix(name, end)
			}
			if !names[name] && !names[whole] && !sometimes[name] {
				t.Errorf("deploy/%s: there is no metric %s", file, whole)
			}
		}
	}
}

func TestHealthAndReadiness(t *testing.T) {
	r := startProxy(t, measured, func(c *proxy.Config) {
		db := c.Databases[proxy.AnyDatabase]
		db.URL = strings.Replace(db.URL, "?", "/postgres?", 1)
		c.Databases["app"] = db // whose server can be reached
	})
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/": 200, "/nowhere": 404} {
		if status, body := r.get(t, path); status != want {
			t.Errorf("%s: %d, %s", path, status, body)
		}
	}
	lost := startProxy(t, measured, func(c *proxy.Config) {
		db := c.Databases[proxy.AnyDatabase]
		db.URL = "postgres://u:geheim@127.0.0.1:1/d?sslmode=disable"
		c.Databases["app"] = db
	})
	if status, body := lost.get(t, "/readyz"); status != 503 || !strings.Contains(body, `database "app"`) || strings.Contains(body, "geheim") {
		t.Errorf("without a server: %d, %s", status, body)
	}
	if status, _ := lost.get(t, "/healthz"); status != 200 {
		t.Errorf("the process is well: %d", status)
	}
}
