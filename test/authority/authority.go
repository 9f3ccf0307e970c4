// Package authority signs certificates for tests and benchmarks.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// Authority is a certificate authority that lives as long as the process.
type Authority struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	issued      atomic.Int64
}

// New makes an authority. Like all that follows it panics where the system has no memory or no randomness.
func New() *Authority {
	a := &Authority{key: newKey()}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority of a test"}, NotAfter: time.Now().Add(24 * time.Hour),
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.Certificate = a.sign(template, template, &a.key.PublicKey)
	return a
}

// Under gives the authority that has a certificate of another's.
func Under(certificate tls.Certificate) *Authority {
	return &Authority{Certificate: certificate.Leaf, key: certificate.PrivateKey.(*ecdsa.PrivateKey)}
}

// Issue gives a certificate for a name, of a client or of a server there and at 127.0.0.1 and ::1. It is valid for an hour.
func (a *Authority) Issue(name string) tls.Certificate {
	return a.IssueUntil(name, time.Now().Add(time.Hour))
}

// IssueUntil gives one that is valid until a time.
func (a *Authority) IssueUntil(name string, until time.Time) tls.Certificate {
	return a.Sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotAfter: until,
	})
}

// IssueTo gives a client's whose subject has so many common names, in this order.
func (a *Authority) IssueTo(names ...string) tls.Certificate {
	var subject pkix.Name
	for _, name := range names {
		subject.ExtraNames = append(subject.ExtraNames, pkix.AttributeTypeAndValue{Type: commonName, Value: name})
	}
	return a.Sign(&x509.Certificate{Subject: subject, NotAfter: time.Now().Add(time.Hour)})
}

// commonName is id-at-commonName of X.520.
var commonName = asn1.ObjectIdentifier{2, 5, 4, 3}

// Sign gives a certificate that says what the template does, with a key and a number of its own.
func (a *Authority) Sign(template *x509.Certificate) tls.Certificate {
	key := newKey()
	template.SerialNumber = big.NewInt(1 + a.issued.Add(1))
	leaf := a.sign(template, a.Certificate, &key.PublicKey)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// Pool holds the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate)
	return pool
}

// File writes the authority's certificate into a folder and gives the file's path.
func (a *Authority) File(folder string) (string, error) {
	path := filepath.Join(folder, "ca.pem")
	return path, os.WriteFile(path, encode("CERTIFICATE", a.Certificate.Raw), 0o600)
}

// Files writes a certificate and its key into a folder, named after the certificate's name, in place of any before.
func Files(folder string, certificate tls.Certificate) (certificateFile, keyFile string, err error) {
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		return "", "", err
	}
	base := filepath.Join(folder, certificate.Leaf.Subject.CommonName)
	certificateFile, keyFile = base+".crt", base+".key"
	if err := replace(certificateFile, encode("CERTIFICATE", certificate.Certificate[0])); err != nil {
		return "", "", err
	}
	return certificateFile, keyFile, replace(keyFile, encode("PRIVATE KEY", key))
}

// replace writes a file that nobody sees half written.
func replace(path string, text []byte) error {
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func encode(kind string, bytes []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes})
}

func (a *Authority) sign(template, parent *x509.Certificate, key *ecdsa.PublicKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, a.key)
	if err != nil {
		panic(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return certificate
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}
