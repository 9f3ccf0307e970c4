// Package proxy is the server: it accepts clients, logs them in, and wires their sessions to links and pools.
package proxy

import (
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/lockproxy/lockproxy/pools"
	"github.com/lockproxy/lockproxy/proxy/console"
	"github.com/lockproxy/lockproxy/proxy/session"
)

// AnyDatabase is the name in Config.Databases that stands for every name not in it.
const AnyDatabase = "*"

// Timeouts bound how long a client may take; 0: no bound.
type Timeouts = session.Timeouts

// Config is everything that a server is told. Whoever fills it in has checked it: every limit is positive and every URL
// can be parsed. New does not change it, nor may its owner afterwards.
type Config struct {
	// Listen holds TCP addresses (host:port) and unix socket folders (absolute paths).
	Listen []string
	// UnixSocketMode is the mode of the sockets in those folders.
	UnixSocketMode os.FileMode
	// ReusePort lets another process of the same user listen at the same TCP addresses: a new lockproxy, before this one ends.
	// It takes over the names of unix sockets.
	ReusePort bool
	// ProxyProtocol holds the addresses whose connections begin with a header of the PROXY protocol, version 2: load
	// balancers, which say in it whom they speak for.
	ProxyProtocol []netip.Prefix
	// MaxClients bounds the clients connected at one time.
	MaxClients int
	// MaxBackends bounds the backends of all pools of one PostgreSQL server.
	MaxBackends Shares
	// Timeouts bound how long clients may take, apart from those of Users with their own.
	Timeouts Timeouts
	// MaxClientsPerAddress bounds the connections from one address, those that are logging in included; 0: no bound.
	MaxClientsPerAddress int
	// MaxClientsPerUser bounds the clients of each user that Users says nothing about; 0: no bound.
	MaxClientsPerUser int
	// LoginTimeout bounds the time from accept to the end of authentication.
	LoginTimeout time.Duration
	// KeepAlive is after how long a silent client is asked whether it is still there, and how often then; 0: never.
	KeepAlive time.Duration
	// ShutdownTimeout is how long sessions may go on with their transactions after the server was told to end.
	ShutdownTimeout time.Duration
	// WaitNotice is how long a client waits for a backend, or for an advisory lock, until a notice tells it for what; 0: it
	// is never told.
	WaitNotice time.Duration
	// MaxBuffer bounds, in bytes, what is kept for one socket that does not take it.
	MaxBuffer int
	// MaxStatement bounds, in bytes, the text of one statement.
	MaxStatement int
	// MaxPrepared bounds the statements kept prepared on one server connection.
	MaxPrepared int
	// PoolIdleTimeout is how long the pools of a database and user are remembered that nobody uses.
	PoolIdleTimeout time.Duration
	// Instances is how many lockproxy processes share the PostgreSQL server; only sizing advice depends on it.
	Instances int
	// Auth says how clients prove who they are.
	Auth Auth
	// TLS is spoken with clients that come by TCP.
	TLS TLS
	// Databases is what clients can connect to, by the name that they give; AnyDatabase takes every other name.
	Databases map[string]Database
	// Users is what is different for some users, by the names that they log in with.
	Users map[string]User
	// Version is what the console says that this is.
	Version string
	// Settings are all settings as the console shows them: without anything secret.
	Settings []Setting
	// Console says who may use the console, which is a database of its own (IsConsole).
	Console Console
	// HTTPListen is a TCP address at which metrics and the state of health are served; "" is none.
	HTTPListen string
	// PgBouncerMetrics adds the metrics of pgbouncer_exporter.
	PgBouncerMetrics bool
	// StatsPeriod is what the console's averages are taken over.
	StatsPeriod time.Duration
	// Links is how sockets are served. Every way does the same: the others are for comparisons, and for tests.
	Links Links
}

// Links is a way to serve sockets.
type Links int

const (
	// Loops are event loops, as many as the work needs, with io_uring where the system lets us use it. Where there are none,
	// as on other systems than Linux, and for TLS towards servers, it is Goroutines.
	Loops Links = iota
	// SpreadLoops are as many event loops as there are processors, whatever the work.
	SpreadLoops
	// CallingLoops are event loops without io_uring.
	CallingLoops
	// Goroutines is one that reads for each socket, and one that writes where it must wait.
	Goroutines

	// WaysToLink is how many there are.
	WaysToLink
)

// AuthType is how clients prove who they are, by its name in the configuration file.
type AuthType string

const (
	// SCRAM is SCRAM-SHA-256 (RFC 7677), as in PostgreSQL. It is what the zero AuthType means as well.
	SCRAM AuthType = "scram-sha-256"
	// MD5 is PostgreSQL's older method; users whose secret is a SCRAM verifier are asked by SCRAM all the same.
	MD5 AuthType = "md5"
	// Password asks for the password itself, which TLS should hide.
	Password AuthType = "password"
	// Cert is the certificate of a TLS connection, whose name is the user's.
	Cert AuthType = "cert"
	// HBA has a file in the format of pg_hba.conf decide.
	HBA AuthType = "hba"
	// Trust believes every client.
	Trust AuthType = "trust"
)

// Auth says how clients prove who they are.
type Auth struct {
	Type AuthType
	// File is the path of a list of users and secrets in the format of PgBouncer's userlist.txt. Without one, and without
	// Query, the clients of a database log in with the user and the password of its URL.
	File string
	// Query asks a server for a user's name and secret, where File does not have it; its one parameter is the name. Like
	// PgBouncer's auth_query.
	Query string
	// QueryURL is where Query is asked; empty: where the database's own URL leads to.
	QueryURL string
	// QueryCache is how long an answer counts, also that there is no such user.
	QueryCache time.Duration
	// MaxFailures is how often in a minute clients of one address may fail to prove who they are; 0: there is no bound.
	MaxFailures int
	// HBAFile is the path of the file for HBA, IdentFile that of the maps of names, in the format of pg_ident.conf.
	HBAFile, IdentFile string
}

// TLS says how clients that come by TCP are spoken to. The files are read again when they have changed.
type TLS struct {
	Mode TLSMode
	// Certificate and Key are PEM files: the certificate with those that lead to its authority, and its private key.
	Certificate, Key string
	// Authorities is a PEM file of certificates, by one of which those that clients show must be signed.
	Authorities string
}

// TLSMode is what is demanded of clients. Each includes what those before it demand, from AllowTLS on.
type TLSMode int

const (
	// NoTLS refuses TLS.
	NoTLS TLSMode = iota
	// AllowTLS leaves it to the client.
	AllowTLS
	// RequireTLS demands it.
	RequireTLS
	// VerifyCA demands a certificate that one of the authorities has signed.
	VerifyCA
	// VerifyFull demands that the common name of the certificate is the user's.
	VerifyFull
)

// TLSModes are the names of the modes in the configuration file, which are those of PgBouncer's client_tls_sslmode.
var TLSModes = []string{"disable", "allow", "require", "verify-ca", "verify-full"}

// Setting is a setting as the console shows it.
type Setting = console.Setting

// Console says who may use the console.
type Console struct {
	Admins []string // may look and control
	Guests []string // may look
}

// Database is one database as clients see it, and the two pools that every user of it gets.
type Database struct {
	// URL is a libpq connection URL or keyword string. What it does not name (user, database) comes from the client.
	URL string
	// SessionMode gives each client one backend of the admin pool for its life.
	SessionMode bool
	// MaxClients bounds the clients of the database, by the name that they gave; 0: no bound but Config's.
	MaxClients int
	// Admin and Lock are the limits of the two pools, for each user.
	Admin, Lock pools.Config
	// LockTimeout bounds the wait for an advisory lock inside PostgreSQL; 0 means no bound.
	LockTimeout time.Duration
	// IdleTransactionTimeout is how long a transaction on a backend of the lock pool may stay idle; 0 means no bound.
	IdleTransactionTimeout time.Duration
	// Functions are functions of the user's, with or without their schema, that take advisory locks.
	Functions []string
	// Own are the names of what the database sets for itself in the file, by the names of what that is in place of
	// ("pools.lock.max"): for errors that say what to change.
	Own map[string]string
}

// advise puts the names of settings that count for the database in place of those that would for others.
func (d *Database) advise(hint string) string {
	for shared, own := range d.Own {
		before, after, found := strings.Cut(hint, shared)
		if !found || strings.HasPrefix(after, "_") {
			continue
		}
		if strings.HasPrefix(after, " (DATABASE_") { // nor does the variable count
			_, after, _ = strings.Cut(after, ")")
		}
		hint = before + own + after
	}
	return hint
}

// User is what is different for one user; zero fields are as for all.
type User struct {
	// MaxClients bounds the user's clients, in place of MaxClientsPerUser.
	MaxClients int
	// Timeouts are for the user's clients, each in place of that for all.
	Timeouts Timeouts
}

// SettingError is about a setting that cannot be used, by its name in the file.
type SettingError struct {
	Setting string
	Err     error // never with a secret
}

func (e *SettingError) Error() string { return e.Setting + ": " + e.Err.Error() }
func (e *SettingError) Unwrap() error { return e.Err }

// inSetting says that an error is about a setting; nil is none.
func inSetting(setting string, err error) error {
	if err == nil {
		return nil
	}
	return &SettingError{setting, err}
}
