package login

import (
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Rules say by which method who proves who it is. The first that fits counts: manual, "The pg_hba.conf File".
type Rules []*Rule

// Rule is one line of pg_hba.conf.
type Rule struct {
	Method Method

	kind       connection
	databases  []name
	users      []name
	from       origins
	mapName    string // of the map of names; empty: they are the same
	clientCert certificate
	place      string // file and line
}

// ForCertificates names the line of the first rule that asks for a certificate of the client's; empty: none does.
func (rs Rules) ForCertificates() (place string) {
	for _, r := range rs {
		if r.clientCert != noCertificate {
			return r.place
		}
	}
	return ""
}

// Everybody is the one rule that fits everybody. The map of names is that of certificates.
func Everybody(method Method, mapName string) Rules {
	all := name{text: "all"} // databases; the whole server, for its replication, is none
	rule := &Rule{
		Method: method, kind: anyConnection, databases: []name{all, {text: "replication"}}, users: []name{all},
		from: origins{all: true}, mapName: mapName,
	}
	if method == Cert {
		rule.clientCert = fullCertificate
	}
	return Rules{rule}
}

// connection is which connections a rule is for, by its first word.
type connection string

const (
	localConnection connection = "local"
	hostConnection  connection = "host"
	tlsConnection   connection = "hostssl"
	plainConnection connection = "hostnossl"
	noGSSConnection connection = "hostnogssenc" // which all of ours are
	anyConnection   connection = ""
	allConnections             = `"local", "host", "hostssl", "hostnossl" or "hostnogssenc"`
	gssConnection   connection = "hostgssenc"
)

// certificate is what a rule wants of a client beside its method.
type certificate int

const (
	noCertificate   certificate = iota
	caCertificate               // one that an authority has signed
	fullCertificate             // and whose name is the user's
)

// caller is a connection as rules see it.
type caller struct {
	address        netip.Addr // the zero one for a unix socket
	encrypted      bool
	physical       bool // asks for replication of the whole server
	user, database string
}

func (v *visit) caller(replication string) caller {
	return caller{
		address: v.who.Address.Unmap().WithZone(""), encrypted: v.encryption != nil, physical: isPhysical(replication),
		user: v.startup.User, database: v.startup.Database,
	}
}

// isPhysical tells whether a kind of replication is that of the whole server, for which rules have a word of their own.
func isPhysical(replication string) bool { return replication == "true" }

// find gives the first rule that fits, or nil: check_hba of src/backend/libpq/hba.c.
func (rs Rules) find(c caller) *Rule {
	for _, r := range rs {
		if r.kind.fits(c) && r.from.hold(c) && r.hasDatabase(c) && fitsUser(r.users, c.user) {
			return r
		}
	}
	return nil
}

func (k connection) fits(c caller) bool {
	network := c.address.IsValid()
	switch k {
	case localConnection:
		return !network
	case tlsConnection:
		return network && c.encrypted
	case plainConnection:
		return network && !c.encrypted
	case anyConnection:
		return true
	}
	return network
}

// hasDatabase is check_db.
func (r *Rule) hasDatabase(c caller) bool {
	return slices.ContainsFunc(r.databases, func(n name) bool {
		switch {
		case n.is("replication"):
			return c.physical
		case c.physical:
			return false // replication of the whole server is no database's
		case n.is("sameuser"):
			return c.database == c.user
		}
		return n.is("all") || n.fits(c.database)
	})
}

// fitsUser is check_role.
func fitsUser(names []name, user string) bool {
	return slices.ContainsFunc(names, func(n name) bool { return n.is("all") || n.fits(user) })
}

// name is a word that stands for databases or users.
type name struct {
	text    string
	quoted  bool           // it is no keyword, nor a role that stands for its members
	pattern *regexp.Regexp // not nil: it stands for what this matches
}

func (n name) is(keyword string) bool { return !n.quoted && n.text == keyword }

func (n name) fits(text string) bool {
	if n.pattern != nil {
		return n.pattern.MatchString(text)
	}
	return n.text == text
}

// name reads a word: one that begins with a slash is a regular expression, in quotes as well, which those with a comma or a
// blank need: regcomp_auth_token.
func (w word) name() (name, error) {
	n := name{text: w.text, quoted: w.quoted}
	pattern, found := strings.CutPrefix(w.text, "/")
	if !found {
		return n, nil
	}
	var err error
	n.pattern, err = regexp.Compile(pattern)
	return n, err
}

// origins are the addresses that a rule is for.
type origins struct {
	all, sameHost, sameNet bool
	prefix                 netip.Prefix
}

func (o origins) hold(c caller) bool {
	switch {
	case o.all, !c.address.IsValid():
		return true
	case o.sameHost, o.sameNet:
		return o.own(c.address)
	}
	return o.prefix.Contains(c.address)
}

// own tells whether an address is one of this machine's, or in one of its networks.
func (o origins) own(address netip.Addr) bool {
	addresses, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(addresses, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && (o.sameNet && prefix.Masked().Contains(address) || prefix.Addr() == address)
	})
}
