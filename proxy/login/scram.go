package login

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/jackc/pgproto3/v2"
	"github.com/xdg-go/scram"

	"github.com/lockproxy/lockproxy/protocol"
)

// The mechanisms that we offer. The one that is bound to our certificate needs TLS.
const (
	mechanism      = "SCRAM-SHA-256"
	boundMechanism = "SCRAM-SHA-256-PLUS"
)

// doubt is a refusal with a reason that the client is not told.
type doubt struct {
	said *protocol.Error
	why  string
}

func (d *doubt) Error() string { return d.said.Error() }
func (d *doubt) Unwrap() error { return d.said }

// scram runs the exchange of RFC 5802 as the manual's "SASL Authentication" frames it. It returns the secret with what the
// peer has proved itself by, and the last message, not yet written. A user that is unknown, or has no verifier, goes
// through the same steps at the same cost to the same end as one with a wrong password.
func (v *visit) scram(secret Secret, known bool, seen look) (Secret, []byte, error) {
	mock := v.door.Salts.mock(v.startup.User, seen) // whether it is needed or not: it takes time
	verifier, why := secret.verifier()
	if !known {
		verifier, why = nil, "the user is unknown"
	}
	real := verifier != nil
	if real {
		why = "the password does not match"
	} else {
		verifier = mock
	}
	x, err := v.newExchange(verifier)
	if err != nil {
		return Secret{}, nil, protocol.Fatal(protocol.InternalError, "could not start SCRAM authentication")
	}
	if err := v.saslFirst(x); err != nil {
		return Secret{}, nil, err
	}
	final, err := v.saslFinal(x)
	if err != nil {
		return Secret{}, nil, err
	}
	if !real || !x.conversation.Valid() {
		return Secret{}, nil, v.failed(SCRAM, why)
	}
	message, err := (&pgproto3.AuthenticationSASLFinal{Data: []byte(final)}).Encode(nil)
	return secret.provedBy(x.clientKey(verifier.StoredKey)), message, err
}

// exchange is one conversation with the messages that were proved by it.
type exchange struct {
	conversation        *scram.ServerConversation
	binding             scram.ChannelBinding
	first, answer, last string
}

// newExchange makes the server's side. The name in the client's first message counts for nothing, as in PostgreSQL: the
// startup packet has said who it is. Over TLS it may be bound to our certificate; a client that could bind it and says that
// we do not offer that has been deceived by somebody in between, and is refused (RFC 5802, section 6).
func (v *visit) newExchange(verifier *scram.StoredCredentials) (*exchange, error) {
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return *verifier, nil })
	if err != nil {
		return nil, err
	}
	x := &exchange{}
	if v.encryption != nil && v.encryption.Ours != nil {
		// A certificate with a signature of another kind has no hash to bind to: then nothing of the kind is offered.
		x.binding, _ = scram.NewTLSServerEndpointBinding(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{v.encryption.Ours}})
	}
	x.conversation = server.NewConversationWithChannelBinding(x.binding)
	return x, nil
}

// clientKey takes the client's key out of its proof, which holds: RFC 5802, section 3, read backwards.
func (x *exchange) clientKey(storedKey []byte) []byte {
	bare := strings.SplitN(x.first, ",", 3)[2] // behind the GS2 header
	end := strings.LastIndex(x.last, ",p=")
	proof, err := base64.StdEncoding.DecodeString(x.last[end+len(",p="):])
	if err != nil || len(proof) != sha256.Size {
		return nil // the conversation has read it
	}
	mac := hmac.New(sha256.New, storedKey)
	mac.Write([]byte(bare + "," + x.answer + "," + x.last[:end]))
	subtle.XORBytes(proof, proof, mac.Sum(nil))
	return proof
}

// saslFirst offers the mechanisms, reads the client's first message and answers with salt and nonce.
func (v *visit) saslFirst(x *exchange) (err error) {
	mechanisms := []string{mechanism}
	if x.binding.IsSupported() {
		mechanisms = []string{boundMechanism, mechanism}
	}
	offer, err := (&pgproto3.AuthenticationSASL{AuthMechanisms: mechanisms}).Encode(nil)
	if err != nil {
		return err
	}
	if err := v.write(offer); err != nil {
		return err
	}
	body, err := v.readAnswer("SASL", maxAnswer)
	if err != nil {
		return err
	}
	chosen, first, there, err := readInitialResponse(body)
	if err != nil {
		return err
	}
	if !slices.Contains(mechanisms, chosen) {
		return protocol.Fatal(protocol.ProtocolViolation, "client selected an invalid SASL authentication mechanism")
	}
	if !there {
		// RFC 4422: who sent no initial response is asked for it by an empty challenge.
		if first, err = v.challenge(""); err != nil {
			return err
		}
	}
	if x.binding.IsSupported() && strings.HasPrefix(first, "y") {
		e := protocol.Fatal(protocol.ProtocolViolation, "SCRAM channel binding negotiation error")
		e.Detail = "The client supports SCRAM channel binding but thinks the server does not.  However, this server does support channel binding."
		return e
	}
	if (chosen == boundMechanism) != strings.HasPrefix(first, "p=") {
		return malformed()
	}
	x.first = first
	if x.answer, err = x.conversation.Step(first); err != nil {
		return malformed()
	}
	if x.conversation.AuthzID() != "" {
		return protocol.Fatal(protocol.FeatureNotSupported, "client uses authorization identity, but it is not supported")
	}
	return v.writeChallenge(x.answer)
}

// saslFinal reads the client's proof. A proof that does not hold is no error here: the caller tells.
func (v *visit) saslFinal(x *exchange) (answer string, err error) {
	if x.last, err = v.readResponse(); err != nil {
		return "", err
	}
	answer, err = x.conversation.Step(x.last)
	switch {
	case err == nil || answer == scram.ErrInvalidProof:
		return answer, nil
	case answer == scram.ErrChannelBindingsDontMatch && x.binding.IsSupported():
		return "", protocol.Fatal(protocol.InvalidAuthorizationSpecification, "SCRAM channel binding check failed")
	}
	return "", malformed()
}

func (v *visit) challenge(data string) (string, error) {
	if err := v.writeChallenge(data); err != nil {
		return "", err
	}
	return v.readResponse()
}

func (v *visit) writeChallenge(data string) error {
	p, err := (&pgproto3.AuthenticationSASLContinue{Data: []byte(data)}).Encode(nil)
	if err != nil {
		return err
	}
	return v.write(p)
}

func (v *visit) readResponse() (string, error) {
	body, err := v.readAnswer("SASL", maxAnswer)
	if err == nil && !isPlain(body) {
		err = malformed()
	}
	return string(body), err
}

// readInitialResponse reads the body of a SASLInitialResponse: mechanism, length, data. there is false where the length
// is -1, which means that there are no data.
func readInitialResponse(body []byte) (chosen, data string, there bool, err error) {
	name, rest, ok := protocol.CString(body)
	if !ok || len(rest) < 4 {
		return "", "", false, malformed()
	}
	length, rest := int32(binary.BigEndian.Uint32(rest)), rest[4:]
	if length == -1 && len(rest) == 0 {
		return string(name), "", false, nil
	}
	if length < 0 || int(length) != len(rest) || !isPlain(rest) {
		return "", "", false, malformed()
	}
	return string(name), string(rest), true, nil
}

// isPlain tells whether a message of SCRAM holds no zero byte, which would end it early in a C program.
func isPlain(data []byte) bool { return !strings.Contains(string(data), "\x00") }

func malformed() error { return protocol.Fatal(protocol.ProtocolViolation, "malformed SCRAM message") }
