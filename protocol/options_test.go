package protocol

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// B#908, #1064: all the forms that PostgreSQL takes, and its quoting.
func TestOptionsAreReadAsPostgresReadsThem(t *testing.T) {
	for _, c := range []struct {
		options string
		want    []Parameter
	}{
		{"", nil},
		{" \t\n\v\f\r ", nil},
		{"-c a=b", []Parameter{{"a", "b"}}},
		{"-ca=b", []Parameter{{"a", "b"}}},
		{"--a=b", []Parameter{{"a", "b"}}},
		{"  -c   a=b\t--c=d\n-ce=f ", []Parameter{{"a", "b"}, {"c", "d"}, {"e", "f"}}},
		{"-c a=", []Parameter{{"a", ""}}},
		{"-c a=b=c", []Parameter{{"a", "b=c"}}},
		{`-c search_path=a,\ "b"`, []Parameter{{"search_path", `a, "b"`}}},
		{`-c a=b\\c`, []Parameter{{"a", `b\c`}}},
		{`-c a=\b`, []Parameter{{"a", "b"}}},
		{`-c a=b\`, []Parameter{{"a", "b"}}},
		{`-c\ a=b`, []Parameter{{" a", "b"}}},
		{"--statement-timeout=5s", []Parameter{{"statement_timeout", "5s"}}},
		{"-c statement-timeout=a-b", []Parameter{{"statement_timeout", "a-b"}}},
		{"-c DateStyle=ISO", []Parameter{{"datestyle", "ISO"}}},
		{"-c app.Tenant=7", []Parameter{{"app.tenant", "7"}}},
		{"-c a=1 -c a=2", []Parameter{{"a", "1"}, {"a", "2"}}},
		{"-c --a=b", []Parameter{{"__a", "b"}}},
		{"--", nil},
		{"-S 8192 -esfn -f hash -O", []Parameter{{"work_mem", "8192"}, {"datestyle", "euro"}, {"log_statement_stats", "true"},
			{"enable_nestloop", "false"}, {"enable_hashjoin", "false"}, {"allow_system_table_mods", "true"}}},
		{"-tpa -t pl -te -d3 -d 0", []Parameter{{"log_parser_stats", "true"}, {"log_planner_stats", "true"}, {"log_executor_stats", "true"},
			{"log_min_messages", "debug3"}, {"log_statement", "all"}, {"debug_print_parse", "true"}, {"log_min_messages", "notice"}}},
		{"-T -nj", nil},
	} {
		got, err := ReadOptions(c.options)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: got %q, %v, want %q", c.options, got, err, c.want)
		}
	}
}

func TestOtherOptionsAreRefusedByName(t *testing.T) {
	for _, c := range []struct{ options, message string }{
		{"-c", "invalid command-line argument for server process: -c"},
		{"-- a", "invalid command-line argument for server process: a"},
		{"-", "invalid command-line argument for server process: -"},
		{"-z", "invalid command-line argument for server process: -z"},
		{"-zz", "invalid command-line argument for server process: postgres"},
		{"-e -zz", "invalid command-line argument for server process: -e"},
		{"-ez", "invalid command-line argument for server process: -ez"},
		{"-fx", "invalid command-line argument for server process: -fx"},
		{"-t x", "invalid command-line argument for server process: x"},
		{"-S", "invalid command-line argument for server process: -S"},
		{"-c a=b extra", "invalid command-line argument for server process: extra"},
		{`\`, "invalid command-line argument for server process: "},
		{"-c a", "-c a requires a value"},
		{"-ca", "-c a requires a value"},
		{"--a", "--a requires a value"},
		{"-c =b", `unrecognized configuration parameter ""`},
	} {
		got, err := ReadOptions(c.options)
		var e *Error
		if !errors.As(err, &e) || e.Message != c.message || !e.IsFatal() || got != nil {
			t.Errorf("%q: got %q, %v", c.options, got, err)
		}
	}
}

func FuzzReadOptions(f *testing.F) {
	f.Add(`-c a=b\ c --d=e -cf=g`)
	f.Add(`\`)
	f.Fuzz(func(t *testing.T, options string) {
		settings, err := ReadOptions(options)
		if (err != nil) && settings != nil {
			t.Fatalf("%q: settings beside the error %v", options, err)
		}
		for _, s := range settings {
			if s.Name == "" || s.Name != foldName(s.Name) || strings.ContainsAny(s.Name, "-=") {
				t.Fatalf("%q: name %q", options, s.Name)
			}
		}
	})
}
