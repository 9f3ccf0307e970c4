package login

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"

	"github.com/jackc/pgproto3/v2"

	"github.com/lockproxy/lockproxy/protocol"
)

// md5 runs the exchange of the manual's "AuthenticationMD5Password". A user that is unknown, or has no such secret, goes
// through the same steps to the same end as one with a wrong password.
func (v *visit) md5(secret Secret, known bool) error {
	mock := "md5" + hex.EncodeToString(v.door.Salts.keyed("md5 ", v.startup.User)[:md5.Size]) // whether it is needed or not: it takes time
	stored, why := secret.md5()
	switch {
	case !known:
		stored, why = "", "the user is unknown"
	case stored != "":
		why = "the password does not match"
	}
	real := stored != ""
	if !real {
		stored = mock
	}
	var salt [4]byte
	_, _ = rand.Read(salt[:]) // never fails: it ends the program instead
	request, err := (&pgproto3.AuthenticationMD5Password{Salt: salt}).Encode(nil)
	if err != nil {
		return err
	}
	if err := v.write(request); err != nil {
		return err
	}
	proof, err := v.readPassword(maxAnswer)
	if err != nil {
		return err
	}
	if !hmac.Equal([]byte(proof), []byte(md5Of(stored[len("md5"):], string(salt[:])))) || !real {
		return v.failed(MD5, why)
	}
	return nil
}

// md5Of is pg_md5_encrypt of src/common/md5_common.c: what is stored of a password, with the user's name for salt, and
// what is sent of what is stored.
func md5Of(password, salt string) string {
	sum := md5.Sum([]byte(password + salt))
	return "md5" + hex.EncodeToString(sum[:])
}

// readPassword reads a PasswordMessage: recv_password_packet of src/backend/libpq/auth.c.
func (v *visit) readPassword(limit int) (string, error) {
	body, err := v.readAnswer("password", limit)
	if err != nil {
		return "", err
	}
	password, rest, ok := protocol.CString(body)
	switch {
	case !ok || len(rest) > 0:
		return "", protocol.Fatal(protocol.ProtocolViolation, "invalid password packet size")
	case len(password) == 0:
		return "", protocol.Fatal(protocol.InvalidPassword, "empty password returned by client")
	}
	return string(password), nil
}
