package protocol

import (
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgproto3/v2"
)

// maxField bounds a field of an error, in bytes. Errors quote what clients sent, such as a statement's name.
const maxField = 16 << 10

// Messages without a variable part, as the manual's "Message Formats" writes them.
const (
	parseComplete    = "1\x00\x00\x00\x04"
	bindComplete     = "2\x00\x00\x00\x04"
	closeComplete    = "3\x00\x00\x00\x04"
	noData           = "n\x00\x00\x00\x04"
	authenticationOK = "R\x00\x00\x00\x08\x00\x00\x00\x00"
	terminate        = "X\x00\x00\x00\x04"
)

// AppendReady appends ReadyForQuery with the given transaction status: 'I' idle, 'T' in a transaction, 'E' in a failed one.
func AppendReady(dst []byte, status byte) []byte {
	return encoded((&pgproto3.ReadyForQuery{TxStatus: status}).Encode(dst))
}

// AppendComplete appends CommandComplete with its tag, such as "BEGIN".
func AppendComplete(dst []byte, tag string) []byte {
	dst = append(dst, CommandComplete)
	dst = appendLength(dst, len(tag)+1)
	dst = append(dst, tag...)
	return append(dst, 0)
}

// AppendParseComplete appends ParseComplete.
func AppendParseComplete(dst []byte) []byte { return append(dst, parseComplete...) }

// AppendBindComplete appends BindComplete.
func AppendBindComplete(dst []byte) []byte { return append(dst, bindComplete...) }

// AppendCloseComplete appends CloseComplete.
func AppendCloseComplete(dst []byte) []byte { return append(dst, closeComplete...) }

// AppendNoData appends NoData, the description of a statement without rows.
func AppendNoData(dst []byte) []byte { return append(dst, noData...) }

// AppendParameterStatus appends ParameterStatus. Neither name nor value may contain a zero byte.
func AppendParameterStatus(dst []byte, name, value string) []byte {
	return encoded((&pgproto3.ParameterStatus{Name: name, Value: value}).Encode(dst))
}

// AppendKeyData appends BackendKeyData: what a client must present to cancel. The key has 4 bytes before protocol 3.2, up
// to 256 since.
func AppendKeyData(dst []byte, pid uint32, key []byte) []byte {
	dst = appendLength(append(dst, BackendKeyData), 4+len(key))
	return append(appendUint32(dst, pid), key...)
}

// AppendAuthenticationOK appends AuthenticationOk.
func AppendAuthenticationOK(dst []byte) []byte { return append(dst, authenticationOK...) }

// AppendNegotiate appends NegotiateProtocolVersion: which minor version is spoken, and which options we do not know (we
// know none). The version is sent whole, major number included, as PostgreSQL does (SendNegotiateProtocolVersion in
// src/backend/tcop/backend_startup.c) and libpq expects, though the manual speaks of the minor number alone.
func AppendNegotiate(dst []byte, minor int, options []string) []byte {
	size := 8
	for _, name := range options {
		size += len(name) + 1
	}
	dst = appendLength(append(dst, NegotiateProtocolVersion), size)
	dst = appendUint32(dst, version3|uint32(minor))
	dst = appendUint32(dst, uint32(len(options)))
	for _, name := range options {
		dst = append(append(dst, name...), 0)
	}
	return dst
}

// AppendError appends e as ErrorResponse, or as NoticeResponse when its severity is that of a notice. An empty
// severity is taken for ERROR and an empty code for XX000, because clients rely on both. A field ends at its first
// zero byte, or after maxField bytes.
func AppendError(dst []byte, e *Error) []byte {
	m := pgproto3.ErrorResponse{
		Severity: field(e.Severity),
		Code:     field(e.Code),
		Message:  field(e.Message),
		Detail:   field(e.Detail),
		Hint:     field(e.Hint),
		Position: e.Position,
		Where:    field(e.Where),
		File:     field(e.File),
		Line:     e.Line,
		Routine:  field(e.Routine),
	}
	if m.Severity == "" {
		m.Severity = "ERROR"
	}
	if m.Code == "" {
		m.Code = InternalError
	}
	m.SeverityUnlocalized = m.Severity
	if e.IsNotice() {
		return encoded((*pgproto3.NoticeResponse)(&m).Encode(dst))
	}
	return encoded(m.Encode(dst))
}

// AppendTerminate appends Terminate, the polite end of a connection.
func AppendTerminate(dst []byte) []byte { return append(dst, terminate...) }

// encoded passes on what an Encode gave. Its one error is a body beyond 1 GiB (CVE-2024-27304 was about lengths that
// wrap), and nothing here comes near: fields of errors are cut, parameters are a startup packet's or a server's. To go on
// without the message would shift every later answer.
func encoded(dst []byte, err error) []byte {
	if err != nil {
		panic("protocol: " + err.Error())
	}
	return dst
}

// field cuts s to what a field of an error may hold, not within a character of UTF-8.
func field(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	if len(s) <= maxField {
		return s
	}
	end := maxField
	for end > maxField-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// appendLength appends the length field of a message whose body has size bytes.
func appendLength(dst []byte, size int) []byte { return appendUint32(dst, uint32(size+4)) }

func appendUint32(dst []byte, n uint32) []byte {
	return append(dst, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}
