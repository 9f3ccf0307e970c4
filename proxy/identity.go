package proxy

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/lockproxy/lockproxy/proxy/login"
)

// identity is what clients are shown who ask for TLS. It follows its files.
type identity struct {
	config  TLS
	current atomic.Pointer[login.Identity]
	seen    [3]os.FileInfo // the files as they were last looked at; nil: there was none, or it has no name
}

// newIdentity reads the files. It is nil where there is no TLS. The error names the setting.
func newIdentity(config TLS) (*identity, error) {
	if config.Mode == NoTLS {
		return nil, nil
	}
	i := &identity{config: config}
	i.changed()
	read, err := config.read()
	i.current.Store(read)
	return i, err
}

// follow reads the files again when they are others than before. Ones that cannot be used change nothing: they may be
// half written.
func (i *identity) follow(log *slog.Logger) {
	if i == nil || !i.changed() {
		return
	}
	read, err := i.config.read()
	if err != nil {
		log.Error("the TLS certificate stays the one it was", "error", err)
		return
	}
	i.current.Store(read)
	log.Info("the TLS certificate was read again", "subject", read.Certificate.Subject.String(), "expires", read.Certificate.NotAfter)
}

// salts gives those that follow from the private key: they survive a restart, which would tell unknown users otherwise, and are
// the same wherever the certificate is. No client knows the key, and no guess is ever it.
func (i *identity) salts() *login.Salts {
	if i == nil {
		return login.NewSalts(nil)
	}
	key, _ := x509.MarshalPKCS8PrivateKey(i.current.Load().Config.Certificates[0].PrivateKey) // without an error: it was read
	return login.NewSalts(key)
}

// changed tells whether a file is another than when it was last asked.
func (i *identity) changed() (changed bool) {
	for n, name := range [...]string{i.config.Certificate, i.config.Key, i.config.Authorities} {
		now, err := os.Stat(name)
		if err != nil {
			now = nil
		}
		changed = changed || !isSameFile(i.seen[n], now)
		i.seen[n] = now
	}
	return changed
}

func isSameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// read makes of the files what a handshake needs. As in PostgreSQL, clients are asked for a certificate where there is
// something to verify it by; one that does not hold ends the handshake, and whether there must be one is told later, in
// words. And as there no session is resumed: what a certificate was worth is looked at each time.
func (t TLS) read() (*login.Identity, error) {
	pair, err := t.readPair()
	if err != nil {
		return nil, err
	}
	config := &tls.Config{
		Certificates:                []tls.Certificate{pair},
		MinVersion:                  tls.VersionTLS12,
		NextProtos:                  []string{login.Protocol},
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true,
	}
	if t.Authorities != "" {
		if config.ClientCAs, err = readAuthorities(t.Authorities); err != nil {
			return nil, inSetting("tls.ca", err)
		}
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return &login.Identity{Config: config, Certificate: pair.Leaf}, nil
}

func (t TLS) readPair() (pair tls.Certificate, err error) {
	certificate, err := os.ReadFile(t.Certificate)
	if err != nil {
		return pair, inSetting("tls.cert", err)
	}
	key, err := os.ReadFile(t.Key)
	if err != nil {
		return pair, inSetting("tls.key", err)
	}
	if bytes.Contains(key, []byte("ENCRYPTED")) { // "ENCRYPTED PRIVATE KEY", or "Proc-Type: 4,ENCRYPTED"
		return pair, inSetting("tls.key", fmt.Errorf("the key in %s has a passphrase, and nobody is there to enter it: "+
			"openssl pkey writes it without one", t.Key))
	}
	if pair, err = tls.X509KeyPair(certificate, key); err != nil {
		err = fmt.Errorf("%s and %s, of tls.key, are no certificate with its key: %w", t.Certificate, t.Key, err)
	}
	return pair, inSetting("tls.cert", err)
}

func readAuthorities(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("there is no certificate in " + file)
	}
	return pool, nil
}

// demand is what the mode asks of clients.
func (m TLSMode) demand() login.Demand {
	switch m {
	case RequireTLS:
		return login.DemandTLS
	case VerifyCA:
		return login.DemandCertificate
	case VerifyFull:
		return login.DemandName
	}
	return login.NoDemand
}
