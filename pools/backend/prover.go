package backend

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/xdg-go/scram"
)

// prover is a connection that answers its server's question for a proof itself, since pgconn can only do so with a
// password. All else it hands on. It stands above TLS, so that it can bind SCRAM to that.
type prover struct {
	net.Conn
	user  string
	proof Proof
	binds string // channel_binding of libpq: disable, prefer, require
	ready []byte // what is to be handed on
	over  bool   // the server has been answered, or asks for nothing: all else is handed on as it comes
}

// proving puts a prover between the server and pgconn, where there is something to prove with.
func (t *Target) proving(config *pgconn.Config) {
	if config.Password != "" || !t.proof.answers() {
		return
	}
	binds := config.ChannelBinding
	config.ChannelBinding = "" // pgconn does not see what is bound; the prover does
	config.AfterNetConnect = func(_ context.Context, config *pgconn.Config, conn net.Conn) (net.Conn, error) {
		return &prover{Conn: conn, user: config.User, proof: t.proof, binds: binds}, nil
	}
}

// unwrapped gives the connection below a prover that has done its work.
func unwrapped(conn net.Conn) net.Conn {
	if p, ok := conn.(*prover); ok {
		return p.Conn
	}
	return conn
}

// Read hands on what the server says, whole messages until the proof has been given.
func (p *prover) Read(b []byte) (int, error) {
	for len(p.ready) == 0 {
		if p.over {
			return p.Conn.Read(b)
		}
		if err := p.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, p.ready)
	p.ready = p.ready[n:]
	return n, nil
}

// proofError is a server's question that the proof is no answer to, or a server that does not prove itself.
type proofError struct{ what string }

func (e *proofError) Error() string { return e.what }

func unproved(format string, args ...any) error { return &proofError{fmt.Sprintf(format, args...)} }

// The codes of authentication requests: manual, "Message Formats".
const (
	authOK        = 0
	authCleartext = 3
	authMD5       = 5
	authSASL      = 10
	authContinue  = 11
	authFinal     = 12
)

const headSize = 5

// next reads a message and answers it, or hands it on.
func (p *prover) next() error {
	kind, message, err := p.message()
	if err != nil {
		return err
	}
	if kind != 'R' {
		p.over = kind != 'N' && kind != 'v' // a notice, or NegotiateProtocolVersion
		p.ready = message
		return nil
	}
	code, body := authentication(message)
	switch code {
	case authSASL:
		if p.proof.ClientKey == nil {
			return unproved("the server asks user %q for SCRAM-SHA-256, and only an MD5 secret is known", p.user)
		}
		return p.scram(body)
	case authMD5:
		if p.proof.MD5 == "" {
			return unproved("the server asks user %q for MD5, and only SCRAM-SHA-256 keys are known", p.user)
		}
		return p.md5(body)
	case authCleartext:
		return unproved("the server asks user %q for a password in clear text, and none is known", p.user)
	}
	if code == authOK && p.binds == "require" {
		return unproved("channel binding required but server did not authenticate using channel binding")
	}
	p.over, p.ready = true, message
	return nil
}

// message reads one message, its head included. Nothing behind it is read.
func (p *prover) message() (kind byte, message []byte, err error) {
	var head [headSize]byte
	if _, err := io.ReadFull(p.Conn, head[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size < headSize-1 || size > maxLoginMessage {
		return 0, nil, unproved("the server sent a message with an invalid length")
	}
	message = make([]byte, 1+size)
	copy(message, head[:])
	_, err = io.ReadFull(p.Conn, message[headSize:])
	return head[0], message, err
}

// authentication takes the code of an authentication request off; -1: it has none.
func authentication(message []byte) (code int, body []byte) {
	if len(message) < headSize+4 {
		return -1, nil
	}
	return int(binary.BigEndian.Uint32(message[headSize:])), message[headSize+4:]
}

// md5 answers AuthenticationMD5Password by what the server has stored.
func (p *prover) md5(salt []byte) error {
	if p.binds == "require" {
		return unproved("channel binding required but server did not authenticate using channel binding")
	}
	sum := md5.Sum(slices.Concat([]byte(strings.TrimPrefix(p.proof.MD5, "md5")), salt))
	return p.send(&pgproto3.PasswordMessage{Password: "md5" + hex.EncodeToString(sum[:])})
}

func (p *prover) send(m pgproto3.FrontendMessage) error {
	b, err := m.Encode(nil)
	if err == nil {
		_, err = p.Conn.Write(b)
	}
	return err
}

// The two mechanisms: the second is bound to the server's certificate.
const (
	plainMechanism = "SCRAM-SHA-256"
	boundMechanism = "SCRAM-SHA-256-PLUS"
)

// scram runs the exchange of RFC 5802 with the keys in the place of the password that they come from. AuthenticationOk, or
// the server's error, is what is handed on.
func (p *prover) scram(offer []byte) error {
	mechanism, gs2, binding, err := p.choose(offer)
	if err != nil {
		return err
	}
	nonce := rand.Text()
	bare := "n=,r=" + nonce
	if err := p.send(&pgproto3.SASLInitialResponse{AuthMechanism: mechanism, Data: []byte(gs2 + bare)}); err != nil {
		return err
	}
	first, there, err := p.saslAnswer(authContinue)
	if err != nil || !there {
		return err
	}
	theirs, err := readServerFirst(first, nonce)
	if err != nil {
		return err
	}
	last := "c=" + base64.StdEncoding.EncodeToString(append([]byte(gs2), binding...)) + ",r=" + theirs
	all := []byte(bare + "," + first + "," + last)
	storedKey := sha256.Sum256(p.proof.ClientKey)
	clientProof := make([]byte, sha256.Size)
	subtle.XORBytes(clientProof, p.proof.ClientKey, signature(storedKey[:], all))
	last += ",p=" + base64.StdEncoding.EncodeToString(clientProof)
	if err := p.send(&pgproto3.SASLResponse{Data: []byte(last)}); err != nil {
		return err
	}
	final, there, err := p.saslAnswer(authFinal)
	if err != nil || !there {
		return err
	}
	if !hmac.Equal([]byte(final), []byte("v="+base64.StdEncoding.EncodeToString(signature(p.proof.ServerKey, all)))) {
		return unproved("the server does not prove that it knows user %q", p.user)
	}
	if p.binds == "require" && binding == nil {
		return unproved("channel binding required but server did not authenticate using channel binding")
	}
	kind, message, err := p.message()
	if code, _ := authentication(message); err == nil && kind == 'R' && code != authOK {
		err = unproved("the server asks for more behind SCRAM-SHA-256")
	}
	p.over, p.ready = true, message
	return err
}

func signature(key, text []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(text)
	return mac.Sum(nil)
}

// choose picks the mechanism, and says how it is bound to TLS: RFC 5802, section 6.
func (p *prover) choose(offer []byte) (mechanism, gs2 string, binding []byte, err error) {
	offered := strings.Split(string(offer), "\x00")
	secure, isTLS := p.Conn.(*tls.Conn)
	if isTLS && p.binds != "disable" {
		gs2 = "y,," // it could be bound, but the server offers nothing of the kind
		if slices.Contains(offered, boundMechanism) {
			state := secure.ConnectionState()
			bound, err := scram.NewTLSServerEndpointBinding(&state)
			if err != nil {
				return "", "", nil, err
			}
			return boundMechanism, "p=" + string(bound.Type) + ",,", bound.Data, nil
		}
	} else {
		gs2 = "n,,"
	}
	if !slices.Contains(offered, plainMechanism) {
		return "", "", nil, unproved("the server offers no SCRAM-SHA-256")
	}
	return plainMechanism, gs2, nil, nil
}

// saslAnswer reads the server's message of this code. It is not there where the server said an error instead, which is
// handed on.
func (p *prover) saslAnswer(code int) (data string, there bool, err error) {
	kind, message, err := p.message()
	if err != nil {
		return "", false, err
	}
	if kind == 'E' {
		p.over, p.ready = true, message
		return "", false, nil
	}
	got, body := authentication(message)
	if kind != 'R' || got != code || len(body) > maxServerSASL {
		return "", false, unproved("the server does not keep to SCRAM-SHA-256")
	}
	return string(body), true, nil
}

const (
	// maxServerSASL bounds a server's messages of the exchange, and so its nonce (CVE-2026-6665): PostgreSQL's have some
	// hundred bytes.
	maxServerSASL = 2048
	// maxIterations is what pgconn takes, where it has to count them (RUSTSEC-2026-0179). Keys need none: a server that
	// says more is up to something all the same.
	maxIterations = 10_000_000
)

// readServerFirst reads "r=<nonce>,s=<salt>,i=<iterations>" and gives the nonce, which must go on from ours.
func readServerFirst(message, ours string) (nonce string, err error) {
	r, rest, ok1 := strings.Cut(message, ",")
	s, i, ok2 := strings.Cut(rest, ",")
	nonce, ok3 := strings.CutPrefix(r, "r=")
	salt, ok4 := strings.CutPrefix(s, "s=")
	count, ok5 := strings.CutPrefix(i, "i=")
	_, err1 := base64.StdEncoding.DecodeString(salt)
	n, err2 := strconv.ParseUint(count, 10, 31)
	whole := ok1 && ok2 && ok3 && ok4 && ok5 && errors.Join(err1, err2) == nil
	if !whole || n == 0 || n > maxIterations || !strings.HasPrefix(nonce, ours) || len(nonce) == len(ours) {
		return "", unproved("malformed SCRAM-SHA-256 message from the server")
	}
	return nonce, nil
}
