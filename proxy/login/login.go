// Package login takes a client from accept to a session: the packets before login, and authentication. Its buffers are
// small, since its peers are strangers.
package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/lockproxy/lockproxy/protocol"
)

// Door is what login needs to know of the configuration. It does not change; any number of goroutines may use it.
type Door struct {
	// Rules say by which method who proves who it is.
	Rules Rules
	// Maps are whom the rules believe to be which user, for certificates and for users of the operating system.
	Maps Maps
	// Secret is what a user proves itself with, for the database that it names. Where it is false the user is unknown,
	// which the client cannot tell from a wrong password. It is called from many goroutines.
	Secret func(user, database string) (Secret, bool)
	// Salts are those of users without a stored one.
	Salts *Salts
	// Ask finds the secret of a user whom Secret does not know; nil: there is nobody to ask. It may take its time, until ctx
	// ends. An error refuses the user, who is not told why.
	Ask func(ctx context.Context, user, database string) (Secret, bool, error)
	// Doubt is told of a user who has failed by what Ask gave: that may be out of date. Nil: nobody wants to know.
	Doubt func(user, database string)
	// Looks are how the users are asked that are known, for those who are not. Those who are found by Ask are added. Nil: as
	// PostgreSQL asks for a password.
	Looks *Looks
	// Failures counts those who fail to prove who they are; nil: nobody does.
	Failures *Failures
	// Identity is what we show of ourselves to those who ask for TLS; nil: they are told that there is none. It is
	// called from many goroutines.
	Identity func() *Identity
	// Proxies are whose connections begin with a header of the PROXY protocol, which says whom they speak for.
	Proxies []netip.Prefix
	// Demand is what is asked of connections that come by TCP.
	Demand Demand
}

// Peer is who knocks: what is known of a connection beside what it sends.
type Peer struct {
	Address netip.Addr // the zero one for a unix socket
	Port    uint16
	// Account gives the user of the operating system at the other end of a unix socket; nil: nobody can tell.
	Account func() (string, error)
	// Admits is asked before anything is to be proved, once it is known what the peer wants and what its address really is;
	// an error ends the login, and a *protocol.Error is told. It is not asked about cancel requests. Nil admits everybody.
	Admits func(from netip.Addr, database string) error
}

// Client is who has logged in. The strings are copies.
type Client struct {
	User       string               // at most 63 bytes, as PostgreSQL cuts names
	Database   string               // the user's name where the client gave none
	Parameters []protocol.Parameter // the settings of the startup packet, its options' first; the last of two counts
	Minor      int                  // the minor version of the protocol that is spoken
	Secret     Secret               // what the configuration has of the user

	Encryption *Encryption // the TLS that it speaks; nil: none

	Replication string // "true" or "database" where it asks for a replication connection of that kind, else empty
}

// Cancel is what a CancelRequest carries. It came from anybody: the key is still to be compared, in constant time.
type Cancel struct {
	Pid uint32
	Key []byte
}

// ErrLeft is an error of Result's about a client that went away, or was silent to the deadline, in the middle of its
// login: nothing to worry about. psql does so when it is asked for a password, and so do probes of ports.
var ErrLeft = errors.New("the client left before it had logged in")

// ErrShuttingDown is what PostgreSQL says to those who come while it ends.
var ErrShuttingDown = protocol.Fatal(protocol.CannotConnectNow, "the database system is shutting down")

// visit is one login under way.
type visit struct {
	door       *Door
	who        Peer
	post       *post
	peer       io.ReadWriter // post, or TLS over it
	heard      bool          // the peer has sent something, so that it may be told something
	encryption *Encryption   // nil: there is none
	startup    protocol.Startup
	named      bool // the peer has said who it is
	asked      bool // the secret is one that Ask gave
	dismissed  bool // it is to be told that nobody is let in any more, once it has
}

// admit is the login, step by step: manual, "Message Flow", "Start-up".
func (v *visit) admit() (*Client, *Cancel, error) {
	if err := v.introduce(); err != nil {
		return nil, nil, err
	}
	if err := v.readStartup(); err != nil {
		return nil, nil, err
	}
	s := &v.startup
	if s.Kind == protocol.CancelRequest {
		return nil, &Cancel{Pid: s.Pid, Key: s.Key}, nil
	}
	if v.named = true; v.dismissed {
		return nil, nil, ErrShuttingDown
	}
	if v.who.Admits != nil {
		if err := v.who.Admits(v.who.Address, s.Database); err != nil {
			return nil, nil, err
		}
	}
	if err := v.meetDemand(); err != nil {
		return nil, nil, err
	}
	secret, err := v.authenticate(s.Replication)
	if err != nil {
		return nil, nil, err
	}
	if s.Unusable != nil {
		return nil, nil, s.Unusable
	}
	return &Client{
		User: s.User, Database: s.Database, Parameters: s.Parameters, Minor: s.Speaks(), Secret: secret,
		Encryption: v.encryption, Replication: s.Replication,
	}, nil, nil
}

// readStartup answers requests for encryption, each at most once, and reads the packet that follows them.
func (v *visit) readStartup() error {
	if err := v.encryptAtOnce(); err != nil {
		return err
	}
	var asked [protocol.CancelRequest + 1]bool
	for {
		packet, err := v.readStartupPacket()
		if err != nil {
			return err
		}
		v.startup, err = protocol.ReadStartup(packet)
		kind := v.startup.Kind
		if err == nil && (kind == protocol.SSLRequest || kind == protocol.GSSENCRequest) {
			if asked[kind] {
				return protocol.Fatal(protocol.ProtocolViolation, "encryption was requested twice")
			}
			asked[kind] = true
			if err := v.answerEncryption(kind); err != nil {
				return err
			}
			continue
		}
		// PostgreSQL negotiates before it looks at the names; once, whatever the packet holds (B master #1460).
		if v.startup.Negotiable() {
			if err := v.write(protocol.AppendNegotiate(nil, v.startup.Speaks(), v.startup.Extensions)); err != nil {
				return err
			}
		}
		return err
	}
}

// Refusal is a login that failed and whose client was told so.
type Refusal struct {
	Said           *protocol.Error // what the client was told
	User, Database string          // empty where the login did not get so far
	Why            string          // more, for the log alone: it may tell which users there are
}

// Error tells everything, on one line, without any secret.
func (r *Refusal) Error() string {
	text := r.Said.Error()
	if r.Why != "" {
		text += "; " + r.Why
	}
	if r.User != "" {
		text += fmt.Sprintf(" (user %q, database %q)", r.User, r.Database)
	}
	return text
}

// Unwrap gives what the client was told.
func (r *Refusal) Unwrap() error { return r.Said }

// refusal is what the client is to be told about why it does not get in, unless it has gone or never said anything.
func (v *visit) refusal(err error) error {
	r := &Refusal{User: v.startup.User, Database: v.startup.Database}
	var network net.Error
	switch {
	case errors.As(err, &r.Said):
	case errors.As(err, new(*unspoken)):
		return err
	case errors.As(err, &network) && network.Timeout() && v.heard:
		r.Said = protocol.Fatal(protocol.QueryCanceled, "canceling authentication due to timeout")
	default:
		return left(err)
	}
	var doubt *doubt
	if errors.As(err, &doubt) {
		r.Why = doubt.why
	}
	return r
}

// unspoken is an error of which the peer is told nothing: it does not speak PostgreSQL's protocol yet.
type unspoken struct {
	speaks string // what it speaks, or should
	err    error
}

func (e *unspoken) Error() string { return e.speaks + ": " + e.err.Error() }
func (e *unspoken) Unwrap() error { return e.err }

func left(err error) error { return fmt.Errorf("%w: %w", ErrLeft, err) }
