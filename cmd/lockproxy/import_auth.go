package main

import (
	"net/url"
	"slices"
	"strings"
)

// auth takes how clients log in.
func (t *translation) auth(s iniSetting) {
	kind := strings.ToLower(s.value)
	switch kind {
	case "trust", "md5", "scram-sha-256", "cert", "hba":
		t.set("auth", "type", kind, s.from())
	case "plain":
		t.set("auth", "type", "md5", s.from())
		t.note(s.iniEntry, s.key, "clients send a proof of their password and not the password")
	case "any", "ldap", "pam":
		t.wrong(s.iniEntry, "auth_type = %s is not supported", kind)
		return
	default:
		t.wrong(s.iniEntry, "auth_type must be one of trust, md5, scram-sha-256, cert, hba")
		return
	}
	file, user := t.main["auth_file"], t.main["auth_user"]
	if file.value != "" {
		t.set("auth", "file", file.value, file.key)
	}
	if file.value == "" && user.value == "" && kind != "trust" && kind != "hba" {
		t.wrong(s.iniEntry, "there is neither auth_file nor auth_user, so nobody could log in")
	}
	for _, from := range []string{"auth_hba_file", "auth_ident_file"} {
		to := strings.TrimPrefix(from, "auth_")
		if one := t.main[from]; one.value != "" && kind == "hba" {
			t.set("auth", to, one.value, from)
		} else if one.value != "" {
			t.note(one.iniEntry, from, "it counts with auth_type = hba alone")
		}
	}
}

// clientTLS takes TLS towards clients.
func (t *translation) clientTLS(s iniSetting) {
	mode := strings.ToLower(s.value)
	if !slices.Contains(sslModes, mode) {
		t.wrong(s.iniEntry, "client_tls_sslmode must be one of %s", strings.Join(sslModes, ", "))
	}
	if mode == "prefer" { // To a server it is the client that prefers.
		mode = "allow"
	}
	if s.given {
		t.set("tls", "mode", mode, s.key)
	}
	for _, one := range [][2]string{{"client_tls_cert_file", "cert"}, {"client_tls_key_file", "key"}, {"client_tls_ca_file", "ca"}} {
		file := t.main[one[0]]
		switch {
		case file.value == "":
		case mode == "disable":
			t.note(file.iniEntry, file.key, "client_tls_sslmode is disable")
		default:
			t.set("tls", one[1], file.value, file.key)
		}
	}
}

// defaultAuthQuery is PgBouncer's.
const defaultAuthQuery = "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid WHERE " +
	"rolname=$1 AND rolcanlogin"

// authQuery takes the server that is asked for users. PgBouncer asks, as auth_user, the database that the client wants, or
// auth_dbname there; here one connection asks for all, so that the databases must have one server.
func (t *translation) authQuery(servers []string) {
	user := t.main["auth_user"]
	if user.value == "" {
		return
	}
	query := t.main["auth_query"]
	if query.value == "" {
		query.value = defaultAuthQuery
	}
	if slices.Sort(servers); len(slices.Compact(servers)) != 1 {
		t.note(user.iniEntry, user.key, "the databases have several servers, of which one must be named in auth.query_url")
		return
	}
	name := t.main["auth_dbname"].value
	if name == "" {
		name = "postgres"
	}
	at, err := url.Parse(servers[0])
	if err != nil {
		return // It is of our own making.
	}
	at.User, at.Path = url.User(user.value), "/"+name
	t.set("auth", "query", query.value, query.from())
	t.set("auth", "query_url", at.String(), user.from())
	t.note(user.iniEntry, user.key, "PgBouncer has the password of "+user.value+" from auth_file; auth.query_url needs it, or a passfile")
}

// sslModes are those of libpq and of PgBouncer.
var sslModes = []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}

// serverTLS takes TLS towards servers. With PgBouncer a certificate authority counts only where the mode verifies; with libpq
// it makes require verify as well. Where none is named PgBouncer trusts the system's, which libpq does for verify-full alone.
func (t *translation) serverTLS(s iniSetting) {
	mode := strings.ToLower(s.value)
	if !slices.Contains(sslModes, mode) {
		t.wrong(s.iniEntry, "server_tls_sslmode must be one of %s", strings.Join(sslModes, ", "))
	}
	if strings.HasPrefix(mode, "verify-") && t.main["server_tls_ca_file"].value == "" {
		if mode == "verify-ca" {
			mode = "verify-full"
			t.note(s.iniEntry, "server_tls_sslmode", "it is verify-full here: the system's authorities sign for anybody, under some name")
		}
		t.overTCP.Set("sslrootcert", "system")
	}
	if s.given {
		t.overTCP.Set("sslmode", mode)
	}
	for key, parameter := range map[string]string{"server_tls_ca_file": "sslrootcert", "server_tls_cert_file": "sslcert",
		"server_tls_key_file": "sslkey"} {
		if file := t.main[key]; file.value == "" {
			continue
		} else if key == "server_tls_ca_file" && !strings.HasPrefix(mode, "verify-") {
			t.note(file.iniEntry, key, "it counts with verify-ca and verify-full alone")
		} else {
			t.overTCP.Set(parameter, file.value)
		}
	}
}
