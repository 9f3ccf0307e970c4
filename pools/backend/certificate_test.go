package backend

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/test/authority"
)

func TestNamesOfCertificatesAreTheHostsWhereLibpqTakesThem(t *testing.T) {
	a, ca := atHome(t)
	v4, v6 := net.IPv4(192, 0, 2, 1), net.ParseIP("2001:db8::1")
	for _, c := range []struct {
		name, common string
		names        []string
		addresses    []net.IP
		taken, not   []string
	}{
		{"an alternative name", "", []string{"db.test"}, nil, []string{"db.test", "DB.Test"}, []string{"a.db.test", "test", "192.0.2.1"}},
		{"several", "", []string{"a.test", "b.test"}, nil, []string{"a.test", "b.test"}, []string{"c.test"}},
		{"a common name", "db.test", nil, nil, []string{"db.test", "DB.TEST"}, []string{"a.db.test"}},
		{"both: the common name does not count", "cn.test", []string{"db.test"}, nil, []string{"db.test"}, []string{"cn.test"}},
		{"a wildcard", "", []string{"*.db.test"}, nil, []string{"a.db.test", "A.DB.test"}, []string{"db.test", "b.a.db.test", ".db.test"}},
		{"a wildcard as common name", "*.db.test", nil, nil, []string{"a.db.test"}, []string{"db.test", "b.a.db.test"}},
		{"wildcards elsewhere", "", []string{"a*.db.test", "x.*.test", "*.*.test"}, nil, nil, []string{"ab.db.test", "x.db.test", "y.db.test"}},
		{"addresses", "", nil, []net.IP{v4, v6}, []string{"192.0.2.1", "2001:db8::1", "2001:DB8:0::1"}, []string{"192.0.2.2", "2001:db8::2", "db.test"}},
		{"an address as common name", "192.0.2.1", nil, nil, []string{"192.0.2.1"}, []string{"192.0.2.2"}},
		{"an address as common name beside names", "192.0.2.1", []string{"db.test"}, nil, []string{"192.0.2.1", "db.test"}, nil},
		{"an address as common name beside addresses", "192.0.2.1", nil, []net.IP{v6}, []string{"2001:db8::1"}, []string{"192.0.2.1"}},
		{"a common name beside addresses", "db.test", nil, []net.IP{v4}, []string{"db.test", "192.0.2.1"}, []string{"192.0.2.2"}},
		{"an address as alternative name", "", []string{"192.0.2.1"}, nil, []string{"192.0.2.1"}, []string{"192.0.2.2"}},
		{"no name", "", nil, nil, nil, []string{"db.test", "192.0.2.1"}},
		{"the sign of Kelvin", "\u212a.test", nil, nil, nil, []string{"k.test"}},
	} {
		f := startFront(t, a.Sign(&x509.Certificate{Subject: pkix.Name{CommonName: c.common, Organization: []string{"o"}}, DNSNames: c.names, IPAddresses: c.addresses, NotAfter: time.Now().Add(time.Hour)}))
		for _, host := range slices.Concat(c.taken, c.not) {
			want := "TLS"
			if slices.Contains(c.not, host) {
				want = ""
			}
			theirs, ours, texts := f.both(t, host, "sslmode", "verify-full", "sslrootcert", ca)
			if theirs.way != want || ours.way != want {
				t.Errorf("%s: as %s libpq comes by %q, we by %q: %s", c.name, host, theirs.way, ours.way, texts)
			}
			if want == "" && len(c.names)+len(c.common) > 0 && !strings.Contains(texts, "host name") {
				t.Errorf("%s: as %s: %s", c.name, host, texts)
			}
		}
		if theirs, ours, texts := f.both(t, "another.test", "sslmode", "verify-ca", "sslrootcert", ca); theirs.way != "TLS" || ours.way != "TLS" {
			t.Errorf("%s: verify-ca minds names: %s", c.name, texts)
		}
	}
}

// crypto/x509 does not hold a common name against what an authority may sign for: where it may not sign for all, an
// alternative name is needed, unlike with libpq.
func TestACommonNameOfALimitedAuthorityDoesNotCount(t *testing.T) {
	a, ca := atHome(t)
	limited := authority.Under(a.Sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "limited"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{"db.test"}, NotAfter: time.Now().Add(time.Hour),
	}))
	for _, c := range []struct {
		common       string
		names        []string
		theirs, ours string
	}{
		{"a.db.test", nil, "TLS", ""},
		{"a.other.test", nil, "", ""},
		{"", []string{"a.db.test"}, "TLS", "TLS"},
		{"", []string{"a.other.test"}, "", ""},
	} {
		leaf := limited.Sign(&x509.Certificate{Subject: pkix.Name{CommonName: c.common}, DNSNames: c.names, NotAfter: time.Now().Add(time.Hour)})
		leaf.Certificate = append(leaf.Certificate, limited.Certificate.Raw)
		host := strings.Join(append(c.names, c.common), "")
		theirs, ours, texts := startFront(t, leaf).both(t, host, "sslmode", "verify-full", "sslrootcert", ca)
		if theirs.way != c.theirs || ours.way != c.ours {
			t.Errorf("%+v: libpq comes by %q, we by %q: %s", c, theirs.way, ours.way, texts)
		}
	}
}
