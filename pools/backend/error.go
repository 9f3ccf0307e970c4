package backend

import (
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Error says why there is no connection. Its text never has a password.
type Error struct {
	Server *pgconn.PgError // the server's own FATAL, every field; nil where no server answered with one
	cause  error
}

// newError wraps what pgconn returned.
func newError(err error) *Error {
	e := &Error{cause: err}
	errors.As(err, &e.Server)
	return e
}

// Error tells in one line what the server said or, address by address, what went wrong on the way to it.
func (e *Error) Error() string {
	if e.Server != nil {
		return e.Server.Severity + ": " + e.Server.Message + " (SQLSTATE " + e.Server.Code + ")"
	}
	lines := strings.Split(e.cause.Error(), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	text := strings.Join(slices.Compact(lines), "; ") // an address that fails with TLS and without fails in one way
	return strings.Replace(text, ":; ", ": ", 1)
}

// Unwrap gives the cause, so that errors.Is finds context.Canceled and the like.
func (e *Error) Unwrap() error { return e.cause }

// Permanent tells whether trying again at once is pointless: the server refused who asks or what for, and will until
// somebody changes something. Everything else (no route, too many connections, starting up) may pass.
func (e *Error) Permanent() bool {
	if proof := (*proofError)(nil); errors.As(e.cause, &proof) {
		return true // until somebody logs in who knows more
	}
	if e.Server == nil {
		return false
	}
	switch e.Server.Code {
	case "3D000", // invalid_catalog_name: no such database
		"42501", // insufficient_privilege: no CONNECT on it
		"55000", // object_not_in_prerequisite_state: it does not allow connections
		"42704", // undefined_object: no such role or setting
		"22023": // invalid_parameter_value: of a setting in the URL
		return true
	}
	return strings.HasPrefix(e.Server.Code, "28") // invalid_authorization_specification, invalid_password
}
