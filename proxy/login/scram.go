package login

import (
	"encoding/binary"
	"strings"

	"github.com/jackc/pgproto3/v2"
	"github.com/xdg-go/scram"

	"github.com/lockproxy/lockproxy/protocol"
)

// mechanism is the one that we offer; SCRAM-SHA-256-PLUS needs TLS.
const mechanism = "SCRAM-SHA-256"

// doubt is a refusal with a reason that the client is not told.
type doubt struct {
	said *protocol.Error
	why  string
}

func (d *doubt) Error() string { return d.said.Error() }
func (d *doubt) Unwrap() error { return d.said }

// scram runs the exchange of RFC 5802 as the manual's "SASL Authentication" frames it. It returns the last message, not
// yet written. A user that is unknown, or has no verifier, goes through the same steps at the same cost to the same end
// as one with a wrong password.
func (v *visit) scram(secret Secret, known bool) ([]byte, error) {
	mock := mockVerifier(v.startup.User)
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
	conversation, err := newConversation(verifier)
	if err != nil {
		return nil, protocol.Fatal(protocol.InternalError, "could not start SCRAM authentication")
	}
	if err := v.saslFirst(conversation); err != nil {
		return nil, err
	}
	final, err := v.saslFinal(conversation)
	if err != nil {
		return nil, err
	}
	if !real || !conversation.Valid() {
		return nil, v.failed(SCRAM, why)
	}
	return (&pgproto3.AuthenticationSASLFinal{Data: []byte(final)}).Encode(nil)
}

// newConversation makes the server's side. The name in the client's first message counts for nothing, as in PostgreSQL:
// the startup packet has said who it is.
func newConversation(verifier *scram.StoredCredentials) (*scram.ServerConversation, error) {
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return *verifier, nil })
	if err != nil {
		return nil, err
	}
	return server.NewConversation(), nil
}

// saslFirst offers the mechanism, reads the client's first message and answers with salt and nonce.
func (v *visit) saslFirst(conversation *scram.ServerConversation) error {
	offer, err := (&pgproto3.AuthenticationSASL{AuthMechanisms: []string{mechanism}}).Encode(nil)
	if err != nil {
		return err
	}
	if err := v.write(offer); err != nil {
		return err
	}
	body, err := v.readAnswer("SASL")
	if err != nil {
		return err
	}
	first, there, err := readInitialResponse(body)
	if err != nil {
		return err
	}
	if !there {
		// RFC 4422: who sent no initial response is asked for it by an empty challenge.
		if first, err = v.challenge(""); err != nil {
			return err
		}
	}
	answer, err := conversation.Step(first)
	if err != nil {
		return malformed()
	}
	if conversation.AuthzID() != "" {
		return protocol.Fatal(protocol.FeatureNotSupported, "client uses authorization identity, but it is not supported")
	}
	return v.writeChallenge(answer)
}

// saslFinal reads the client's proof. A proof that does not hold is no error here: the caller tells.
func (v *visit) saslFinal(conversation *scram.ServerConversation) (string, error) {
	last, err := v.readResponse()
	if err != nil {
		return "", err
	}
	answer, err := conversation.Step(last)
	if err != nil && answer != scram.ErrInvalidProof {
		return "", malformed()
	}
	return answer, nil
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
	body, err := v.readAnswer("SASL")
	if err == nil && !isPlain(body) {
		err = malformed()
	}
	return string(body), err
}

// readInitialResponse reads the body of a SASLInitialResponse: mechanism, length, data. there is false where the length
// is -1, which means that there are no data.
func readInitialResponse(body []byte) (data string, there bool, err error) {
	name, rest, ok := protocol.CString(body)
	if !ok {
		return "", false, malformed()
	}
	if string(name) != mechanism {
		return "", false, protocol.Fatal(protocol.ProtocolViolation, "client selected an invalid SASL authentication mechanism")
	}
	if len(rest) < 4 {
		return "", false, malformed()
	}
	length, rest := int32(binary.BigEndian.Uint32(rest)), rest[4:]
	if length == -1 && len(rest) == 0 {
		return "", false, nil
	}
	if length < 0 || int(length) != len(rest) || !isPlain(rest) {
		return "", false, malformed()
	}
	return string(rest), true, nil
}

// isPlain tells whether a message of SCRAM holds no zero byte, which would end it early in a C program.
func isPlain(data []byte) bool { return !strings.Contains(string(data), "\x00") }

func malformed() error { return protocol.Fatal(protocol.ProtocolViolation, "malformed SCRAM message") }
