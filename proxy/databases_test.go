package proxy

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/lockproxy/lockproxy/proxy/login"
)

// A URL leads to files, which are read when the server is made and not again.
func TestWhereADatabaseLeadsToIsWorkedOutOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "services")
	if err := os.WriteFile(file, []byte("[s]\nhost=127.0.0.1\nport=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := "postgres:///?service=s&servicefile=" + file
	s, err := New(Config{Databases: map[string]Database{"d": {URL: url}, AnyDatabase: {URL: url}}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	pools := map[*pool]bool{}
	for _, who := range []login.Client{
		{Database: "d", User: "u"}, {Database: "d", User: "u"}, {Database: "d", User: "v"}, {Database: "e", User: "u"},
	} {
		p, err := s.poolOf(&who)
		if err != nil {
			t.Fatal(err)
		}
		pools[p] = true
		if p.terms.Load().target.User() != who.User || p.terms.Load().target.Database() != who.Database {
			t.Errorf("%s of %s is led to %v", who.User, who.Database, p.terms.Load().target)
		}
	}
	if len(pools) != 3 {
		t.Errorf("%d pools, want one for each user of each database", len(pools))
	}
	for p := range pools {
		p.close()
	}
}
