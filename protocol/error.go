package protocol

import "strconv"

// Error is what an ErrorResponse or NoticeResponse says: the fields that lockproxy itself sends or looks at. It
// holds copies, no buffer of a connection. See the manual, "Error and Notice Message Fields".
type Error struct {
	Severity string // ERROR, FATAL, PANIC, or a notice's: WARNING, NOTICE, DEBUG, INFO, LOG; never localized
	Code     string // SQLSTATE, five characters
	Message  string
	Detail   string
	Hint     string
	Where    string // the call stack, for PL functions
	Position int32  // characters, from 1, into the query string; 0 where there is none

	// Where in PostgreSQL's source an error arises that we say in its place: drivers look at the routine. Not read.
	File, Routine string
	Line          int32
}

// Fatal returns a FATAL error: the client is told, then its connection ends.
func Fatal(code, message string) *Error {
	return &Error{Severity: "FATAL", Code: code, Message: message}
}

// Error gives the error in one line, as psql writes it.
func (e *Error) Error() string {
	return e.Severity + ": " + e.Message + " (SQLSTATE " + e.Code + ")"
}

// IsFatal tells whether the sender of e closes the connection after it.
func (e *Error) IsFatal() bool { return e.Severity == "FATAL" || e.Severity == "PANIC" }

// IsNotice tells whether e travels as NoticeResponse, which ends nothing.
func (e *Error) IsNotice() bool {
	switch e.Severity {
	case "WARNING", "NOTICE", "DEBUG", "INFO", "LOG":
		return true
	}
	return false
}

// ReadError reads the body of an ErrorResponse or NoticeResponse. It takes any bytes: a damaged field ends the
// reading, an unknown one is passed over, a missing severity gives ERROR and a missing or misshapen SQLSTATE
// XX000 (CVE-2026-6666: a pooler relied on there being one). The body may be reused afterwards.
func ReadError(body []byte) Error {
	var e Error
	localized := ""
	for len(body) > 0 && body[0] != 0 {
		kind := body[0]
		value, rest, ok := CString(body[1:])
		if !ok {
			break
		}
		if kind == 'S' {
			localized = string(value)
		} else {
			e.set(kind, value)
		}
		body = rest
	}
	e.complete(localized)
	return e
}

func (e *Error) set(kind byte, value []byte) {
	switch kind {
	case 'V':
		e.Severity = string(value)
	case 'C':
		e.Code = string(value)
	case 'M':
		e.Message = string(value)
	case 'D':
		e.Detail = string(value)
	case 'H':
		e.Hint = string(value)
	case 'W':
		e.Where = string(value)
	case 'P':
		if n, err := strconv.ParseInt(string(value), 10, 32); err == nil && n > 0 {
			e.Position = int32(n)
		}
	}
}

// complete fills in what a server before 9.6 (no field V) or a damaged message left out.
func (e *Error) complete(localized string) {
	if e.Severity == "" {
		e.Severity = localized
	}
	if e.Severity == "" {
		e.Severity = "ERROR"
	}
	if len(e.Code) != 5 {
		e.Code = InternalError
	}
}
