// Package protocol is PostgreSQL's wire protocol 3 as lockproxy needs it: frames read in place, startup packets,
// the messages that we write ourselves, and the SQLSTATEs that we say.
//
// Source for all of it: the PostgreSQL manual, "Frontend/Backend Protocol", sections "Message Flow" and
// "Message Formats".
package protocol

// Kinds of messages that a client sends, after login.
const (
	Query        byte = 'Q'
	Parse        byte = 'P'
	Bind         byte = 'B'
	Describe     byte = 'D'
	Execute      byte = 'E'
	Close        byte = 'C'
	Sync         byte = 'S'
	Flush        byte = 'H'
	FunctionCall byte = 'F'
	Terminate    byte = 'X'
	Password     byte = 'p' // also SASLInitialResponse and SASLResponse
)

// Kinds that both sides send.
const (
	CopyData byte = 'd'
	CopyDone byte = 'c'
	CopyFail byte = 'f' // the client alone
)

// Kinds of messages that a server sends.
const (
	Authentication           byte = 'R'
	BackendKeyData           byte = 'K'
	ParameterStatus          byte = 'S'
	NegotiateProtocolVersion byte = 'v'
	ReadyForQuery            byte = 'Z'
	RowDescription           byte = 'T'
	DataRow                  byte = 'D'
	CommandComplete          byte = 'C'
	EmptyQueryResponse       byte = 'I'
	PortalSuspended          byte = 's'
	ParseComplete            byte = '1'
	BindComplete             byte = '2'
	CloseComplete            byte = '3'
	NoData                   byte = 'n'
	ParameterDescription     byte = 't'
	ErrorResponse            byte = 'E'
	NoticeResponse           byte = 'N'
	Notification             byte = 'A'
	CopyInResponse           byte = 'G'
	CopyOutResponse          byte = 'H'
	CopyBothResponse         byte = 'W'
	FunctionCallResponse     byte = 'V'
)

// HeadSize is the size in bytes of a frame's head: its kind and its length.
const HeadSize = 5

// Head reads the head of the frame that p starts with: its kind and its whole size in bytes, head included, which
// is at least HeadSize and may be beyond the end of p. It needs HeadSize bytes; a length that no frame can have
// (below 4, which counts itself) gives a size of 0.
func Head(p []byte) (kind byte, size int) {
	_ = p[HeadSize-1]
	length := uint32(p[1])<<24 | uint32(p[2])<<16 | uint32(p[3])<<8 | uint32(p[4])
	if length < 4 || length > 1<<31-1 {
		return p[0], 0
	}
	return p[0], int(length) + 1
}
