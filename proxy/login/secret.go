package login

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/xdg-go/scram"
)

// Secret is what is known of how a user proves who it is, and its password where that is known. The zero Secret admits
// nobody. It does not change, and prints as nothing but its name.
type Secret struct {
	proof *proof // behind a pointer, where printing does not follow; nil: there is none
}

type proof struct {
	password string                   // empty: not known
	md5      string                   // "md5..."; empty: nobody can log in by MD5
	verifier *scram.StoredCredentials // nil: nobody can log in by SCRAM
	why      string                   // why not, for the log

	clientKey []byte // what the user has proved itself by against the verifier; nil: nothing, or its password is known
}

// ReadSecret reads a secret as PostgreSQL stores it in pg_authid.rolpassword and PgBouncer in userlist.txt: a plain
// password, "SCRAM-SHA-256$...", or "md5...". Of a plain password it derives the verifier here, once, which takes about a
// millisecond; later logins all cost the same, whether the user exists or not. No error quotes the secret.
func (s *Salts) ReadSecret(user, text string) (Secret, error) {
	switch {
	case text == "":
		return Secret{&proof{why: "the user has no password, or an empty one, which nobody can log in with"}}, nil
	case isMD5(text):
		return Secret{&proof{md5: strings.ToLower(text), why: "the user has an MD5 secret, which cannot serve SCRAM-SHA-256"}}, nil
	case strings.HasPrefix(text, verifierMark):
		verifier, err := readVerifier(text)
		return Secret{&proof{verifier: verifier}}, err
	}
	verifier, err := s.derive(user, text)
	return Secret{&proof{password: text, md5: md5Of(text, user), verifier: verifier}}, err
}

// look is how a user with this secret is asked under a method, MD5, SCRAM or Cleartext. Unless it is SCRAM the kind of the secret
// decides, as in CheckPWChallengeAuth. False: nobody can log in by it.
func (s Secret) look(rule Method) (l look, can bool) {
	switch {
	case s.proof == nil:
		return look{}, false
	case rule != SCRAM && s.proof.md5 != "":
		return byMD5, true
	case s.proof.verifier == nil:
		return look{}, false
	}
	return look{s.proof.verifier.Iters, len(s.proof.verifier.Salt)}, true
}

// Password is the user's plain password, for logging in on the server; empty where it is not known.
func (s Secret) Password() string {
	if s.proof == nil {
		return ""
	}
	return s.proof.password
}

// verifier is what a SCRAM exchange is checked against; nil with the reason where nobody can log in by one.
func (s Secret) verifier() (v *scram.StoredCredentials, why string) {
	if s.proof == nil {
		return nil, "the user has no password"
	}
	return s.proof.verifier, s.proof.why
}

// MD5 is the user's "md5...", for logging in on a server that asks for that; empty where it is not known.
func (s Secret) MD5() string {
	if s.proof == nil {
		return ""
	}
	return s.proof.md5
}

// Keys are those of SCRAM-SHA-256 by which a client has proved itself, for logging in on a server that has the same
// verifier. They are nil where the password is known.
func (s Secret) Keys() (client, server []byte) {
	if s.proof == nil || s.proof.clientKey == nil {
		return nil, nil
	}
	return s.proof.clientKey, s.proof.verifier.ServerKey
}

// provedBy is the secret of a client that has proved itself.
func (s Secret) provedBy(clientKey []byte) Secret {
	if s.proof.password != "" {
		return s
	}
	proof := *s.proof
	proof.clientKey = clientKey
	return Secret{&proof}
}

// md5 is what an MD5 answer is checked against; empty with the reason where nobody can log in by one.
func (s Secret) md5() (text, why string) {
	if s.proof == nil {
		return "", "the user has no password"
	}
	return s.proof.md5, s.proof.why
}

// Format keeps the secret out of everything that is printed.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("login.Secret")) }

const (
	verifierMark = "SCRAM-SHA-256$"
	// iterations is SCRAM_SHA_256_DEFAULT_ITERATIONS, saltSize SCRAM_DEFAULT_SALT_LEN of src/include/common/scram-common.h.
	iterations = 4096
	saltSize   = 16
)

func isMD5(text string) bool {
	digits, ok := strings.CutPrefix(text, "md5")
	_, err := hex.DecodeString(digits)
	return ok && err == nil && len(digits) == 32
}

var errVerifier = errors.New("malformed SCRAM-SHA-256 verifier")

// readVerifier reads "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>" (manual, pg_authid).
func readVerifier(text string) (*scram.StoredCredentials, error) {
	parameters, keys, ok1 := strings.Cut(text[len(verifierMark):], "$")
	count, salt64, ok2 := strings.Cut(parameters, ":")
	stored64, server64, ok3 := strings.Cut(keys, ":")
	n, err1 := strconv.ParseUint(count, 10, 31)
	salt, err2 := base64.StdEncoding.DecodeString(salt64)
	stored, err3 := base64.StdEncoding.DecodeString(stored64)
	server, err4 := base64.StdEncoding.DecodeString(server64)
	whole := ok1 && ok2 && ok3 && errors.Join(err1, err2, err3, err4) == nil
	if !whole || n == 0 || len(salt) == 0 || len(salt) > maxSalt || len(stored) != sha256.Size || len(server) != sha256.Size {
		return nil, errVerifier
	}
	return &scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(salt), Iters: int(n)}, StoredKey: stored, ServerKey: server,
	}, nil
}

// maxSalt keeps our messages of the exchange small, in bytes.
const maxSalt = 1024

// derive makes the verifier of a plain password. PostgreSQL prepares passwords with SASLprep and takes those that it
// forbids, and those that are no UTF-8, as they are (pg_be_scram_build_secret in src/backend/libpq/auth-scram.c).
func (s *Salts) derive(user, password string) (*scram.StoredCredentials, error) {
	return deriveWith(password, scram.KeyFactors{Salt: s.of(user, saltSize), Iters: iterations})
}

func deriveWith(password string, factors scram.KeyFactors) (*scram.StoredCredentials, error) {
	client, err := scram.SHA256.NewClient("", password, "")
	if err != nil || !utf8.ValidString(password) {
		client, err = scram.SHA256.NewClientUnprepped("", password, "")
	}
	if err != nil {
		return nil, errVerifier
	}
	verifier, err := client.GetStoredCredentialsWithError(factors)
	if err != nil {
		return nil, errVerifier
	}
	return &verifier, nil
}
