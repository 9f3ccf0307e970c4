package login

import (
	"fmt"
	"strings"

	"github.com/lockproxy/lockproxy/protocol"
)

// refuseReplication refuses a connection whose parameter "replication" has a value that is not false.
func refuseReplication(value string) error {
	if value == "" {
		return nil
	}
	wanted, ok := value == "database", true
	if !wanted {
		wanted, ok = parseBool(value)
	}
	switch {
	case !ok:
		e := protocol.Fatal(protocol.InvalidParameterValue, fmt.Sprintf(`invalid value for parameter "replication": "%s"`, value))
		e.Hint = `Valid values are: "false", 0, "true", 1, "database".`
		return e
	case wanted:
		e := protocol.Fatal(protocol.FeatureNotSupported, "lockproxy does not support replication connections")
		e.Hint = "Connect to the PostgreSQL server directly."
		return e
	}
	return nil
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
