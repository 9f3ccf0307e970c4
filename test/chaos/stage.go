package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/lockproxy/lockproxy/test/authority"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// stage is everything that takes part but the applications.
type stage struct {
	options
	folder  string
	secrets secrets
	journal *journal
	server  *postgres.Server
	network *network
	behind  *cable // from lockproxy to the server
	before  *cable // from some of the clients to lockproxy
	program *program

	// early is what lockproxy's last process used when it had been at work for a while, for a comparison with its end.
	early use
	since time.Time // when that process started
}

// keys is how many advisory locks the applications ask for: few, so that they wait for one another.
const keys = 6

// guarded is the user of those applications that log in by SCRAM. lockproxy has the secret alone, and logs in at the server with
// the key that the client has shown; what it says to the server is encrypted. All others are trusted, and in clear.
const guarded, password = "guarded", "of the guarded"

const schema = `
	CREATE TABLE ledger (worker text, entry int, PRIMARY KEY (worker, entry));
	CREATE TABLE counters (name text PRIMARY KEY, n int NOT NULL DEFAULT 0);
	CREATE TABLE bulk (worker text, entry int, filler text);
	INSERT INTO counters SELECT 'key ' || i FROM generate_series(0, 5) i;
	INSERT INTO counters VALUES ('leader');
	GRANT ALL ON ledger, counters, bulk TO PUBLIC`

func newStage(ctx context.Context, o options) (s *stage, err error) {
	s = &stage{options: o, journal: newJournal()}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.folder, err = os.MkdirTemp("", "lockproxy-chaos-"); err != nil {
		return s, err
	}
	if s.server, err = postgres.Run(ctx, postgres.Config{MaxConnections: 110, Settings: map[string]string{
		"synchronous_commit": "on", // What is acknowledged is there after a crash of the server's processes.
		"deadlock_timeout":   "200ms",
	}}); err != nil {
		return s, err
	}
	if _, err = s.server.Query("postgres", schema); err != nil {
		return s, err
	}
	if err = s.guard(); err != nil {
		return s, err
	}
	if s.program, err = build(ctx, s.folder, o.race); err != nil {
		return s, err
	}
	if s.network, err = startNetwork(ctx, s.folder); err != nil {
		return s, err
	}
	if s.behind, err = s.network.connect(ctx, "server", s.server.Port); err != nil {
		return s, err
	}
	if s.before, err = s.network.connect(ctx, "clients", s.program.port); err != nil {
		return s, err
	}
	s.program.upstream, s.program.secrets = s.behind.port, s.secrets
	if err = s.program.configure(sizes[0]); err != nil {
		return s, err
	}
	s.since = time.Now()
	return s, s.program.start(ctx)
}

// secrets are files: an authority's certificate, one that it has signed, its key, and the list of users.
type secrets struct{ authority, certificate, key, users string }

// guard has the server speak TLS and know the guarded user.
func (s *stage) guard() (err error) {
	trusted := authority.New()
	if s.secrets.authority, err = trusted.File(s.folder); err != nil {
		return err
	}
	if s.secrets.certificate, s.secrets.key, err = authority.Files(s.folder, trusted.Issue("127.0.0.1")); err != nil {
		return err
	}
	if err = s.server.EnableTLS(s.secrets.certificate, s.secrets.key, s.secrets.authority); err != nil {
		return err
	}
	if err = s.server.CreateUser(guarded, password, postgres.SCRAM); err != nil {
		return err
	}
	secret, err := s.server.Query("postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = '"+guarded+"'")
	if err != nil {
		return err
	}
	s.secrets.users = filepath.Join(s.folder, "userlist.txt")
	return os.WriteFile(s.secrets.users, fmt.Appendf(nil, "%q %q\n", guarded, secret[0][0]), 0o600)
}

func (s *stage) close() {
	if s.program != nil {
		s.program.close()
	}
	if s.network != nil {
		s.network.kill()
	}
	if s.server != nil {
		_ = s.server.Close() // Nothing of it is wanted any more.
	}
	if s.folder != "" {
		_ = os.RemoveAll(s.folder) // In the system's temporary folder.
	}
}

// url is where a client connects to, and how.
func (s *stage) url(w *worker) string {
	u := url.URL{Scheme: "postgres", User: url.User(postgres.Superuser), Path: "/postgres"}
	port := s.program.port
	if w.cabled {
		port = s.before.port
	}
	u.Host = fmt.Sprintf("127.0.0.1:%d", port)
	if w.guarded {
		u.User, u.Path = url.UserPassword(guarded, password), "/guarded"
	}
	how := url.Values{"connect_timeout": {"10"}, "application_name": {w.name}, "sslmode": {"disable"}}
	if w.encrypted {
		how.Set("sslmode", "verify-ca")
		how.Set("sslrootcert", s.secrets.authority)
	}
	u.RawQuery = how.Encode()
	return u.String()
}

// one gives the one number of a query on the server itself.
func (s *stage) one(sql string) (int, error) {
	rows, err := s.server.Query("postgres", sql)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(rows[0][0])
}

// nothingIsLeft checks what must hold when the faults are over and the clients have gone.
func (s *stage) nothingIsLeft(ctx context.Context, l *load) {
	s.awaitNone(ctx, "advisory locks that nobody holds any more", `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'`)
	s.awaitNone(ctx, "transactions of clients that have gone", `SELECT count(*) FROM pg_stat_activity
		WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND state <> 'idle'`)
	if err := s.program.awaitGone(30 * time.Second); err != nil {
		s.journal.violation("%v", err)
	}
	if s.program.current().died() {
		s.journal.violation("lockproxy died: %s", s.program.tail())
		return
	}
	l.checkCommits()
	s.checkUse()
	if s.program.said(0, "DATA RACE") || s.program.said(0, "impossible state") {
		log, _ := os.ReadFile(s.program.log)
		kept := filepath.Join(os.TempDir(), "lockproxy-chaos.log")
		_ = os.WriteFile(kept, log, 0o600) // The violation is told in any case.
		s.journal.violation("lockproxy found a fault of its own; its log is kept in %s", kept)
	}
}

func (s *stage) awaitNone(ctx context.Context, what, sql string) {
	const within = 15 * time.Second
	for end := time.Now().Add(within); ; {
		n, err := s.one(sql)
		if err == nil && n == 0 || ctx.Err() != nil {
			return
		}
		if time.Now().After(end) {
			s.journal.violation("%d %s (%v)", n, what, err)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// remember notes what lockproxy uses while its clients are at work, once its process has lived for a while.
func (s *stage) remember() {
	if s.early.memory == 0 && time.Since(s.since) > s.length/10 {
		s.early, _ = s.program.current().use() // The end tells if there is none.
	}
}

// checkUse compares what lockproxy used early on with what it uses when the clients have gone.
func (s *stage) checkUse() {
	late, err := s.program.current().use()
	if err != nil {
		s.journal.violation("what lockproxy uses: %v", err)
		return
	}
	fmt.Fprintf(s.out, "lockproxy's last process: %d kB and %d descriptors early on, %d kB and %d at the end\n",
		s.early.memory>>10, s.early.descriptors, late.memory>>10, late.descriptors)
	const slack = 32 << 20 // The collector has its own time.
	if s.early.memory > 0 && late.memory > s.early.memory+s.early.memory/2+slack {
		s.journal.violation("memory grew from %d kB to %d kB", s.early.memory>>10, late.memory>>10)
	}
	if most := 2*(sizes[0].admin+sizes[0].lock) + 25; late.descriptors > most {
		s.journal.violation("%d descriptors are open without a client, more than %d", late.descriptors, most)
	}
}
