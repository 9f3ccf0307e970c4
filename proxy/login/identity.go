package login

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
)

// certified tells whether the peer has shown a certificate; it was verified when TLS began, or there would be no TLS.
func (v *visit) certified() bool { return v.encryption != nil && v.encryption.Theirs != nil }

// commonName is whom the peer's certificate is for; empty: it does not say.
func (v *visit) commonName() string {
	if !v.certified() {
		return ""
	}
	return commonNameOf(v.encryption.Theirs)
}

// commonNameOf is the first of a certificate's common names, which X509_NAME_get_text_by_NID gives PostgreSQL. CommonName of
// crypto/x509 is the last.
func commonNameOf(c *x509.Certificate) string {
	for _, one := range c.Subject.Names {
		if one.Type.Equal(commonNameID) {
			name, _ := one.Value.(string)
			return name
		}
	}
	return ""
}

// commonNameID is id-at-commonName of X.520.
var commonNameID = asn1.ObjectIdentifier{2, 5, 4, 3}

// byAccount believes the operating system: auth_peer of src/backend/libpq/auth.c.
func (v *visit) byAccount(rule *Rule) error {
	if v.who.Account == nil {
		return v.failed(rule.Method, "the system does not tell who is at the other end")
	}
	var account string
	var err error
	if over := v.post.elsewhere(func(context.Context) { account, err = v.who.Account() }); over != nil {
		return over
	}
	if err != nil {
		return v.failed(rule.Method, err.Error())
	}
	return v.believed(rule, account)
}

// believed tells whether somebody that others vouch for may be the user: check_usermap of src/backend/libpq/hba.c.
func (v *visit) believed(rule *Rule, somebody string) error {
	if somebody == "" {
		return v.failed(rule.Method, "there is no name")
	}
	if rule.mapName == "" {
		if somebody != v.startup.User {
			return v.failed(rule.Method, fmt.Sprintf("it is %q", somebody))
		}
		return nil
	}
	allowed, err := v.door.Maps.allow(rule.mapName, somebody, v.startup.User)
	switch {
	case err != nil:
		return v.failed(rule.Method, err.Error())
	case !allowed:
		return v.failed(rule.Method, fmt.Sprintf("no match in the map %q for %q", rule.mapName, somebody))
	}
	return nil
}

// Maps are the maps of pg_ident.conf: who of others' names may be which user. Manual, "User Name Maps".
type Maps []mapping

// mapping is one line.
type mapping struct {
	mapName        string
	somebody, user name
}

// ReadMaps reads a file in the format of pg_ident.conf, as PostgreSQL 16 reads it. Every error names the file and the line.
func ReadMaps(path string) (Maps, error) {
	records, err := readRecords(path, 0)
	if err != nil {
		return nil, err
	}
	var maps Maps
	for _, r := range records {
		m, err := readMapping(r.fields)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.place, err)
		}
		maps = append(maps, m)
	}
	return maps, nil
}

// Has tells whether there is a map of that name.
func (ms Maps) Has(mapName string) bool {
	return slices.ContainsFunc(ms, func(m mapping) bool { return m.mapName == mapName })
}

// back is what stands, in a user's name, for the part that a regular expression has found in the other name.
const back = `\1`

// readMapping is parse_ident_line.
func readMapping(fields []field) (m mapping, err error) {
	const size = 3
	if len(fields) < size {
		return m, fmt.Errorf("missing entry: a map's name, a name there and a user's name are expected")
	}
	var words [size]word
	for i, what := range []string{"map name", "system user name", "role"} {
		if words[i], err = fields[i].single(what); err != nil {
			return m, err
		}
	}
	m.mapName = words[0].text
	for i, to := range []*name{&m.somebody, &m.user} {
		if *to, err = words[1+i].name(); err != nil {
			return m, fmt.Errorf("invalid regular expression %q: %w", words[1+i].text, err)
		}
	}
	switch {
	case !m.user.quoted && strings.HasPrefix(m.user.text, "+"):
		err = fmt.Errorf("%q asks for a role's members, whom only the server knows", m.user.text)
	case m.takesPart() && m.somebody.pattern.NumSubexp() == 0:
		err = m.noPart()
	}
	return m, err
}

func (m mapping) noPart() error {
	return fmt.Errorf("regular expression %q has no subexpressions as requested by backreference in %q", m.somebody.text[1:], m.user.text)
}

// takesPart tells whether the user's name has a part of the other name in it.
func (m mapping) takesPart() bool {
	return m.somebody.pattern != nil && m.user.pattern == nil && strings.Contains(m.user.text, back)
}

// allow tells whether somebody may be a user. A line that fits somebody and makes no user's name of it is an error: those
// behind it count no more, as in check_usermap.
func (ms Maps) allow(mapName, somebody, user string) (bool, error) {
	for _, m := range ms {
		if m.mapName != mapName || !m.somebody.fits(somebody) {
			continue
		}
		wanted, err := m.wanted(somebody)
		if err != nil || fitsUser([]name{wanted}, user) {
			return err == nil, err
		}
	}
	return false, nil
}

// wanted is which user somebody may be, with the part that was found put into the name, once: check_ident_usermap.
func (m mapping) wanted(somebody string) (name, error) {
	if !m.takesPart() {
		return m.user, nil
	}
	part := m.somebody.pattern.FindStringSubmatchIndex(somebody)[2:]
	if part[0] < 0 {
		return name{}, m.noPart() // what is in brackets took no part
	}
	return name{text: strings.Replace(m.user.text, back, somebody[part[0]:part[1]], 1), quoted: true}, nil
}
