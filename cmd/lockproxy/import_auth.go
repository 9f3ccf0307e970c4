package main

import "strings"

// auth takes how clients log in. Whether anybody can is seen when the databases are known, in authQuery.
func (t *translation) auth(s iniSetting) {
	kind := strings.ToLower(s.value)
	switch kind {
	case "trust", "md5", "scram-sha-256", "cert", "hba":
		t.set("auth", "type", kind, s.from())
	case "plain":
		t.set("auth", "type", "password", s.from())
	case "any", "ldap", "pam":
		t.wrong(s.iniEntry, "auth_type = %s is not supported", kind)
		return
	default:
		t.wrong(s.iniEntry, "auth_type must be one of trust, md5, scram-sha-256, cert, hba")
		return
	}
	if why := letsInMore[kind]; why != "" {
		t.warn(s.iniEntry, s.key, why)
	}
	if file := t.main["auth_file"]; file.value != "" {
		t.set("auth", "file", file.value, file.key)
	}
	t.hba(s, kind)
}

// letsInMore says of the ways to log in by which PgBouncer asks auth_file for the name, if for nothing else, whom lockproxy
// lets in besides (finish_set_pool in PgBouncer's client.c).
var letsInMore = map[string]string{
	"trust": "PgBouncer lets in only the names that auth_file or auth_query knows, lockproxy whoever can connect, under any " +
		"name. To go on as before set type = \"hba\" and hba_file to a file that has the names: \"host all app,report all trust\", " +
		"and \"local all app,report trust\" for unix sockets",
	"cert": "PgBouncer lets in only the names that auth_file or auth_query knows, lockproxy whoever has a certificate for the name",
	"hba": "by rules with trust, peer or cert PgBouncer lets in only the names that auth_file or auth_query knows, lockproxy " +
		"whomever the rule fits: give such rules the names, in the place of \"all\"",
}

// hba takes the files of rules and maps.
func (t *translation) hba(s iniSetting, kind string) {
	rules := t.main["auth_hba_file"]
	if kind == "hba" && rules.value == "" {
		t.wrong(s.iniEntry, "auth_type = hba needs auth_hba_file")
	}
	for _, file := range []iniSetting{rules, t.main["auth_ident_file"]} {
		switch {
		case file.value == "":
		case kind == "hba":
			t.set("auth", strings.TrimPrefix(file.key, "auth_"), file.value, file.key)
		default:
			t.note(file.iniEntry, file.key, "it counts with auth_type = hba alone")
		}
	}
}
