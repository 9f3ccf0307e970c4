package protocol

import "strings"

// ReadOptions reads the startup parameter "options" (what libpq's PGOPTIONS sends) into settings, in their order:
// "-c name=value", "-cname=value" and "--name=value", separated by white space, with a backslash before a character
// that is meant itself. Every other switch is an *Error, FATAL, that names it. See pg_split_opts in PostgreSQL's
// src/backend/utils/init/postinit.c and process_postgres_switches in src/backend/tcop/postgres.c.
func ReadOptions(options string) ([]Parameter, error) {
	var settings []Parameter
	arguments := splitOptions(options)
	for i := 0; i < len(arguments); i++ {
		flag, setting := "--", arguments[i]
		switch {
		case setting == "-c" && i+1 < len(arguments):
			i++
			flag, setting = "-c ", arguments[i]
		case strings.HasPrefix(setting, "-c") && len(setting) > 2:
			flag, setting = "-c ", setting[2:]
		case strings.HasPrefix(setting, "--") && len(setting) > 2:
			setting = setting[2:]
		default:
			e := Fatal(SyntaxError, "invalid command-line argument for server process: "+setting)
			e.Hint = `Try "postgres --help" for more information.`
			return nil, e
		}
		name, value, ok := strings.Cut(setting, "=")
		if !ok {
			return nil, Fatal(SyntaxError, flag+name+" requires a value")
		}
		if name == "" {
			return nil, Fatal(UndefinedObject, `unrecognized configuration parameter ""`)
		}
		// ParseLongOption in src/backend/utils/misc/guc.c takes "-" for "_" in a name.
		settings = append(settings, Parameter{foldName(strings.ReplaceAll(name, "-", "_")), value})
	}
	return settings, nil
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
