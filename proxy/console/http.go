package console

import (
	"context"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Health says what is wrong; nil: nothing.
type Health struct {
	Hangs   func(context.Context) error // what stands still for as long as the context lasts
	Unready func() error                // why no client is to be sent here
}

// hangsFor is what /healthz gives the event loops to go round, which takes them some milliseconds under any load. It is less than
// those wait who ask (deploy/kubernetes).
const hangsFor = 3 * time.Second

// Handler serves /metrics, /healthz, /readyz and a page that shows what there is.
func Handler(server Server, pgbouncer bool, health Health) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&collector{server, pgbouncer})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), hangsFor)
		defer cancel()
		say(w, health.Hangs(ctx))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { say(w, health.Unready()) })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = page.Execute(w, overview(server.Snapshot())) // who asked may have left
	})
	return mux
}

// say tells a probe how it is.
func say(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// sight is what the page shows of a pool.
type sight struct {
	Database, User, Pool       string
	Max, Active, Idle, Waiting int
	Wait                       time.Duration
}

type sights struct {
	Version string
	Up      time.Duration
	Clients int
	Pools   []sight
}

func overview(s *Snapshot) sights {
	all := sights{Version: s.Version, Up: s.Now.Sub(s.Begun).Round(time.Second), Clients: len(s.Sessions)}
	for _, p := range s.Pools {
		for k := range Kinds {
			slots := &p.Slots[k]
			one := sight{Database: p.Database, User: p.User, Pool: k.String(), Max: slots.Max, Active: slots.Active, Idle: slots.Idle,
				Waiting: slots.Waiting + slots.Promoting}
			if !slots.WaitingSince.IsZero() {
				one.Wait = s.Now.Sub(slots.WaitingSince).Round(time.Millisecond)
			}
			all.Pools = append(all.Pools, one)
		}
	}
	return all
}

var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>lockproxy</title>
<style>body{font:15px system-ui;margin:2em}td,th{padding:.2em 1em;text-align:right}td:nth-child(-n+3),th:nth-child(-n+3){text-align:left}</style>
<h1>lockproxy {{.Version}}</h1>
<p>Up {{.Up}}, {{.Clients}} clients. <a href="/metrics">metrics</a> <a href="/healthz">healthz</a> <a href="/readyz">readyz</a></p>
<table><tr><th>database<th>user<th>pool<th>max<th>active<th>idle<th>waiting<th>longest wait</tr>
{{range .Pools}}<tr><td>{{.Database}}<td>{{.User}}<td>{{.Pool}}<td>{{.Max}}<td>{{.Active}}<td>{{.Idle}}<td>{{.Waiting}}<td>{{.Wait}}</tr>
{{end}}</table></html>
`))
