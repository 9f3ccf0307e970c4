package login

import (
	"crypto/x509"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockproxy/lockproxy/test/authority"
)

// from is a caller over TCP.
func from(address, user, database string) caller {
	return caller{address: netip.MustParseAddr(address), user: user, database: database}
}

func local(user, database string) caller { return caller{user: user, database: database} }

func encrypted(c caller) caller {
	c.encrypted = true
	return c
}

func physical(c caller) caller {
	c.physical = true
	return c
}

func TestTheFirstRuleThatFitsCounts(t *testing.T) {
	rs := rules(t, `
# TYPE  DATABASE  USER  ADDRESS  METHOD
local     all       root                           peer
local     "all"     all                            trust
host      all       guest        all               reject
hostssl   a,b       all          10.0.0.0/8        scram-sha-256 # over TLS
hostnossl a,"b c"   all          10.0.0.0/8        md5
host      sameuser  all          samehost          trust
host      all       alice,bob    192.168.1.7 255.255.0.0  md5
host      /^t[0-9]+$ "/^x.*a,b$" fd00::/8          reject
host      "/^q "    /^x          fd00::/8          trust
host      all       /^x          fd00::/8          md5
host      all       "+x","@x"    fd00::/8          scram-sha-256
host      "samerole","samegroup" all fd00::/8      trust
host      replication rep        172.16.0.1/32     md5
hostnogssenc "replication" rep   172.16.0.1/32     trust
host      "sameuser" \
          all  10.9.9.9/32       trust
`)
	for _, c := range []struct {
		name string
		who  caller
		want Method // empty: none fits
	}{
		{"a unix socket", local("root", "x"), OSUser},
		{"of another user", local("bob", "x"), ""},
		{`"all" in quotes is a database`, local("bob", "all"), Trust},
		{"a method of refusal", from("10.1.2.3", "guest", "a"), Reject},
		{"TLS", encrypted(from("10.1.2.3", "bob", "b")), SCRAM},
		{"no TLS", from("10.1.2.3", "bob", "a"), MD5},
		{"no TLS, a database for TLS", from("10.1.2.3", "bob", "b"), ""},
		{"TLS, a database for none", encrypted(from("10.1.2.3", "bob", "b c")), ""},
		{"a name with a space", from("10.1.2.3", "bob", "b c"), MD5},
		{"outside of the network", from("11.1.2.3", "bob", "a"), ""},
		{"the user's own database, from here", from("127.0.0.1", "bob", "bob"), Trust},
		{"another database", from("127.0.0.1", "bob", "alice"), ""},
		{"a mask in a field of its own", from("192.168.255.255", "alice", "a"), MD5},
		{"another user", from("192.168.255.255", "carol", "a"), ""},
		{"outside of the mask", from("192.169.0.1", "alice", "a"), ""},
		{"a regular expression in quotes", from("fd00::1", "x a,b", "t12"), Reject},
		{"for a database", from("fd00::1", "xavier", "q r"), Trust},
		{"that is no name", from("fd00::1", "/^x.*a,b$", "t12"), ""},
		{"a regular expression", from("fd00::1", "xavier", "t12"), MD5},
		{"that does not match", from("fd00::1", "y", "t12"), ""},
		{"what stands for members is a name in quotes", from("fd00::1", "+x", "t"), SCRAM},
		{"and so is what names a file", from("fd00::1", "@x", "t"), SCRAM},
		{"and a keyword for members", from("fd00::1", "y", "samegroup"), Trust},
		{"a database that is called replication", from("172.16.0.1", "rep", "replication"), Trust},
		{"replication of a server", physical(from("172.16.0.1", "rep", "rep")), MD5},
		{"all is not replication", physical(from("192.168.255.255", "alice", "a")), ""},
		{"a continued line", from("10.9.9.9", "x", "sameuser"), Trust},
		{"whose keyword is in quotes", from("10.9.9.9", "x", "x"), ""},
	} {
		var got Method
		if r := rs.find(c.who); r != nil {
			got = r.Method
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// A socket that takes both kinds of addresses gives IPv4's within IPv6's.
func TestIPv4AddressesAreKnownWithinIPv6(t *testing.T) {
	v := visit{door: &Door{Salts: testSalts, Rules: rules(t, "host all all 10.0.0.0/8 trust")}, who: Peer{Address: netip.MustParseAddr("::ffff:10.0.0.1")}}
	if v.door.Rules.find(v.caller("")) == nil {
		t.Error("the address is not known again")
	}
}

func TestSamenetIsANetworkOfThisMachine(t *testing.T) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	rs := rules(t, "host all all samenet trust")
	for _, a := range addresses {
		address := netip.MustParsePrefix(a.String()).Addr()
		if rs.find(caller{address: address}) == nil {
			t.Errorf("%v is not in samenet", a)
		}
	}
	if rs.find(from("127.9.9.9", "u", "d")) == nil || rs.find(from("203.0.113.1", "u", "d")) != nil {
		t.Error("samenet is something else than the networks of this machine")
	}
	if rules(t, "host all all samehost trust").find(from("127.9.9.9", "u", "d")) != nil {
		t.Error("samehost is a network")
	}
}

func TestBrokenRulesNameFileAndLine(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"remote all all all trust", `invalid connection type "remote": must be "local", "host"`},
		{"local,host all all trust", "multiple values specified for connection type"},
		{"hostgssenc all all all trust", "GSSAPI encryption is not supported"},
		{"local", "end of line before database specification"},
		{"local all", "end of line before role specification"},
		{"local all all", "end of line before authentication method"},
		{"host all all", "end of line before IP address specification"},
		{"host all all 10.0.0.1", "end of line before netmask specification: write 10.0.0.1/32"},
		{"host all all 10.0.0.0/33 trust", `invalid CIDR mask in address "10.0.0.0/33"`},
		{"host all all 10.0.0.0/x trust", "invalid CIDR mask"},
		{"host all all 10.0.0.1 ::1 trust", "IP address and mask do not match"},
		{"host all all 10.0.0.1 md5 trust", `invalid IP mask "md5": write 10.0.0.1/32 for this address alone`},
		{"host all all 10.0.0.1 255.0.255.0 trust", "are not contiguous"},
		{"host all all md5", `"md5" is no IP address, and there is no method behind it: write "all" before the method`},
		{"host all all example.com trust", "host names are not supported"},
		{"host all all .example.com trust", "host names are not supported"},
		{"host all all fe80::1%lo/64 trust", "invalid IP address"},
		{"host all all 10.0.0.1/8,10.0.0.2/8 trust", "multiple values specified for host address"},
		{"host all all 10.0.0.1/8 trust,md5", "multiple values specified for authentication method"},
		{"host all +admins all md5", `"+admins" asks for a role's members`},
		{"host samerole all all md5", `"samerole" asks for a role's members`},
		{"host samegroup all all md5", "asks for a role's members"},
		{"host /( all all md5", `invalid regular expression "/("`},
		{"host all /( all md5", "invalid regular expression"},
		{`host "/(" all all md5`, `invalid regular expression "/("`},
		{`host all a,"/(b, c" all md5`, `invalid regular expression "/(b, c"`},
		{"host all all all ldap ldapserver=x", `"ldap" authentication is not supported`},
		{"host all all all pam", `"pam" authentication is not supported: use "trust", "reject", "md5"`},
		{"host all all all ident", `"ident" authentication is not supported`},
		{"host all all all magic", `invalid authentication method "magic": must be "trust", "reject", "md5"`},
		{"host all all all peer", "peer authentication is only supported on local sockets"},
		{"host all all all cert", "cert authentication is only supported on hostssl connections"},
		{"local all all cert", "cert authentication is only supported on hostssl connections"},
		{"host all all all md5 clientcert=verify-ca", `clientcert can only be configured for "hostssl" rows`},
		{"hostssl all all all md5 clientcert=1", `invalid value for clientcert: "1"`},
		{"hostssl all all all cert clientcert=verify-ca", `clientcert only accepts "verify-full"`},
		{"hostssl all all all cert clientname=DN", "clientname=DN is not supported"},
		{"host all all all md5 map=x", `"map" is only valid for`},
		{"host all all all md5 x", "authentication option not in name=value format"},
		{"host all all all md5 x=y", `unrecognized authentication option name: "x"`},
		{"include missing.conf", "no such file"},
		{"include_dir missing", "no such file"},
		{"host @missing all all md5", "no such file"},
	} {
		path := written(t, "pg_hba.conf", "# a comment\nlocal all all \\\n trust\n"+c.line+"\n")
		_, err := ReadRules(path)
		if err == nil || !strings.HasPrefix(err.Error(), path+":4: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.line, err)
		}
	}
	if _, err := ReadRules(written(t, "pg_hba.conf", "# nothing\n")); err == nil || !strings.Contains(err.Error(), "nobody could connect") {
		t.Errorf("an empty file: %v", err)
	}
}

func TestRulesIncludeFiles(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("pg_hba.conf", "include more.conf\ninclude_if_exists nowhere.conf\ninclude_dir many\nlocal @databases \"@literal\",x trust\n")
	write("more.conf", "local more all trust\n")
	write("many/b.conf", "local many all trust\n")
	write("many/a.conf", "local many all reject\n")
	write("many/.hidden.conf", "broken\n")
	write("many/other", "broken\n")
	write("databases", "one, two # a comment\n@deeper\n")
	write("deeper", "three\n")
	rs, err := ReadRules(filepath.Join(folder, "pg_hba.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		user, database string
		want           Method
	}{
		{"u", "more", Trust}, {"u", "many", Reject}, {"x", "one", Trust}, {"x", "two", Trust}, {"x", "three", Trust},
		{"@literal", "three", Trust}, {"u", "three", ""}, {"x", "four", ""},
	} {
		var got Method
		if r := rs.find(local(c.user, c.database)); r != nil {
			got = r.Method
		}
		if got != c.want {
			t.Errorf("%s of %s: got %q, want %q", c.user, c.database, got, c.want)
		}
	}

	write("pg_hba.conf", "include pg_hba.conf\n")
	if _, err := ReadRules(filepath.Join(folder, "pg_hba.conf")); err == nil || !strings.Contains(err.Error(), "include one another") {
		t.Errorf("a file that includes itself: %v", err)
	}
	write("more.conf", "local all all trust\nbroken\n")
	write("pg_hba.conf", "\ninclude more.conf\n")
	if _, err := ReadRules(filepath.Join(folder, "pg_hba.conf")); err == nil || !strings.Contains(err.Error(), "more.conf:2: ") {
		t.Errorf("an error in an included file: %v", err)
	}
}

// PostgreSQL's own words, by which people find out.
func TestWhoMayNotComeInIsToldSoAsByPostgres(t *testing.T) {
	rs := "local all locals trust\nlocal all bad reject\nhost all,replication bad all reject\n"
	for _, c := range []struct {
		name string
		who  Peer
		pack []byte
		want string
	}{
		{"nothing fits", Peer{}, startup("user", "u", "database", "d"),
			`no pg_hba.conf entry for host "[local]", user "u", database "d", no encryption`},
		{"from elsewhere", Peer{Address: netip.MustParseAddr("192.0.2.1")}, startup("user", "u", "database", "d"),
			`no pg_hba.conf entry for host "192.0.2.1", user "u", database "d", no encryption`},
		{"refused", Peer{}, startup("user", "bad", "database", "d"),
			`pg_hba.conf rejects connection for host "[local]", user "bad", database "d", no encryption`},
		{"replication", Peer{Address: netip.MustParseAddr("::1")}, startup("user", "u", "replication", "on"),
			`no pg_hba.conf entry for replication connection from host "::1", user "u", no encryption`},
		{"replication refused", Peer{Address: netip.MustParseAddr("::1")}, startup("user", "bad", "replication", "on"),
			`pg_hba.conf rejects replication connection for host "::1", user "bad", no encryption`},
		{"replication of a database", Peer{}, startup("user", "u", "database", "d", "replication", "database"),
			`no pg_hba.conf entry for host "[local]", user "u", database "d", no encryption`},
	} {
		p := visitorAs(t, &Door{Salts: testSalts, Rules: rules(t, rs), Secret: Userlist{}.find}, c.who)
		p.send(c.pack)
		p.wantFatal(c.name, "28000", c.want)
	}
}

func TestCertificatesAreOfferedByTLSAlone(t *testing.T) {
	d := door(t)
	d.Rules = rules(t, `hostssl all mapped all cert map=m
hostssl all alice all scram-sha-256 clientcert=verify-full
hostssl all signed all trust clientcert=verify-ca
hostssl all all all cert`)
	d.Maps = mapsOf(t, `m /^(.*)@example\.com$ \1`)
	a := authority.New()
	named := func(names ...string) *x509.Certificate { return a.IssueTo(names...).Leaf }
	for i, c := range []struct {
		user   string
		theirs *x509.Certificate
		want   string
	}{
		{"carol", named("carol"), ""},
		{"carol", named("bob"), `certificate authentication failed for user "carol"`},
		{"carol", named(""), `certificate authentication failed for user "carol"`},
		{"carol", named(), `certificate authentication failed for user "carol"`},
		{"carol", named("carol", "bob"), ""},
		{"carol", named("bob", "carol"), `certificate authentication failed for user "carol"`},
		{"carol", named("", "carol"), `certificate authentication failed for user "carol"`},
		{"carol", nil, "connection requires a valid client certificate"},
		{"mapped", named("mapped@example.com"), ""},
		{"mapped", named("mapped"), `certificate authentication failed for user "mapped"`},
		{"signed", named("anybody"), ""},
		{"signed", nil, "connection requires a valid client certificate"},
		{"alice", nil, "connection requires a valid client certificate"},
	} {
		v := &visit{door: d, peer: &post{}, who: Peer{Address: netip.MustParseAddr("192.0.2.1")}, encryption: &Encryption{Theirs: c.theirs}}
		v.startup.User, v.startup.Database = c.user, "d"
		_, err := v.authenticate("")
		switch {
		case err == nil && c.want != "", err != nil && !strings.Contains(err.Error(), c.want), err != nil && c.want == "":
			t.Errorf("%s, case %d: %v", c.user, i, err)
		}
	}
}

func TestPeersAreBelievedToBeWhoTheSystemSays(t *testing.T) {
	d := &Door{
		Salts: testSalts, Rules: rules(t, "local plain all peer\nlocal mapped all peer map=m"), Secret: Userlist{}.find,
		Maps: mapsOf(t, "m root postgres\nother root alice\nm bob bob"),
	}
	as := func(account string) Peer { return Peer{Account: func() (string, error) { return account, nil }} }
	for _, c := range []struct {
		who            Peer
		user, database string
		let            bool
	}{
		{as("root"), "root", "plain", true}, {as("root"), "postgres", "plain", false}, {as("root"), "postgres", "mapped", true},
		{as("root"), "root", "mapped", false}, {as("root"), "alice", "mapped", false}, {as("bob"), "bob", "mapped", true},
		{Peer{}, "root", "plain", false}, {Peer{Account: func() (string, error) { return "", os.ErrNotExist }}, "root", "plain", false},
	} {
		p := visitorAs(t, d, c.who)
		p.send(startup("user", c.user, "database", c.database))
		if c.let {
			p.wantClient(c.user + " of " + c.database)
		} else {
			p.wantFatal(c.user+" of "+c.database, "28000", `Peer authentication failed for user "`+c.user+`"`)
		}
	}
}

func FuzzRules(f *testing.F) {
	f.Add("local all all trust\nhost \"a b\",c /^x 10.0.0.0/8 md5 # comment\n")
	f.Add("hostssl all all ::1 ffff:: cert map=x\\\n y=\"z\"")
	f.Add("host all all 1.2.3.4 255.255.255.0 scram-sha-256\n\"\"\"x\"\" , ,,,")
	f.Fuzz(func(t *testing.T, text string) {
		for _, l := range splitLines(text) {
			fields := splitFields(l.text)
			for _, one := range fields {
				if len(one) == 0 {
					t.Fatalf("%q: an empty field", l.text)
				}
			}
			if len(fields) == 0 {
				continue
			}
			if rule, err := readRule(fields); err == nil {
				rule.kind.fits(from("::1", "u", "d"))
				Rules{rule}.find(encrypted(from("10.0.0.1", "u", "d")))
			}
			if m, err := readMapping(fields); err == nil {
				_, _ = Maps{m}.allow(m.mapName, m.somebody.text, "u")
			}
		}
	})
}
