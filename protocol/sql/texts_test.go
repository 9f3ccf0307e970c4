package sql

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// reading of texts that functions run, in a database that has tablefunc and xml2.
func readerOfTexts(t testing.TB) *Reader {
	t.Helper()
	var routines []Routine
	for name := range textsOfExtensions {
		routines = append(routines, Routine{Schema: "public", Name: name, Language: "c", Extension: true})
	}
	r, err := NewReader(nil, study(t, routines...)...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTextsThatFunctionsRunAreRead(t *testing.T) {
	r := readerOfTexts(t)
	const any = TouchDynamic | TouchSettings
	for _, c := range []struct {
		text     string
		touches  Touch
		settings []string
		lock     Effect
	}{
		{"SELECT query_to_xml('select 1', true, false, '')", 0, nil, 0},
		{"SELECT query_to_xml('select set_config(''app.x'', ''a'', false)', true, false, '')", TouchSettings, []string{"app.x"}, 0},
		{"SELECT pg_catalog.query_to_xml($$select set_config('app.x', 'a', true)$$, true, false, '')", TouchLocalSettings, []string{"app.x"}, 0},
		{"SELECT query_to_xmlschema($1, true, false, '')", any, []string{""}, 0},
		{"SELECT query_to_xml_and_xmlschema('select ' || a, true, false, '') FROM b", any, []string{""}, 0},
		{"SELECT query_to_xml(U&'select 1', true, false, '')", any, []string{""}, 0},
		{"SELECT query_to_xml(E'select \\163etseed(1)', true, false, '')", TouchSeed, nil, 0},
		{"SELECT query_to_xml('select 1'::text, true, false, '')", 0, nil, 0},
		{"SELECT query_to_xml('select 1'::text || a, true, false, '')", any, []string{""}, 0},
		{"SELECT query_to_xml(NULL, true, false, '')", 0, nil, 0},
		{"SELECT query_to_xml(query => 'select setseed(1)', nulls => true, tableforest => false, targetns => '')", TouchSeed, nil, 0},
		{"SELECT query_to_xml(nulls := true, tableforest := false, targetns := '', query := a) FROM b", any, []string{""}, 0},
		{"SELECT query_to_xml(nulls => true, query => $1, tableforest => false, targetns => '')", any, []string{""}, 0},
		{"SELECT query_to_xml(format('select count(*) from %I.%I where a = %L', b, (c), lower(d)), true, false, '')", 0, nil, 0},
		{"SELECT query_to_xml(format('select %s from a', b), true, false, '')", any, []string{""}, 0},
		{"SELECT query_to_xml(format('select %I(a)', b), true, false, '')", any, []string{""}, 0},
		{"SELECT query_to_xml(format('select 1') || a, true, false, '')", any, []string{""}, 0},
		{"SELECT query_to_xml(format('select %I', a) || b, true, false, '')", any, []string{""}, 0},
		{"SELECT query_to_xml('select pg_advisory_lock(1)', true, false, '')", 0, nil, SessionAcquire},
		{"SELECT table_to_xml('a', true, false, '')", 0, nil, 0},
		{"SELECT * FROM ts_stat('select a from b')", 0, nil, 0}, {"SELECT * FROM ts_stat($1, 'ab')", any, []string{""}, 0},
		{"SELECT ts_rewrite(to_tsquery($1), 'select a, b from c')", 0, nil, 0}, {"SELECT ts_rewrite(a, b)", any, []string{""}, 0},
		{"SELECT ts_rewrite(a, b, c)", 0, nil, 0}, {"SELECT ts_rewrite($1, $2::tsquery, $3::tsquery)", 0, nil, 0},
		{"SELECT * FROM crosstab('select a, b, c from d', 'select 1') AS e (a int)", 0, nil, 0},
		{"SELECT * FROM crosstab('select a, b, c from d', 2) AS e (a int)", 0, nil, 0},
		{"SELECT * FROM crosstab('select a, b, c from d', $1) AS e (a int)", any, []string{""}, 0},
		{"SELECT * FROM public.crosstab3($1)", any, []string{""}, 0}, {"SELECT * FROM connectby('a', 'b', 'c', '1', 0)", 0, nil, 0},
		{"SELECT * FROM xpath_table('a', 'b', 'c', $1, 'setseed(1) is null')", TouchSeed, nil, 0},
		{"DO $a$ BEGIN PERFORM query_to_xml('select setseed(1)', true, false, ''); END $a$", TouchDynamic | TouchSeed | TouchAdvance, nil, 0},
		{"CREATE VIEW a AS SELECT query_to_xml($1, true, false, '')", TouchDefinition | TouchSchema, nil, 0},
		{"CREATE VIEW a AS SELECT * FROM crosstab('select 1') AS b (c int)", TouchDefinition | TouchSchema, nil, 0},
		{"EXPLAIN SELECT query_to_xml($1, true, false, '')", 0, nil, 0}, {"SELECT 'query_to_xml($1)', query_to_xml", 0, nil, 0},
		{"SELECT query_to_xml(" + strings.Repeat("a,", 20) + "b)", any, []string{""}, 0}, {"SELECT query_to_xml('select 1'", any, []string{""}, 0},
	} {
		u := r.Read([]byte(c.text), Dialect{})
		var settings []string
		for _, one := range u.Settings {
			settings = append(settings, one.Name)
		}
		if u.Touches != c.touches || !slices.Equal(settings, c.settings) || u.Lock != c.lock || u.Simple {
			t.Errorf("%s: touches %b, settings %q, locks %b, simple %t", c.text, u.Touches, settings, u.Lock, u.Simple)
		}
	}
}

// What is in calls in calls is not read again for each of them.
func TestManyCallsInEachOtherAreReadInALittleTime(t *testing.T) {
	for _, part := range []string{"query_to_xml(", "ts_rewrite(a, ", "ts_rewrite('", "query_to_xml($a$", "query_to_xml(format('"} {
		text := []byte("SELECT " + strings.Repeat(part, 1<<20/len(part)))
		began := time.Now()
		readerOfTexts(t).Read(text, Dialect{})
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: %v", part, took)
		}
	}
}
