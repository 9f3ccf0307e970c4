package backend

import (
	"crypto/hmac"
	"fmt"
)

// Proof is what a user can prove itself to a server with. The zero one proves nothing. It prints as nothing but its name.
type Proof struct {
	// Password serves every server.
	Password string
	// MD5 is "md5..." as a server stores it, for one that asks for MD5.
	MD5 string
	// ClientKey and ServerKey are those of SCRAM-SHA-256 (RFC 5802), for a server that has the verifier of them.
	ClientKey, ServerKey []byte
}

// Format keeps the proof out of everything that is printed.
func (Proof) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("backend.Proof")) }

func (p Proof) isZero() bool { return p.Password == "" && !p.answers() }

// answers tells whether there is something that answers a server without the password.
func (p Proof) answers() bool { return p.MD5 != "" || p.ClientKey != nil }

func (p Proof) equal(other Proof) bool {
	return same(p.Password, other.Password) && same(p.MD5, other.MD5) && hmac.Equal(p.ClientKey, other.ClientKey) &&
		hmac.Equal(p.ServerKey, other.ServerKey)
}

// same compares two secrets: in constant time, as whatever is secret here.
func same(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }

// Proving gives the target with a user's proof, where the server sees that very user. A password that the URL has for all
// users gives way to a user's own alone; one that it has for its own user stays. It is the target itself where nothing
// changes: so what was known is kept until there is something else.
func (t *Target) Proving(user string, proof Proof) *Target {
	urls := t.config.Password != "" && !same(t.config.Password, t.proof.Password)
	if t.config.User != user || urls && (t.ownUser || proof.Password == "") || proof.isZero() || proof.equal(t.proof) {
		return t
	}
	proving := *t
	proving.proof = proof
	proving.config = t.config.Copy()
	proving.config.Password = proof.Password
	return &proving
}

// Proves tells whether the target has a password, or something else to prove its user with.
func (t *Target) Proves() bool { return t.config.Password != "" || t.proof.answers() }

// Proof is what Proving gave, for the target of a later configuration.
func (t *Target) Proof() Proof { return t.proof }
