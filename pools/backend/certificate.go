package backend

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// verifyServer does with a server's certificate what libpq does: a root must lead to it and, where names count, one of its
// names must be the host's.
func verifyServer(shown []*x509.Certificate, roots *x509.CertPool, host string, named bool) error {
	between := x509.NewCertPool()
	for _, one := range shown[1:] {
		between.AddCert(one)
	}
	chains, err := shown[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between}) // no DNSName: it knows no common names
	if err != nil || !named {
		return err
	}
	names, common := namesFor(shown[0], host)
	switch {
	case len(names) == 0:
		return errors.New("could not get server's host name from server certificate")
	case !slices.ContainsFunc(names, func(name string) bool { return matches(name, host) }):
		return fmt.Errorf("server certificate for %q does not match host name %q", names[0], host)
	case common && !slices.ContainsFunc(chains, free):
		return fmt.Errorf("server certificate has host name %q as its common name alone, which an authority limited to some names cannot vouch for", host)
	}
	return nil
}

// namesFor gives the names of a certificate that may be a host's: the alternative ones and, if none of them is of the host's
// kind, or the host, the common name (libpq, pgtls_verify_peer_name_matches_certificate_guts).
func namesFor(c *x509.Certificate, host string) (names []string, common bool) {
	names = slices.Clone(c.DNSNames)
	for _, bytes := range c.IPAddresses {
		if ip, ok := netip.AddrFromSlice(bytes); ok {
			names = append(names, ip.String())
		}
	}
	ofItsKind := len(c.DNSNames)
	if _, isAddress := parseAddress(host); isAddress {
		ofItsKind = len(c.IPAddresses)
	}
	if ofItsKind > 0 || slices.ContainsFunc(names, func(name string) bool { return matches(name, host) }) {
		return names, false
	}
	for _, attribute := range c.Subject.Names {
		if name, ok := attribute.Value.(string); ok && attribute.Type.Equal(commonName) {
			return append(names, name), true // the first one
		}
	}
	return names, false
}

var commonName = asn1.ObjectIdentifier{2, 5, 4, 3}

// matches tells whether a name is the host's. "*." at its beginning stands for one label of the host's.
func matches(name, host string) bool {
	a, isAddress := parseAddress(name)
	if b, ok := parseAddress(host); ok && isAddress && a == b {
		return true // however it is written
	}
	name, host = lower(name), lower(host)
	label, rest, _ := strings.Cut(host, ".")
	return name == host || label != "" && rest != "" && name == "*."+rest
}

func parseAddress(host string) (ip netip.Addr, ok bool) {
	ip, err := netip.ParseAddr(host)
	return ip, err == nil && ip.Zone() == ""
}

// lower knows ASCII alone: to Unicode the sign of Kelvin is a letter k.
func lower(text string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, text)
}

// free tells whether no authority of a chain is limited to some names: crypto/x509 does not hold common names against the
// limits, so that a limited one could sign for any host.
func free(chain []*x509.Certificate) bool {
	return !slices.ContainsFunc(chain[1:], func(c *x509.Certificate) bool {
		return len(c.PermittedDNSDomains)+len(c.ExcludedDNSDomains)+len(c.PermittedIPRanges)+len(c.ExcludedIPRanges) > 0
	})
}
