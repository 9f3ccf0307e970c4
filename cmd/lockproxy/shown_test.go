package main

import (
	"strings"
	"testing"
)

// Secrets never reach the console.
func TestTheConsoleShowsSettingsWithoutPasswords(t *testing.T) {
	l := &loader{source: source{environment: lookup(nil)}, values: defaults(), origins: map[string]string{}}
	l.values.database("app").url = "postgres://app:geheim@127.0.0.1:5432/app?sslpassword=geheim"
	l.values.database("b").url = "host=127.0.0.1 user=app password=geheim"
	values := make(map[string]string)
	for _, s := range l.values.shown() {
		if strings.Contains(s.Value+s.Default, "geheim") {
			t.Errorf("%s shows a password: %s", s.Name, s.Value)
		}
		values[s.Name] = s.Value + "|" + s.Default
	}
	for name, want := range map[string]string{
		"databases.app.url": "postgres://app@127.0.0.1:5432/app|", "server.max_clients": "10000|10000", "server.login_timeout": "15s|15s",
		"pools.lock.functions": "|", "server.listen": "127.0.0.1:6432|127.0.0.1:6432", "databases.b.lock_pool.max": "10|10",
		"console.admin_users": "|",
	} {
		if values[name] != want {
			t.Errorf("%s is %q, want %q", name, values[name], want)
		}
	}
}
