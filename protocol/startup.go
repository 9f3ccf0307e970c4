package protocol

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// StartupKind tells the packets apart that may come before login.
type StartupKind byte

// The packets before login. They have a length and no kind byte; what they are is in their version number.
const (
	Login         StartupKind = iota // StartupMessage
	SSLRequest                       // asks for TLS
	GSSENCRequest                    // asks for GSSAPI encryption
	CancelRequest                    // carries what BackendKeyData gave
)

// Startup is one packet before login, read by ReadStartup. It holds copies, no part of the packet.
type Startup struct {
	Kind StartupKind

	// Of a CancelRequest.
	Pid uint32
	Key []byte // 4 to 256 bytes: 4 until protocol 3.2

	// Of a Login.
	Minor       int         // the minor version that the client would like; Speaks says which it gets
	User        string      // never empty; at most 63 bytes
	Database    string      // the user's name where the client gave none; at most 63 bytes
	Parameters  []Parameter // every other setting asked for, in the order in which PostgreSQL applies them
	Unusable    error       // an *Error about "options", for when the client is authenticated; nil: there is none
	Extensions  []string    // names of the protocol options asked for ("_pq_.name")
	Replication string      // "true" or "database" where it asks for a replication connection of that kind, else empty
}

// Parameter is a setting that a client asks for. The name is in lower case, because PostgreSQL's settings ignore case.
type Parameter struct{ Name, Value string }

// StartupHeadSize is the size in bytes of the length that a packet before login starts with.
const StartupHeadSize = 4

// MaxCancelKey is the most bytes of a cancel request's key (manual, "CancelRequest"), since protocol 3.2.
const MaxCancelKey = 256

const (
	// maxStartup is MAX_STARTUP_PACKET_LENGTH of src/include/libpq/pqcomm.h, which leaves out the length itself.
	maxStartup = 10000
	// maxName is the most bytes that a name keeps: NAMEDATALEN without the zero byte.
	maxName = 63

	version3      = 3 << 16
	newestMinor   = 2 // 3.1 was never released; who asks for it gets 3.0's features, as from PostgreSQL 18
	cancelCode    = 1234<<16 | 5678
	sslCode       = 1234<<16 | 5679
	gssCode       = 1234<<16 | 5680
	minCancelKey  = 4
	extensionMark = "_pq_."
)

// StartupSize reads the length of a packet before login from its StartupHeadSize first bytes: its whole size in
// bytes, between 8 and 10004. Any other is an error, so that nobody reserves memory for a length that a stranger named.
func StartupSize(head []byte) (int, error) {
	size := binary.BigEndian.Uint32(head)
	if size < 2*StartupHeadSize || size > maxStartup+StartupHeadSize {
		return 0, Fatal(ProtocolViolation, "invalid length of startup packet")
	}
	return int(size), nil
}

// ReadStartup reads one whole packet before login, its length included, by the rules of ProcessStartupPacket in
// PostgreSQL's src/backend/tcop/backend_startup.c (postmaster.c before version 17). The error is an *Error that the
// client may be told. With an error the Startup may be filled in part: Minor and Extensions hold what the client asked
// for, as PostgreSQL negotiates the protocol before it misses a user name.
func ReadStartup(p []byte) (Startup, error) {
	if len(p) < StartupHeadSize {
		return Startup{}, Fatal(ProtocolViolation, "invalid length of startup packet")
	}
	size, err := StartupSize(p)
	if err != nil {
		return Startup{}, err
	}
	if size != len(p) {
		return Startup{}, Fatal(ProtocolViolation, "invalid length of startup packet")
	}
	code := binary.BigEndian.Uint32(p[4:])
	body := p[8:]
	switch {
	case code == cancelCode:
		return readCancel(body)
	case code == sslCode:
		return readBare(SSLRequest, body)
	case code == gssCode:
		return readBare(GSSENCRequest, body)
	case code>>16 != 3:
		return Startup{}, Fatal(FeatureNotSupported, fmt.Sprintf(
			"unsupported frontend protocol %d.%d: server supports 3.0 to 3.%d", code>>16, code&0xffff, newestMinor))
	}
	s := Startup{Kind: Login, Minor: int(code & 0xffff)}
	err = s.readLogin(body)
	return s, err
}

// Negotiable tells whether the client asked for more than there is: it is then told once, by AppendNegotiate with Speaks
// and Extensions, before its authentication.
func (s *Startup) Negotiable() bool { return s.Minor > newestMinor || len(s.Extensions) > 0 }

// Speaks gives the minor version that is spoken with the client.
func (s *Startup) Speaks() int { return min(s.Minor, newestMinor) }

func readCancel(body []byte) (Startup, error) {
	if len(body) < 4+minCancelKey || len(body) > 4+MaxCancelKey {
		return Startup{}, Fatal(ProtocolViolation, "invalid length of cancel request")
	}
	return Startup{Kind: CancelRequest, Pid: binary.BigEndian.Uint32(body), Key: slices.Clone(body[4:])}, nil
}

func readBare(kind StartupKind, body []byte) (Startup, error) {
	if len(body) != 0 {
		return Startup{}, Fatal(ProtocolViolation, "invalid length of startup packet")
	}
	return Startup{Kind: kind}, nil
}

// readLogin reads pairs of name and value up to an empty name, which must be the packet's last byte.
func (s *Startup) readLogin(body []byte) error {
	var options string
	var settings []Parameter
	for err := error(nil); ; {
		name, rest, ok := CString(body)
		if !ok || len(name) == 0 && len(rest) > 0 {
			return badLayout()
		}
		if len(name) == 0 {
			break
		}
		value, rest, ok := CString(rest)
		if !ok {
			return badLayout()
		}
		body = rest
		switch string(name) {
		case "options":
			options = string(value)
		case "replication":
			s.Replication, err = readReplication(string(value))
		default:
			if !s.take(string(name), string(value)) {
				settings = append(settings, Parameter{foldName(string(name)), string(value)})
			}
		}
		if err != nil {
			return err
		}
	}
	var switches []Parameter
	switches, s.Unusable = ReadOptions(options)
	// process_startup_options in src/backend/utils/init/postinit.c: switches first, so that a parameter of its own
	// overrides them.
	s.Parameters = append(switches, settings...)
	return s.checkNames()
}

// take keeps the parameters that are no settings; their names count letter case, as they do in PostgreSQL. The last
// of two counts.
func (s *Startup) take(name, value string) bool {
	switch {
	case name == "user":
		s.User = value
	case name == "database":
		s.Database = value
	case strings.HasPrefix(name, extensionMark):
		s.Extensions = append(s.Extensions, name)
	default:
		return false
	}
	return true
}

func (s *Startup) checkNames() error {
	if s.User == "" {
		return Fatal(InvalidAuthorizationSpecification, "no PostgreSQL user name specified in startup packet")
	}
	if s.Database == "" {
		s.Database = s.User
	}
	s.User, s.Database = cutName(s.User), cutName(s.Database)
	return nil
}

// cutName shortens a name as PostgreSQL does before login: by bytes, since it does not know the encoding yet.
func cutName(name string) string { return name[:min(len(name), maxName)] }

// foldName folds ASCII alone, as guc_name_compare does; bytes of other encodings stay as they are.
func foldName(name string) string {
	folded := []byte(name)
	for i, c := range folded {
		if 'A' <= c && c <= 'Z' {
			folded[i] = c + 'a' - 'A'
		}
	}
	return string(folded)
}

func badLayout() error {
	return Fatal(ProtocolViolation, "invalid startup packet layout: expected terminator as last byte")
}
