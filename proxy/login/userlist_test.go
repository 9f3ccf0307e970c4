package login

import (
	"strings"
	"testing"
)

func TestUserlistsAreReadAsPgBouncerDoes(t *testing.T) {
	users, err := testSalts.ReadUserlist("userlist.txt", `;comment "x" "y"
"alice" "secret"

	"bob"	"with ""quotes"" and \ "  "more" is passed over
"trailing" "carriage return"`+"\r\n"+`"twice" "first"
"twice" "second"
"none" ""
"he said ""hi""" "x"`)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"alice": "secret", "bob": `with "quotes" and \ `, "trailing": "carriage return", "twice": "second", "none": "",
		`he said "hi"`: "x",
	}
	if len(users) != len(want) {
		t.Errorf("%d users, want %d", len(users), len(want))
	}
	for user, password := range want {
		if secret, ok := users[user]; !ok || secret.Password() != password {
			t.Errorf("%s: got %q, %v", user, secret.Password(), ok)
		}
	}
}

func TestBrokenUserlistsNameFileAndLineAndNoSecret(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{`alice "hunter2"`, "a user's name in double quotes"},
		{`"alice`, "a user's name in double quotes"},
		{`"alice"`, `a secret in double quotes is expected behind the user "alice"`},
		{`"alice" hunter2`, `a secret in double quotes is expected behind the user "alice"`},
		{`"alice" "hunter2`, `a secret in double quotes is expected behind the user "alice"`},
		{`"" "hunter2"`, "the user's name is empty"},
		{`"` + strings.Repeat("x", 64) + `" "hunter2"`, "more than 63 bytes"},
		{`"alice" "SCRAM-SHA-256$hunter2"`, "malformed SCRAM-SHA-256 verifier"},
		{`"alice" "hunter2` + "\x00" + `"`, "a zero byte"},
	} {
		_, err := testSalts.ReadUserlist("/etc/userlist.txt", "\"bob\" \"x\"\n\n"+c.line+"\n")
		if err == nil || !strings.HasPrefix(err.Error(), "/etc/userlist.txt:3: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.line, err)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error tells the secret: %v", c.line, err)
		}
	}
}

func FuzzReadLine(f *testing.F) {
	f.Add(`"alice" "se""cret" ""`)
	f.Add(`; "alice"`)
	f.Add(`"alice" "`)
	f.Fuzz(func(t *testing.T, line string) {
		user, secret, err := readLine(line)
		if err != nil && (user != "" || secret != "") || len(user) > maxUser {
			t.Fatalf("%q: %q, %q, %v", line, user, secret, err)
		}
		if err != nil || user == "" {
			return
		}
		quote := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
		if u, s, err := readLine(quote(user) + " " + quote(secret)); err != nil || u != user || s != secret {
			t.Fatalf("%q: written again it reads %q, %q, %v", line, u, s, err)
		}
	})
}
