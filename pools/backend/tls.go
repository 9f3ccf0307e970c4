package backend

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// sslModes are libpq's, from the weakest to the strongest.
var sslModes = []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}

// systemRoots is what sslrootcert says for the machine's store of public authorities.
const systemRoots = "system"

// withoutTLS has pgconn look for no file.
var withoutTLS = []pair{{"sslmode", "disable"}, {"sslrootcert", ""}, {"sslcert", ""}, {"sslkey", ""}}

// secure has the target's servers spoken with as libpq's keywords say. pgconn reads the files and knows the order in which
// TLS and clear text are tried; what it makes of missing files and of servers' certificates is not libpq's.
func (t *Target) secure(s *connString) error {
	mode, err := s.sslMode()
	if err != nil || mode == "disable" || !t.overTCP() {
		return err
	}
	roots, err := s.roots(mode)
	if err != nil {
		return err
	}
	certificate, key, err := s.clientFiles()
	if err != nil {
		return err
	}
	file := strings.TrimPrefix(roots, systemRoots)
	if strings.HasPrefix(mode, "verify-") {
		t.verifiesName = mode == "verify-full"
		mode = "require" // to pgconn, whose verification is replaced
	}
	t.config, err = pgconn.ParseConfig(s.with(pair{"sslmode", mode}, pair{"sslrootcert", file}, pair{"sslcert", certificate}, pair{"sslkey", key}))
	if err != nil {
		return errors.New(reasonOf(err))
	}
	return t.verify(roots)
}

// overTCP tells whether there is a server that is not at a unix socket, where there is no TLS.
func (t *Target) overTCP() bool {
	isTCP := func(host string) bool { network, _ := pgconn.NetworkAddress(host, 1); return network == "tcp" }
	return isTCP(t.config.Host) || slices.ContainsFunc(t.config.Fallbacks, func(f *pgconn.FallbackConfig) bool { return isTCP(f.Host) })
}

// sslMode gives the mode, if libpq would take it.
func (s *connString) sslMode() (string, error) {
	system := s.lookUp("sslrootcert") == systemRoots
	mode, given := s.find("sslmode")
	switch {
	case !given && system:
		mode = "verify-full"
	case !given:
		mode = "prefer"
	}
	negotiation, given := s.find("sslnegotiation")
	strength := slices.Index(sslModes, mode)
	switch {
	case strength < 0:
		return "", fmt.Errorf("sslmode must be one of %s", strings.Join(sslModes, ", "))
	case system && mode != "verify-full":
		return "", fmt.Errorf("sslmode=%s is too weak for sslrootcert=system, which goes with verify-full alone", mode)
	case given && negotiation != "postgres" && negotiation != "direct":
		return "", errors.New("sslnegotiation must be postgres or direct")
	case negotiation == "direct" && strength < slices.Index(sslModes, "require"):
		return "", fmt.Errorf("sslmode=%s is too weak for sslnegotiation=direct, which needs require or more", mode)
	}
	return mode, nil
}

// roots gives the file of the authorities that servers' certificates must come from. It is empty where there is none, and
// certificates are not verified.
func (s *connString) roots(mode string) (string, error) {
	file := s.lookUp("sslrootcert")
	if file == systemRoots {
		return file, nil
	}
	if file == "" {
		file = homeFile(".postgresql/root.crt")
	}
	there, err := exists(file)
	switch {
	case err != nil:
		return "", fmt.Errorf("sslrootcert: %w", err)
	case !there && strings.HasPrefix(mode, "verify-"):
		return "", fmt.Errorf("sslrootcert: root certificate file %q does not exist, which sslmode=%s needs; "+
			"the system's trusted roots are used with sslrootcert=system", file, mode)
	case !there:
		return "", nil
	}
	revoked := homeFile(".postgresql/root.crl")
	if there, err := exists(revoked); there || err != nil {
		return "", fmt.Errorf("certificate revocation lists are not supported, and there is %q", revoked)
	}
	return file, nil
}

// clientFiles gives the files of the certificate that servers are shown, and of its key; nothing where there is none.
func (s *connString) clientFiles() (certificate, key string, err error) {
	if s.lookUp("sslcertmode") == "disable" {
		return "", "", nil
	}
	if certificate = s.lookUp("sslcert"); certificate == "" {
		certificate = homeFile(".postgresql/postgresql.crt")
	}
	there, err := exists(certificate)
	if err != nil {
		return "", "", fmt.Errorf("sslcert: %w", err)
	}
	if !there {
		return "", "", nil
	}
	if key = s.lookUp("sslkey"); key == "" {
		key = homeFile(".postgresql/postgresql.key")
	}
	if err := usableKey(key); err != nil {
		return "", "", fmt.Errorf("sslkey: %w", err)
	}
	return certificate, key, nil
}

// usableKey says why libpq would not take a file for a private key.
func usableKey(file string) error {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("certificate present, but not private key file %q", file)
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("private key file %q is not a regular file", file)
	}
	forbidden := fs.FileMode(0o077)
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && owner.Uid == 0 {
		forbidden = 0o037 // a group may read the system's keys
	}
	if info.Mode().Perm()&forbidden != 0 {
		return fmt.Errorf("private key file %q has group or world access; it must have permissions u=rw (0600) or less, "+
			"or u=rw,g=r (0640) or less if root owns it", file)
	}
	return nil
}

// exists is false without an error where there is no such file. A file that cannot be reached is an error, unlike with libpq,
// which goes on without roots.
func exists(file string) (bool, error) {
	if file == "" {
		return false, nil
	}
	_, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return false, nil
	}
	return err == nil, err
}

// homeFile is the path of a file in the home folder; empty: there is no such folder.
func homeFile(name string) string {
	home, err := os.UserHomeDir()
	if err != nil {
		account, err := user.Current()
		if err != nil {
			return ""
		}
		home = account.HomeDir
	}
	return filepath.Join(home, name)
}

// verify has certificates of servers verified wherever there are roots, as libpq does in every mode.
func (t *Target) verify(roots string) error {
	var system *x509.CertPool
	if roots == systemRoots {
		var err error
		if system, err = x509.SystemCertPool(); err != nil {
			return fmt.Errorf("sslrootcert=system: %w", err)
		}
	}
	named := t.verifiesName
	guard := func(c *tls.Config, host string) {
		if c == nil || roots == "" {
			return
		}
		if system != nil {
			c.RootCAs = system
		}
		c.InsecureSkipVerify, c.VerifyPeerCertificate = true, nil // verification is our own
		c.VerifyConnection = func(state tls.ConnectionState) error {
			if err := verifyServer(state.PeerCertificates, c.RootCAs, host, named); err != nil {
				return fmt.Errorf("failed to verify the server's certificate: %w", err)
			}
			return nil
		}
	}
	guard(t.config.TLSConfig, t.config.Host)
	for _, f := range t.config.Fallbacks {
		guard(f.TLSConfig, f.Host)
	}
	return nil
}
