package login

import (
	"context"
	"crypto/hmac"

	"github.com/jackc/pgproto3/v2"
	"github.com/xdg-go/scram"
)

// maxPassword is PG_MAX_AUTH_TOKEN_LENGTH of src/backend/libpq/auth.c: some clouds' passwords are tokens of more than a kilobyte.
const maxPassword = 65535

// password asks for the password itself: the manual's "AuthenticationCleartextPassword", CheckPasswordAuth of
// src/backend/libpq/auth.c. The secret is then the password, which logs in at the server by whatever that asks for. A user that
// is unknown goes through the same steps at the same cost to the same end as one with a wrong password.
func (v *visit) password(rule *Rule, secret Secret, known bool, seen look) (Secret, error) {
	mock := v.door.Salts.mock(v.startup.User, seen)
	request, err := (&pgproto3.AuthenticationCleartextPassword{}).Encode(nil)
	if err != nil {
		return Secret{}, err
	}
	if err := v.write(request); err != nil {
		return Secret{}, err
	}
	given, err := v.readPassword(maxPassword)
	if err != nil {
		return Secret{}, err
	}
	proof, why := secret.proof, "the password does not match"
	if _, can := secret.look(Cleartext); !known || !can {
		if why = "the user is unknown"; known {
			_, why = secret.verifier()
		}
		proof = nil
	}
	var fits bool
	// Thousands of hashes are nothing for the loop that serves others, nor for somebody who has failed too often meanwhile.
	over := v.post.elsewhere(func(context.Context) {
		if err = v.admissible(rule); err == nil {
			fits = matches(v.startup.User, given, seen, proof, mock)
		}
	})
	switch {
	case over != nil:
		return Secret{}, over
	case err != nil:
		return Secret{}, err
	case !fits:
		return Secret{}, v.failed(Cleartext, why)
	}
	return proof.saidAloud(v.startup.User, given), nil
}

// matches tells whether a password is the one of which there is a proof: plain_crypt_verify of src/backend/libpq/crypt.c. Without
// one it takes its time all the same.
func matches(user, password string, seen look, p *proof, mock *scram.StoredCredentials) bool {
	if seen == byMD5 {
		stored := md5Of("", user)
		if p != nil {
			stored = p.md5
		}
		return hmac.Equal([]byte(md5Of(password, user)), []byte(stored)) && p != nil
	}
	verifier := mock
	if p != nil {
		verifier = p.verifier
	}
	derived, err := deriveWith(password, verifier.KeyFactors)
	return err == nil && hmac.Equal(derived.ServerKey, verifier.ServerKey) && p != nil
}

// saidAloud is the secret of a client that has said its password.
func (p *proof) saidAloud(user, password string) Secret {
	return Secret{&proof{password: password, md5: md5Of(password, user), verifier: p.verifier, why: p.why}}
}
