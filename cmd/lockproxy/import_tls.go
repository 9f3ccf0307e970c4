package main

import (
	"fmt"
	"slices"
	"strings"
)

// sslModes are those of libpq and of PgBouncer.
var sslModes = []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}

// clientTLS takes TLS towards clients.
func (t *translation) clientTLS(s iniSetting) {
	mode := strings.ToLower(s.value)
	if !slices.Contains(sslModes, mode) {
		t.wrong(s.iniEntry, "client_tls_sslmode must be one of %s", strings.Join(sslModes, ", "))
		return
	}
	t.needClientFiles(s, mode)
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

// needClientFiles finds what PgBouncer does not begin without (sbuf_tls_setup in its sbuf.c).
func (t *translation) needClientFiles(s iniSetting, mode string) {
	if kind := t.main["auth_type"]; strings.ToLower(kind.value) == "cert" && mode != "verify-full" {
		t.wrong(kind.iniEntry, "auth_type = cert needs client_tls_sslmode = verify-full")
	}
	if mode != "disable" && (t.main["client_tls_cert_file"].value == "" || t.main["client_tls_key_file"].value == "") {
		t.wrong(s.iniEntry, "client_tls_sslmode = %s needs client_tls_cert_file and client_tls_key_file", mode)
	}
	if strings.HasPrefix(mode, "verify-") && t.main["client_tls_ca_file"].value == "" {
		t.wrong(s.iniEntry, "client_tls_sslmode = %s needs client_tls_ca_file, the authorities of the clients' certificates", mode)
	}
}

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
	t.serverProtocols(mode)
	cert, key := t.main["server_tls_cert_file"], t.main["server_tls_key_file"]
	if mode != "disable" && (cert.value == "") != (key.value == "") {
		for _, given := range []iniSetting{cert, key} {
			if given.value != "" {
				t.wrong(given.iniEntry, "of server_tls_cert_file and server_tls_key_file one needs the other")
			}
		}
	}
	for _, one := range [][2]string{{"server_tls_ca_file", "sslrootcert"}, {cert.key, "sslcert"}, {key.key, "sslkey"}} {
		file := t.main[one[0]]
		switch {
		case file.value == "":
		case mode == "disable":
			t.note(file.iniEntry, file.key, "server_tls_sslmode is disable")
		case file.key == "server_tls_ca_file" && !strings.HasPrefix(mode, "verify-"):
			t.note(file.iniEntry, file.key, "it counts with verify-ca and verify-full alone")
		default:
			t.overTCP.Set(one[1], file.value)
		}
	}
}

// serverProtocols takes the versions of TLS towards servers, of which 1.2 and 1.3 are spoken here.
func (t *translation) serverProtocols(mode string) {
	s := t.main["server_tls_protocols"]
	versions, err := tlsProtocols(s.value)
	switch {
	case err != "":
		t.wrong(s.iniEntry, "%s: %s", s.key, err)
	case mode == "disable":
	case !versions["tlsv1.2"] && !versions["tlsv1.3"]:
		t.wrong(s.iniEntry, "%s = %s is not supported: TLS is 1.2 or 1.3", s.key, s.value)
	case !versions["tlsv1.2"]:
		t.overTCP.Set("ssl_min_protocol_version", "TLSv1.3")
	case !versions["tlsv1.3"]:
		t.overTCP.Set("ssl_max_protocol_version", "TLSv1.2")
	}
	if versions["tlsv1.0"] || versions["tlsv1.1"] {
		t.note(s.iniEntry, s.key, "TLS is 1.2 or 1.3")
	}
}

// tlsProtocols reads a list of versions of TLS (tls_config_parse_protocols in lib/usual/tls/tls_config.c of PgBouncer's): one
// behind an exclamation mark is taken away, from all of them if it stands first.
func tlsProtocols(list string) (versions map[string]bool, wrong string) {
	versions = map[string]bool{}
	set := func(names []string, value bool) {
		for _, name := range names {
			versions[name] = value
		}
	}
	secure := []string{"tlsv1.2", "tlsv1.3"}
	all := append([]string{"tlsv1.0", "tlsv1.1"}, secure...)
	if list == "" { // PgBouncer takes those of its library then.
		list = "secure"
	}
	for i, word := range strings.FieldsFunc(list, func(c rune) bool { return c == ',' || c == ':' }) {
		name, without := strings.CutPrefix(strings.ToLower(strings.TrimSpace(word)), "!")
		if without && i == 0 {
			set(all, true)
		}
		switch {
		case name == "all" || name == "legacy" || name == "tlsv1":
			set(all, !without)
		case name == "secure" || name == "default":
			set(secure, !without)
		case slices.Contains(all, name):
			versions[name] = !without
		default:
			return nil, fmt.Sprintf("%q is no version of TLS", word)
		}
	}
	return versions, ""
}
