package main

import (
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
