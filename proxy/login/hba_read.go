package login

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// ReadRules reads a file in the format of pg_hba.conf, as PostgreSQL 16 reads it. What a pooler cannot do is an error;
// every error names the file and the line.
func ReadRules(path string) (Rules, error) {
	records, err := readRecords(path, 0)
	if err != nil {
		return nil, err
	}
	var rules Rules
	for _, r := range records {
		rule, err := readRule(r.fields)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.place, err)
		}
		rule.place = r.place
		rules = append(rules, rule)
	}
	if len(rules) == 0 {
		return nil, fmt.Errorf("%s: there is no entry, so nobody could connect", path)
	}
	return rules, nil
}

// readRule is parse_hba_line of src/backend/libpq/hba.c.
func readRule(fields []field) (*Rule, error) {
	first, err := fields[0].single("connection type")
	if err != nil {
		return nil, err
	}
	rule := &Rule{kind: connection(first.text)}
	switch rule.kind {
	case localConnection, hostConnection, tlsConnection, plainConnection, noGSSConnection:
	case gssConnection:
		return nil, errors.New("GSSAPI encryption is not supported")
	default:
		return nil, fmt.Errorf("invalid connection type %q: must be %s", first.text, allConnections)
	}
	fields = fields[1:]
	if rule.databases, fields, err = readNames(fields, "database"); err != nil {
		return nil, err
	}
	if rule.users, fields, err = readNames(fields, "role"); err != nil {
		return nil, err
	}
	if rule.kind != localConnection {
		if rule.from, fields, err = readOrigins(fields); err != nil {
			return nil, err
		}
	}
	if len(fields) == 0 {
		return nil, errors.New("end of line before authentication method")
	}
	method, err := fields[0].single("authentication method")
	if err == nil {
		err = rule.setMethod(method.text)
	}
	if err != nil {
		return nil, err
	}
	for _, f := range fields[1:] {
		for _, w := range f {
			if err := rule.setOption(w.text); err != nil {
				return nil, err
			}
		}
	}
	return rule, nil
}

// single gives the only word of a field.
func (f field) single(what string) (word, error) {
	if len(f) != 1 {
		return word{}, fmt.Errorf("multiple values specified for %s: specify one a line", what)
	}
	return f[0], nil
}

// readNames reads a list of databases or of roles.
func readNames(fields []field, what string) (names []name, rest []field, err error) {
	if len(fields) == 0 {
		return nil, nil, fmt.Errorf("end of line before %s specification", what)
	}
	for _, w := range fields[0] {
		n, err := w.name()
		if err != nil {
			return nil, nil, fmt.Errorf("invalid regular expression %q: %w", w.text, err)
		}
		membership := n.is("samerole") || n.is("samegroup")
		if what == "role" {
			membership = !n.quoted && strings.HasPrefix(n.text, "+")
		}
		if membership {
			return nil, nil, fmt.Errorf("%q asks for a role's members, whom only the server knows: name them, or use a regular "+
				"expression", n.text)
		}
		names = append(names, n)
	}
	return names, fields[1:], nil
}

// readOrigins reads an address: a keyword, one with a mask behind a slash, or one with a mask in a field of its own.
func readOrigins(fields []field) (o origins, rest []field, err error) {
	if len(fields) == 0 {
		return o, nil, errors.New("end of line before IP address specification")
	}
	w, err := fields[0].single("host address")
	if err != nil {
		return o, nil, err
	}
	rest = fields[1:]
	switch keyword := (name{text: w.text, quoted: w.quoted}); {
	case keyword.is("all"):
		return origins{all: true}, rest, nil
	case keyword.is("samehost"):
		return origins{sameHost: true}, rest, nil
	case keyword.is("samenet"):
		return origins{sameNet: true}, rest, nil
	}
	text, length, slash := strings.Cut(w.text, "/")
	address, err := netip.ParseAddr(text)
	switch {
	case err != nil && len(rest) == 0:
		return o, nil, fmt.Errorf("%q is no IP address, and there is no method behind it: write \"all\" before the method for all addresses", text)
	case err != nil && !slash:
		return o, nil, fmt.Errorf("%q is no IP address: host names are not supported, since looking them up would hold logins up", text)
	case err != nil || address.Zone() != "":
		return o, nil, fmt.Errorf("invalid IP address %q", text)
	case slash:
		bits, err := strconv.ParseUint(length, 10, 8)
		if o.prefix = netip.PrefixFrom(address, int(bits)); err != nil || !o.prefix.IsValid() {
			return o, nil, fmt.Errorf("invalid CIDR mask in address %q", w.text)
		}
		return o, rest, nil
	case len(rest) == 0:
		return o, nil, fmt.Errorf("end of line before netmask specification: write %s/%d for this address alone", text, address.BitLen())
	}
	mask, err := rest[0].single("netmask")
	if err == nil {
		o.prefix, err = masked(address, mask.text)
	}
	return o, rest[1:], err
}

// masked reads a mask such as 255.255.255.0.
func masked(address netip.Addr, text string) (netip.Prefix, error) {
	mask, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("invalid IP mask %q: write %s/%d for this address alone", text, address, address.BitLen())
	}
	if mask.BitLen() != address.BitLen() {
		return netip.Prefix{}, errors.New("IP address and mask do not match")
	}
	ones, _ := netip.AddrFromSlice(slices.Repeat([]byte{0xff}, address.BitLen()/8))
	for bits := range address.BitLen() + 1 {
		if prefix, _ := ones.Prefix(bits); prefix.Addr() == mask {
			return netip.PrefixFrom(address, bits), nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("the bits of the IP mask %q are not contiguous", text)
}

// allMethods are those that a rule may have, for errors.
const allMethods = `"trust", "reject", "md5", "scram-sha-256", "password", "cert" or "peer"`

// setMethod checks that the method is one that there is, and goes with the kind of connection.
func (r *Rule) setMethod(text string) error {
	r.Method = Method(text)
	local := r.kind == localConnection
	switch r.Method {
	case Trust, Reject, MD5, SCRAM, Cleartext:
	case "ident":
		if !local {
			return errors.New(`"ident" authentication is not supported`)
		}
		r.Method = OSUser // as PostgreSQL has it, for files from before 9.1
	case OSUser:
		if !local {
			return errors.New("peer authentication is only supported on local sockets")
		}
	case Cert:
		if r.kind != tlsConnection {
			return errors.New("cert authentication is only supported on hostssl connections")
		}
		r.clientCert = fullCertificate
	case "gss", "sspi", "ldap", "radius", "pam", "bsd", "oauth":
		return fmt.Errorf("%q authentication is not supported: use %s", text, allMethods)
	default:
		return fmt.Errorf("invalid authentication method %q: must be %s", text, allMethods)
	}
	return nil
}

// setOption is parse_hba_auth_opt.
func (r *Rule) setOption(text string) error {
	option, value, found := strings.Cut(text, "=")
	if !found {
		return fmt.Errorf("authentication option not in name=value format: %q", text)
	}
	switch option {
	case "map":
		if r.Method != OSUser && r.Method != Cert && r.clientCert != fullCertificate {
			return errors.New(`authentication option "map" is only valid for authentication methods peer and cert`)
		}
		r.mapName = value
	case "clientcert":
		return r.setClientCert(value)
	case "clientname":
		if value != "CN" {
			return fmt.Errorf("clientname=%s is not supported, only CN", value)
		}
	default:
		return fmt.Errorf("unrecognized authentication option name: %q", option)
	}
	return nil
}

func (r *Rule) setClientCert(value string) error {
	if r.kind != tlsConnection {
		return errors.New(`clientcert can only be configured for "hostssl" rows`)
	}
	switch {
	case value == "verify-full":
		r.clientCert = fullCertificate
	case value == "verify-ca" && r.Method == Cert:
		return errors.New(`clientcert only accepts "verify-full" when using "cert" authentication`)
	case value == "verify-ca":
		r.clientCert = caCertificate
	default:
		return fmt.Errorf("invalid value for clientcert: %q", value)
	}
	return nil
}
