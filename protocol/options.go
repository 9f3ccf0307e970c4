package protocol

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// ReadOptions reads the startup parameter "options" (what libpq's PGOPTIONS sends) into settings, in their order: the switches
// of a server process, separated by white space, with a backslash before a character that is meant itself. An *Error, FATAL, names what is
// none. See pg_split_opts in PostgreSQL's src/backend/utils/init/postinit.c and process_postgres_switches in
// src/backend/tcop/postgres.c.
func ReadOptions(options string) ([]Parameter, error) {
	arguments := append([]string{"postgres"}, splitOptions(options)...)
	var settings []Parameter
	var others []string
	for at := 1; at < len(arguments); at++ {
		group := arguments[at]
		if group == "--" {
			others = append(others, arguments[at+1:]...)
			break
		}
		if len(group) < 2 || group[0] != '-' {
			others = append(others, group)
			continue
		}
		for i := 1; i < len(group); i++ {
			flag, value, ends := group[i], "", i+1 == len(group)
			if strings.IndexByte(withValue, flag) >= 0 {
				switch {
				case !ends:
					value, i, ends = group[i+1:], len(group), true
				case at+1 < len(arguments):
					at++
					value = arguments[at]
				default:
					return nil, noSwitch(group)
				}
			}
			its, ok, err := switched(flag, value)
			switch {
			case err != nil:
				return nil, err
			case !ok && ends:
				return nil, noSwitch(arguments[at])
			case !ok:
				return nil, noSwitch(arguments[at-1]) // getopt has not gone on to the next yet, and PostgreSQL goes one back
			}
			settings = append(settings, its...)
		}
	}
	if len(others) > 0 {
		return nil, noSwitch(others[0])
	}
	return settings, nil
}

func noSwitch(argument string) error {
	e := Fatal(SyntaxError, "invalid command-line argument for server process: "+argument)
	e.Hint = `Try "postgres --help" for more information.`
	return e
}

// withValue are the switches that a value follows.
const withValue = "BcCDdfhkNprStvW-"

// switched gives the settings that a switch stands for; ok is false for one that there is not, or not with that value.
func switched(flag byte, value string) (settings []Parameter, ok bool, err error) {
	one := func(name, value string) ([]Parameter, bool, error) {
		return []Parameter{{name, value}}, name != "", nil
	}
	switch flag {
	case 'c', '-':
		return longSwitch(flag, value)
	case 'B':
		return one("shared_buffers", value)
	case 'd':
		return debugSettings(value), true, nil
	case 'e':
		return one("datestyle", "euro")
	case 'F':
		return one("fsync", "false")
	case 'f':
		return one(byFirst(planners, value), "false")
	case 'h':
		return one("listen_addresses", value)
	case 'i':
		return one("listen_addresses", "*")
	case 'k':
		return one("unix_socket_directories", value)
	case 'l':
		return one("ssl", "true")
	case 'N':
		return one("max_connections", value)
	case 'O':
		return one("allow_system_table_mods", "true")
	case 'P':
		return one("ignore_system_indexes", "true")
	case 'p':
		return one("port", value)
	case 'S':
		return one("work_mem", value)
	case 's':
		return one("log_statement_stats", "true")
	case 't':
		return one(statistics(value), "true")
	case 'W':
		return one("post_auth_delay", value)
	case 'b', 'C', 'D', 'E', 'j', 'n', 'r', 'T', 'v':
		return nil, true, nil // of no effect, or not where a client says so
	}
	return nil, false, nil
}

// longSwitch reads what follows -c or --: ParseLongOption in src/backend/utils/misc/guc.c, which takes "-" for "_" in a name.
func longSwitch(flag byte, setting string) ([]Parameter, bool, error) {
	name, value, ok := strings.Cut(setting, "=")
	if !ok {
		said := "--"
		if flag == 'c' {
			said = "-c "
		}
		return nil, false, Fatal(SyntaxError, said+name+" requires a value")
	}
	if name == "" {
		return nil, false, Fatal(UndefinedObject, `unrecognized configuration parameter ""`)
	}
	return []Parameter{{foldName(strings.ReplaceAll(name, "-", "_")), value}}, true, nil
}

// planners are the kinds of plans that -f forbids (set_plan_disabling_options).
var planners = map[byte]string{
	's': "enable_seqscan", 'i': "enable_indexscan", 'o': "enable_indexonlyscan", 'b': "enable_bitmapscan", 't': "enable_tidscan",
	'n': "enable_nestloop", 'm': "enable_mergejoin", 'h': "enable_hashjoin",
}

func byFirst(names map[byte]string, value string) string {
	if value == "" {
		return ""
	}
	return names[value[0]]
}

// statistics names what -t logs (get_stats_option_name).
func statistics(value string) string {
	switch {
	case strings.HasPrefix(value, "pa"):
		return "log_parser_stats"
	case strings.HasPrefix(value, "pl"):
		return "log_planner_stats"
	case strings.HasPrefix(value, "e"):
		return "log_executor_stats"
	}
	return ""
}

// debugSettings are what -d stands for (set_debug_options). The level is read as C's atoi does.
func debugSettings(value string) []Parameter {
	value = strings.TrimLeftFunc(value, func(c rune) bool { return c < utf8.RuneSelf && isSpace(byte(c)) })
	digits := len(value) - len(strings.TrimLeft(value, "0123456789"))
	level, _ := strconv.Atoi(value[:digits])
	if level <= 0 {
		return []Parameter{{"log_min_messages", "notice"}}
	}
	settings := []Parameter{{"log_min_messages", "debug" + strconv.Itoa(level)}}
	for least, one := range []Parameter{2: {"log_statement", "all"}, 3: {"debug_print_parse", "true"}, 4: {"debug_print_plan", "true"}, 5: {"debug_print_rewritten", "true"}} {
		if one.Name != "" && level >= least {
			settings = append(settings, one)
		}
	}
	return settings
}

// splitOptions is pg_split_opts.
func splitOptions(options string) []string {
	var arguments []string
	var word strings.Builder
	within, escaped := false, false
	for i := 0; i < len(options); i++ {
		c := options[i]
		if isSpace(c) && !escaped {
			if within {
				arguments = append(arguments, word.String())
				word.Reset()
			}
			within = false
			continue
		}
		within = true
		escaped = c == '\\' && !escaped
		if !escaped {
			word.WriteByte(c)
		}
	}
	if within {
		arguments = append(arguments, word.String())
	}
	return arguments
}

// isSpace is isspace of the C locale.
func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }
