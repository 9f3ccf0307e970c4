package test

import (
	"testing"
)

func TestDriversOfBothKindsTalkThroughTheProxy(t *testing.T) {
	run(t, func(t *testing.T, start starter) {
		r := startProxy(t)
		noise(t, r.url, 3)
		a := start(t)
		s := a.connect(t, withParameter(t, r.url, "application_name", "self"))
		for _, c := range []struct {
			want, sql string
			args      []string
		}{
			{"7", "SELECT 3 + 4", nil},
			{"7", "SELECT $1::int + 4", []string{"3"}},
			{"true", "SELECT 1 = 1", nil},
			{"true", "SELECT $1::int = 1", []string{"1"}},
			{"2", "SELECT 1; SELECT 2", nil},
			{"self", "SELECT current_setting('application_name')", nil},
			{"", "SELECT pg_advisory_xact_lock($1)", []string{"1"}},
		} {
			if got := s.value(t, c.sql, c.args...); got != c.want {
				t.Errorf("%s gives %q, not %q", c.sql, got, c.want)
			}
		}
		s.refused(t, "22012", "SELECT 1/0")
		s.refused(t, "22012", "SELECT 1/$1::int", "0")
		p := a.newPool(t, r.url, 1)
		one, err := p.acquire()
		if err != nil {
			t.Fatal(err)
		}
		one.exec(t, "SELECT 1")
		if err := one.end(); err != nil {
			t.Error(err)
		}
		if err := s.end(); err != nil {
			t.Error(err)
		}
	})
}
