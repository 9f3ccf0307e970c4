// Package backend is one connection to a PostgreSQL server, up to the moment when a session may use its socket: which
// server, logging in, what must be known about it, and cancelling what runs on it.
package backend

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Target says where and as whom to connect. It is immutable: any goroutine may use it.
type Target struct {
	config       *pgconn.Config
	keepAlive    net.KeepAliveConfig
	userTimeout  time.Duration     // how long what was sent may be unacknowledged; 0: as long as the system lets it
	addresses    map[string]string // of hosts that are not to be looked up
	ownUser      bool              // the URL names the user, so every client is that user
	ownDatabase  bool
	ownsPassword bool      // the URL or the environment has a password, whoever the user is
	verifiesName bool      // sslmode=verify-full
	proof        Proof     // in the place of a password
	brief        bool      // of several servers, none is waited for as long as the only one would be
	silences     *silences // of several servers
}

// defaultTimeout bounds dialling and logging in to one address where the URL has no connect_timeout. A pooler has no
// use for libpq's default, which is to wait for ever.
const defaultTimeout = 15 * time.Second

// ParseTarget reads what libpq takes as a connection string: a URL or pairs of keyword and value, with several hosts,
// target_session_attrs, sslmode, passfile, service, connect_timeout, keepalives and run-time parameters (manual,
// "Connection Strings" and "Parameter Key Words"). Keywords that cannot be obeyed are errors. No error quotes the
// string, because a misspelt one may show its password anywhere.
func ParseTarget(text string) (*Target, error) {
	read, ok := readConnString(text)
	if !ok {
		return nil, malformed(text)
	}
	if address := read.lookUp("hostaddr"); address != "" && !read.namesHost() {
		read.pairs = append(read.pairs, pair{"host", address}) // it is its own name
	}
	plain := read.with(withoutTLS...)
	config, err := pgconn.ParseConfig(plain)
	if err != nil {
		return nil, withoutConnString(text, err)
	}
	t := &Target{
		config:       config,
		ownUser:      names(plain, config, "user") || config.User != environmentUser(),
		ownDatabase:  names(plain, config, "database") || config.Database != os.Getenv("PGDATABASE"),
		ownsPassword: names(plain, config, "password") || os.Getenv("PGPASSWORD") != "",
	}
	if err := t.secure(read); err != nil {
		return nil, fmt.Errorf("connection string: %w", err)
	}
	config = t.config
	dropEnvironment(text, config.RuntimeParams)
	if err := t.takeKeywords(config.RuntimeParams); err != nil {
		return nil, err
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = defaultTimeout
		t.brief = t.SeveralServers()
	}
	if t.SeveralServers() {
		t.silences = &silences{of: make(map[address]*silence)}
	}
	config.MaxProtocolMessageBodyLen = maxLoginMessage
	return t, nil
}

// With gives the target for one pool: the user applies where the URL names none, the database likewise. Proving adds what
// the user logs in with.
func (t *Target) With(user, database string) *Target {
	effective := *t
	effective.config = t.config.Copy()
	c := effective.config
	c.User = t.UserFor(user)
	if !t.ownUser && !t.ownsPassword {
		c.Password = "" // it was looked up for lockproxy's own user
	}
	if !t.ownDatabase {
		c.Database = database
	}
	return &effective
}

// UserFor is the name that the server sees of a client with this user name: that of the target With gives for it.
func (t *Target) UserFor(user string) string {
	if t.ownUser {
		return t.config.User
	}
	return user
}

// In gives the target with another database than the URL names.
func (t *Target) In(database string) *Target {
	other := *t
	other.config = t.config.Copy()
	other.config.Database, other.ownDatabase = database, true
	return &other
}

// Setting gives the target with a run-time parameter of its sessions, whatever the URL says of it.
func (t *Target) Setting(name, value string) *Target {
	other := *t
	other.config = t.config.Copy()
	other.config.RuntimeParams[name] = value
	return &other
}

// Place tells targets of the same database of the same server from others, whoever connects.
func (t *Target) Place() string {
	at := func(host string, port uint16) string {
		return net.JoinHostPort(host, strconv.Itoa(int(port))) + t.addresses[host]
	}
	place := at(t.config.Host, t.config.Port)
	for _, f := range t.config.Fallbacks {
		place += "," + at(f.Host, f.Port)
	}
	return place + "/" + t.Database()
}

// User is the name that the server sees.
func (t *Target) User() string { return t.config.User }

// Host gives the first server's name or address, or the folder of its socket, and its port.
func (t *Target) Host() (host string, port int) { return t.config.Host, int(t.config.Port) }

// Database is the server's name of the database.
func (t *Target) Database() string { return t.config.Database }

// Password is what User logs in with, if it is known: for a caller whose clients are to know it too.
func (t *Target) Password() string { return t.config.Password }

// SameServer tells whether both are the same server, or the same group of servers, by what the URLs say.
func (t *Target) SameServer(other *Target) bool {
	a, b := t.config, other.config
	same := maps.Equal(t.addresses, other.addresses) && a.Host == b.Host && a.Port == b.Port && len(a.Fallbacks) == len(b.Fallbacks)
	for i := 0; same && i < len(a.Fallbacks); i++ {
		same = a.Fallbacks[i].Host == b.Fallbacks[i].Host && a.Fallbacks[i].Port == b.Fallbacks[i].Port
	}
	return same
}

// Equal tells whether both connect in the same way: to the same servers, as the same user with the same password, with the
// same settings, and trusting the same certificates.
func (t *Target) Equal(other *Target) bool {
	a, b := t.config, other.config
	return t.Place() == other.Place() && a.User == b.User && same(a.Password, b.Password) && a.ConnectTimeout == b.ConnectTimeout &&
		a.SSLNegotiation == b.SSLNegotiation && maps.Equal(a.RuntimeParams, b.RuntimeParams) && t.keepAlive == other.keepAlive && t.userTimeout == other.userTimeout && t.brief == other.brief &&
		(a.ValidateConnect == nil) == (b.ValidateConnect == nil) && t.verifiesName == other.verifiesName &&
		sameTLS(a.TLSConfig, b.TLSConfig) &&
		slices.EqualFunc(a.Fallbacks, b.Fallbacks, func(x, y *pgconn.FallbackConfig) bool { return sameTLS(x.TLSConfig, y.TLSConfig) })
}

func sameTLS(a, b *tls.Config) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ServerName == b.ServerName && a.MinVersion == b.MinVersion && a.MaxVersion == b.MaxVersion && (a.VerifyConnection == nil) == (b.VerifyConnection == nil) && a.RootCAs.Equal(b.RootCAs) &&
		slices.EqualFunc(a.Certificates, b.Certificates, func(x, y tls.Certificate) bool {
			return slices.EqualFunc(x.Certificate, y.Certificate, bytes.Equal)
		})
}

// SeveralServers tells whether the URL names several servers, of which one is to be found that suits.
func (t *Target) SeveralServers() bool {
	for _, f := range t.config.Fallbacks {
		if f.Host != t.config.Host || f.Port != t.config.Port {
			return true
		}
	}
	return false
}

// ForcesUser tells whether the URL names the user, so that it is the same for every client.
func (t *Target) ForcesUser() bool { return t.ownUser }

// ForcesDatabase tells whether the URL names the database, so that it is the same under every name of a client's.
func (t *Target) ForcesDatabase() bool { return t.ownDatabase }

// String gives user, first host and database as a URL without the password, for people.
func (t *Target) String() string {
	u := url.URL{Scheme: "postgres", User: url.User(t.User()), Path: "/" + t.Database()}
	u.Host = net.JoinHostPort(t.config.Host, strconv.Itoa(int(t.config.Port)))
	if strings.HasPrefix(t.config.Host, "/") {
		u.Host = ""
		u.RawQuery = "host=" + t.config.Host + "&port=" + strconv.Itoa(int(t.config.Port))
	}
	return u.String()
}

// libpqKeywords are the keywords that pgconn takes to itself.
var libpqKeywords = []string{
	"host", "port", "database", "user", "password", "passfile", "connect_timeout", "sslmode", "ssl", "sslkey", "sslcert",
	"sslcertmode", "sslrootcert", "sslnegotiation", "sslpassword", "sslsni", "krbspn", "krbsrvname", "target_session_attrs",
	"service", "servicefile", "min_protocol_version", "max_protocol_version", "channel_binding", "require_auth",
}

// names tells whether the connection string itself has the keyword. pgconn does not say where a value came from, but
// it can be told to refuse a keyword in the string alone.
func names(text string, config *pgconn.Config, keyword string) bool {
	allowed := append(slices.Collect(maps.Keys(config.RuntimeParams)), libpqKeywords...)
	allowed = slices.DeleteFunc(allowed, func(k string) bool { return k == keyword })
	_, err := pgconn.ParseConfigWithOptions(text, pgconn.ParseConfigOptions{ConnStringAllowedKeys: allowed})
	return err != nil
}

// environmentUser is the user that libpq takes where nothing names one.
func environmentUser() string {
	if name := os.Getenv("PGUSER"); name != "" {
		return name
	}
	account, err := user.Current()
	if err != nil {
		return ""
	}
	return account.Username
}

// dropEnvironment takes out the settings that libpq adds from the environment: they describe lockproxy's own process,
// and would become every client's.
func dropEnvironment(text string, parameters map[string]string) {
	for name, variable := range map[string]string{
		"application_name": "PGAPPNAME", "timezone": "PGTZ", "options": "PGOPTIONS",
	} {
		if value := os.Getenv(variable); value != "" && parameters[name] == value && !strings.Contains(text, name) {
			delete(parameters, name)
		}
	}
}

// malformed is the error of a string that cannot be taken to pieces.
func malformed(text string) error {
	if _, err := pgconn.ParseConfig(text); err != nil {
		return withoutConnString(text, err)
	}
	return errors.New("connection string: it is malformed")
}

// withoutConnString keeps of pgconn's error what went wrong and leaves out the string. The cause is added only where
// the string could be read as such, so that it is about a file; where it could not, what is right is.
func withoutConnString(connString string, err error) error {
	reason := reasonOf(err)
	cause := errors.Unwrap(err)
	if cause != nil && strings.HasPrefix(reason, "failed to parse") {
		reason = strings.TrimSuffix(reason, " ("+cause.Error()+")") + ": postgres://user:password@host:5432/database is expected"
		if strings.Contains(connString, "://") {
			reason += `, in which a password has %40 for "@", %2F for "/", %25 for "%"`
		}
	}
	return fmt.Errorf("connection string: %s", reason)
}

// reasonOf is what pgconn's error says behind the string.
func reasonOf(err error) string {
	text := err.Error()
	return strings.TrimPrefix(text[strings.LastIndex(text, "`: ")+1:], ": ")
}
