package protocol

import (
	"fmt"
	"strings"
)

// readReplication gives what kind of replication connection the value of the parameter "replication" asks for: "database",
// "true", or "" for none. Letter case counts in "database" alone.
func readReplication(value string) (string, error) {
	if value == "database" {
		return value, nil
	}
	wanted, ok := parseBool(value)
	if !ok {
		e := Fatal(InvalidParameterValue, fmt.Sprintf(`invalid value for parameter "replication": "%s"`, value))
		e.Hint = `Valid values are: "false", 0, "true", 1, "database".`
		return "", e
	}
	if wanted {
		return "true", nil
	}
	return "", nil
}

// parseBool is parse_bool of src/backend/utils/adt/bool.c: unique prefixes, in any letter case.
func parseBool(value string) (result, ok bool) {
	value = strings.ToLower(value)
	switch {
	case value == "":
		return false, false
	case value == "1", value == "on", strings.HasPrefix("true", value), strings.HasPrefix("yes", value):
		return true, true
	case value == "0", value == "of", value == "off", strings.HasPrefix("false", value), strings.HasPrefix("no", value):
		return false, true
	}
	return false, false
}
