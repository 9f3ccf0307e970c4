package deploy

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// The rules are as Prometheus reads them: expressions, labels and templates. That their metrics exist is a test of /metrics.
func TestAlertRules(t *testing.T) {
	rules, errs := rulefmt.Parse(read(t, "alerts.yaml"), false, model.LegacyValidation, parser.NewParser(parser.Options{}), slog.Default())
	for _, err := range errs {
		t.Error(err)
	}
	if len(errs) > 0 {
		return
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || r.For == 0 || r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
				t.Errorf("%s: not an alert that says how severe it is, and what: %+v", g.Name, r)
			}
		}
	}
}

// What the dashboard asks Prometheus for can be parsed, once Grafana has put in its own variable.
func TestDashboardExpressions(t *testing.T) {
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(read(t, "grafana.json"), &board); err != nil {
		t.Fatal(err)
	}
	p, asked := parser.NewParser(parser.Options{}), 0
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			asked++
			if _, err := p.ParseExpr(strings.ReplaceAll(target.Expr, "$__rate_interval", "5m")); err != nil {
				t.Errorf("%s: %s: %v", panel.Title, target.Expr, err)
			}
		}
	}
	if asked == 0 {
		t.Error("the dashboard asks for nothing")
	}
}
