package login

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/proxy/link"
)

// Identity is what the server shows of itself in TLS, and how it looks at what clients show. It does not change.
type Identity struct {
	Config      *tls.Config
	Certificate *x509.Certificate // the first of Config's
}

// Demand is what a connection by TCP must have beyond what authentication asks for. Unix sockets are the machine's own
// and never speak TLS, as in PostgreSQL.
type Demand int

const (
	// NoDemand leaves it to the client whether it wants TLS.
	NoDemand Demand = iota
	// DemandTLS is TLS.
	DemandTLS
	// DemandCertificate is also a certificate of the client's, which the handshake has verified.
	DemandCertificate
	// DemandName is also that its common name is the user's.
	DemandName
)

// Encryption is the TLS that a client speaks.
type Encryption struct {
	State  tls.ConnectionState
	Ours   *x509.Certificate // the one that the client was shown
	Theirs *x509.Certificate // the client's, which was verified; nil: it has shown none

	connection *link.TLS
}

// String says what is spoken, as PgBouncer's console does: "TLSv1.3/TLS_AES_128_GCM_SHA256/ECDH=X25519".
func (e *Encryption) String() string { return Spoken(&e.State) }

// Spoken says it of any connection in TLS.
func Spoken(state *tls.ConnectionState) string {
	text := strings.Replace(tls.VersionName(state.Version), "TLS ", "TLSv", 1) + "/" + tls.CipherSuiteName(state.CipherSuite)
	if state.CurveID != 0 {
		text += "/ECDH=" + state.CurveID.String()
	}
	return text
}

// Over has a link go on with what the login began on the one that brought it its bytes: see link.TLS. Rest is the
// visit's.
func (e *Encryption) Over(l link.Link, rest []byte, owner link.Owner) (clearLink link.Link, clear []byte) {
	return e.connection.Over(l, rest, owner)
}

// Protocol is the name of PostgreSQL's protocol in TLS: PG_ALPN_PROTOCOL of src/include/libpq/pqcomm.h.
const Protocol = "postgresql"

// directTLS is the first byte of a TLS handshake. No other packet before login begins with it: none is so long.
const directTLS = 0x16

// encryptAtOnce begins TLS where that is the first thing a client says (sslnegotiation=direct since PostgreSQL 17), by
// the rules of ProcessSSLStartup in src/backend/tcop/backend_startup.c. So that no other protocol's client can be made to
// speak to us, it must name ours.
func (v *visit) encryptAtOnce() error {
	first, err := v.post.peek()
	if err != nil || first != directTLS {
		return err
	}
	v.heard = true
	if !v.offersTLS() {
		return &unspoken{handshake, errors.New("there is none here")}
	}
	if err := v.encrypt(); err != nil {
		return err
	}
	if v.encryption.State.NegotiatedProtocol != Protocol {
		return &unspoken{handshake, errors.New("received direct SSL connection request without ALPN protocol negotiation extension")}
	}
	return nil
}

// answerEncryption answers a request for encryption, and begins it. Whatever has come behind the request came before
// encryption and may be anybody's: it ends the connection (CVE-2021-3935, CVE-2021-23214), as in ProcessStartupPacket.
func (v *visit) answerEncryption(kind protocol.StartupKind) error {
	if len(v.post.in) > 0 && v.encryption == nil {
		name := "SSL request"
		if kind == protocol.GSSENCRequest {
			name = "GSSAPI encryption request"
		}
		e := protocol.Fatal(protocol.ProtocolViolation, "received unencrypted data after "+name)
		e.Detail = "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack."
		return e
	}
	if kind != protocol.SSLRequest || v.encryption != nil || !v.offersTLS() {
		return v.write([]byte{'N'})
	}
	if err := v.write([]byte{'S'}); err != nil {
		return err
	}
	return v.encrypt()
}

// offersTLS tells whether the peer can have TLS.
func (v *visit) offersTLS() bool { return v.door.Identity != nil && v.who.Address.IsValid() }

// encrypt makes the handshake. All that is read and written from then on is encrypted.
func (v *visit) encrypt() error {
	identity := v.door.Identity()
	t := link.NewTLS(v.post, identity.Config)
	v.peer = mute{v.post} // whatever goes wrong, it is not for clear text
	if err := t.Handshake(); err != nil {
		if v.post.end != nil {
			err = left(err)
		}
		return &unspoken{handshake, err}
	}
	v.encryption = &Encryption{State: t.ConnectionState(), Ours: identity.Certificate, connection: t}
	if chains := v.encryption.State.VerifiedChains; len(chains) > 0 {
		v.encryption.Theirs = chains[0][0]
	}
	if strings.Contains(v.commonName(), "\x00") { // CVE-2009-4034: to a C program it is another name. So be_tls_open_server
		return &unspoken{handshake, errors.New("SSL certificate's common name contains embedded null")}
	}
	v.peer = t
	return nil
}

// mute is a peer that hears nothing.
type mute struct{ io.Reader }

func (mute) Write(p []byte) (int, error) { return len(p), nil }

// handshake is what an unspoken error of TLS is called.
const handshake = "TLS"

// hangUp tells a peer that speaks TLS that this was all.
func (v *visit) hangUp() {
	if v.encryption != nil {
		_ = v.encryption.connection.CloseWrite()
	}
}

// meetDemand refuses connections that lack what the configuration demands of all, in the words of PostgreSQL's
// ClientAuthentication (src/backend/libpq/auth.c).
func (v *visit) meetDemand() error {
	if !v.who.Address.IsValid() {
		return nil
	}
	user := v.startup.User
	switch demand := v.door.Demand; {
	case demand >= DemandTLS && v.encryption == nil:
		e := protocol.Fatal(protocol.InvalidAuthorizationSpecification, fmt.Sprintf(
			`no pg_hba.conf entry for host "%s", user "%s", database "%s", no encryption`, v.who.Address, user, v.startup.Database))
		e.Hint = "Here tls.mode demands TLS: connect with sslmode=require or higher."
		return e
	case demand >= DemandCertificate && v.encryption.Theirs == nil:
		return protocol.Fatal(protocol.InvalidAuthorizationSpecification, "connection requires a valid client certificate")
	case demand >= DemandName && v.commonName() != user:
		said := protocol.Fatal(protocol.InvalidAuthorizationSpecification, fmt.Sprintf(
			`certificate authentication failed for user "%s"`, user))
		return &doubt{said, fmt.Sprintf("the certificate's common name is %q", v.commonName())}
	}
	return nil
}
