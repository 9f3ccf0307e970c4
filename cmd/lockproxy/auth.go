package main

import (
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/lockproxy/lockproxy/proxy"
)

// auth decides how clients log in. Without a file the one URL that there is decides: its password is asked for, or,
// if it has none, nobody from elsewhere may connect.
func (l *loader) auth() proxy.Auth {
	v := l.values
	if l.path == "" && l.environment(upstreamVariable) != "" {
		return l.authWithoutFile()
	}
	auth := v.auth
	switch auth.Type = proxy.AuthType(v.authType); {
	case auth.Type == proxy.Trust:
		if open := openAddresses(v.server.Listen); len(open) > 0 {
			l.warn("auth.type", fmt.Sprintf("\"trust\" lets everybody in who can reach %s", strings.Join(open, ", ")))
		}
	case auth.Type == proxy.HBA && auth.HBAFile == "":
		l.problem("auth.hba_file", "is missing: auth.type = \"hba\" needs it")
	case auth.Type == proxy.Cert && (v.tlsMode == "disable" || v.server.TLS.Authorities == ""):
		l.problem("auth.type", "\"cert\" needs TLS that looks at certificates: set tls.mode and tls.ca")
	case auth.Type == proxy.SCRAM || auth.Type == proxy.MD5 || auth.Type == proxy.Password:
		if auth.File == "" && auth.Query == "" {
			l.needPasswords()
		}
	}
	l.checkQuery(&auth)
	if auth.HBAFile != "" && auth.Type != proxy.HBA {
		l.problem("auth.hba_file", "is not read: set auth.type = \"hba\"")
	}
	return auth
}

// checkQuery finds an auth.query that cannot work and settings of it that say nothing. What it leads to, the server finds out.
func (l *loader) checkQuery(auth *proxy.Auth) {
	if auth.Query != "" && !strings.Contains(auth.Query, "$1") {
		l.problem("auth.query", "does not ask for a user: $1 stands for the name, as in WHERE usename = $1")
	}
	if auth.QueryURL == "" {
		return
	}
	if err := checkURL(auth.QueryURL); err != nil {
		l.problem("auth.query_url", err.Error())
	}
	if auth.Query == "" {
		l.problem("auth.query_url", "is not used without auth.query")
	}
}

func (l *loader) authWithoutFile() proxy.Auth {
	v := l.values
	if hasPassword(v.databases[proxy.AnyDatabase].url) {
		return proxy.Auth{Type: proxy.SCRAM}
	}
	if open := openAddresses(v.server.Listen); len(open) > 0 {
		l.problem("server.listen", fmt.Sprintf("%s has no password, so everybody who can reach %s could log in: put one into "+
			"it, listen on 127.0.0.1 or a unix socket only, or write a configuration file with auth.type = \"trust\"",
			upstreamVariable, strings.Join(open, ", ")))
	}
	return proxy.Auth{Type: proxy.Trust}
}

// needPasswords checks that every database has the user and password that its clients are to log in with.
func (l *loader) needPasswords() {
	for _, name := range slices.Sorted(maps.Keys(l.values.databases)) {
		url := l.values.databases[name].url
		if url != "" && checkURL(url) == nil && !hasPassword(url) {
			l.problem(toml.Key{"databases", name, "url"}.String(), "has no user and password for clients to log in with: add "+
				"them, name a list of users in auth.file, or set auth.type = \"trust\"")
		}
	}
}

// openAddresses are those of the addresses that other machines may reach.
func openAddresses(listen []string) []string {
	return slices.DeleteFunc(slices.Clone(listen), isLocal)
}

func isLocal(address string) bool {
	if filepath.IsAbs(address) {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	return err != nil || host == "localhost" || net.ParseIP(host).IsLoopback() // A malformed address is told elsewhere.
}
