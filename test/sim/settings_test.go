package sim

import (
	"strconv"
	"strings"

	"github.com/lockproxy/lockproxy/protocol"
)

// variable is one setting that scripted servers have.
type variable struct {
	name     string
	spelled  string // as ParameterStatus spells it; "": not reported
	standard string // its value where nobody set it
	kind     variableKind
}

type variableKind uint8

const (
	anyText      variableKind = iota
	duration                  // in milliseconds
	memory                    // in kB
	someEncoding              // of a short list
)

const (
	varLockTimeout = iota
	varIdleTimeout
	varApplication
	varEncoding
	varZone
	varPath
	varMemory
	varTenant
	varCount
)

var variables = [varCount]variable{
	varLockTimeout: {"lock_timeout", "", "0", duration},
	varIdleTimeout: {"idle_in_transaction_session_timeout", "", "0", duration},
	varApplication: {"application_name", "application_name", "", anyText},
	varEncoding:    {"client_encoding", "client_encoding", "UTF8", someEncoding},
	varZone:        {"timezone", "TimeZone", "Etc/UTC", anyText},
	varPath:        {"search_path", "", `"$user", public`, anyText},
	varMemory:      {"work_mem", "", "4MB", memory},
	varTenant:      {"app.tenant", "", "nobody", anyText},
}

// value is what a setting is set to.
type value struct {
	text string // in the words of current_setting()
	own  bool   // by SET or set_config: pg_settings has it with the source "session"
}

type values [varCount]value

func standardValues() (v values) {
	for i := range variables {
		v[i].text = variables[i].standard
	}
	return v
}

// variableOf finds a setting by name, or gives -1.
func variableOf(name string) int {
	name = strings.ToLower(name)
	for i := range variables {
		if variables[i].name == name {
			return i
		}
	}
	return -1
}

// canonical gives a value in the words of current_setting(), or an error as PostgreSQL's (guc.c, parse_and_validate_value).
func canonical(id int, value string) (string, *protocol.Error) {
	v := &variables[id]
	bad := &protocol.Error{Severity: "ERROR", Code: protocol.InvalidParameterValue,
		Message: `invalid value for parameter "` + v.name + `": "` + value + `"`}
	switch v.kind {
	case duration:
		n, ok := amount(value, []unit{{"ms", 1}, {"s", 1000}, {"min", 60000}})
		if !ok {
			return "", bad
		}
		return spelled(n, []unit{{"min", 60000}, {"s", 1000}, {"ms", 1}}), nil
	case memory:
		n, ok := amount(value, []unit{{"kB", 1}, {"MB", 1024}})
		if !ok || n < 64 {
			return "", bad
		}
		return spelled(n, []unit{{"MB", 1024}, {"kB", 1}}), nil
	case someEncoding:
		switch strings.ToUpper(value) {
		case "UTF8", "LATIN1", "SQL_ASCII":
			return strings.ToUpper(value), nil
		}
		return "", bad
	}
	return value, nil
}

// custom tells whether a setting is an extension's: those are in no view (guc.c, define_custom_variable).
func custom(id int) bool { return strings.Contains(variables[id].name, ".") }

// inBaseUnit gives a value as pg_settings shows it: a bare number in the setting's unit.
func inBaseUnit(id int, value string) string {
	switch variables[id].kind {
	case duration:
		n, _ := amount(value, []unit{{"ms", 1}, {"s", 1000}, {"min", 60000}})
		return strconv.Itoa(n)
	case memory:
		n, _ := amount(value, []unit{{"kB", 1}, {"MB", 1024}})
		return strconv.Itoa(n)
	}
	return value
}

type unit struct {
	name string
	size int
}

func amount(value string, units []unit) (int, bool) {
	size := 1
	digits := strings.TrimRight(value, "kMBmsin")
	if suffix := value[len(digits):]; suffix != "" {
		size = 0
		for _, u := range units {
			if u.name == suffix {
				size = u.size
			}
		}
	}
	n, err := strconv.Atoi(digits)
	return n * size, err == nil && size > 0 && n >= 0
}

// spelled gives an amount in the largest unit that it is a multiple of, the largest first (guc.c, ShowGUCOption).
func spelled(n int, units []unit) string {
	for _, u := range units {
		if n != 0 && n%u.size == 0 {
			return strconv.Itoa(n/u.size) + u.name
		}
	}
	return "0"
}
