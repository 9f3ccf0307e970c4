package login

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretsAreNeverPrinted(t *testing.T) {
	secret, err := testSalts.ReadSecret("u", "hunter2")
	if err != nil {
		t.Fatal(err)
	}
	holder := struct{ secret Secret }{secret}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", secret, "client", &Client{Secret: secret}, "holder", holder)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", secret, "holder", holder)
	for _, text := range []string{
		fmt.Sprint(secret), fmt.Sprintf("%+v %#v %s %q %x", secret, secret, secret, secret, secret),
		fmt.Sprintf("%+v %#v", Client{Secret: secret}, Client{Secret: secret}),
		fmt.Sprintf("%+v %#v %v", holder, holder, Userlist{"u": secret}), log.String(),
	} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("it is told: %s", text)
		}
	}
}

func TestMalformedVerifiersAreRefusedUnquoted(t *testing.T) {
	key := base64.StdEncoding.EncodeToString(make([]byte, 32))
	good := "SCRAM-SHA-256$4096:c2FsdA==$" + key + ":" + key
	if _, err := testSalts.ReadSecret("u", good); err != nil {
		t.Fatal(err)
	}
	bad := []string{
		strings.Replace(good, "4096", "0", 1), strings.Replace(good, "4096", "-1", 1), strings.Replace(good, "4096", "", 1),
		strings.Replace(good, "4096", "99999999999", 1), strings.Replace(good, "c2FsdA==", "", 1),
		strings.Replace(good, "c2FsdA==", "!", 1), strings.Replace(good, key, "AAAA", 1), good + "A", good[:len(good)-4] + "AAAAAAAA",
		strings.Replace(good, "c2FsdA==", strings.Repeat("AAAA", 400), 1),
	}
	for end := len("SCRAM-SHA-256$"); end < len(good); end++ {
		bad = append(bad, good[:end])
	}
	for _, text := range bad {
		secret, err := testSalts.ReadSecret("u", text)
		if err == nil || strings.Contains(err.Error(), "AAA") {
			t.Errorf("%q: %v", text, err)
		}
		if v, _ := secret.verifier(); v != nil {
			t.Errorf("%q: a verifier beside the error", text)
		}
	}
}

func TestMD5SecretsHave32HexDigits(t *testing.T) {
	digits := strings.Repeat("0a", 16)
	for _, c := range []struct {
		text string
		md5  bool
	}{{"md5" + digits, true}, {"md5" + digits[1:], false}, {"md5" + digits + "0", false}, {"md5", false}, {"MD5" + digits, false}, {"md5" + digits[2:] + "xx", false}} {
		secret, err := testSalts.ReadSecret("u", c.text)
		if err != nil {
			t.Fatal(err)
		}
		if v, why := secret.verifier(); (v == nil) != c.md5 || (why != "") != c.md5 {
			t.Errorf("%q: verifier %v, %q", c.text, v != nil, why)
		}
	}
}
