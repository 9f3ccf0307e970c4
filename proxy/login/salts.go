package login

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"

	"github.com/xdg-go/scram"
)

// Salts gives users the salts that they are asked with by SCRAM where nothing that is stored has one: unknown users, and those
// whose password is stored as it is. A user's is the same at every attempt, and nobody can foresee it.
type Salts struct{ key []byte }

// NewSalts gives salts that follow from a secret: whoever has the same secret gives the same ones. It must be one that nobody
// can guess, such as a private key: a client sees salts, and could try guesses of a password by them. Without a secret they
// are new each time.
func NewSalts(secret []byte) *Salts {
	if len(secret) > 0 {
		if key, err := hkdf.Key(sha256.New, secret, nil, "lockproxy: salts of SCRAM-SHA-256", sha256.Size); err == nil {
			return &Salts{key}
		}
	}
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails: it ends the program instead
	return &Salts{key}
}

func (s *Salts) keyed(purpose, user string) []byte {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(purpose))
	mac.Write([]byte(user))
	return mac.Sum(nil)
}

func (s *Salts) of(user string, size int) string {
	salt, _ := hkdf.Expand(sha256.New, s.key, "salt "+user, size) // fails for thousands of bytes alone
	return string(salt)
}

// lot is what Looks are drawn by.
func (s *Salts) lot(user string) uint64 { return binary.BigEndian.Uint64(s.keyed("lot ", user)) }

// mock stands in for the verifier of a user that cannot log in. It looks like a real one, the same at every attempt, as
// mock_scram_secret does in src/backend/libpq/auth-scram.c.
func (s *Salts) mock(user string, l look) *scram.StoredCredentials {
	return &scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: s.of(user, l.saltSize), Iters: l.iterations},
		StoredKey:  s.keyed("stored key ", user), ServerKey: s.keyed("server key ", user),
	}
}
