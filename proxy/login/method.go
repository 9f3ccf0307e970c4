package login

import (
	"context"
	"fmt"

	"github.com/lockproxy/lockproxy/protocol"
)

// Method is a way to prove who one is, by its name in pg_hba.conf.
type Method string

// The methods that there are: manual, "Authentication Methods".
const (
	Trust     Method = "trust"         // everybody is believed
	Reject    Method = "reject"        // nobody is
	MD5       Method = "md5"           // by MD5, or by SCRAM whoever has a SCRAM secret
	SCRAM     Method = "scram-sha-256" // RFC 7677; with channel binding over TLS
	Cleartext Method = "password"      // by the password itself
	Cert      Method = "cert"          // by the certificate of the TLS connection
	OSUser    Method = "peer"          // by the user of the operating system, at a unix socket
)

// authenticate ends with AuthenticationOk written, or with an error: ClientAuthentication of src/backend/libpq/auth.c.
func (v *visit) authenticate(replication string) (Secret, error) {
	rule := v.door.Rules.find(v.caller(replication))
	switch {
	case rule == nil || rule.Method == Reject:
		return Secret{}, v.turnedAway(rule, replication)
	case rule.clientCert != noCertificate && !v.certified():
		return Secret{}, protocol.Fatal(protocol.InvalidAuthorizationSpecification, "connection requires a valid client certificate")
	}
	if err := v.admissible(rule); err != nil {
		return Secret{}, err
	}
	secret, final, err := v.prove(rule)
	if err == nil && rule.clientCert == fullCertificate && rule.Method != Cert {
		err = v.believed(rule, v.commonName())
	}
	if err = v.judged(rule, err); err != nil {
		return Secret{}, err
	}
	return secret, v.write(protocol.AppendAuthenticationOK(final))
}

// prove has the peer prove who it is, by the rule's method. The last message of that is not written yet.
func (v *visit) prove(rule *Rule) (secret Secret, final []byte, err error) {
	secret, known := v.door.Secret(v.startup.User, v.startup.Database)
	switch rule.Method {
	case Trust:
		return secret, nil, nil
	case Cert:
		return secret, nil, v.believed(rule, v.commonName())
	case OSUser:
		return secret, nil, v.byAccount(rule)
	}
	if !known && v.door.Ask != nil {
		if secret, known, err = v.ask(); err != nil {
			return Secret{}, nil, err
		}
	}
	seen := v.door.Looks.draw(rule.Method, v.door.Salts.lot(v.startup.User)) // whether it is needed or not: it takes time
	if own, can := secret.look(rule.Method); known && can {
		seen = own
	}
	switch {
	case rule.Method == Cleartext:
		secret, err = v.password(rule, secret, known, seen)
		return secret, nil, err
	case seen == byMD5:
		return secret, nil, v.md5(secret, known)
	}
	return v.scram(secret, known, seen)
}

// ask has somebody asked for the user's secret. Why that fails is told to the log alone.
func (v *visit) ask() (Secret, bool, error) {
	user, database := v.startup.User, v.startup.Database
	var answer struct {
		secret Secret
		known  bool
		err    error
	}
	over := v.post.elsewhere(func(ctx context.Context) {
		answer.secret, answer.known, answer.err = v.door.Ask(ctx, user, database)
	})
	switch {
	case over != nil:
		return Secret{}, false, over
	case answer.err != nil:
		said := protocol.Fatal(protocol.CannotConnect, fmt.Sprintf(`could not look up user "%s"`, user))
		return Secret{}, false, &doubt{said, answer.err.Error()}
	}
	if !answer.known {
		answer.secret = Secret{}
	}
	v.door.Looks.Learn(user, answer.secret)
	v.asked = true
	return answer.secret, answer.known, nil
}

// failed is what a peer is told that does not prove who it is, and why, which only the log learns: auth_failed of
// src/backend/libpq/auth.c.
func (v *visit) failed(method Method, why string) error {
	code, what := protocol.InvalidAuthorizationSpecification, "certificate"
	switch method {
	case MD5, SCRAM, Cleartext:
		code, what = protocol.InvalidPassword, "password"
	case OSUser:
		what = "Peer"
	case Trust:
		what = `"trust"`
	}
	return &doubt{protocol.Fatal(code, fmt.Sprintf(`%s authentication failed for user "%s"`, what, v.startup.User)), why}
}

// turnedAway is the error of those who may not even prove who they are, in PostgreSQL's words.
func (v *visit) turnedAway(rule *Rule, replication string) error {
	host, encryption, database := "[local]", "no encryption", ""
	if v.who.Address.IsValid() {
		host = v.who.Address.Unmap().String()
	}
	if v.encryption != nil {
		encryption = "SSL encryption"
	}
	what, why := "no pg_hba.conf entry for host", "no rule fits"
	physical := isPhysical(replication)
	switch {
	case rule != nil && physical:
		what, why = "pg_hba.conf rejects replication connection for host", rule.place
	case rule != nil:
		what, why = "pg_hba.conf rejects connection for host", rule.place
	case physical:
		what = "no pg_hba.conf entry for replication connection from host"
	}
	if !physical {
		database = fmt.Sprintf(` database "%s",`, v.startup.Database)
	}
	text := fmt.Sprintf(`%s "%s", user "%s",%s %s`, what, host, v.startup.User, database, encryption)
	return &doubt{protocol.Fatal(protocol.InvalidAuthorizationSpecification, text), why}
}
