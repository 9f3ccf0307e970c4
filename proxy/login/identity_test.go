package login

import (
	"strings"
	"testing"
)

// mapsOf reads a text in the format of pg_ident.conf.
func mapsOf(t testing.TB, text string) Maps {
	t.Helper()
	maps, err := ReadMaps(written(t, "pg_ident.conf", text))
	if err != nil {
		t.Fatal(err)
	}
	return maps
}

func TestMapsAreReadAsPostgresDoes(t *testing.T) {
	ms := mapsOf(t, `
# MAPNAME  SYSTEM-USERNAME  PG-USERNAME
m   "CN with blanks"      alice
m   bob                   all
m   carol                 "all"
m   dave                  /^d[0-9]$
m   /^(.*)@a\.example$    \1
m   /^x-(.*)$             "x \1"
m   /^y(.*)$              /^.1$
m   "/^z z,(.*)$"         "\1"
m   quoted                "/^q, [0-9]$"
m   plus                  "+x"
m   /all-(.*)             \1
n   erin                  erin
`)
	for _, c := range []struct {
		name, mapName, somebody, user string
		want                          bool
	}{
		{"a name in quotes", "m", "CN with blanks", "alice", true},
		{"names count letter case", "m", "cn with blanks", "alice", false},
		{"another user", "m", "CN with blanks", "bob", false},
		{"anybody", "m", "bob", "x", true},
		{"a user that is called all", "m", "carol", "all", true},
		{"which is not everybody", "m", "carol", "x", false},
		{"a regular expression for users", "m", "dave", "d7", true},
		{"that does not match", "m", "dave", "d77", false},
		{"a part of the name", "m", "u@a.example", "u", true},
		{"of another domain", "m", "u@axexample", "u", false},
		{"a part within a name", "m", "x-u", "x u", true},
		{"a regular expression for both", "m", "y", "x1", true},
		{"a regular expression in quotes", "m", "z z,u", "u", true},
		{"that is no name", "m", "/^z z,(.*)$", "u", false},
		{"one in quotes for users", "m", "quoted", "q, 7", true},
		{"that does not match", "m", "quoted", "q, 77", false},
		{"what stands for members is a name in quotes", "m", "plus", "+x", true},
		{"a part that reads all is no keyword", "m", "all-all", "x", false},
		{"but a name", "m", "all-all", "all", true},
		{"another map", "n", "erin", "erin", true},
		{"which is not this one", "m", "erin", "erin", false},
		{"none at all", "o", "erin", "erin", false},
	} {
		if got, err := ms.allow(c.mapName, c.somebody, c.user); got != c.want || err != nil {
			t.Errorf("%s: got %v, %v", c.name, got, err)
		}
	}
}

// What a part that is not there stands for is nobody's guess: PostgreSQL refuses, whatever other lines say.
func TestAPartThatIsNotThereRefuses(t *testing.T) {
	ms := mapsOf(t, `
m   root                      early
m   /^(?:svc-(.*)|root)$      app\1
m   root                      late
`)
	const words = `regular expression "^(?:svc-(.*)|root)$" has no subexpressions as requested by backreference in "app\\1"`
	for _, c := range []struct {
		somebody, user string
		want           bool
		said           string
	}{
		{"svc-x", "appx", true, ""}, {"svc-", "app", true, ""}, {"root", "early", true, ""},
		{"root", "app", false, words}, {"root", "late", false, words}, {"other", "app", false, ""},
	} {
		got, err := ms.allow("m", c.somebody, c.user)
		if got != c.want || (err == nil) != (c.said == "") || err != nil && err.Error() != c.said {
			t.Errorf("%s as %s: got %v, %v", c.somebody, c.user, got, err)
		}
	}
	d := &Door{Salts: testSalts, Rules: rules(t, "local all all peer map=m"), Secret: Userlist{}.find, Maps: ms}
	p := visitorAs(t, d, Peer{Account: func() (string, error) { return "root", nil }})
	p.send(startup("user", "late"))
	if r := p.wantFatal("no part", "28000", `Peer authentication failed for user "late"`); r.Why != words {
		t.Errorf("the log learns %q", r.Why)
	}
}

func TestBrokenMapsNameFileAndLine(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"m", "missing entry"},
		{"m x", "missing entry"},
		{"m,n x y", "multiple values specified for map name"},
		{"m x,z y", "multiple values specified for system user name"},
		{"m x y,z", "multiple values specified for role"},
		{"m /( y", `invalid regular expression "/("`},
		{"m x /(", `invalid regular expression "/("`},
		{`m "/(, " y`, `invalid regular expression "/(, "`},
		{`m x "/("`, `invalid regular expression "/("`},
		{"m x +y", "asks for a role's members"},
		{`m /^x \1`, "has no subexpressions as requested by backreference"},
	} {
		path := written(t, "pg_ident.conf", "m a b\n\n"+c.line+"\n")
		_, err := ReadMaps(path)
		if err == nil || !strings.HasPrefix(err.Error(), path+":3: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.line, err)
		}
	}
}
