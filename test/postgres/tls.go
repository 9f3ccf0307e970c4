package postgres

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// EnableTLS has the server speak TLS with a certificate and its key, and verify those of clients that the authorities have
// signed. All three are PEM files, of which it gets copies of its own. It returns when connections are encrypted.
func (s *Server) EnableTLS(certificate, key, authorities string) error {
	for setting, from := range map[string]string{"ssl_cert_file": certificate, "ssl_key_file": key, "ssl_ca_file": authorities} {
		text, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		path := filepath.Join(s.folder.path, setting+".pem")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return err
		}
		if err := s.user.own(path); err != nil {
			return err
		}
		if _, err := s.Query("postgres", fmt.Sprintf("ALTER SYSTEM SET %s = %s", setting, quoteLiteral(path))); err != nil {
			return err
		}
	}
	for _, sql := range []string{"ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()"} {
		if _, err := s.Query("postgres", sql); err != nil {
			return err
		}
	}
	return s.awaitTLS()
}

// awaitTLS waits until the server has read its settings again, which it does when it gets to it.
func (s *Server) awaitTLS() error {
	const pause, patience = 10 * time.Millisecond, 20 * time.Second
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(pause) {
		rows, err := s.Query("postgres", "SHOW ssl")
		if err != nil {
			return err
		}
		if rows[0][0] == "on" {
			return nil
		}
	}
	return fmt.Errorf("the server does not take its TLS settings: %s", s.Log())
}
